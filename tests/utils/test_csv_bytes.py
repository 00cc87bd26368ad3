"""The vectorized number parser gives what float() gives, to the last bit, or nothing."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modist_det.utils.csv_bytes import NotPlain, PlainRows, iter_chunks, parse_numbers, runs_of_equal_text


def cells(words: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    text = np.frombuffer("".join(word + "," for word in words).encode(), dtype=np.uint8)
    ends = np.cumsum([len(word.encode()) + 1 for word in words]) - 1
    return text, np.concatenate(([0], ends[:-1] + 1)), ends


def assert_exact(words: list[str]) -> None:
    expected = np.array([float(word) for word in words])
    np.testing.assert_array_equal(parse_numbers(*cells(words)), expected)


_digits = st.text("0123456789", min_size=0, max_size=12)
_plain = (
    st.tuples(_digits, st.sampled_from([".", "."]), _digits).map("".join).filter(lambda word: word != ".")
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.one_of(_plain, st.integers(0, 10**20).map(str), st.floats(0, 1e6).map(repr)),
        min_size=1,
        max_size=20,
    )
)
def test_numbers(words):
    assert_exact(words)


def test_many_random_numbers_of_many_digits():
    rng = np.random.default_rng(0)
    values = rng.random(20_000) * 10.0 ** rng.integers(0, 6, size=20_000)
    assert_exact([repr(v) for v in values.tolist()])
    assert_exact([repr(v) for v in values.astype(np.float32).astype(float).tolist()])
    assert_exact(
        [
            f"{v:.{d}f}"
            for v, d in zip(values.tolist(), rng.integers(0, 14, size=20_000).tolist(), strict=True)
        ]
    )


def test_numbers_between_two_doubles():
    """Cut to 19 digits, a tie falls just below or above the middle, or stays exactly there."""
    rng = np.random.default_rng(1)
    values = np.concatenate(
        [rng.random(3000) * 2.0 ** rng.integers(0, 20, size=3000), 2.0 ** np.arange(-3, 20)]
    )
    words = []
    for value in values.tolist():
        for neighbour in (np.nextafter(value, 0), np.nextafter(value, np.inf)):
            middle = (Decimal(value) + Decimal(float(neighbour))) / 2
            words.append(f"{middle:.{19 - len(str(int(middle)))}f}")
    assert_exact(words)
    # Ties: odd multiples of half a unit of the last place.
    assert_exact([str(2**53 + i) for i in range(-20, 20)])
    assert_exact([f"{2**52 + i}.5" for i in range(40)] + [f"{2**51 + i}.25" for i in range(40)])


def test_numbers_as_near_to_a_tie_as_nineteen_digits_allow():
    """m / 10**19 = n / 2**54 +- 1 / (5**19 * 2**54) with n odd, which is the middle between two doubles."""
    inverse = pow(2**35, -1, 5**19)
    words = []
    for sign in (1, -1):
        m = sign * inverse % 5**19
        steps = (
            np.linspace((10**19 // 2 - m) // 5**19 + 1, (10**19 - m) // 5**19 - 1, 500)
            .astype(np.int64)
            .tolist()
        )
        words += [f".{m + step * 5**19:019d}" for step in steps]
    assert_exact(words)


@pytest.mark.parametrize(
    "word", ["-1", "+.5e-3", "1e5", "9.1e-05", "123456789012345678901234567890", "0." + "0" * 30 + "1"]
)
def test_unusual_numbers(word):
    assert_exact(["0.5", word, word, "1", "-2"])


@pytest.mark.parametrize(
    "word", ["", ".", "1.2.3", "1e", "nan", "inf", "0x1", "1_0", " 1", "1e999", "٣", "1" * 50]
)
def test_what_is_no_plain_number(word):
    with pytest.raises(NotPlain):
        parse_numbers(*cells(["0.5", word]))


def test_no_cells():
    nothing = np.empty(0, dtype=np.int64)
    assert len(parse_numbers(np.empty(0, dtype=np.uint8), nothing, nothing)) == 0
    assert len(runs_of_equal_text(np.empty(0, dtype=np.uint8), nothing, nothing)) == 0


def test_runs():
    assert runs_of_equal_text(*cells(["ab", "ab", "abc", "ab", "", "", "b"])).tolist() == [0, 2, 3, 4, 6]


def test_rows_and_cells():
    text = np.frombuffer(b"a,bb,c\n\nd\n", dtype=np.uint8)
    rows = PlainRows(text)
    assert rows.columns.tolist() == [3, 1, 1]
    assert [int(rows.ends(rows.first[:1], c)[0]) for c in (-1, 0, 1, 2)] == [-1, 1, 4, 6]
    assert rows.ends(rows.first, -1).tolist() == [-1, 6, 7]


def test_chunks_are_whole_lines(monkeypatch):
    monkeypatch.setattr("modist_det.utils.csv_bytes.CHUNK_BYTES", 5)
    assert [chunk.tobytes() for chunk in iter_chunks(b"ab\nc\ndefg\nh")] == [b"ab\nc\n", b"defg\n", b"h\n"]
    with pytest.raises(NotPlain):
        list(iter_chunks(b"abcdefgh\nc"))
