"""The bits of masks."""

import enum

from dia import _dia

MaskPlanes = enum.IntFlag("MaskPlanes", _dia.mask_planes(), module="dia")
MaskPlanes.__doc__ = """The bits of `Result.mask`: why a pixel does not count.

`VARIABLE` and `CLIPPED` mark pixels that only the fit left out and whose difference is good; a pixel with any other bit has none.
"""

LEFT_OUT = MaskPlanes.VARIABLE | MaskPlanes.CLIPPED
