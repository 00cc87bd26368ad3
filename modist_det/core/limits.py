"""Limits of config values beyond their type: range of numbers, length and elements of lists.

They are checked when a file or the command line sets the key, so that a batch size of 0 or a learning rate of NaN fails
at once and not hours later. Limits that involve two keys are checked where they are used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

__all__ = ["COUNT", "FINITE", "NOT_NEGATIVE", "POSITIVE", "SHARE", "Limit", "ListOf", "find_fault"]


@dataclass(frozen=True)
class Limit:
    """Finite numbers from ``low`` to ``high``, inclusive unless that end is open."""

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return above and below and (abs(value) < 2**63 if isinstance(value, int) else math.isfinite(value))

    def __str__(self) -> str:
        low = f"{'above' if self.open_low else 'at least'} {self.low:g}"
        high = f"{'below' if self.open_high else 'at most'} {self.high:g}"
        bounds = ((self.low, low), (self.high, high))
        return " and ".join(text for bound, text in bounds if math.isfinite(bound)) or "finite"


FINITE = Limit()
NOT_NEGATIVE = Limit(0)
POSITIVE = Limit(0, open_low=True)
COUNT = Limit(1)
SHARE = Limit(0, 1)


@dataclass(frozen=True)
class ListOf:
    """A list with elements of one type.

    Attributes:
        element: ``str``, ``int`` or ``float`` (which also accepts whole numbers).
        length: number of elements; 0: any.
        limit: limit of every number in the list.
        nested: elements may be lists of such elements.
        lists: all elements are lists of such elements, possibly empty.
        range: the first number must not be above the last.
    """

    element: type
    length: int = 0
    limit: Limit = FINITE
    nested: bool = False
    lists: bool = False
    range: bool = False

    def __str__(self) -> str:
        count = f"{self.length} " if self.length else ""
        if self.lists:
            return f"a list of {count}lists of {_ELEMENT_NAMES[self.element]}"
        kind = " or lists of them" if self.nested else ", the smaller one first" if self.range else ""
        return f"a list of {count}{_ELEMENT_NAMES[self.element]}{kind}"

    def fits(self, values: list) -> bool:
        """Whether ``values`` has this form; numbers may still be outside ``limit``."""
        if self.length and len(values) != self.length:
            return False
        inner = ListOf(self.element)
        if self.lists:
            return all(isinstance(value, list) and inner.fits(value) for value in values)
        for value in values:
            is_list = isinstance(value, list)
            if is_list and not (self.nested and value and inner.fits(value)):
                return False
            if not is_list and (isinstance(value, bool) or not isinstance(value, _ACCEPTED[self.element])):
                return False
        return not self.range or values[0] <= values[-1]


_ELEMENT_NAMES = {str: "names", int: "whole numbers", float: "numbers"}
_ACCEPTED: dict[type, tuple[type, ...]] = {str: (str,), int: (int,), float: (int, float)}


def find_fault(value: Any, limit: Limit | ListOf) -> str:
    """Describe what is wrong with ``value``, such as ``"must be above 0"``; ``""`` if nothing is.

    All numbers must be finite, including those of keys without limits.
    """
    if isinstance(value, list):
        if isinstance(limit, ListOf):
            if not limit.fits(value):
                return f"takes {limit}"
            limit = limit.limit
        return next(filter(None, (find_fault(element, limit) for element in value)), "")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or isinstance(limit, ListOf):
        return ""
    return "" if value in limit else f"must be {limit}"
