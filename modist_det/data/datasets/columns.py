"""Columns of text, stored in one block of memory instead of an object per row."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray

__all__ = ["Rows", "Strings", "release_memory"]

_Row = TypeVar("_Row", covariant=True)

_AT_A_TIME = 1 << 16  # Python strings alive at once while a column is built


class Rows(Sequence[_Row]):
    """Columns as a sequence of rows; row objects are created on access."""

    @abstractmethod
    def row(self, index: int) -> _Row:
        """The row at ``index``, from 0 to ``len(self) - 1``."""

    @overload
    def __getitem__(self, index: int) -> _Row: ...

    @overload
    def __getitem__(self, index: slice) -> list[_Row]: ...

    def __getitem__(self, index: int | slice) -> _Row | list[_Row]:
        if isinstance(index, slice):
            return [self.row(i) for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        return self.row(int(index) % len(self))

    def __iter__(self) -> Iterator[_Row]:
        return map(self.row, range(len(self)))


class Strings(Rows[str]):
    """A column of text; strings are created on access.

    Any text is preserved, including file names that are not valid UTF-8 (surrogates).

    Args:
        column: the text, encoded by :meth:`of`.
    """

    def __init__(self, column: pa.LargeBinaryArray) -> None:
        self._column = column

    @classmethod
    def of(cls, texts: Iterable[str]) -> Strings:
        """Build a column from an iterable of strings."""
        if isinstance(texts, Strings):
            return texts
        chunks, rest = [], iter(texts)
        while part := [text.encode("utf-8", "surrogatepass") for text in islice(rest, _AT_A_TIME)]:
            chunks.append(pa.array(part, pa.large_binary()))
        return cls.join([cls(chunk) for chunk in chunks])

    @classmethod
    def join(cls, parts: Sequence[Strings]) -> Strings:
        """Concatenate columns."""
        empty = pa.array([], pa.large_binary())
        return cls(pa.concat_arrays([part._column for part in parts]) if parts else empty)

    def take(self, index: ArrayLike) -> Strings:
        """Select the texts at ``index`` (K,)."""
        return Strings(self._column.take(pa.array(np.asarray(index, dtype=np.int64))))

    def places_in(self, others: Strings) -> NDArray[np.int64]:
        """Index of each text's first occurrence in ``others``; -1 if absent."""
        places = pc.index_in(self._column, value_set=others._column)
        return pc.fill_null(places, -1).to_numpy(zero_copy_only=False).astype(np.int64)

    def unique(self) -> Strings:
        """Each text once, in order of first appearance."""
        return Strings(pc.unique(self._column))

    def folders(self) -> Strings:
        """The distinct parts before the last slash; "" for texts without a slash."""
        return Strings(
            pc.unique(pc.replace_substring_regex(self._column, "/?[^/]*$", "", max_replacements=1))
        )

    def any_matches(self, pattern: str) -> bool:
        """Whether a regular expression (RE2 syntax) matches anywhere in any of the texts."""
        return bool(pc.any(pc.match_substring_regex(self._column, pattern)).as_py())

    def prefixed(self, prefixes: Strings) -> Strings:
        """``prefixes[i] + self[i]``."""
        empty = pa.scalar(b"", pa.large_binary())
        return Strings(pc.binary_join_element_wise(prefixes._column, self._column, empty))

    def order(self) -> NDArray[np.int64]:
        """Indices that sort the texts in ascending order; the sort is stable."""
        return pc.sort_indices(self._column).to_numpy().astype(np.int64)

    @property
    def nbytes(self) -> int:
        return self._column.nbytes

    def __len__(self) -> int:
        return len(self._column)

    def row(self, index: int) -> str:
        return _decode(self._column[index].as_py())

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), _AT_A_TIME):
            yield from map(_decode, self._column.slice(start, _AT_A_TIME).to_pylist())


def release_memory() -> None:
    """Return freed memory to the system, so that forked workers are not charged for it."""
    pa.default_memory_pool().release_unused()


def _decode(text: bytes) -> str:
    return text.decode("utf-8", "surrogatepass")
