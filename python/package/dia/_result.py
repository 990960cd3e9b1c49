"""What a subtraction gives."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dia._masks import LEFT_OUT

if TYPE_CHECKING:
    from astropy.nddata import CCDData
    from matplotlib.figure import Figure


class Estimate(NamedTuple):
    """A value and its standard deviation."""

    value: float
    sigma: float

    def __str__(self) -> str:
        return f"{self.value:.6g} ± {self.sigma:.2g}"


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """A difference image with its noise, its model and a report; on the target's grid, and in its unit.

    Results are pickled with all that they hold but `scene`.
    """

    difference: np.ndarray
    """Target minus model, shape (height, width), in the target's unit; NaN where it is masked."""
    variance: np.ndarray
    """σ² of the difference, shape (height, width), in the square of that unit: the noise of the target and, through the kernel, of the reference."""
    mask: np.ndarray
    """Bits of `MaskPlanes` as unsigned 16-bit integers, shape (height, width); 0 is good."""
    model: np.ndarray
    """The reference convolved, plus background, shape (height, width), in the target's unit; also where the target is masked."""
    kernels: np.ndarray
    """Kernels of shape (terms, 2 h + 1, 2 h + 1), one for each polynomial of the variation over the image; a single one if it does not vary."""
    kernel_powers: list[tuple[int, int]]
    """Degrees in x and y of the Legendre polynomials that they multiply, of coordinates scaled to [−1, 1] over the image."""
    photometric_scale: Estimate
    """Units of the target per unit of the reference: the sum of the kernel."""
    background: list[Estimate]
    """Legendre coefficients of the background in the target's unit, over the reference without its sky."""
    report: dict[str, Any]
    """What was done and found, as `dia subtract --report` writes it."""
    unit: Any = field(default=None)
    """The target's unit, if it was given one."""
    wcs: Any = field(default=None)
    """The target's world coordinates, if it was given any."""
    meta: Any = field(default=None)
    """The target's header, if it was given one."""
    scene: Any = field(default=None)
    """What `detect` and `forced_photometry` need, if it was asked for; it is not pickled."""

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "scene": None}

    @property
    def kernel(self) -> np.ndarray:
        """The kernel, where it varies its mean, shape (2 h + 1, 2 h + 1), in the orientation of `scipy.signal.convolve2d`."""
        return self.kernels[0]

    @property
    def verdict(self) -> str:
        """How far the result can be trusted: ``"pass"``, ``"warn"`` or ``"fail"``."""
        return self.report["verdict"]["level"]

    @property
    def reasons(self) -> list[str]:
        """The reasons for a verdict that is not ``"pass"``, in words."""
        return [reason["text"] for reason in self.report["verdict"]["reasons"]]

    @property
    def good(self) -> np.ndarray:
        """True where there is a difference, shape (height, width)."""
        return (self.mask & ~np.uint16(LEFT_OUT)) == 0

    def to_ccddata(self) -> CCDData:
        """The difference as `~astropy.nddata.CCDData`, with the target's unit (ADU if it had none), world coordinates and header.

        Its mask is true where there is no difference, its uncertainty is the variance, and its flags are the bits of the mask. Its planes are those of
        this result, not copies.
        """
        from astropy.nddata import CCDData, VarianceUncertainty

        return CCDData(
            self.difference,
            unit="adu" if self.unit is None else self.unit,
            uncertainty=VarianceUncertainty(self.variance, copy=False),
            mask=~self.good,
            flags=self.mask,
            wcs=self.wcs,
            meta=self.meta,
            copy=False,
        )

    def plot(self) -> Figure:
        """Model, difference, difference over its σ, and kernel, as a figure of matplotlib."""
        from dia._plot import figure

        return figure(self)

    def _lines(self) -> list[tuple[str, str]]:
        """What there is to say at a glance."""
        height, width = self.difference.shape
        residuals = self.report["residuals"]
        return [
            ("verdict", self.verdict),
            ("shape", f"{height} × {width}, {self.difference.dtype}"),
            ("photometric scale", str(self.photometric_scale)),
            ("kernel", f"{self.kernel.shape[0]} × {self.kernel.shape[1]}"
             + (f", {len(self.kernels)} terms" if len(self.kernels) > 1 else "")),
            ("χ²/dof", f"{residuals['chi2_dof']:.3f}"),
            ("robust σ of difference / σ", f"{residuals['robust_std']:.3f}"),
            ("pixels used", f"{self.report['pixels']['used']}"),
        ]

    def __repr__(self) -> str:
        lines = ", ".join(f"{name}: {text}" for name, text in self._lines())
        return f"<dia.Result {lines}>"

    def _repr_html_(self) -> str:
        rows = [*self._lines(), *(("reason", reason) for reason in self.reasons)]
        cells = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(text)}</td></tr>"
            for name, text in rows
        )
        return f"<table><caption>dia.Result</caption>{cells}</table>"
