"""Progress bars."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm

__all__ = ["progress_bar"]


def progress_bar(
    title: str, unit: str, total: int | None, *, initial: int = 0, show: bool = True, **options: Any
) -> tqdm:
    """A tqdm bar that is updated often on a terminal and rarely in a log file.

    Args:
        title: description of the work.
        unit: what is counted, in the singular.
        total: number of units, if known.
        initial: number of units already done.
        show: False gives an invisible bar, for processes other than the main one.
    """
    interval = 0.5 if sys.stderr.isatty() else 30.0
    return tqdm(
        total=total, initial=initial, desc=title, unit=unit, disable=not show, mininterval=interval, **options
    )
