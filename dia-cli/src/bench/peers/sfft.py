"""Subtracts one simulated pair with sfft: run_sfft.py FOLDER DIFFERENCE.

The interface is that of sfft's documentation for masks that the user makes (`sfft.CustomizedPacket`); versions before 1.4 call the
back end's parameters otherwise. The kernel is constant, the background of degree 1, and the reference is convolved. As its own preparations
do, pixels that shall not count are replaced by the local background in both images of the pair that is fitted: bad ones, and, in a second
pass, what changed by five sigma.
"""

import inspect
import json
import sys
from pathlib import Path

import numpy as np
import sep
from astropy.io import fits
from scipy.ndimage import binary_dilation
from sfft.CustomizedPacket import Customized_Packet

folder, difference = Path(sys.argv[1]), sys.argv[2]
settings = json.loads((folder / "settings.json").read_text())
parameters = {
    "FITS_REF": str(folder / "reference_plain.fits"),
    "FITS_SCI": str(folder / "target_plain.fits"),
    "FITS_mREF": str(folder / "sfft_reference.fits"),
    "FITS_mSCI": str(folder / "sfft_target.fits"),
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


def read(name):
    return fits.getdata(folder / name).astype(np.float64)


bad = (read("reference_bad.fits") != 0) | (read("target_bad.fits") != 0)
images = {name: read(f"{name}_masked.fits") for name in ("reference", "target")}
skies = {name: sep.Background(image, mask=bad, bw=128, bh=128).back() for name, image in images.items()}


def subtract(excluded):
    for name, image in images.items():
        fits.writeto(folder / f"sfft_{name}.fits", np.where(excluded, skies[name], image), overwrite=True)
    Customized_Packet.CP(**parameters)


bad = binary_dilation(bad, iterations=2)
subtract(bad)
found = read(difference)
read_noise, gain = settings["read_noise"] / settings["gain"], settings["gain"]
sigma = np.sqrt(read_noise**2 + np.maximum(images["target"] - found, 0.0) / gain)
changed = np.zeros_like(bad)
for sign in (1.0, -1.0):
    _, segments = sep.extract(sign * found, 5.0, err=sigma, mask=bad, segmentation_map=True)
    changed |= segments > 0
subtract(bad | binary_dilation(changed, iterations=4))
