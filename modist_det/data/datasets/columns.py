"""Columns of text: one block of memory instead of an object for each of a million rows."""

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

_AT_A_TIME = 1 << 16  # strings that are objects at one time while a column is made


class Rows(Sequence[_Row]):
    """Columns as a sequence of rows; a row is made when it is asked for."""

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
    """A column of text; an item is made when it is asked for.

    Any text is kept as it is, file names that are no UTF-8 (surrogates) included.

    Args:
        column: the text, encoded by :meth:`of`.
    """

    def __init__(self, column: pa.LargeBinaryArray) -> None:
        self._column = column

    @classmethod
    def of(cls, texts: Iterable[str]) -> Strings:
        """A column of these texts, which may come one after the other."""
        if isinstance(texts, Strings):
            return texts
        chunks, rest = [], iter(texts)
        while part := [text.encode("utf-8", "surrogatepass") for text in islice(rest, _AT_A_TIME)]:
            chunks.append(pa.array(part, pa.large_binary()))
        return cls.join([cls(chunk) for chunk in chunks])

    @classmethod
    def join(cls, parts: Sequence[Strings]) -> Strings:
        """One column after the other."""
        empty = pa.array([], pa.large_binary())
        return cls(pa.concat_arrays([part._column for part in parts]) if parts else empty)

    def take(self, index: ArrayLike) -> Strings:
        """The texts at ``index`` (K,)."""
        return Strings(self._column.take(pa.array(np.asarray(index, dtype=np.int64))))

    def places_in(self, others: Strings) -> NDArray[np.int64]:
        """Where each text is in ``others`` first; -1 where it is not."""
        places = pc.index_in(self._column, value_set=others._column)
        return pc.fill_null(places, -1).to_numpy(zero_copy_only=False).astype(np.int64)

    def unique(self) -> Strings:
        """Each text once, in order of first appearance."""
        return Strings(pc.unique(self._column))

    def folders(self) -> Strings:
        """What is before the last slash of each text, each once; "" where there is no slash."""
        return Strings(
            pc.unique(pc.replace_substring_regex(self._column, "/?[^/]*$", "", max_replacements=1))
        )

    def any_matches(self, pattern: str) -> bool:
        """Whether a regular expression (of RE2) is found in any of the texts."""
        return bool(pc.any(pc.match_substring_regex(self._column, pattern)).as_py())

    def prefixed(self, prefixes: Strings) -> Strings:
        """``prefixes[i] + self[i]``."""
        empty = pa.scalar(b"", pa.large_binary())
        return Strings(pc.binary_join_element_wise(prefixes._column, self._column, empty))

    def order(self) -> NDArray[np.int64]:
        """Places in ascending order of the text; of equal texts the earlier comes first."""
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
    """Give back to the system what making columns took and left free; forked workers would be charged with it."""
    pa.default_memory_pool().release_unused()


def _decode(text: bytes) -> str:
    return text.decode("utf-8", "surrogatepass")
