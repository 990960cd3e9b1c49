"""World coordinates by astropy.wcs: its own test headers, and others of every projection and distortion that dia-align knows.

Prints, for each header, "HEADER name", its cards, "END", and lines "x y longitude latitude back_x back_y" (pixels from 0)."""

import glob
import os
import warnings

import astropy
import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

warnings.simplefilter("ignore")
ROOT = os.path.dirname(astropy.__file__)


def own_headers():
    data = os.path.join(ROOT, "wcs/tests/data")
    for path in sorted(glob.glob(f"{data}/maps/*.hdr") + glob.glob(f"{data}/*.hdr") + glob.glob(f"{data}/*.fits")
                       + glob.glob(f"{ROOT}/modeling/tests/data/*.hdr") + glob.glob(f"{ROOT}/modeling/tests/data/*.fits")):
        try:
            if path.endswith(".fits"):
                with fits.open(path) as hdus:
                    for k, hdu in enumerate(hdus):
                        yield f"{os.path.basename(path)}[{k}]", hdu.header.copy()
            else:
                text = open(path, "rb").read().decode("latin-1")
                yield os.path.basename(path), fits.Header.fromstring(text.replace("\n", "") if "\n" in text[:200] and len(text.split("\n")[0]) == 80 else text, sep="\n" if "\n" in text and len(text.split("\n")[0]) != 80 else "")
        except Exception:
            continue


def made_headers():
    for k, code in enumerate(["TAN", "SIN", "STG", "ARC", "ZEA", "CAR"]):
        for turn, (alpha, delta) in zip((0, 35, 170), ((10.0, 60.0), (359.9, -35.0), (200.0, 0.0))):
            h = fits.Header()
            h["CTYPE1"], h["CTYPE2"] = f"RA---{code}", f"DEC--{code}"
            h["CRPIX1"], h["CRPIX2"] = 300.5, 222.25
            h["CRVAL1"], h["CRVAL2"] = alpha, delta
            h["CDELT1"], h["CDELT2"], h["CROTA2"] = -3e-3, 3e-3, float(turn)
            if code == "SIN" and turn == 35:
                h["PV2_1"], h["PV2_2"] = 0.02, -0.03
            if turn == 170:
                h["LONPOLE"] = 150.0
            yield f"{code} {turn}", h
    h = fits.Header()
    h["CTYPE1"], h["CTYPE2"] = "DEC--TAN", "RA---TAN"
    h["CRPIX1"], h["CRPIX2"], h["CRVAL1"], h["CRVAL2"] = 256.0, 256.0, -20.0, 83.0
    h["CD1_1"], h["CD1_2"], h["CD2_1"], h["CD2_2"] = 1e-4, 2e-5, -2e-5, 1.1e-4
    yield "exchanged axes", h
    h = fits.Header()
    h["CTYPE1"], h["CTYPE2"], h["CUNIT1"], h["CUNIT2"] = "GLON-TAN", "GLAT-TAN", "arcsec", "arcsec"
    h["CRPIX1"], h["CRPIX2"], h["CRVAL1"], h["CRVAL2"] = 256.0, 256.0, 3600.0 * 83, -3600.0 * 2
    h["CDELT1"], h["CDELT2"] = -0.3, 0.3
    yield "arcseconds", h
    h = fits.Header()
    h["CTYPE1"], h["CTYPE2"] = "RA---TPV", "DEC--TPV"
    h["CRPIX1"], h["CRPIX2"], h["CRVAL1"], h["CRVAL2"] = 1000.0, -500.0, 150.0, 2.2
    h["CD1_1"], h["CD1_2"], h["CD2_1"], h["CD2_2"] = 1e-6, 7.3e-5, -7.3e-5, 2e-6
    rng = np.random.default_rng(4)
    for axis in (1, 2):
        h[f"PV{axis}_0"], h[f"PV{axis}_1"], h[f"PV{axis}_2"] = 1e-4, 1.01, 2e-3
        for m in list(range(4, 11)) + list(range(12, 17)):
            h[f"PV{axis}_{m}"] = float(rng.normal() * 10.0 ** (-2 - (m > 6)))
        h[f"PV{axis}_3"], h[f"PV{axis}_11"] = 1e-4, 2e-4
    yield "TPV", h
    h = fits.Header()
    h["CTYPE1"], h["CTYPE2"] = "RA---TAN-SIP", "DEC--TAN-SIP"
    h["CRPIX1"], h["CRPIX2"], h["CRVAL1"], h["CRVAL2"] = 512.0, 480.0, 150.0, 2.2
    h["CD1_1"], h["CD1_2"], h["CD2_1"], h["CD2_2"] = -1e-4, 1e-6, 2e-6, 1.1e-4
    h["A_ORDER"], h["B_ORDER"] = 4, 3
    for letter, order in (("A", 4), ("B", 3)):
        for p in range(order + 1):
            for q in range(order + 1 - p):
                if p + q >= 2:
                    h[f"{letter}_{p}_{q}"] = float(rng.normal() * 20 / 700.0 ** (p + q))
    yield "SIP", h


for name, header in list(own_headers()) + list(made_headers()):
    try:
        wcs = WCS(header)
        if wcs.naxis != 2 or not wcs.has_celestial:
            continue
    except Exception:
        continue
    width, height = (int(header.get(k, 0)) or 600 for k in ("NAXIS1", "NAXIS2"))
    x, y = (v.ravel() for v in np.meshgrid(np.linspace(0, width - 1, 7), np.linspace(0, height - 1, 6)))
    try:
        world = wcs.all_pix2world(x, y, 0)
        back = wcs.all_world2pix(*world, 0, tolerance=1e-7, quiet=True)
    except Exception:
        continue
    lon, lat = world[wcs.wcs.lng], world[wcs.wcs.lat]
    print("HEADER", name)
    for card in header.cards:
        text = str(card)[:80]
        if card.keyword not in ("COMMENT", "HISTORY", "") and "=" in text[:10]:
            print(text)
    print("END")
    for row in zip(x, y, lon, lat, *back):
        print(*(repr(float(v)) for v in row))
