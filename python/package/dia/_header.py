"""FITS headers, by astropy where it is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

COMMENTARY = ("", "COMMENT", "HISTORY")


def cards(meta: Any, wcs: Any, unit: Any) -> str:
    """Cards of 80 characters with the world coordinates, unit and keywords of an image; empty if it has none."""
    if wcs is None and unit is None and not meta:
        return ""
    try:
        from astropy.io import fits
    except ImportError:
        return ""
    header = meta.copy() if isinstance(meta, fits.Header) else _of_mapping(fits.Header(), meta)
    if hasattr(wcs, "to_header"):
        header.update(wcs.to_header(relax=True))
    if unit is not None:
        header["BUNIT"] = str(unit)
    return header.tostring(sep="", endcard=False, padding=False)


def _of_mapping(header: Any, meta: Any) -> Any:
    """What a header can hold of a dictionary."""
    if isinstance(meta, Mapping):
        for keyword, value in meta.items():
            if isinstance(keyword, str) and keyword.upper() not in COMMENTARY:
                try:
                    header[keyword if len(keyword) <= 8 else f"HIERARCH {keyword}"] = value
                except ValueError:
                    continue
    return header
