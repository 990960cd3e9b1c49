"""A deep reference of many frames."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dia import _dia
from dia._options import words


def make_reference(
    frames: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    **options: Any,
) -> Path:
    """Makes a reference image of the best of many frames, as ``dia reference`` does, in a process of its own.

    The frames are matched to the sharpest of the deep ones, cleaned of what one frame alone has, and averaged with the weights that let a point source stand
    out most.

    Parameters
    ----------
    frames : path or iterable of path
        FITS files, ``FILE[EXT]``, patterns such as ``night/*.fits``, or lists (.txt, .lst) of them.
    output : path
        The FITS file to write: the image, VARIANCE, MASK, COVERAGE and PSF, with its frames in the header.
    **options
        The options of ``dia reference``: ``most=20``, ``widest=1.15``, ``clip=5``, ``report="reference.json"``, ``gain=1.5``, ``saturation="SATLEVEL"`` …

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    DiaError
        No frame can be the reference, or the file cannot be written.
    """
    if isinstance(frames, str | os.PathLike):
        frames = [frames]
    command = [
        *(sys.executable, "-m", "dia", "reference", "--quiet"),
        *words(output=output, **options),
        *("--", *map(os.fspath, frames)),
    ]
    ended = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, encoding="utf-8")
    if ended.returncode != 0:
        text = ended.stderr.strip().removeprefix("dia: ").removeprefix("error: ")
        raise _dia.DiaError(text or f"dia reference ended with the code {ended.returncode}")
    return Path(output)
