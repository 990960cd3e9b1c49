"""Detections, forced photometry, alignment, nights, and the command."""

import importlib.metadata
import json
import pickle

import numpy as np
import pytest

import dia
from conftest import GAIN

OPTIONS = {"gain": GAIN, "backend": "cpu"}


@pytest.fixture(scope="module")
def result(pair):
    return dia.subtract(pair.reference, pair.target, scene=True, convolve="reference", **OPTIONS)


@pytest.fixture(scope="module")
def folder(command, tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated")
    command("simulate", "--size", 200, "--seed", 3, "-o", folder)
    return folder


def test_what_changed_is_found(pair, result):
    found = dia.detect(result)
    y, x = pair.event
    assert len(found) >= 1 and abs(found["x"][0] - x) < 1 and abs(found["y"][0] - y) < 1
    assert abs(found["psfFlux"][0] - 9000) < 5 * found["psfFluxErr"][0]
    assert found.units["x"] == "pix" and found.descriptions["psfFlux"]
    assert found["flags"].dtype == np.int64 and found["isNegative"].dtype == bool
    assert found.about["DIATHR"] == 5.0


def test_fluxes_are_measured_at_given_places(pair, result):
    y, x = pair.event
    rows = dia.forced_photometry(result, [(x, y), (np.nan, 3.0)], apertures=[5.0])
    assert len(rows) == 2 and np.isnan(rows["psfFlux"][1])
    # The place is that of a pixel, half a pixel from the star at most: the flux misses a few per cent.
    assert abs(rows["psfFlux"][0] - 9000) < 900
    assert np.isfinite(rows["apFlux"][0]) and rows.about["APRAD"] == 5.0


def test_what_cannot_be_measured_is_said(pair, result, tmp_path):
    with pytest.raises(ValueError, match="give scene=True"):
        dia.detect(pickle.loads(pickle.dumps(result)))
    with pytest.raises(ValueError, match="a positive number of σ"):
        dia.detect(result, threshold=0)
    with pytest.raises(ValueError, match=r"give \(n, 2\)"):
        dia.forced_photometry(result, [1, 2, 3])
    with pytest.raises(dia.DiaError, match="6 apertures were given; give 5 at most"):
        dia.forced_photometry(result, [(3, 4)], apertures=range(1, 7))
    with pytest.raises(dia.DiaError, match="no world coordinates"):
        dia.forced_photometry(result, [(3, 4)], sky=True)
    with pytest.raises(dia.DiaError, match="missing.fits"):
        dia.detect(tmp_path / "missing.fits")


def test_files_of_the_command_are_measured(command, folder, tmp_path):
    files = folder / "reference.fits", folder / "target.fits"
    out, sources = tmp_path / "difference.fits", tmp_path / "sources.csv"
    options = ("--planes", "scene", "--sources", sources, "--backend", "cpu", "--fail-on", "never")
    command("subtract", *files, "-o", out, *options)
    found = dia.detect(out)
    stored = np.genfromtxt(sources, delimiter=",", names=True, dtype=None, encoding="utf-8")
    assert np.array_equal(found["psfFlux"], stored["psfFlux"])
    again = dia.forced_photometry(out, np.column_stack([found["x"], found["y"]]))
    # Flux and place of a detection are fitted together, to some 1e-7 of the flux.
    assert np.allclose(again["psfFlux"], found["psfFlux"], rtol=1e-5)


def test_a_table_of_astropy(result):
    pytest.importorskip("astropy")
    table = dia.detect(result).to_astropy()
    assert str(table["x"].unit) == "pix" and table.meta["DIATHR"] == 5.0


def test_how_images_lie(pair):
    moved = np.roll(pair.target, (4, -6), axis=(0, 1))
    found = dia.align(pair.reference, moved, gain=GAIN)
    assert found.report["offset"] == {"dx": -6, "dy": 4}
    x, y = found.to_reference([50.0, 120.0], [80.0, 30.0])
    # Hundred stars of some per cent of a pixel.
    assert np.allclose(x, [56.0, 126.0], atol=0.1) and np.allclose(y, [76.0, 26.0], atol=0.1)
    with pytest.raises(ValueError, match="--align"):
        dia.align(pair.reference, moved, gain=GAIN, align="by eye")


@pytest.mark.filterwarnings("ignore::dia.DiaWarning")
def test_a_reference_of_frames(folder, tmp_path):
    fits = pytest.importorskip("astropy.io.fits")
    frames = [folder / "reference.fits", folder / "target.fits"]
    made = dia.make_reference(frames, tmp_path / "deep.fits", report=tmp_path / "deep.json", most=3)
    report = json.loads((tmp_path / "deep.json").read_text())
    # The target's seeing is too wide.
    assert [frame["used"] for frame in report["frames"]] == [True, False]
    with fits.open(made) as planes:
        assert planes[0].header["DIANREF"] == 1
        assert [plane.name for plane in planes[:4]] == ["REFERENCE", "VARIANCE", "MASK", "COVERAGE"]
    with pytest.raises(dia.DiaError, match="no file matches"):
        dia.make_reference(tmp_path / "nowhere*.fits", tmp_path / "none.fits")


def test_a_night(folder, tmp_path):
    told = []
    out = dia.night(
        folder / "target.fits",
        tmp_path / "night",
        reference=folder / "reference.fits",
        backend="cpu",
        progress=told.append,
    )
    assert (out / "report.html").exists() and (out / "lightcurves.ecsv").exists()
    assert told and {"level", "msg"} <= told[0].keys()
    with pytest.raises(dia.DiaError, match="nowhere"):
        dia.night(tmp_path / "nowhere*.fits", tmp_path / "none")
    with pytest.raises(dia.DiaError, match="--loss"):
        dia.night(folder / "target.fits", tmp_path / "none", loss="l1")


def test_the_command(command, tmp_path):
    assert command("--version").strip() == f"dia {dia.__version__}"
    assert importlib.metadata.version("dia-subtract") == dia.__version__
    assert "error" in command("subtract", code=2)
    text = command("subtract", "a.fits", "b.fits", "-o", tmp_path / "c.fits", code=1)
    assert text.startswith("dia: error: ") and "a.fits" in text
    scripts = importlib.metadata.entry_points(group="console_scripts", name="dia")
    assert [script.value for script in scripts] == ["dia._command:main"]
