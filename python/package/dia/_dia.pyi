"""The extension module; `dia` is the interface to it."""

from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any

class DiaError(Exception):
    """There is no result: the text names the image, the cause and the remedy, in the words of the command `dia`."""

def version() -> str: ...
def mask_planes() -> list[tuple[str, int]]: ...
def run_command(arguments: Sequence[str]) -> int: ...
def align(reference: Any, target: Any, options: list[str]) -> str: ...

Columns = tuple[list[tuple[str, str, str, Any]], dict[str, str | float]]

class Scene:
    """What measurements on a difference need."""

    @staticmethod
    def read(path: str | PathLike[str]) -> Scene: ...
    def detections(self, threshold: float, threads: int) -> Columns: ...
    def fluxes(
        self,
        positions: Sequence[tuple[float, float]],
        on_sky: bool,
        apertures: Sequence[float],
        threads: int,
    ) -> Columns: ...

def subtract(
    reference: Any,
    target: Any,
    options: list[str],
    scene: bool,
    progress: Callable[[int, float], object] | None,
    warn: Callable[[str], object],
) -> dict[str, Any]: ...
