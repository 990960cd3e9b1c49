"""The figure of a result."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dia._result import Result


def figure(result: Result) -> Figure:
    """Model, difference, difference over its σ, and kernel."""
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(10, 9), layout="constrained")
    axes = canvas.subplots(2, 2)
    normalised = result.difference / np.sqrt(result.variance)
    noise = 5 * float(np.nanmedian(np.sqrt(result.variance)))
    low, high = np.nanpercentile(result.model, [1, 99])
    peak = float(np.abs(result.kernel).max())
    unit = "ADU" if result.unit is None else str(result.unit)
    panels = [
        (result.model, f"model / {unit}", low, high, "gray"),
        (result.difference, f"difference / {unit}", -noise, noise, "gray"),
        (normalised, "difference / σ", -5, 5, "gray"),
        (result.kernel, "kernel", -peak, peak, "RdBu_r"),
    ]
    for axis, (pixels, title, least, most, colours) in zip(axes.flat, panels):
        shown = axis.imshow(
            pixels, origin="lower", vmin=least, vmax=most, cmap=colours, interpolation="nearest"
        )
        axis.set_title(title)
        canvas.colorbar(shown, ax=axis)
    canvas.suptitle(f"P = {result.photometric_scale}, verdict: {result.verdict}")
    return canvas
