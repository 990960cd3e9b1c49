#!/usr/bin/env python3
"""A simulated season for `dia night`: frames of one field with dithers, a small rotation, changing seeing, clouds, moon, and sources that vary in known ways.

    season.py make DIR [--frames 60] [--size 256]      reference.fits, 0001.fits …, truth.json, at.csv (the variables' places in the reference)
    dia night --reference DIR/reference.fits --targets 'DIR/0*.fits' --at DIR/at.csv -o OUT
    season.py check DIR OUT                            pulls of every variable, scatter of constant stars, zero points
    season.py kill DIR OUT [--times 50] [--shards 1]   a night in shards that are killed (SIGKILL) at random moments and started again, against one that is not

The program is $DIA (target/release/dia).

Stars are Moffat profiles of β = 3, integrated over pixels by 3 × 3 points. Needs numpy and astropy.
"""

import argparse
import hashlib
import json
import os
import pathlib
import subprocess
import time

import numpy as np
from astropy.io import fits
from astropy.table import Table

GAIN, READ_NOISE, SATURATION = 1.5, 5.0, 60000.0
BETA = 3.0
VARIABLES = 30


def render(x, y, flux, fwhm, size):
    """Stars on a square image, each out to 12 FWHM."""
    image = np.zeros((size, size))
    alpha = fwhm / (2 * np.sqrt(2 ** (1 / BETA) - 1))
    reach = int(np.ceil(12 * fwhm))
    steps = (np.arange(3) - 1) / 3
    for cx, cy, f in zip(x, y, flux):
        x0, x1 = max(0, int(cx) - reach), min(size, int(cx) + reach + 1)
        y0, y1 = max(0, int(cy) - reach), min(size, int(cy) + reach + 1)
        if x0 >= x1 or y0 >= y1:
            continue
        xs = (np.arange(x0, x1)[:, None] + steps).ravel() - cx
        ys = (np.arange(y0, y1)[:, None] + steps).ravel() - cy
        profile = (1 + (xs[None, :] ** 2 + ys[:, None] ** 2) / alpha**2) ** -BETA
        pixels = profile.reshape(y1 - y0, 3, x1 - x0, 3).mean(axis=(1, 3))
        image[y0:y1, x0:x1] += f * (BETA - 1) / (np.pi * alpha**2) * pixels
    return image


def expose(model, random, path, mjd, sky):
    """Photons and read noise, in ADU."""
    noisy = random.poisson(np.maximum(model, 0) * GAIN) / GAIN
    noisy += random.normal(0, READ_NOISE / GAIN, model.shape)
    header = fits.Header()
    header["GAIN"], header["RDNOISE"], header["SATURATE"] = GAIN, READ_NOISE, SATURATION
    header["MJD-OBS"], header["EXPTIME"] = mjd, 60.0
    fits.writeto(path, noisy.astype("f4"), header, overwrite=True)


def make(folder, frames, size, seed):
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    margin = 60
    count = int(12 * ((size + 2 * margin) / 100) ** 2)
    x, y = random.uniform(-margin, size + margin, (2, count))
    flux = np.minimum(800 * random.random(count) ** (-1 / 0.9), 3e5)
    # Not the brightest ones, which alone would tell the scale.
    inside = np.flatnonzero((x > 40) & (x < size - 40) & (y > 40) & (y < size - 40) & (flux > 2000) & (flux < 20000))
    variables = random.choice(inside, min(VARIABLES, len(inside)), replace=False)
    period = random.uniform(1.5, 20, len(variables))
    amplitude = random.uniform(0.05, 0.6, len(variables))
    phase = random.uniform(0, 2 * np.pi, len(variables))

    def fluxes(time):
        now = flux.copy()
        now[variables] *= 1 + amplitude * np.sin(2 * np.pi * time / period + phase)
        return now

    # The reference is sixteen exposures deep: its sky and noise are those of one with sixteen times the gain.
    fwhm, sky = 2.6, 150.0
    model = render(x, y, fluxes(0.0), fwhm, size) + sky
    noisy = random.poisson(model * 16 * GAIN) / (16 * GAIN) + random.normal(0, READ_NOISE / GAIN / 4, model.shape)
    header = fits.Header()
    header["GAIN"], header["RDNOISE"], header["SATURATE"] = 16 * GAIN, 4 * READ_NOISE, SATURATION
    fits.writeto(folder / "reference.fits", noisy.astype("f4"), header, overwrite=True)

    truth = {"variables": [[float(x[v]), float(y[v])] for v in variables], "frames": {}}
    centre = (size - 1) / 2
    for number in range(1, frames + 1):
        time = float(np.sort(random.uniform(0, 60, 1))[0])
        angle = np.radians(random.normal(0, 0.05))
        dx, dy = random.uniform(-6, 6, 2)
        tx = centre + (x - centre) * np.cos(angle) - (y - centre) * np.sin(angle) + dx
        ty = centre + (x - centre) * np.sin(angle) + (y - centre) * np.cos(angle) + dy
        scale = random.choice([1.0, random.uniform(0.3, 1.0)])
        fwhm = random.uniform(2.8, 6.0)
        sky = random.choice([random.uniform(150, 400), random.uniform(1000, 4000)])
        now = fluxes(time)
        model = scale * render(tx, ty, now, fwhm, size) + sky
        name = f"{number:04d}"
        expose(model, random, folder / f"{name}.fits", 60000.0 + time, sky)
        truth["frames"][name] = {"scale": float(scale), "fwhm": float(fwhm), "sky": float(sky), "flux": [float(now[v]) for v in variables]}
    (folder / "truth.json").write_text(json.dumps(truth))
    with open(folder / "at.csv", "w") as table:
        table.write("x,y\n" + "".join(f"{x[v]},{y[v]}\n" for v in variables))


def check(folder, night):
    truth = json.loads((folder / "truth.json").read_text())
    curves = Table.read(night / "lightcurves.ecsv")
    frames = Table.read(night / "frames.ecsv")
    count = len(truth["variables"])
    # What is measured is the change since the reference; the flux itself holds light of neighbours.
    reference = {}
    pulls, changes, each = [], [], []
    for source in range(1, count + 1):
        rows = curves[(curves["sourceId"] == source) & (curves["isUsable"])]
        true = np.array([truth["frames"][str(f)]["flux"][source - 1] for f in rows["frame"]])
        # The reference was taken at phase 0.
        change = rows["diffFlux"] - true
        weight = 1 / rows["diffFluxErr"] ** 2
        start = -np.sum(change * weight) / np.sum(weight)
        reference[source] = start
        pull = np.asarray((change + start) / rows["diffFluxErr"])
        pulls.extend(pull)
        each.append(np.std(pull, ddof=1))
        changes.append(len(rows))
    pulls = np.array(pulls)
    robust = 1.4826 * np.median(np.abs(pulls - np.median(pulls)))
    print(f"{len(frames)} frames with a difference of {len(truth['frames'])}; verdicts:", {v: int(np.sum(frames["verdict"] == v)) for v in ("PASS", "WARN", "FAIL")})
    print(f"{count} variables, {len(pulls)} usable points: pull of the change about its mean: standard deviation {pulls.std():.3f}, robust {robust:.3f}; of single curves {min(each):.2f} … {max(each):.2f}")
    scale = np.array([truth["frames"][str(f)]["scale"] for f in frames["frame"]])
    ratio = (frames["scale"] - scale) / frames["scaleErr"]
    print(f"scale over truth: median {np.median(frames['scale'] / scale):.5f}, pull {np.mean(ratio):+.2f} ± {np.std(ratio):.2f}")
    frames = frames[np.isfinite(frames["zeroPoint"])]
    zero = (frames["zeroPoint"] - 1) / frames["zeroPointErr"]
    print(f"zero points: median {np.nanmedian(frames['zeroPoint']):.5f}, scatter {1e3 * np.nanstd(frames['zeroPoint']):.2f}e-3, pull {np.nanstd(zero):.2f}")
    sources = Table.read(night / "sources.ecsv")
    found = sources[(sources["kind"] == "found")]
    lost = [i for i, (x, y) in enumerate(truth["variables"]) if not np.any(np.hypot(found["x"] - x, found["y"] - y) < 1.5)]
    print(f"variables found as sources: {count - len(lost)} of {count}")
    stars = sources[(sources["kind"] == "star") & sources["isConstant"]]
    print(f"constant stars: {len(stars)}, scatter over expectation {np.median(stars['rms'] / stars['expectedRms']):.3f}")


def digests(night):
    """The hash of everything in a night's folder but what tells how long it took."""
    timed = {"timings.json", "report.html", "log.jsonl"}
    files = [f for f in sorted(night.rglob("*")) if f.is_file() and f.name not in timed]
    return {str(f.relative_to(night)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def kill(folder, night, times, shards, seed):
    dia = os.environ.get("DIA", "target/release/dia")
    command = [dia, "night", "--reference", folder/"reference.fits", "--targets", f"{folder}/[0-9]*.fits", "--at", folder/"at.csv", "-q"]
    start = time.monotonic()
    run = subprocess.run([*command, "-o", night/"whole"])
    seconds = time.monotonic() - start
    print(f"undisturbed: {seconds:.1f} s, exit code {run.returncode}", flush=True)
    random, killed = np.random.default_rng(seed), 0
    # Each is killed several times before it would be done.
    span = seconds / max(2, times / shards / 3)
    parts = [["--shard", f"{i + 1}/{shards}"] if shards > 1 else [] for i in range(shards)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    begin = lambda part: subprocess.Popen([*command, "-o", night/"killed", *part], **quiet)
    running = [begin(part) for part in parts]
    while any(process.poll() is None for process in running):
        time.sleep(random.uniform(0, span))
        victim = random.integers(shards)
        if killed < times and running[victim].poll() is None:
            running[victim].kill()
            running[victim].wait()
            running[victim], killed = begin(parts[victim]), killed + 1
    # The last one over all of them makes the tables.
    last = subprocess.run([*command, "-o", night/"killed"])
    whole, again = digests(night/"whole"), digests(night/"killed")
    different = sorted(name for name in whole.keys() | again.keys() if whole.get(name) != again.get(name))
    print(f"{killed} kills in {shards} shards, exit code {last.returncode}: {len(whole)} files, {len(different)} different", *different[:10], sep="\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make")
    making.add_argument("folder", type=pathlib.Path)
    making.add_argument("--frames", type=int, default=60)
    making.add_argument("--size", type=int, default=256)
    making.add_argument("--seed", type=int, default=1)
    checking = commands.add_parser("check")
    checking.add_argument("folder", type=pathlib.Path)
    checking.add_argument("night", type=pathlib.Path)
    killing = commands.add_parser("kill")
    killing.add_argument("folder", type=pathlib.Path)
    killing.add_argument("night", type=pathlib.Path)
    killing.add_argument("--times", type=int, default=50)
    killing.add_argument("--shards", type=int, default=1)
    killing.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.command == "make":
        make(arguments.folder, arguments.frames, arguments.size, arguments.seed)
    elif arguments.command == "check":
        check(arguments.folder, arguments.night)
    else:
        kill(arguments.folder, arguments.night, arguments.times, arguments.shards, arguments.seed)


if __name__ == "__main__":
    main()
