"""Subtracts one simulated pair with PyTorchDIA: run_pytorchdia.py FOLDER DIFFERENCE.

The steps are its defaults, the loss is the robust one of its tutorial (Huber's, c = 1.345, with the noise of the model), which the user
writes, with masked pixels left out, and those that a masked pixel of the reference reaches. Its documentation asks for a reference without
sky. Pixels of the border have no model: NaN.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from astropy.io import fits
from scipy.ndimage import maximum_filter

folder, difference = Path(sys.argv[1]), sys.argv[2]
settings = json.loads((folder / "settings.json").read_text())
if settings["pytorchdia"]:
    sys.path.insert(0, settings["pytorchdia"])
if not hasattr(np, "int"):
    np.int = int  # NumPy 1.24 dropped the name that PyTorchDIA uses.
import PyTorchDIA  # noqa: E402

torch.set_num_threads(settings["threads"])
h = settings["half_width"]
reference = fits.getdata(folder / "reference_masked.fits").astype(np.float64)
target = fits.getdata(folder / "target_masked.fits").astype(np.float64)
bad = fits.getdata(folder / "target_bad.fits") != 0
bad |= maximum_filter(fits.getdata(folder / "reference_bad.fits"), 2 * h + 1) != 0
good = torch.from_numpy(np.where(bad, 0, 1).astype(np.float32)[h:-h, h:-h])[None, None]
device = "cuda" if torch.cuda.is_available() else "cpu"
good = good.to(device)
reference -= np.median(reference)
read_noise, gain = settings["read_noise"] / settings["gain"], settings["gain"]


def robust_loss(model, data, flat):
    """Sum of Huber's rho((I - M)/sigma) + ln sigma over the good pixels."""
    c = 1.345
    variance = read_noise**2 + torch.clamp(model, min=0.0) / gain
    z = (torch.abs(data - model) / torch.sqrt(variance))
    rho = torch.where(z <= c, 0.5 * z**2, c * (z - 0.5 * c))
    return torch.sum(good * (rho + 0.5 * torch.log(variance)))


if device == "cuda":
    _, _, model = PyTorchDIA.DIA(reference, target, robust_loss, ks=2 * h + 1, poly_degree=1)
else:
    # DIA() itself needs a GPU; this is what it calls, with its defaults.
    _, _, model = PyTorchDIA.infer_kernel(
        PyTorchDIA.convert_to_tensor(reference),
        PyTorchDIA.convert_to_tensor(target[h:-h, h:-h]),
        1,
        robust_loss,
        maxiter=10000,
        FIM=False,
        alpha=0,
        convergence_plots=False,
        d=1,
        ks=2 * h + 1,
        tol=1e-9,
        lr_kernel=1e-3,
        lr_B=1,
        Newton_tol=1e-6,
    )
out = np.full(target.shape, np.nan, dtype=np.float32)
out[h:-h, h:-h] = target[h:-h, h:-h] - model
fits.writeto(difference, out, overwrite=True)
