"""Tables of measurements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from astropy.table import Table as AstropyTable


@dataclass(frozen=True, eq=False, repr=False)
class Table:
    """Columns of one length by their names; ``pandas.DataFrame(table.columns)`` makes a frame of them."""

    columns: dict[str, np.ndarray]
    """The values of each column; NaN where there is no number."""
    units: dict[str, str]
    """Units as the FITS standard writes them; empty for none."""
    descriptions: dict[str, str]
    """One line for each column."""
    about: dict[str, str | float]
    """What belongs to the whole table."""

    @classmethod
    def _of(cls, parts: tuple[list[tuple[str, str, str, Any]], dict[str, str | float]]) -> Table:
        columns, about = parts
        return cls(
            columns={name: np.asarray(values) for name, _, _, values in columns},
            units={name: unit for name, unit, _, _ in columns},
            descriptions={name: description for name, _, description, _ in columns},
            about=about,
        )

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[name]

    def __repr__(self) -> str:
        return f"<dia.Table {len(self)} rows of {', '.join(self.columns)}>"

    def to_astropy(self) -> AstropyTable:
        """The same as `~astropy.table.Table`, with units and descriptions."""
        from astropy.table import Table as AstropyTable

        table = AstropyTable(self.columns, descriptions=self.descriptions, meta=dict(self.about))
        for name, unit in self.units.items():
            if unit:
                table[name].unit = unit
        return table
