"""NDData in and out, and the same bits as the command's."""

import json

import numpy as np
import pytest

import dia
from conftest import GAIN, same

astropy = pytest.importorskip("astropy")

from astropy import units  # noqa: E402
from astropy.io import fits  # noqa: E402
from astropy.nddata import (  # noqa: E402
    CCDData,
    InverseVariance,
    NDData,
    StdDevUncertainty,
    UnknownUncertainty,
    VarianceUncertainty,
)
from astropy.wcs import WCS  # noqa: E402


@pytest.fixture
def wcs():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval = 150.0, 2.0
    wcs.wcs.crpix = 100.0, 100.0
    wcs.wcs.cdelt = -1e-4, 1e-4
    return wcs


def ccd(pixels, variance, wcs, unit="adu", **more):
    return CCDData(pixels, unit=unit, uncertainty=VarianceUncertainty(variance), wcs=wcs, **more)


def test_a_round_trip_of_ccddata(pair, wcs, tmp_path):
    bad = np.zeros(pair.target.shape, bool)
    bad[50:60, 70:90] = True
    target = ccd(pair.target, pair.target_variance, wcs, mask=bad, meta={"OBJECT": "M 31"})
    reference = ccd(pair.reference, pair.reference_variance, wcs)
    result = dia.subtract(reference, target, backend="cpu")
    assert same(
        result,
        dia.subtract(
            pair.reference,
            pair.target,
            reference_variance=pair.reference_variance,
            target_variance=pair.target_variance,
            target_mask=bad,
            backend="cpu",
        ),
    )
    difference = result.to_ccddata()
    assert difference.unit == units.adu and difference.header["OBJECT"] == "M 31"
    assert np.array_equal(difference.mask, ~result.good) and difference.mask[55, 80]
    assert difference.uncertainty.unit == units.adu**2
    assert np.shares_memory(difference.data, result.difference)
    sky = difference.wcs.pixel_to_world(10, 20)
    assert sky.separation(wcs.pixel_to_world(10, 20)).arcsec < 1e-6
    difference.write(tmp_path / "difference.fits")
    back = CCDData.read(tmp_path / "difference.fits")
    assert np.array_equal(back.data, result.difference, equal_nan=True)


def test_kinds_and_units_of_uncertainties(pair):
    sigma = np.sqrt(pair.target_variance.astype(np.float64))
    given = [
        NDData(pair.target, StdDevUncertainty(sigma), unit="adu"),
        NDData(pair.target, InverseVariance(sigma**-2), unit="adu"),
        NDData(pair.target, StdDevUncertainty(1e-3 * sigma, unit=units.def_unit("kadu", 1e3 * units.adu)), unit="adu"),
        NDData(pair.target, VarianceUncertainty(sigma**2), unit="adu"),
    ]
    results = [dia.subtract(pair.reference, one, reference_gain=GAIN, backend="cpu") for one in given]
    for result in results[:3]:
        # The variances differ by roundings in single precision.
        difference = result.difference - results[3].difference
        assert np.nanmax(np.abs(difference)) < 1e-2
    unknown = NDData(pair.target, UnknownUncertainty(sigma))
    with pytest.raises(ValueError, match="the uncertainty of the target is of the kind 'unknown'"):
        dia.subtract(pair.reference, unknown, reference_gain=GAIN)


# The gain is half of the true one in the test of gains.
SCALED = {"noise_scale": "estimated", "backend": "cpu"}


@pytest.mark.filterwarnings("ignore::dia.DiaWarning")
def test_gain_by_keyword_and_by_unit(pair):
    expected = dia.subtract(pair.reference, pair.target, gain=1.0, **SCALED)
    target = CCDData(pair.target, unit="adu", meta={"EGAIN": 1.0})
    reference = CCDData(pair.reference, unit="electron")
    result = dia.subtract(reference, target, target_gain="EGAIN", **SCALED)
    assert same(result, expected)
    assert result.report["reference"]["unit"] == "electron"


def test_world_coordinates_are_used(pair, wcs):
    target = ccd(pair.target, pair.target_variance, wcs)
    reference = ccd(pair.reference, pair.reference_variance, wcs)
    result = dia.subtract(reference, target, align="wcs", backend="cpu")
    assert result.report["alignment"]["by"].startswith("wcs")


@pytest.mark.filterwarnings("ignore::dia.DiaWarning")
@pytest.mark.parametrize("precision", ["f32", "f64"])
def test_the_command_gives_the_same_bits(command, tmp_path, precision):
    command("simulate", "--size", 200, "--seed", 3, "-o", tmp_path)
    files = [tmp_path / "reference.fits", tmp_path / "target.fits"]
    out, report = tmp_path / "difference.fits", tmp_path / "report.json"
    options = ["--precision", precision, "--backend", "cpu", "--report", report, "--fail-on", "never"]
    command("subtract", *files, "-o", out, *options)
    images, headers, masks = [], [], []
    for file in files:
        with fits.open(file) as hdus:
            image = next(hdu for hdu in hdus if hdu.data is not None)
            images.append(image.data)
            headers.append(hdus[0].header + image.header)
            masks.append(hdus["MASK"].data if "MASK" in hdus else None)
    taken = json.loads(report.read_text())
    numbers = {
        f"{role}_{name}": taken[role][name]["value"]
        for role in ("reference", "target")
        for name in ("gain", "read_noise", "saturation", "subtracted_sky")
        if name in taken[role]
    }
    result = dia.subtract(
        *images,
        reference_mask=masks[0],
        target_mask=masks[1],
        precision=precision,
        backend="cpu",
        **numbers,
    )
    with fits.open(out) as hdus:
        planes = [("DIFFERENCE", result.difference), ("VARIANCE", result.variance)]
        planes += [("MODEL", result.model), ("KERNEL", result.kernel)]
        for name, plane in planes:
            stored = hdus[name].data
            assert stored.astype(plane.dtype).tobytes() == plane.tobytes(), name
        assert np.array_equal(hdus["MASK"].data != 0, ~result.good)
    assert result.report["photometric_scale"] == taken["photometric_scale"]
    assert result.report["background"] == taken["background"]
