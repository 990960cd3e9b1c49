"""astropy_output.py TARGET OUT: what astropy makes of a difference. Exit status 0 if every card is legal, every plane lies where the target lies, and masks are masks."""
import sys
import warnings

import numpy as np
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.wcs import WCS

target, out = sys.argv[1:]
with warnings.catch_warnings():
    # Of the target, which is as ugly as it is.
    warnings.simplefilter("ignore")
    with fits.open(target) as hdus:
        world = WCS(hdus[0].header)
        alternates = [key for key in "A" if f"CTYPE1{key}" in hdus[0].header]
        expected = {key: WCS(hdus[0].header, key=key) for key in [" ", *alternates]}

points = np.array([[0.0, 0.0], [100.0, 20.0], [64.0, 127.0]])
with fits.open(out) as hdus:
    hdus.verify("exception")
    for hdu in hdus:
        for card in hdu.header.cards:
            card.verify("exception")
        str(hdu.header)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the coordinates' own kind, such as old names of frames
        for name in ["DIFFERENCE", "VARIANCE", "MASK", "MODEL", "LEFT_OUT"]:
            for key, world in expected.items():
                found = WCS(hdus[name].header, key=key)
                np.testing.assert_array_equal(found.all_pix2world(points, 0), world.all_pix2world(points, 0), name)
                assert found.wcs.radesys == world.wcs.radesys, name
        difference = CCDData.read(out, hdu_uncertainty="VARIANCE")
    good = ~difference.mask
    assert np.isfinite(difference.data[good]).all() and np.isnan(difference.data[~good]).all()
    assert type(difference.uncertainty).__name__ == "VarianceUncertainty"
    assert (difference.uncertainty.array[good] > 0).all()
