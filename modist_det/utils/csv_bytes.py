"""Columns of plain csv files straight from their bytes, with numpy and without a loop over rows.

"Plain" is what AVA's files and nearly all files like them are: UTF-8, comma separated, nothing
quoted, ordinary numbers. Anything else raises :class:`NotPlain`, and the caller takes the slow way
with Python's csv module, which also knows how to say what is wrong in which row. Every number comes out
as ``float(text)`` would give it, to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

__all__ = ["NotPlain", "PlainRows", "iter_chunks", "parse_numbers", "runs_of_equal_text"]

# Small enough that the working arrays of a chunk stay near the cache, large enough that the number of numpy
# calls does not matter (512 KB and 8 MB were 1.3 times slower).
CHUNK_BYTES = 2 << 20
_NEWLINE, _COMMA, _ZERO, _DOT = b"\n,0."
# As many digits fit into a uint64, and as many powers of ten are exact in a double.
_MAX_DIGITS = 19
_POWERS = 10.0 ** np.arange(_MAX_DIGITS + 1)
_EXACT = 2.0**53  # below it every whole number is a double
_MAX_NUMBER_BYTES = 40
_NUMBER_BYTES = np.isin(np.arange(256), np.frombuffer(b"0123456789.eE+-\0", dtype=np.uint8))


class NotPlain(Exception):
    """These bytes need the exact parser; says nothing about whether they are right."""


def iter_chunks(data: bytes) -> Iterator[np.ndarray]:
    """Cut ``data`` at line ends into uint8 arrays of about ``CHUNK_BYTES``, each ending with a newline."""
    start = 0
    while start < len(data):
        end = start + CHUNK_BYTES
        if end < len(data):
            end = data.rfind(b"\n", start, end) + 1
            if not end:
                raise NotPlain  # a line longer than a chunk
        piece = data[start:end]
        start = end
        yield np.frombuffer(piece if piece.endswith(b"\n") else piece + b"\n", dtype=np.uint8)


class PlainRows:
    """Where the rows and cells of one chunk begin and end.

    Attributes:
        first: int64 (lines,): of each line, the number of its first separator; a handle for :meth:`ends`.
        columns: int64 (lines,): number of cells of each line; an empty line has one, empty, cell.
    """

    def __init__(self, text: np.ndarray):
        self._separators = np.flatnonzero((text == _COMMA) | (text == _NEWLINE))
        line_ends = np.flatnonzero(text[self._separators] == _NEWLINE)
        self.first = np.concatenate(([0], line_ends[:-1] + 1))
        self.columns = line_ends - self.first + 1

    def ends(self, first: np.ndarray, column: int) -> np.ndarray:
        """End offsets, int64 (n,), of one column's cells in the lines with these ``first``.

        The lines must have that column. The next column's cells begin one byte later; the end of column -1 is the
        end of the line before.
        """
        if column >= 0:
            return self._separators[first + column]
        return np.concatenate(([-1], self._separators))[first]


def parse_numbers(text: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """float64 (n,): the finite decimal numbers in the cells ``text[start:end]``.

    Raises:
        NotPlain: a cell is empty, or holds anything but a finite decimal number without spaces.
    """
    values = np.empty(len(starts))
    if not len(starts):
        return values
    lengths = ends - starts
    shortest, longest = int(lengths.min()), int(lengths.max())
    if longest > _MAX_NUMBER_BYTES:
        raise NotPlain
    if shortest == longest <= _MAX_DIGITS + 1:
        values, unusual = _parse_simple(text, starts, longest)
    else:
        # Cells of one length are parsed together, character by character. There are few lengths.
        unusual = lengths > _MAX_DIGITS + 1
        for length in np.flatnonzero(np.bincount(lengths[~unusual])).tolist():
            same = np.flatnonzero(lengths == length)
            values[same], unusual[same] = _parse_simple(text, starts[same], length)
    if unusual.any():
        values[unusual] = _parse_unusual(text, starts[unusual], ends[unusual])
    return values


def _parse_simple(text: np.ndarray, starts: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Values of cells of digits with at most one dot, and a mask of the cells that are not of this kind."""
    mantissa = np.zeros(len(starts), dtype=np.uint64)
    dots = np.zeros(len(starts), dtype=np.uint8)
    decimals = np.zeros(len(starts), dtype=np.uint8)
    unusual = np.zeros(len(starts), dtype=bool)
    for k in range(length):
        digit = text.take(starts + k) - np.uint8(_ZERO)  # wraps around for what lies below "0"
        decimals += dots
        if digit.max() > 9:
            # A dot neither shifts the digits before it nor adds one.
            is_dot = digit == np.uint8((_DOT - _ZERO) % 256)
            unusual |= (digit > 9) & ~is_dot
            dots += is_dot
            digit *= ~is_dot
            mantissa *= np.uint8(10) - np.uint8(9) * is_dot
        else:
            mantissa *= np.uint8(10)
        mantissa += digit
    digits = length - dots.astype(np.int16)
    unusual |= (dots > 1) | (digits < 1) | (digits > _MAX_DIGITS)
    decimals[unusual] = 0
    mantissa[unusual] = 0
    values = mantissa / _POWERS[decimals]
    if length > 16:
        large = np.flatnonzero(mantissa > _EXACT)
        values[large] = _divide(mantissa[large], _POWERS[decimals[large]])
    return values, unusual


def _divide(mantissa: np.ndarray, power: np.ndarray) -> np.ndarray:
    """``mantissa / power`` rounded once, though the mantissa (uint64) is no double; ``power`` is 10**k, k <= 19.

    The quotient of the nearest doubles is corrected by the remainder of that division, which Dekker's product
    gives without error. Their sum rounds as the true quotient does: a tie has an exact correction, and anything
    else is further from a tie (1 / (2 * 5**19) units of the last place) than the correction is wrong (2**-54).
    """
    high = mantissa.astype(np.float64)
    low = (mantissa - high.astype(np.uint64)).view(np.int64).astype(np.float64)
    quotient = high / power
    product = quotient * power
    q1, p1 = _upper_half(quotient), _upper_half(power)
    q2, p2 = quotient - q1, power - p1
    error = ((q1 * p1 - product) + q1 * p2 + q2 * p1) + q2 * p2
    return quotient + ((high - product) - error + low) / power


def _upper_half(value: np.ndarray) -> np.ndarray:
    """The upper 26 bits (Veltkamp's split)."""
    shifted = value * 134217729.0
    return shifted - (shifted - value)


def _parse_unusual(text: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Values of cells with a sign, an exponent or many digits, by Python's own conversion."""
    lengths = ends - starts
    width = int(lengths.max())
    offsets = np.arange(width)
    inside = offsets < lengths[:, None]
    letters = np.where(inside, text.take(starts[:, None] + offsets, mode="clip"), np.uint8(0))
    # Python's float() also takes spaces, underscores and names such as "nan".
    if lengths.min() == 0 or not _NUMBER_BYTES[letters].all():
        raise NotPlain
    words = np.ascontiguousarray(letters).view(f"S{width}").ravel()
    # Detection files repeat a box once a class: convert a word only where it differs from the one before.
    new = np.concatenate(([True], words[1:] != words[:-1]))
    try:
        distinct = np.array([float(word) for word in words[new].tolist()])
    except ValueError:
        raise NotPlain from None
    if not np.isfinite(distinct).all():
        raise NotPlain
    return distinct[np.cumsum(new) - 1]


def runs_of_equal_text(text: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """int64: the indices of cells that differ from the cell before them (0 included, if there are cells)."""
    lengths = ends - starts
    if not len(lengths):
        return np.empty(0, dtype=np.int64)
    width = int(lengths.max())
    if width > 1024:
        raise NotPlain
    equal = lengths[1:] == lengths[:-1]
    for k in range(width):
        letter = text.take(starts + k, mode="clip")
        equal &= (letter[1:] == letter[:-1]) | (lengths[1:] <= k)
    return np.concatenate(([0], np.flatnonzero(~equal) + 1))
