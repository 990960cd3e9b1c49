"""Subtracts one simulated pair with sfft: run_sfft.py FOLDER DIFFERENCE.

The interface is that of sfft's documentation for masks that the user makes (`sfft.CustomizedPacket`); versions before 1.4 call the
back end's parameters otherwise. The kernel is constant, the background of degree 1, and the reference is convolved.
"""

import inspect
import json
import sys
from pathlib import Path

from sfft.CustomizedPacket import Customized_Packet

folder, difference = Path(sys.argv[1]), sys.argv[2]
settings = json.loads((folder / "settings.json").read_text())
parameters = {
    "FITS_REF": str(folder / "reference_plain.fits"),
    "FITS_SCI": str(folder / "target_plain.fits"),
    "FITS_mREF": str(folder / "reference_masked.fits"),
    "FITS_mSCI": str(folder / "target_masked.fits"),
    "ForceConv": "REF",
    "GKerHW": settings["half_width"],
    "FITS_DIFF": difference,
    "KerPolyOrder": 0,
    "BGPolyOrder": 1,
    "ConstPhotRatio": True,
}
known = inspect.signature(Customized_Packet.CP).parameters
for names, value in (
    (("BACKEND_4SUBTRACT", "backend"), "Numpy"),
    (("NUM_CPU_THREADS_4SUBTRACT", "NUM_CPU_THREADS"), settings["threads"]),
):
    parameters.update({name: value for name in names if name in known})
Customized_Packet.CP(**parameters)
