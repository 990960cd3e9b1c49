"""The subtraction: what goes in, what comes out, and what is said."""

import numpy as np
import pytest

import dia
from conftest import GAIN, same

OPTIONS = {"gain": GAIN, "backend": "cpu"}


@pytest.fixture(scope="module")
def result(pair):
    return dia.subtract(pair.reference, pair.target, **OPTIONS)


def test_the_difference_has_what_changed(pair, result):
    scale = result.photometric_scale
    assert abs(scale.value - 0.8) < 5 * scale.sigma
    assert result.verdict == "pass" and result.reasons == []
    y, x = pair.event
    flux = np.nansum(result.difference[y - 8 : y + 9, x - 8 : x + 9])
    assert 8000 < flux < 10000
    z = (result.difference / np.sqrt(result.variance))[result.good]
    # Gaussian noise, but for one star: 1.4826 MAD of 30000 pixels is 1 to within a few per cent.
    assert abs(1.4826 * np.median(np.abs(z - np.median(z))) - 1) < 0.05


def test_planes_have_their_shapes_and_types(pair, result):
    shape = pair.target.shape
    for plane in (result.difference, result.variance, result.model):
        assert plane.shape == shape and plane.dtype == np.float32
    assert result.mask.shape == shape and result.mask.dtype == np.uint16
    assert result.kernel.ndim == 2 and result.kernel.shape[0] % 2 == 1
    assert np.isclose(result.kernel.sum(), result.photometric_scale.value)
    assert len(result.kernels) >= 1 and result.kernel_powers[0] == (0, 0)
    assert len(result.background) == 6
    assert np.array_equal(np.isfinite(result.difference), result.good)
    assert result.report["precision"] == "f32"


@pytest.mark.parametrize("dtype", ["f4", ">f4", "f8", ">f8", "g", "i2", ">i2", "u2", ">u2", "i4", ">i4", "u4", "i8", "u8"])
def test_all_types_and_byte_orders_give_the_same_bits(pair, result, dtype):
    # Whole numbers below 2¹⁵, which each of the types holds exactly.
    reference, target = (
        np.minimum(pixels, 32767).astype(dtype) for pixels in (pair.reference, pair.target)
    )
    assert pair.reference.max() < 32767 and pair.target.max() < 32767
    assert same(dia.subtract(reference, target, **OPTIONS), result)


def test_layouts_do_not_matter(pair, result):
    def strided(pixels):
        wide = np.zeros((2 * pixels.shape[0], 3 * pixels.shape[1]), pixels.dtype)
        wide[::2, ::3] = pixels
        return wide[::2, ::3]

    def misaligned(pixels):
        memory = np.zeros(pixels.nbytes + 1, np.uint8)
        view = memory[1:].view(pixels.dtype).reshape(pixels.shape)
        view[:] = pixels
        return view

    for layout in (np.asfortranarray, strided, lambda p: p[::-1, ::-1][::-1, ::-1], misaligned):
        assert same(
            dia.subtract(layout(pair.reference), layout(pair.target), **OPTIONS), result
        )
    assert same(dia.subtract(pair.reference.tolist(), pair.target.tolist(), **OPTIONS), result)


def test_inputs_are_not_changed(pair):
    before = pair.reference.copy(), pair.target.copy()
    for pixels in (pair.reference, pair.target):
        pixels.flags.writeable = False
    dia.subtract(pair.reference, pair.target, **OPTIONS)
    assert np.array_equal(before[0], pair.reference) and np.array_equal(before[1], pair.target)


def test_double_precision(pair, result):
    double = dia.subtract(pair.reference, pair.target, precision="f64", **OPTIONS)
    assert double.difference.dtype == np.float64
    # Single precision has 24 bits of pixels around 10³.
    good = result.good & double.good
    assert np.abs(double.difference - result.difference)[good].max() < 0.1


def test_masks_of_all_kinds_are_one(pair):
    bad = np.zeros(pair.target.shape, bool)
    bad[50:60, 70:90] = True
    masked = dia.subtract(pair.reference, pair.target, target_mask=bad, **OPTIONS)
    assert (masked.mask[bad] & dia.MaskPlanes.USER == dia.MaskPlanes.USER).all()
    assert np.isnan(masked.difference[bad]).all()
    target = np.ma.MaskedArray(pair.target, bad)
    assert same(dia.subtract(pair.reference, target, **OPTIONS), masked)
    target = np.ma.MaskedArray(pair.target, bad & (np.arange(200) < 80))
    both = dia.subtract(pair.reference, target, target_mask=8 * bad, **OPTIONS)
    assert same(both, masked)


def test_variances_in_the_place_of_gain(pair):
    result = dia.subtract(
        pair.reference,
        pair.target,
        reference_variance=pair.reference_variance,
        target_variance=pair.target_variance.astype(">f8"),
        backend="cpu",
    )
    assert result.verdict == "pass"
    assert "variance" in result.report["target"]


def test_options_reach_the_fit(pair):
    result = dia.subtract(
        pair.reference,
        pair.target,
        half_width=7,
        kernel_shape="square",
        basis="delta",
        kernel_degree=0,
        background_degree=1,
        loss="tukey",
        reference_noise="weight",
        lambda_=0.5,
        mask_variables=False,
        solver="cholesky",
        align=(0, 0),
        convolve="reference",
        max_memory="1GiB",
        threads=1,
        **OPTIONS,
    )
    report = result.report
    assert result.kernel.shape == (15, 15) and len(result.background) == 3
    assert report["kernel"]["basis"] == "delta" and report["kernel"]["shape"] == "square"
    assert report["loss"] == "tukey" and report["reference_noise"] == "weight"
    assert report["regularisation"]["lambda"] == 0.5 and report["variables"] is None
    assert report["solver"]["name"] == "cholesky" and report["threads"] == 1
    assert report["alignment"]["by"] == "option"


@pytest.mark.parametrize("threads", [1, 3])
def test_the_number_of_threads_does_not_matter(pair, result, threads):
    assert same(dia.subtract(pair.reference, pair.target, threads=threads, **OPTIONS), result)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"gain": None}, "the gain of the reference is not known; give reference_gain"),
        ({"gain": -1}, "gain of the reference is -1"),
        ({"gain": "EGAIN"}, "keyword EGAIN"),
        ({"gain": [1, 2]}, "give a number"),
        ({"loss": "l1"}, "--loss.*possible values: gaussian, huber"),
        ({"half_width": -3}, "--half-width"),
        ({"threads": -1}, "--threads"),
        ({"precision": "f16"}, "'f32' or 'f64'"),
        ({"target_mask": np.zeros((3, 4))}, r"the mask of the target has the shape \(3, 4\)"),
        ({"target_variance": np.ones((3, 4))}, "the variance of the target has 3 × 4 pixels"),
        ({"target_variance": np.ones((3, 4)), "target_gain": 1}, "not both"),
        ({"target": np.zeros(5)}, "give two dimensions"),
        ({"target": np.zeros((5, 5), complex)}, "complex128"),
        ({"target": np.full((200, 200), 7.0)}, "the target is constant"),
        ({"target": np.full((200, 200), np.nan)}, "no pixel of the target can be used"),
    ],
)
def test_arguments_that_cannot_be_used(pair, arguments, words):
    everything = {"reference": pair.reference, "target": pair.target, **OPTIONS, **arguments}
    with pytest.raises(ValueError, match=words):
        dia.subtract(**everything)


def test_images_that_give_no_difference(pair):
    with pytest.raises(dia.DiaError, match="are the same image, pixel by pixel"):
        dia.subtract(pair.target, pair.target, **OPTIONS)
    with pytest.raises(dia.DiaError, match="a kernel of half-width 100 .* choose a smaller"):
        dia.subtract(pair.reference, pair.target, half_width=100, **OPTIONS)


def test_doubts_are_warnings(pair):
    with pytest.warns(dia.DiaWarning) as told:
        result = dia.subtract(pair.reference, pair.target, target_gain=9.0, **OPTIONS)
    assert result.verdict in ("warn", "fail")
    assert [str(warning.message) for warning in told] == result.reasons
    assert told[0].filename == __file__


def test_a_result_describes_itself(result):
    assert "verdict: pass" in repr(result) and "200 × 200" in repr(result)
    page = result._repr_html_()
    assert page.startswith("<table>") and "photometric scale" in page


def test_a_result_is_drawn(result):
    pytest.importorskip("matplotlib")
    figure = result.plot()
    assert [axis.get_title() for axis in figure.axes[:4]] == [
        "model / ADU",
        "difference / ADU",
        "difference / σ",
        "kernel",
    ]
