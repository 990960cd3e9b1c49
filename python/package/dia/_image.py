"""An image with its noise, mask and header, from arrays, masked arrays, quantities and `~astropy.nddata.NDData`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dia._header import cards

PIXELS = {"f32": np.float32, "f64": np.float64}


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """What the library takes: planes of one type whose rows follow one another in memory."""

    name: str
    pixels: np.ndarray
    variance: np.ndarray | None
    mask: np.ndarray | None
    gain: float
    read_noise: float
    subtracted_sky: float
    saturation: float | None
    cards: str
    unit: Any
    wcs: Any
    meta: Any


def image(
    role: str,
    given: Any,
    precision: str,
    *,
    variance: Any,
    mask: Any,
    gain: tuple[Any, Any],
    read_noise: tuple[Any, Any],
    saturation: tuple[Any, Any],
    subtracted_sky: tuple[Any, Any],
) -> Image:
    """The reference or the target. Numbers are pairs: the value for both images, and that for this one, which wins."""
    if precision not in PIXELS:
        raise ValueError(f"precision is {precision!r}; give 'f32' or 'f64'")
    dtype = PIXELS[precision]
    nddata = given if _is_nddata(given) else None
    values = nddata.data if nddata is not None else given
    unit = getattr(given, "unit", None)
    wcs = getattr(nddata, "wcs", None)
    meta = getattr(nddata, "meta", None)
    pixels = _plane(values, dtype, f"the {role}")
    masks = [
        _mask(plane, pixels.shape, role)
        for plane in (mask, getattr(nddata, "mask", None), np.ma.getmask(values))
        if plane is not None and plane is not np.ma.nomask
    ]

    def number(what: str, pair: tuple[Any, Any]) -> float | None:
        both, own = pair
        value = both if own is None else own
        return None if value is None else _number(value, meta, f"the {what} of the {role}")

    known_gain = number("gain", gain)
    if variance is not None and gain[1] is not None:
        raise ValueError(f"give the gain of the {role} or its variance, not both")
    if variance is not None:
        variance = _plane(variance, dtype, f"the variance of the {role}")
    elif known_gain is None and getattr(nddata, "uncertainty", None) is not None:
        variance = _variance(nddata.uncertainty, unit, dtype, role)
    elif known_gain is None and str(unit) in ("electron", "e"):
        known_gain = 1.0
    elif known_gain is None:
        raise ValueError(
            f"the gain of the {role} is not known; give {role}_gain in electrons per ADU, or {role}_variance"
        )
    return Image(
        name=role,
        pixels=pixels,
        variance=variance,
        mask=np.logical_or.reduce(masks) if masks else None,
        gain=1.0 if known_gain is None else known_gain,
        read_noise=number("read noise", read_noise) or 0.0,
        subtracted_sky=number("subtracted sky", subtracted_sky) or 0.0,
        saturation=number("saturation level", saturation),
        cards=cards(meta, wcs, unit),
        unit=unit,
        wcs=wcs,
        meta=meta,
    )


def images(
    reference: Any, target: Any, precision: str, *, variance: Any, mask: Any, **numbers: Any
) -> tuple[Image, Image]:
    """Both images, from the variances and masks of each, and of every number that for both, that of the reference and that of the target."""

    def of(side: int, role: str, given: Any) -> Image:
        own = {name: (values[0], values[1 + side]) for name, values in numbers.items()}
        return image(role, given, precision, variance=variance[side], mask=mask[side], **own)

    return of(0, "reference", reference), of(1, "target", target)


def _is_nddata(given: Any) -> bool:
    return hasattr(given, "uncertainty") and hasattr(given, "data") and hasattr(given, "wcs")


def _array(values: Any, what: str) -> np.ndarray:
    """A view of the values, of any layout."""
    array = np.asarray(np.ma.getdata(values))
    if array.dtype.kind not in "fiub":
        raise ValueError(
            f"{what} is an array of {array.dtype}; give floating-point numbers or integers"
        )
    if array.ndim != 2:
        raise ValueError(
            f"{what} has the shape {array.shape}; give two dimensions, rows and columns"
        )
    return array


def _plane(values: Any, dtype: Any, what: str) -> np.ndarray:
    """The values themselves if the library can read them where they are, else a copy of type `dtype` that it can."""
    # A value that single precision cannot hold becomes infinite, which is masked.
    with np.errstate(over="ignore"):
        return np.require(_array(values, what), dtype, "CA")


def _mask(values: Any, shape: tuple[int, ...], role: str) -> np.ndarray:
    """True where a value is not 0."""
    what = f"the mask of the {role}"
    array = np.broadcast_to(values, shape) if np.ndim(values) == 0 else _array(values, what)
    if array.shape != shape:
        raise ValueError(f"{what} has the shape {array.shape}, its image {shape}")
    return np.require(array, bool, "CA")


def _number(value: Any, meta: Any, what: str) -> float:
    if isinstance(value, str):
        try:
            value = meta[value]
        except (KeyError, TypeError):
            raise ValueError(f"{what} is to be that of the keyword {value}, which is not there") from None
    # A quantity has a unit that is told in the documentation.
    value = getattr(value, "value", value)
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{what} is {value!r}; give a number") from None


def _variance(uncertainty: Any, unit: Any, dtype: Any, role: str) -> np.ndarray:
    """Variances by the kind of an uncertainty, NaN where it tells nothing."""
    kind = uncertainty.uncertainty_type
    what = f"the uncertainty of the {role}"
    powers = {"var": 2, "std": 1, "ivar": -2}
    if kind not in powers:
        raise ValueError(
            f"{what} is of the kind {kind!r}; give StdDevUncertainty, VarianceUncertainty or InverseVariance"
        )
    values = _plane(uncertainty.array, dtype, what)
    if uncertainty.unit is not None and unit is not None:
        factor = uncertainty.unit.to(unit ** powers[kind])
        if factor != 1.0:
            values = (values * np.float64(factor)).astype(dtype)
    if kind == "var":
        return values
    wide = np.where(values > 0, values, np.nan).astype(np.float64)
    with np.errstate(over="ignore"):
        return (wide * wide if kind == "std" else 1.0 / wide).astype(dtype)
