"""What is told while a fit runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[int, float], object]


@contextmanager
def told(progress: bool | Progress | None) -> Iterator[Progress | None]:
    """The function that hears of each pass: the one that is given, or for True that of a bar of tqdm."""
    if progress is True:
        from tqdm.auto import tqdm

        with tqdm(desc="fit", unit=" passes") as bar:

            def show(number: int, optimality: float) -> None:
                bar.set_postfix_str(f"{optimality:.3f} σ from the minimum", refresh=False)
                bar.update(number - bar.n)

            yield show
    else:
        yield progress or None
