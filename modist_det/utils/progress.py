"""Progress bars."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm

__all__ = ["progress_bar"]


def progress_bar(
    title: str, unit: str, total: int | None, *, initial: int = 0, show: bool = True, **options: Any
) -> tqdm:
    """A tqdm bar that a terminal redraws often and a log file gets now and then.

    Args:
        title: what is going on.
        unit: what is counted, in the singular.
        total: how many there are, if known.
        initial: how many were done before.
        show: False makes a bar that draws nothing (processes other than the main one).
    """
    interval = 0.5 if sys.stderr.isatty() else 30.0
    return tqdm(
        total=total, initial=initial, desc=title, unit=unit, disable=not show, mininterval=interval, **options
    )
