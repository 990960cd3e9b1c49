"""A pair of images to subtract."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

GAIN, SIDE = 2.0, 200


@pytest.fixture(scope="session")
def pair():
    """Stars that are a fifth fainter in the target and wider, with one that has flared up; variances beside them."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:SIDE, :SIDE]
    places, fluxes = rng.uniform(10, SIDE - 10, (150, 2)), 10 ** rng.uniform(3, 5, 150)

    def exposure(fluxes, fwhm):
        sigma = fwhm / 2.355
        sky = np.full((SIDE, SIDE), 200.0)
        for (cy, cx), flux in zip(places, fluxes):
            profile = np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * sigma**2))
            sky += flux / (2 * np.pi * sigma**2) * profile
        return np.round(rng.poisson(GAIN * sky) / GAIN).astype(np.float32), sky / GAIN

    reference, reference_variance = exposure(fluxes, 3.5)
    changed = 0.8 * fluxes
    changed[7] += 9000
    target, target_variance = exposure(changed, 4.5)
    return SimpleNamespace(
        reference=reference,
        target=target,
        reference_variance=reference_variance.astype(np.float32),
        target_variance=target_variance.astype(np.float32),
        event=tuple(places[7].round().astype(int)),
    )


@pytest.fixture(scope="session")
def command():
    """Runs the command of the wheel; its output, or the text of its error."""

    def run(*arguments, code=0):
        done = subprocess.run(
            [sys.executable, "-m", "dia", *map(str, arguments)],
            capture_output=True,
            text=True,
            encoding="utf-8",
        )
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr

    return run


def same(one, other):
    """Whether two results have the same bits."""
    planes = ("difference", "variance", "mask", "model", "kernels")
    return all(
        getattr(one, plane).tobytes() == getattr(other, plane).tobytes() for plane in planes
    )
