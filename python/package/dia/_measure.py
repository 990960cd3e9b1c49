"""Measurements on a difference."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from dia import _dia
from dia._result import Result
from dia._table import Table


def detect(
    difference: Result | str | os.PathLike[str],
    *,
    threshold: float = 5.0,
    threads: int | None = None,
) -> Table:
    """Finds what changed, of both signs.

    Parameters
    ----------
    difference : Result or path
        A result of `subtract` with ``scene=True``, or a file that ``dia subtract --planes scene`` wrote.
    threshold : float
        Least significance in σ of the matched filter.
    threads : int, optional
        Number of threads, all cores if it is not given.

    Returns
    -------
    Table
        One row for each detection, the strongest first, with the columns of ``dia detect``: place (x, y) in pixels, 0 in the middle of the first,
        psfFlux and psfFluxErr in the target's unit, snr, flags and flagNames among them.

    Raises
    ------
    ValueError
        The difference has no scene, or the threshold is not positive.
    DiaError
        Nothing can be measured on it.
    """
    if not threshold > 0:
        raise ValueError(f"the threshold is {threshold}; give a positive number of σ")
    return Table._of(_scene(difference).detections(threshold, threads or 0))


def forced_photometry(
    difference: Result | str | os.PathLike[str],
    positions: Any,
    *,
    sky: bool = False,
    apertures: Sequence[float] = (),
    threads: int | None = None,
) -> Table:
    """Measures fluxes at given places.

    Parameters
    ----------
    difference : Result or path
        A result of `subtract` with ``scene=True``, or a file that ``dia subtract --planes scene`` wrote.
    positions : array_like of shape (n, 2)
        Places (x, y) in pixels of the target, 0 in the middle of the first; NaN is a row without a measurement.
    sky : bool
        Whether they are right ascensions and declinations in degrees instead, in the frame of the target's world coordinates.
    apertures : sequence of float
        Radii of up to five apertures in pixels.
    threads : int, optional
        Number of threads, all cores if it is not given.

    Returns
    -------
    Table
        One row for each place, in their order, with the columns of ``dia photometry``.

    Raises
    ------
    ValueError
        The difference has no scene, or the positions are no pairs.
    DiaError
        Nothing can be measured on it.
    """
    places = np.asarray(positions, dtype=float)
    if places.ndim != 2 or places.shape[1] != 2:
        raise ValueError(f"the positions have the shape {places.shape}; give (n, 2), pairs of x and y")
    radii = [float(radius) for radius in apertures]
    if not all(radius > 0 for radius in radii):
        raise ValueError(f"the apertures are {radii}; give positive radii in pixels")
    pairs = [(float(x), float(y)) for x, y in places]
    return Table._of(_scene(difference).fluxes(pairs, sky, radii, threads or 0))


def _scene(difference: Result | str | os.PathLike[str]) -> _dia.Scene:
    if not isinstance(difference, Result):
        return _dia.Scene.read(difference)
    if difference.scene is None:
        raise ValueError("the result has no scene to measure on; give scene=True to subtract")
    return difference.scene
