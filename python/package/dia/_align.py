"""How two images lie."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from dia import _dia
from dia._image import images
from dia._options import words
from dia._warning import DiaWarning


@dataclass(frozen=True, eq=False, repr=False)
class Alignment:
    """How a target lies against a reference."""

    report: dict[str, Any]
    """The document that `dia align` writes."""

    def to_reference(self, x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
        """The places in the reference of places (x, y) in the target, both in pixels, 0 in the middle of the first."""
        x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
        found = self.report["alignment"].get("map")
        if found is None:
            offset = self.report["offset"]
            return x - offset["dx"], y - offset["dy"]
        u = (x - found["centre"][0]) / found["unit"]
        v = (y - found["centre"][1]) / found["unit"]
        powers = [(total - j, j) for total in range(found["degree"] + 1) for j in range(total + 1)]
        terms = [u**i * v**j for i, j in powers]
        column, row = (
            sum(c * term for c, term in zip(found[axis], terms)) for axis in ("x", "y")
        )
        return column, row

    def __repr__(self) -> str:
        alignment = self.report["alignment"]
        return f"<dia.Alignment by {alignment['by']}, decision: {alignment['decision']}>"


def align(
    reference: Any,
    target: Any,
    *,
    reference_variance: Any = None,
    target_variance: Any = None,
    reference_mask: Any = None,
    target_mask: Any = None,
    gain: float | str | None = None,
    reference_gain: float | str | None = None,
    target_gain: float | str | None = None,
    read_noise: float | str | None = None,
    reference_read_noise: float | str | None = None,
    target_read_noise: float | str | None = None,
    saturation: float | str | None = None,
    reference_saturation: float | str | None = None,
    target_saturation: float | str | None = None,
    align: Literal["auto", "integer", "stars", "wcs"] = "auto",
    threads: int | None = None,
) -> Alignment:
    """Finds how `target` lies against `reference`, by their stars; neither is moved, and `subtract` does the same by itself.

    The parameters are those of `subtract`.

    Returns
    -------
    Alignment
        The map between their pixels, with its errors.

    Raises
    ------
    ValueError
        An argument cannot be used.
    DiaError
        It cannot be told how the images lie.

    Warns
    -----
    DiaWarning
        What was noticed of the images and is unusual.
    """
    image_of_reference, image_of_target = images(
        reference,
        target,
        "f32",
        variance=(reference_variance, target_variance),
        mask=(reference_mask, target_mask),
        gain=(gain, reference_gain, target_gain),
        read_noise=(read_noise, reference_read_noise, target_read_noise),
        saturation=(saturation, reference_saturation, target_saturation),
        subtracted_sky=(None, None, None),
    )
    options = words(align=align, threads=threads)
    found = Alignment(json.loads(_dia.align(image_of_reference, image_of_target, options)))
    for notice in found.report["notices"]:
        if notice["level"] != "pass":
            warnings.warn(notice["text"], DiaWarning, stacklevel=2)
    return found
