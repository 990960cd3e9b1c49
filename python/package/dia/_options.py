"""Keyword arguments in the words of the command line, which checks them."""

from __future__ import annotations

from typing import Any


def words(**options: Any) -> list[str]:
    """An option for each that is given."""
    return [
        f"--{name.strip('_').replace('_', '-')}={_word(value)}"
        for name, value in options.items()
        if value is not None
    ]


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple | list):
        return ",".join(map(str, value))
    return str(value)
