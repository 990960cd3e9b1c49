"""One reference, many targets, and light curves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from dia import _dia
from dia._options import words
from dia._warning import DiaWarning

SUCCESS, NOT_TO_BE_USED, TRY_AGAIN = 0, 3, 75


def night(
    targets: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    reference: str | os.PathLike[str] | None = None,
    force: bool = False,
    retry_failed: bool = False,
    apply_zero_points: bool = False,
    rescale_errors: bool = False,
    progress: Callable[[dict[str, Any]], object] | None = None,
    **options: Any,
) -> Path:
    """Subtracts a reference from many targets and follows what changes, as ``dia night`` does, in a process of its own.

    Parameters
    ----------
    targets : path or iterable of path
        FITS files, ``FILE[EXT]``, patterns such as ``night/*.fits``, or lists (.txt, .lst) of them.
    output : path
        Folder of the results. What is done there already, with the same inputs and options, is not done again.
    reference : path, optional
        The reference, if it is not to be made of the best targets (see `make_reference`).
    force, retry_failed, apply_zero_points, rescale_errors : bool
        The options of these names.
    progress : callable, optional
        Hears what the run tells, one dictionary after the other (those of ``--log json``).
    **options
        The other options of ``dia night``: ``gain=1.5``, ``saturation="SATLEVEL"``, ``half_width=9``, ``at="positions.csv"``, ``jobs=4`` …

    Returns
    -------
    pathlib.Path
        The folder, with frames.ecsv, sources.ecsv, lightcurves.ecsv, report.html, and a folder for each frame.

    Raises
    ------
    DiaError
        The run did not come to its end.

    Warns
    -----
    DiaWarning
        Frames have a difference that is not to be used, or failed and may succeed later.
    """
    if isinstance(targets, str | os.PathLike):
        targets = [targets]
    switches = {
        "--force": force,
        "--retry-failed": retry_failed,
        "--apply-zero-points": apply_zero_points,
        "--rescale-errors": rescale_errors,
    }
    command = [
        *(sys.executable, "-m", "dia", "night", "--log=json"),
        *(name for name, on in switches.items() if on),
        *words(reference=reference, output=output, **options),
        *("--targets", *map(os.fspath, targets)),
    ]
    last = ""
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        try:
            for line in process.stderr:
                try:
                    told = json.loads(line)
                except json.JSONDecodeError:
                    last += line
                    continue
                if progress is not None:
                    progress(told)
        except BaseException:
            process.terminate()
            raise
    code = process.returncode
    if code not in (SUCCESS, NOT_TO_BE_USED, TRY_AGAIN):
        text = last.strip().removeprefix("dia: ").removeprefix("error: ")
        raise _dia.DiaError(text or f"dia night ended with the code {code}")
    if code == NOT_TO_BE_USED:
        text = "frames have a difference that is not to be used; frames.ecsv tells which"
        warnings.warn(text, DiaWarning, stacklevel=2)
    if code == TRY_AGAIN:
        text = "frames failed that may succeed later; call night again"
        warnings.warn(text, DiaWarning, stacklevel=2)
    return Path(output)
