"""Series of timed samples, their medians, and the report of a benchmark."""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tabulate import tabulate

from ...utils.files import write_json
from .machine import machine_line

__all__ = ["Report", "Series", "paired_ratio"]


@dataclass
class Series:
    """Times of a repeated operation.

    Attributes:
        name: name of the operation.
        items: clips (or whatever the report counts) that one sample deals with.
        wall: seconds of each sample.
        cpu: seconds of CPU time of each sample, over all threads of this process. Empty if it is
            meaningless: work of other processes or of a GPU.
        facts: further numbers for the table, by column.
    """

    name: str
    items: int = 1
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    facts: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def sample(self) -> Iterator[None]:
        """Time the block; one that raises is no sample."""
        cpu, wall = time.process_time(), time.perf_counter()
        yield
        self.wall.append(time.perf_counter() - wall)
        self.cpu.append(time.process_time() - cpu)

    @classmethod
    def total(cls, name: str, parts: Sequence[Series]) -> Series:
        """The sums, sample by sample, of series that were measured together."""
        return cls(
            name,
            parts[0].items,
            wall=[sum(times) for times in zip(*(part.wall for part in parts), strict=True)],
            cpu=[sum(times) for times in zip(*(part.cpu for part in parts), strict=True)],
        )

    @property
    def rate(self) -> float:
        """Items per second, at the median time."""
        return self.items / statistics.median(self.wall)

    def summary(self) -> dict[str, Any]:
        """Times in milliseconds."""
        return {
            "name": self.name,
            "samples": len(self.wall),
            "median_ms": 1e3 * statistics.median(self.wall),
            "min_ms": 1e3 * min(self.wall),
            "max_ms": 1e3 * max(self.wall),
            "cpu_ms": 1e3 * statistics.median(self.cpu) if self.cpu else None,
            "items": self.items,
            "items_per_second": self.rate,
            "facts": self.facts,
        }

    def compare(self, baseline: Series, column: str) -> None:
        """Add to ``facts`` how many times the baseline's time this takes: ``column`` and, for CPU time,
        ``column (CPU)``. Samples of both are pairs."""
        self.facts[column] = paired_ratio(self.wall, baseline.wall)
        self.facts[f"{column} (CPU)"] = paired_ratio(self.cpu, baseline.cpu)


def paired_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> float:
    """Median of the ratios of values that were measured in pairs.

    A temporary slowdown affects both values of a pair, so this is more stable than the ratio of two medians.
    """
    return statistics.median(a / b for a, b in zip(numerators, denominators, strict=True))


@dataclass
class Report:
    """Results of a benchmark.

    Attributes:
        title: what was measured.
        item: what the series count, in the singular ("clip").
        machine: of :func:`~.machine.describe_machine`.
        settings: what the results depend on.
        series: rows of the table.
    """

    title: str
    item: str
    machine: dict[str, Any]
    settings: dict[str, Any]
    series: list[Series]

    def text(self) -> str:
        """Machine line, settings and the table."""
        settings = ", ".join(f"{name} {value}" for name, value in self.settings.items())
        return f"{self.title}\n{machine_line(self.machine)}\n{settings}\n\n{self.table()}"

    def table(self) -> str:
        """Times in milliseconds, in Markdown."""
        columns = list(dict.fromkeys(name for series in self.series for name in series.facts))
        header = ["", "median ms", "min", "max", "CPU ms", "samples", f"{self.item}s/s", *columns]
        rows = []
        for summary in (series.summary() for series in self.series):
            times = [summary[key] for key in ("median_ms", "min_ms", "max_ms", "cpu_ms")]
            facts = [summary["facts"].get(column) for column in columns]
            numbers = [*map(_short, times), summary["samples"], _short(summary["items_per_second"])]
            rows.append([summary["name"], *numbers, *map(_short, facts)])
        alignment = ["left"] + ["right"] * (len(header) - 1)
        return tabulate(rows, header, tablefmt="github", disable_numparse=True, colalign=alignment)

    def write_json(self, path: str | os.PathLike) -> None:
        """Everything, with the seconds of every sample; the file is whole or absent."""
        content = {
            "title": self.title,
            "item": self.item,
            "machine": self.machine,
            "settings": self.settings,
            "series": [
                {**series.summary(), "wall_s": series.wall, "cpu_s": series.cpu} for series in self.series
            ],
        }
        write_json(path, content, allow_nan=False)


def _short(value: float | None) -> str:
    """Three digits where they are there: 0.123, 1.23, 12.3, 123, 1234."""
    if value is None:
        return "-"
    digits = 3 if abs(value) < 1 else 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:.{digits}f}"
