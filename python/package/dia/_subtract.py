"""The subtraction."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from typing import Any, Literal

from dia import _dia
from dia._image import images
from dia._options import words
from dia._progress import told
from dia._result import Estimate, Result
from dia._warning import DiaWarning


def subtract(
    reference: Any,
    target: Any,
    *,
    reference_variance: Any = None,
    target_variance: Any = None,
    reference_mask: Any = None,
    target_mask: Any = None,
    gain: float | str | None = None,
    reference_gain: float | str | None = None,
    target_gain: float | str | None = None,
    read_noise: float | str | None = None,
    reference_read_noise: float | str | None = None,
    target_read_noise: float | str | None = None,
    saturation: float | str | None = None,
    reference_saturation: float | str | None = None,
    target_saturation: float | str | None = None,
    reference_subtracted_sky: float | str | None = None,
    target_subtracted_sky: float | str | None = None,
    half_width: int | Literal["auto", "aic", "bic", "tic"] = "auto",
    kernel_shape: Literal["circle", "square"] = "circle",
    basis: Literal["mixed", "delta", "gauss"] = "mixed",
    kernel_degree: int | Literal["auto"] = "auto",
    scale_degree: int = 0,
    background_degree: int | Literal["auto"] = "auto",
    loss: Literal["huber", "gaussian", "tukey", "cauchy", "student-t", "clip"] = "huber",
    reference_noise: Literal["correct", "weight", "ignore"] = "correct",
    lambda_: float | Literal["auto"] = "auto",
    mask_variables: bool = True,
    noise_scale: Literal["given", "estimated"] = "given",
    reference_contains_target: float | None = None,
    model_variance: bool = False,
    solver: Literal["pcg", "lsqr", "cholesky"] = "pcg",
    tolerance: float = 0.01,
    align: str | tuple[int, int] = "auto",
    convolve: Literal["auto", "reference", "target"] = "auto",
    precision: Literal["f32", "f64"] = "f32",
    backend: str = "auto",
    max_memory: int | str | None = None,
    max_device_memory: int | str | None = None,
    threads: int | None = None,
    scene: bool = False,
    progress: bool | Callable[[int, float], object] | None = None,
) -> Result:
    """Subtracts `reference`, convolved to match, from `target`.

    Finds how the images lie, fits the kernel and the background that turn the reference into the target, subtracts, and judges the result.
    The options are those of the command ``dia subtract``, and so are the words of errors and warnings: ``--half-width`` is ``half_width`` here.

    Parameters
    ----------
    reference, target : array_like of shape (height, width), `~numpy.ma.MaskedArray`, `~astropy.nddata.NDData` or `~astropy.nddata.CCDData`
        The image that is subtracted, and the one that it is subtracted from, in ADU or in the unit that they bring. Floating-point
        numbers or integers of any size and byte order. An array of the type that `precision` names, whose rows follow one another in memory,
        is read where it is; any other is converted once. Masks, uncertainties (standard deviations, variances, inverse variances), world
        coordinates and headers of NDData are used. NaN and infinite pixels are masked. The images may differ in shape.
    reference_variance, target_variance : array_like of shape (height, width), optional
        Variances in ADU², in the place of gain and read noise. A reference may have variances of zero.
    reference_mask, target_mask : array_like of shape (height, width), optional
        Pixels whose value is true, or not 0, are bad; so are those that the images themselves mask.
    gain, reference_gain, target_gain : float or str, optional
        Gain of both images or of one in electrons per ADU, or the keyword of the image's header that holds it. Without gain and variance, 1 for images
        in electrons, else an error.
    read_noise, reference_read_noise, target_read_noise : float or str, optional
        Read noise in electrons; 0 if it is not given.
    saturation, reference_saturation, target_saturation : float or str, optional
        Pixels at or above this value in ADU are masked.
    reference_subtracted_sky, target_subtracted_sky : float or str, optional
        Sky in ADU that was subtracted from the image, and whose photons still make noise.
    half_width : int or str
        Half-width h of the kernel in pixels, whose sides have 2 h + 1; ``"auto"`` follows the seeing, ``"aic"``, ``"bic"`` and ``"tic"`` find it
        by an information criterion.
    kernel_shape : str
        Outline of the kernel's free pixels.
    basis : str
        The functions that the kernel is a sum of: pixels that are free near the centre and interpolated beyond, all pixels, or Gaussians times
        polynomials.
    kernel_degree : int or str
        Degree, up to 4, of the polynomial by which the kernel's shape varies over the image; ``"auto"`` tests whether it does.
    scale_degree : int
        Degree of the polynomial by which the photometric scale varies over the image.
    background_degree : int or str
        Total degree, up to 16, of the background's polynomial; ``"auto"``: 2, or as much more as a test sees structure in the sky.
    loss : str
        What is minimised over the normalised residuals.
    reference_noise : str
        The reference's own noise: correct its bias and weigh it, weigh it only, or ignore it.
    lambda_ : float or str
        Regularisation of the kernel, in units of what the reference's noise adds to the normal matrix; ``"auto"`` finds it.
    mask_variables : bool
        Whether variable sources are left out of the fit; they stay in the difference.
    noise_scale : str
        Whether the noise of the target is believed, or its variance multiplied by what the residuals tell.
    reference_contains_target : float, optional
        N, if the reference is the mean of N exposures and the target is one of them, which is taken out of it.
    model_variance : bool
        Whether the variance holds the uncertainty of kernel and background.
    solver : str
        Linear solver.
    tolerance : float
        Distance from the minimum at which the fit ends, in σ.
    align : str or (int, int)
        ``"auto"``, ``"integer"``, ``"stars"``, ``"wcs"`` or ``"none"``, or whole pixels (dx, dy), a star's place in the target minus that in the
        reference. The target is never resampled.
    convolve : str
        The image that the kernel is for.
    precision : str
        Type of pixels and of the Fourier transforms; parameters and sums are always in double precision.
    backend : str
        ``"cpu"``, ``"vulkan"`` with ``":INDEX"`` or ``":NAME"`` of a device, or ``"auto"``, a GPU if there is one.
    max_memory, max_device_memory : int or str, optional
        Bytes, or a size such as ``"2GiB"``, that images and fit may take.
    threads : int, optional
        Number of threads, all cores if it is not given; results are the same bit for bit.
    scene : bool
        Whether the result keeps what `detect` and `forced_photometry` need: three further planes, the PSF of the reference, and the covariance of the fit.
    progress : bool or callable, optional
        Called after each pass of the fit with its number and the distance from the minimum in σ; an exception that it raises ends the fit. True
        shows a bar of tqdm.

    Returns
    -------
    Result
        Whatever its verdict is.

    Raises
    ------
    ValueError
        An argument cannot be used.
    DiaError
        The images do not give a difference, or memory or device do not suffice.

    Warns
    -----
    DiaWarning
        For each reason of a verdict that is not ``"pass"``.

    Notes
    -----
    Other threads of Python run meanwhile. Ctrl-C ends the fit within a pass.

    Examples
    --------
    A field of stars that are a fifth fainter in the target, where one has flared up:

    >>> import numpy as np, dia
    >>> rng = np.random.default_rng(1)
    >>> y, x = np.mgrid[:200, :200]
    >>> def exposure(stars, fwhm):
    ...     sigma = fwhm / 2.355
    ...     light = sum(
    ...         flux / (2 * np.pi * sigma**2) * np.exp(-((y - sy) ** 2 + (x - sx) ** 2) / (2 * sigma**2))
    ...         for sy, sx, flux in stars
    ...     )
    ...     return rng.poisson(2.0 * (200 + light)) / 2.0
    >>> stars = np.column_stack([rng.uniform(10, 190, (150, 2)), 10 ** rng.uniform(3, 5, 150)])
    >>> reference = exposure(stars, fwhm=3.5)
    >>> target = exposure([*(stars * [1, 1, 0.8]), (100, 120, 9000)], fwhm=4.5)
    >>> result = dia.subtract(reference, target, gain=2.0)
    >>> result.verdict
    'pass'
    >>> bool(abs(result.photometric_scale.value - 0.8) < 5 * result.photometric_scale.sigma)
    True
    >>> flux = np.nansum(result.difference[90:111, 110:131])
    >>> bool(8000 < flux < 10000)
    True
    """
    image_of_reference, image_of_target = images(
        reference,
        target,
        precision,
        variance=(reference_variance, target_variance),
        mask=(reference_mask, target_mask),
        gain=(gain, reference_gain, target_gain),
        read_noise=(read_noise, reference_read_noise, target_read_noise),
        saturation=(saturation, reference_saturation, target_saturation),
        subtracted_sky=(None, reference_subtracted_sky, target_subtracted_sky),
    )
    options = words(
        half_width=half_width,
        kernel_shape=kernel_shape,
        basis=basis,
        kernel_degree=kernel_degree,
        scale_degree=scale_degree,
        background_degree=background_degree,
        loss=loss,
        reference_noise=reference_noise,
        lambda_=lambda_,
        mask_variables=mask_variables,
        noise_scale=noise_scale,
        reference_contains_target=reference_contains_target,
        model_variance=model_variance,
        solver=solver,
        tolerance=tolerance,
        align=align,
        convolve=convolve,
        precision=precision,
        backend=backend,
        max_memory=max_memory,
        max_device_memory=max_device_memory,
        threads=threads,
    )

    def warn(text: str) -> None:
        warnings.warn(text, DiaWarning, stacklevel=3)

    with told(progress) as hear:
        parts = _dia.subtract(
            image_of_reference, image_of_target, options, scene, hear, warn
        )
    parts["report"] = json.loads(parts["report"])
    parts["photometric_scale"] = Estimate(*parts["photometric_scale"])
    parts["background"] = [Estimate(*estimate) for estimate in parts["background"]]
    result = Result(
        **parts, unit=image_of_target.unit, wcs=image_of_target.wcs, meta=image_of_target.meta
    )
    for reason in result.reasons:
        warnings.warn(reason, DiaWarning, stacklevel=2)
    return result
