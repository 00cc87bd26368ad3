"""The fast parser: numbers are those of float(), to the last bit; what it takes and what it leaves to the exact one."""

from __future__ import annotations

import struct
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modist_det.formats.ava.exact_parser import parse_exact, read_rows
from modist_det.formats.ava.fast_parser import NotPlain, parse_file, parse_plain
from modist_det.formats.ava.tables import DETECTIONS, EXCLUSIONS, GROUND_TRUTH, PERSON_BOXES


def scores(words: list[str]) -> np.ndarray:
    """The words as the scores of a file of detections."""
    rows = "".join(f"v,1,0,0,1,1,1,{word}\n" for word in words)
    return parse_plain("x", rows.encode(), 1, DETECTIONS).score


def assert_exact(words: list[str]) -> None:
    expected = np.array([float(word) for word in words])
    np.testing.assert_array_equal(scores(words).view(np.int64), expected.view(np.int64))


_digits = st.text("0123456789", min_size=0, max_size=12)
_plain = st.tuples(_digits, st.just("."), _digits).map("".join).filter(lambda word: word != ".")
_doubles = st.floats(allow_nan=False, allow_infinity=False).map(repr)  # all exponents, subnormals, -0.0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(_plain, st.integers(0, 10**30).map(str), _doubles), min_size=1, max_size=60))
def test_numbers(words):
    assert_exact(words)


def test_doubles_of_every_exponent():
    bits = np.random.default_rng(0).integers(0, 2**63, size=20_000, dtype=np.uint64)
    values = [struct.unpack("<d", struct.pack("<Q", int(b)))[0] for b in bits]
    finite = [v for v in values if np.isfinite(v)]
    assert len(finite) > 19_000
    assert_exact([repr(v) for v in finite])
    assert_exact([f"{v:.25e}" for v in finite])
    subnormal = [float(n) * 5e-324 for n in (1, 2, 3, 2**40 + 1, 2**52 - 1)]
    assert_exact([repr(v) for v in subnormal] + ["2.2250738585072011e-308", "1.7976931348623157e308"])


def test_numbers_between_two_doubles():
    """Ties, and words that fall just below or above one, in 19 and in 40 digits."""
    rng = np.random.default_rng(1)
    values = np.concatenate(
        [rng.random(2000) * 2.0 ** rng.integers(0, 20, size=2000), 2.0 ** np.arange(-3, 20)]
    )
    words = []
    for value in values.tolist():
        middle = (Decimal(value) + Decimal(float(np.nextafter(value, np.inf)))) / 2
        words += [f"{middle:.{19 - len(str(int(middle)))}f}", f"{middle:.40f}", f"{middle:.60f}1"]
    assert_exact(words)
    assert_exact([str(2**53 + i) for i in range(-20, 20)] + [f"{2**52 + i}.5" for i in range(40)])


@pytest.mark.parametrize(
    "word", ["-1", "1e5", "1E-5", ".5", "5.", "007", " 1", "1 ", "0" * 400 + "1", '"0.5"']
)
def test_unusual_spellings(word):
    assert scores(["0.5", word, word])[1:].tolist() == [float(word.strip('"'))] * 2


@pytest.mark.parametrize(
    "word",
    [
        "",
        ".",
        "1.2.3",
        "1e",
        "nan",
        "inf",
        "-Infinity",
        "0x1",
        "1_0",
        "1e999",
        "٣",
        "1,2",
        "NA",
        "NULL",
        "true",
    ],
)
def test_what_is_no_finite_number_is_left_to_the_exact_parser(word):
    with pytest.raises(NotPlain):
        scores(["0.5", word])


def assert_plain(text: str, layout) -> None:
    """It takes the fast way and is the table of the exact parser."""
    assert_same(
        parse_plain("x", text.encode(), 7, layout), parse_exact("x", text.encode(), 7, layout, pytest.fail)
    )


def assert_same(plain, exact) -> None:
    assert plain.videos == exact.videos
    for name in ("video", "second", "boxes", "action", "score", "person", "line"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(exact, name))
    for name in ("video", "second", "line"):
        np.testing.assert_array_equal(getattr(plain.keyframes, name), getattr(exact.keyframes, name))


@pytest.mark.parametrize(
    ("text", "layout"),
    [
        ('"a","1","0","0","1","1","3","0.5"\n"b","2","0","0","1","1","3","0.5"\n', DETECTIONS),
        ('"a, ""b""",1,0,0,1,1,3,0.5\n"x",2,0,0,1,1,3,0.5\nz,3,0,0,1,1,3,0.5\n', DETECTIONS),
        ('"""",1\n"""a""",2\n"a""",3\n', EXCLUSIONS),
        ("b,1\na,1,0,0,1,1,3\n\n\nc,1\na,2,0,0,1,1,3,7\na,2,0,0,1,1,4\nc,2\n", GROUND_TRUTH),
        ("a,1,0,0,1,1,,0.5\na,1,0,0,1,1,-1,0.4\na,1,0,0,1,1,2.0,0.4\nb,1\n", PERSON_BOXES),
        ("a,1,0,0,1,1,3", GROUND_TRUTH),
    ],
)
def test_takes_the_fast_way(text, layout):
    assert_plain(text, layout)


def test_blocks_join_without_seams(monkeypatch):
    """Quoted names, blank lines, keyframes and rows with and without persons, at every place where a block may end."""
    monkeypatch.setattr("modist_det.formats.ava.fast_parser.BLOCK_BYTES", 64)
    text = "".join(
        f'"n{i % 5},""{i % 3},",{i},0,0,1,1,{i + 1},{i}\n'
        + "\n" * (i % 3)
        + f"b,{i}\nc{i % 7},1,0,0,1,1,{i + 1}\n"
        for i in range(30)
    )
    for start in (text, f"first,1\n{text}", f"c6,1,0,0,1,1,1\n{text}"):
        assert_plain(start + "last,2,0,0,1,1,4,5", GROUND_TRUTH)


@pytest.mark.parametrize(
    "start", ["", "\n\n", "video,second\n", "\nvideo_id,time,x1,y1,x2,y2,action,person\n\n"]
)
def test_files_are_read_in_blocks(tmp_path, monkeypatch, start):
    """From the first row on, with rows of all widths at every place where a block may end."""
    monkeypatch.setattr("modist_det.formats.ava.fast_parser.BLOCK_BYTES", 64)
    rows = [f"b,{i}\nc{i % 7},{i},0,0,1,1,{i + 1},{i}\na{i % 3},1,0,0,1,1,{i + 1}\n" for i in range(30)]
    for end in ("", "\n", "last,2,0,0,1,1,4,5"):
        path = tmp_path / "file.csv"
        path.write_text(start + "".join(rows) + end)
        if end == "\n":  # a blank line
            with pytest.raises(NotPlain):
                parse_file(str(path), GROUND_TRUTH)
        else:
            exact = parse_exact(str(path), *read_rows(path), GROUND_TRUTH, pytest.fail)
            assert_same(parse_file(str(path), GROUND_TRUTH), exact)


@pytest.mark.parametrize(
    "row",
    [
        "",
        "b\r",
        '"b",1,0,0,1,1,1',
        "é,1",
        "b\0,1",
        "b,1,0,0,1.1,1,1",
        "b,1,0.5,0,0.4,1,1",
        "b,1,0,0,1,1,0",
        "b,1,0,0,1,1,1.5",
        ",1",
    ],
)
def test_a_block_that_is_not_plain(tmp_path, monkeypatch, row):
    monkeypatch.setattr("modist_det.formats.ava.fast_parser.BLOCK_BYTES", 64)
    path = tmp_path / "file.csv"
    path.write_text(
        "a,1,0,0,1,1,1\n" * 20 + row + "\n" + "a,1,0,0,1,1,1\n" * 20, encoding="utf-8", newline=""
    )
    with pytest.raises(NotPlain):
        parse_file(str(path), GROUND_TRUTH)


def test_more_rows_than_their_bytes_allow():
    with pytest.raises(NotPlain):
        parse_plain("x", b",1,,,,,,\n" * 40 + b"a,1,0,0,1,1,1,\n", 1, GROUND_TRUTH)


def test_a_file_that_is_not_there_is_left_to_the_exact_parser(tmp_path):
    with pytest.raises(NotPlain):
        parse_file(str(tmp_path / "none.csv"), GROUND_TRUTH)


def test_lines_that_end_inside_of_quotes_are_left_to_the_exact_parser():
    for text in ('"x\ny",2,0,0,1,1,3,0.5\n', 'a,1,0,0,1,1,3,1\n"x\ny",2\n', '"x\n\ny",2\n'):
        with pytest.raises(NotPlain):
            parse_plain("x", text.encode(), 1, DETECTIONS)


@pytest.mark.parametrize(
    "row",
    [
        'a"b,1',
        '"a"b,1',
        ' "a",1',
        '"a,1',
        '"a" ,1',
        'a,"1',
        'a,1,"',
        ",1",
        '"",1',
        "a",
        "a,1,2",
        "a,1,",
        "a,-1",
        "a,1e7",
    ]
    + ["a,", "a,x"],
)
def test_leaves_the_rest_to_the_exact_parser(row):
    for text in (f"b,1\n{row}\nc,2\n", f'"b",1\n{row}\n"c",2\n'):
        with pytest.raises(NotPlain):
            parse_plain("x", text.encode(), 1, EXCLUSIONS)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("row", [b"\xff,2\n", b"\xff,2,3\n"])
def test_not_utf_8(row):
    with pytest.raises(NotPlain):
        parse_plain("x", b"a,1\n" + row + b"a,3\n", 1, EXCLUSIONS)
