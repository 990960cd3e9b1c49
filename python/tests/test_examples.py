"""What the examples for many machines do: all frames, each once, whatever happens meanwhile."""

import csv
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from conftest import GAIN

EXAMPLES = pathlib.Path(__file__).parent.parent / "examples"
FRAMES = 6


@pytest.fixture
def night(pair, tmp_path):
    """A folder with reference.fits and some exposures of one field."""
    fits = pytest.importorskip("astropy.io.fits")
    rng = np.random.default_rng(3)
    header = fits.Header({"GAIN": GAIN, "RDNOISE": 1.0, "SATURATE": 1e6})
    fits.writeto(tmp_path / "reference.fits", pair.reference.astype("f4"), header)
    (tmp_path / "night").mkdir()
    for number in range(FRAMES):
        noise = rng.normal(0, 1, pair.target.shape)
        path = tmp_path / "night" / f"{number:02}.fits"
        fits.writeto(path, (pair.target + noise).astype("f4"), header)
    return tmp_path


def frames(folder):
    """The names in the table of frames, in its order."""
    lines = (folder / "results" / "frames.ecsv").read_text("utf-8").splitlines()
    rows = csv.DictReader(line for line in lines if not line.startswith("#"))
    return [pathlib.Path(row["image"]).name for row in rows]


def check(folder):
    assert frames(folder) == [f"{number:02}.fits" for number in range(FRAMES)]
    assert (folder / "results" / "report.html").exists()


ARGUMENTS = ["reference.fits", "night/*.fits", "results"]


def test_dask(night):
    pytest.importorskip("dask.distributed")
    subprocess.run([sys.executable, EXAMPLES / "night_dask.py", *ARGUMENTS], cwd=night, check=True)
    check(night)


def test_dask_without_one_of_its_workers(night):
    pytest.importorskip("dask.distributed")
    psutil = pytest.importorskip("psutil")
    command = [sys.executable, EXAMPLES / "night_dask.py", *ARGUMENTS]
    with subprocess.Popen(command, cwd=night, stdout=subprocess.PIPE, text=True) as run:
        run.stdout.readline()
        # One that has a frame before it. Not their children: those come and go.
        workers = psutil.Process(run.pid).children()
        workers = [worker for worker in workers if "spawn_main" in " ".join(worker.cmdline())]
        workers[0].kill()
        run.stdout.read()
        assert run.wait(timeout=300) == 0
    check(night)


def test_slurm(night):
    (night / "bin").mkdir()
    (night / "bin" / "srun").write_text('#!/bin/sh\nexec "$@"\n')
    (night / "bin" / "srun").chmod(0o755)
    path = f"{night / 'bin'}{os.pathsep}{os.environ['PATH']}"
    for job in ["2", "1", "all"]:
        array = {"SLURM_ARRAY_TASK_ID": job, "SLURM_ARRAY_TASK_COUNT": "2"} if job != "all" else {}
        environment = os.environ | {"PATH": path, "SLURM_CPUS_PER_TASK": "1"} | array
        command = ["bash", EXAMPLES / "night_slurm.sh", *ARGUMENTS, *["all"][: job == "all"]]
        subprocess.run(command, cwd=night, env=environment, check=True)
    check(night)


def test_snakemake(night):
    if shutil.which("snakemake") is None:
        pytest.skip("no snakemake here")
    reference, targets, output = ARGUMENTS
    config = [f"reference={reference}", f"targets={targets}", f"output={output}", "shards=3"]
    command = ["snakemake", "-s", EXAMPLES / "Snakefile", "--cores", "2", "--config", *config]
    subprocess.run(command, cwd=night, check=True)
    check(night)
