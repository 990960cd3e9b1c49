"""Difference image analysis of astronomical images.

`subtract` fits the convolution kernel and the background that turn a reference image into a target image, subtracts, and leaves what changed.
`detect` and `forced_photometry` measure on the difference, `align` tells how two images lie, `make_reference` averages frames, and
`night` follows many targets over one reference.

Images are arrays of shape (rows, columns) whose pixel ``[y, x]`` has its centre at (x, y), counted from 0. Pixels are in ADU (or in the unit of a
`~astropy.nddata.CCDData`), gains in electrons per ADU, read noise in electrons, lengths in pixels.
"""

from dia._align import Alignment, align
from dia._dia import DiaError, version as _version
from dia._masks import MaskPlanes
from dia._measure import detect, forced_photometry
from dia._night import night
from dia._reference import make_reference
from dia._result import Estimate, Result
from dia._subtract import subtract
from dia._table import Table
from dia._warning import DiaWarning

__version__ = _version()
__all__ = [
    "Alignment",
    "DiaError",
    "DiaWarning",
    "Estimate",
    "MaskPlanes",
    "Result",
    "Table",
    "align",
    "detect",
    "forced_photometry",
    "make_reference",
    "night",
    "subtract",
]
