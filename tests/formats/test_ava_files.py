"""Readers and writers of AVA's csv files."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modist_det.formats.ava.exact_parser import parse_exact, read_rows
from modist_det.formats.ava.fast_parser import NotPlain, parse_plain
from modist_det.formats.ava.files import (
    DETECTIONS,
    EXCLUSIONS,
    GROUND_TRUTH,
    PERSON_BOXES,
    BoxTable,
    FrameFiles,
    find_problems,
    read_ava_boxes,
    read_detections,
    read_exclusions,
    read_frame_list,
    read_person_boxes,
    scan_table,
    write_ava_boxes,
    write_detections,
)
from modist_det.utils.errors import UserError


@pytest.fixture
def csv_file(tmp_path):
    def write(content: str | bytes) -> Path:
        path = tmp_path / "rows.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def rows_of(table: BoxTable) -> list[tuple]:
    """The table as the rows that it was read from, and the keyframes after them."""
    columns = (table.video, table.second, table.boxes, table.action, table.score, table.person, table.line)
    rows = [
        (table.videos[video], second, *box, action, score, person, line)
        for video, second, box, action, score, person, line in zip(
            *(c.tolist() for c in columns), strict=True
        )
    ]
    empty = table.keyframes
    keys = zip(empty.video.tolist(), empty.second.tolist(), empty.line.tolist(), strict=True)
    return rows + [(empty.videos[video], second, line) for video, second, line in keys]


# ---- what is read -----------------------------------------------------------------------------


def test_ground_truth(csv_file):
    path = csv_file(
        "b,0902,0.077,0.151,0.283,0.811,80,1\nb,903\na,0902.5,0,0.1,1,1.0,9\na,0902,.5,0.5,0.5,5e-1,9,\n"
    )
    table = read_ava_boxes(path)
    assert rows_of(table) == [
        ("b", 902.0, 0.077, 0.151, 0.283, 0.811, 80, 1.0, 1, 1),
        ("a", 902.5, 0.0, 0.1, 1.0, 1.0, 9, 1.0, -1, 3),
        ("a", 902.0, 0.5, 0.5, 0.5, 0.5, 9, 1.0, -1, 4),
        ("b", 903.0, 2),
    ]
    assert table.videos == ("b", "a")
    assert (table.boxes.dtype, table.action.dtype, table.video.dtype) == (np.float64, np.int32, np.int32)


def test_detections_keep_the_score_and_may_leave_the_image(csv_file):
    table = read_detections(csv_file("a,1,-0.01,0.2,1.003,0.1,3,9.1e-05\na,2\n"))
    assert rows_of(table) == [("a", 1.0, -0.01, 0.2, 1.003, 0.1, 3, 9.1e-05, -1, 1), ("a", 2.0, 2)]


def test_person_boxes_with_and_without_action(csv_file):
    table = read_person_boxes(
        csv_file("a,902,0.1,0.2,0.3,0.4,,0.95\na,902,0.1,0.2,0.3,0.4,12,1\na,902,0,0,1,1,-1,0\n")
    )
    assert table.action.tolist() == [-1, 12, -1]
    assert table.score.tolist() == [0.95, 1.0, 0.0]


def test_exclusions(csv_file):
    keys = read_exclusions(csv_file("a,0903\r\n\r\nb,1000.25"))
    assert [keys.videos[v] for v in keys.video] == ["a", "b"]
    assert keys.second.tolist() == [903.0, 1000.25]
    assert keys.line.tolist() == [1, 3]
    assert len(read_exclusions(csv_file(""))) == 0


@pytest.mark.parametrize(
    "content",
    [
        "v 1,2,0.1,0.2,0.3,0.4,5\nw,3\n",
        "v 1,2,0.1,0.2,0.3,0.4,5\nw,3",
        "v 1,2,0.1,0.2,0.3,0.4,5\r\nw,3\r\n",
        "v 1,2,0.1,0.2,0.3,0.4,5\rw,3\r",
        b"\xef\xbb\xbfv 1,2,0.1,0.2,0.3,0.4,5\nw,3\n",
        '"v 1",2,"0.1",0.2,0.3,0.4,5\n"w",3\n',
        "v 1, 2,0.1 , 0.2,0.3,0.4, 5\nw,3,,,,,\n",
        "v 1,2.0,+1e-1,00.20,.3,0.4000000000000000,5.0,\nw,3\n",
    ],
    ids=["plain", "no last newline", "CRLF", "CR", "BOM", "quotes", "spaces", "other numbers"],
)
def test_one_meaning_in_many_spellings(csv_file, content):
    assert rows_of(read_ava_boxes(csv_file(content))) == [
        ("v 1", 2.0, 0.1, 0.2, 0.3, 0.4, 5, 1.0, -1, 1),
        ("w", 3.0, 2),
    ]


def test_blank_lines_and_header_count_as_lines(csv_file):
    path = csv_file("\nvideo_id,timestamp,x1,y1,x2,y2,action_id\n\nv,1,0,0,1,1,2\n   \nw,2\n")
    assert rows_of(read_ava_boxes(path)) == [("v", 1.0, 0.0, 0.0, 1.0, 1.0, 2, 1.0, -1, 4), ("w", 2.0, 6)]


def test_names_with_commas_quotes_newlines_and_letters_of_any_script(csv_file):
    table = read_exclusions(csv_file('"a, b",1\n"say ""hi""",2\n"two\nlines",3\nvidéo 走,4\n'))
    assert table.videos == ("a, b", 'say "hi"', "two\nlines", "vidéo 走")
    assert table.line.tolist() == [1, 2, 3, 5]


# ---- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("v,1,0.1,0.2,0.3,0.4", "6 columns, but a ground truth row has 2, 7 or 8"),
        ("v", "1 column, but"),
        ("v;1;0.1;0.2;0.3;0.4;5", "separate columns with commas"),
        ("v\t1\t0.1\t0.2\t0.3\t0.4\t5", "separate columns with commas"),
        ("v;1;0,1;0,2;0,3;0,4;5", "5 columns, but a ground truth row has 2, 7 or 8"),
        ("v;1;0,1;0,2;0,3;0,4;5", "separate columns with commas and write decimals with a point"),
        ("v,1,0,1,0,2,0,3,0,4,5", "write decimals with a point"),
        ('v,1,"0,1","0,2","0,3","0,4",5', "x1 is '0,1', not a finite number; write decimals with a point"),
        ("v,1,0.1,0.2,0.3,0.4,5,,,", "10 columns"),
        ("v,1,0.1,0.2,0.3,0.4,5,6,7", "9 columns"),
        ("v,1,0.1,nan,0.3,0.4,5", "y1 is 'nan', not a finite number"),
        ("v,1,0.1,0.2,inf,0.4,5", "x2 is 'inf', not a finite number"),
        ("v,1,0.1,0.2,1e999,0.4,5", "x2 is '1e999', not a finite number"),
        ("v,1,0.1,0.2,0.3,abc,5", "y2 is 'abc', not a finite number"),
        ("v,1,0.1,0.2,0.3,0_4,5", "y2 is '0_4', not a finite number"),
        ("v,1,.,0.2,0.3,0.4,5", "x1 is '.', not a finite number"),
        ("v,1,,0.2,0.3,0.4,5", "x1 is empty"),
        ("v,,0.1,0.2,0.3,0.4,5", "second is empty"),
        ("v,-1,0.1,0.2,0.3,0.4,5", "second is -1, but must be from 0"),
        ("v,1e9,0.1,0.2,0.3,0.4,5", "second is 1e9, but must be from 0"),
        ("v,1,0.1,0.2,0.3,0.4,", "action is empty"),
        ("v,1,0.1,0.2,0.3,0.4,0", "action is 0, but class ids begin at 1"),
        ("v,1,0.1,0.2,0.3,0.4,-1", "action is -1, but class ids begin at 1"),
        ("v,1,0.1,0.2,0.3,0.4,1.5", "action is '1.5', not a whole number"),
        ("v,1,0.1,0.2,0.3,0.4,99999999999", "action is '99999999999', not a whole number"),
        ("v,1,0.1,0.2,0.3,0.4,5,0.99", "person id is '0.99', not a whole number"),
        ("v,1,0.1,0.2,0.3,0.4,5,-7", "person id is -7, but must not be negative"),
        (",1,0.1,0.2,0.3,0.4,5", "the video's name is empty"),
        ('"v,1,0.1,0.2,0.3,0.4,5', "a quote may be missing"),
        ("v,1,0.3,0.2,0.1,0.4,5", "box (0.3, 0.2, 0.1, 0.4) is inverted"),
        ("v,1,0.1,0.4,0.3,0.2,5", "box (0.1, 0.4, 0.3, 0.2) is inverted"),
        ("v,1,0.1,0.2,0.3,1.1,5", "box (0.1, 0.2, 0.3, 1.1) is outside the image"),
        ("v,1,-0.1,0.2,0.3,0.4,5", "is outside the image"),
        ("v,1,10,20,30,40,5", "coordinates are fractions of its size"),
    ],
)
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_bad_row_is_named_with_file_and_line(csv_file, row, message, ending):
    good = "v,1,0.1,0.2,0.3,0.4,5"
    path = csv_file(ending.join([good, "", good, row, good if '"' not in row else ""]))
    with pytest.raises(UserError) as caught:
        read_ava_boxes(path)
    assert str(caught.value).startswith(f"{path}:4: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_detections_need_a_score_and_fractions(csv_file):
    with pytest.raises(UserError, match=r"rows.csv:1: 7 columns, but a detection row has 2 or 8"):
        read_detections(csv_file("v,1,0.1,0.2,0.3,0.4,5\n"))
    with pytest.raises(UserError, match=r"rows.csv:2: box \(10, 20, 30, 40\) is outside the image"):
        read_detections(csv_file("v,1,0.1,0.2,0.3,0.4,5,0.1\nv,1,10,20,30,40,5,0.5\n"))
    with pytest.raises(UserError, match=r"rows.csv:1: score is 'nan'"):
        read_detections(csv_file("v,1,0.1,0.2,0.3,0.4,5,nan\n"))
    assert len(read_detections(csv_file(""))) == 0


def test_rounding_at_the_edge_is_not_an_error(csv_file):
    assert read_ava_boxes(csv_file("v,1,-1e-12,0,1.0000000002,1,5\n")).boxes[0, 2] == 1.0000000002


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "rows.csv has no rows"),
        (b"\n\n", "rows.csv has no rows"),
        (b"video,second\n", "rows.csv has no rows"),
        ("v,1\n".encode("utf-16"), "not UTF-8 text"),
        (b"v,1\n\xff\xfe,2\n", r"rows.csv:2: not UTF-8 text"),
    ],
)
def test_files_that_are_empty_or_not_text(csv_file, content, message):
    with pytest.raises(UserError, match=message):
        read_ava_boxes(csv_file(content))


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(UserError, match="none.csv does not exist"):
        read_detections(tmp_path / "none.csv")
    with pytest.raises(UserError, match="is a folder"):
        read_detections(tmp_path)


def test_a_first_row_that_is_wrong_is_not_taken_for_a_header(csv_file):
    for row in ("v,nan", "v,9O2", "v,,0.1,0.2,0.3,0.4,5", "v,Z903", "Z903,O902", "v,l,O,O,l,l", "v,902\x1d"):
        with pytest.raises(UserError, match=r"rows.csv:1: "):
            read_ava_boxes(csv_file(row + "\n"))
    with pytest.raises(UserError, match=r"rows.csv:1: second is 'Z903', not a finite number"):
        read_exclusions(csv_file("vid,Z903\nvid,904\n"))


@pytest.mark.parametrize(
    "header",
    [
        "video,second",
        "Video ID,Timestamp",
        '"video_id","frame_timestamp","",',
        "name,middle-frame timestamp",
        "vid,start,xmin,ymin,xmax,ymax,label",  # words in all columns of a long row
        "vid,sekunde,x1,y1,x2,y2,action,person",
    ],
)
def test_headers(csv_file, header):
    assert read_ava_boxes(csv_file(header + "\nv,1\n")).keyframes.line.tolist() == [2]


def test_all_problems_are_listed_in_order(csv_file):
    path = csv_file(
        "v,1,0.1,0.2,0.3,0.4,5\n"
        "v,1,0.5,0.2,0.3,0.4,5\n"
        "v,x,0.1,0.2,0.3,0.4,5\n"
        "v,1\n"
        "v,1,0.1,0.2,0.3,1.4,5\n"
        "v,1,0.1,0.2,0.1,0.4,5\n"
        "v,1,0.1,0.2,0.3,0.4,5\n"
        "v,1,0.1,0.2,0.3,0.4,6\n"
        "v,1,0.1\n"
    )
    problems = find_problems(path, GROUND_TRUTH)
    assert [(p.line, p.message.split(";")[0]) for p in problems] == [
        (2, "box (0.5, 0.2, 0.3, 0.4) is inverted"),
        (3, "second is 'x', not a finite number"),
        (5, "box (0.1, 0.2, 0.3, 1.4) is outside the image"),
        (6, "box (0.1, 0.2, 0.1, 0.4) has no area"),
        (7, "the same box and action as in line 1"),
        (9, "3 columns, but a ground truth row has 2, 7 or 8 (video,second[,x1,y1,x2,y2,action[,person]])"),
    ]
    assert str(problems[0]).startswith(f"{path}:2: box")
    table, refused = scan_table(path, GROUND_TRUTH)
    assert table.line.tolist() == [1, 6, 7, 8]
    assert sorted(p.line for p in refused) == [2, 3, 5, 9]


def test_no_problems_in_a_good_file(csv_file):
    assert find_problems(csv_file("v,1\nv,2\n"), EXCLUSIONS) == []


# ---- the two parsers agree --------------------------------------------------------------------

_decimals = st.decimals(0, 1, places=3).map(str)
_numbers = st.one_of(
    _decimals,
    st.floats(0, 1).map(repr),
    st.sampled_from(["0", "1", ".5", "1.", "5e-1", "+0.25", "0.12345678901234567890", "000.5", "1E-5"]),
)
_broken = st.sampled_from(
    ["", "nan", "x", "-", "1e", "1..2", " 0.5", "0.5 ", "1_0", "٣", '"0.5"', "1e400", "--1", "."]
)
_names = st.sampled_from(
    ["a", "bb", "a b", "é", "-5KQ66BBWC4", '"q,1"', "", "a", "a", '"a"', '"x\ny"', '"a ""b"""', 'a"b', '""']
)
_seconds = st.one_of(st.integers(0, 2000).map(str), st.integers(0, 2000).map("{:04d}".format), _numbers)


@st.composite
def csv_texts(draw) -> str:
    damage = draw(st.booleans())
    number = st.one_of(*[_numbers] * 15, _broken) if damage else _numbers
    lines = []
    for _ in range(draw(st.integers(0, 8))):
        kind = draw(st.sampled_from([2, 7, 8, 8, 8, 0] + [3] * damage))
        cells = [draw(_names if damage else _names.filter(bool)), draw(_seconds)]
        cells += [draw(number) for _ in range(4)]
        cells += [draw(st.one_of(st.integers(1, 80).map(str), st.just("") if damage else st.just("7")))]
        cells += [draw(st.one_of(number, st.integers(0, 5).map(str)))]
        lines.append(",".join(cells[:kind]))
    ending = draw(st.sampled_from(["\n", "\r\n"]))
    return ending.join(lines) + ending * draw(st.integers(0, 2))


@settings(max_examples=150, deadline=None)
@given(text=csv_texts(), layout=st.sampled_from([GROUND_TRUTH, DETECTIONS, PERSON_BOXES, EXCLUSIONS]))
def test_plain_parser_gives_what_the_exact_one_gives(tmp_path_factory, text, layout):
    path = tmp_path_factory.getbasetemp() / "parsers.csv"
    path.write_bytes(text.encode())
    data, first_line = read_rows(path)
    problems: list = []
    exact = parse_exact("x", data, first_line, layout, problems.append)
    try:
        plain = parse_plain("x", data, first_line, layout)
    except NotPlain:
        return
    assert not problems
    assert rows_of(plain) == rows_of(exact)
    assert plain.videos == exact.videos
    for name in ("video", "second", "boxes", "action", "score", "person", "line"):
        assert getattr(plain, name).dtype == getattr(exact, name).dtype, name


@pytest.mark.parametrize("layout", [GROUND_TRUTH, DETECTIONS, PERSON_BOXES], ids=lambda layout: layout.name)
def test_ordinary_files_take_the_plain_way(csv_file, layout):
    """Otherwise the comparison above would compare nothing, and large files would be slow."""
    path = csv_file(
        "".join(f"video{i % 3},{902 + i:04d},0.{i},0.2,0.99{i},1.0,{i + 1},{i}\n" for i in range(50))
    )
    data, first_line = read_rows(path)
    plain = parse_plain("x", data, first_line, layout)
    assert len(plain) == 50
    assert rows_of(plain) == rows_of(parse_exact("x", data, first_line, layout, pytest.fail))


def test_real_ground_truth_is_read_exactly_and_fast(real_data):
    path = real_data / "ava" / "ava_val_v2.1_pose14.csv"
    start = time.process_time()
    table = read_ava_boxes(path)
    assert time.process_time() - start < 1.0
    assert len(table) == 93_400
    assert len(table.videos) == 64
    lines = path.read_text().splitlines()
    for row in (0, 1, 46_000, 93_399):
        cells = lines[row].split(",")
        assert table.videos[table.video[row]] == cells[0]
        assert table.second[row] == int(cells[1])
        assert table.boxes[row].tolist() == [float(cell) for cell in cells[2:6]]
        assert (table.action[row], table.line[row]) == (int(cells[6]), row + 1)
    assert len(read_ava_boxes(real_data / "ava" / "ava_sample.csv")) == 8
    assert len(read_exclusions(real_data / "ava" / "ava_excluded_timestamps_sample.csv")) == 2


# ---- writing ----------------------------------------------------------------------------------


def test_detections_survive_writing(csv_file, tmp_path):
    score = float(np.float32(1 / 3))
    table = read_detections(
        csv_file(
            f'"a, ""b""",0902,0.077,0.1,0.2,0.3,4,{score!r}\n'
            f'"a, ""b""",0902,0.077,0.1,0.2,0.3,5,{float(np.float32(1.5e-7))!r}\n'
            '"a, ""b""",902.125,0,0,1,1,4,1\nc,12345\n'
        )
    )
    out = tmp_path / "new" / "out.csv"
    write_detections(out, table)
    assert out.read_text() == (
        'c,12345\n"a, ""b""",0902,0.077000,0.100000,0.200000,0.300000,4,0.333333343\n'
        '"a, ""b""",0902,0.077000,0.100000,0.200000,0.300000,5,1.50000005e-07\n'
        '"a, ""b""",0902.125,0.000000,0.000000,1.000000,1.000000,4,1\n'
    )
    again = read_detections(out)
    np.testing.assert_array_equal(again.boxes, table.boxes)
    np.testing.assert_array_equal(again.score.astype(np.float32), table.score.astype(np.float32))
    assert [again.videos[v] for v in again.video] == [table.videos[v] for v in table.video]
    assert again.keyframes.second.tolist() == [12345.0]


def test_ground_truth_survives_writing(csv_file, tmp_path):
    for content in (
        "v,0901\nv,0902,0.1,0.2,0.3,0.4,5\n",
        "v,0902,0.1,0.2,0.3,0.4,5,3\nv,0902,0.1,0.2,0.3,0.5,5,\n",
    ):
        table = read_ava_boxes(csv_file(content))
        write_ava_boxes(tmp_path / "out.csv", table)
        assert rows_of(read_ava_boxes(tmp_path / "out.csv")) == rows_of(table)


def test_second_without_digits_to_spare(csv_file, tmp_path):
    table = read_ava_boxes(csv_file("v,0\nv,7.5\nv,0.000001\nv,100000\n"))
    write_ava_boxes(tmp_path / "out.csv", table)
    assert (tmp_path / "out.csv").read_text() == "v,0000\nv,0007.5\nv,0000.000001\nv,100000\n"


# ---- frame lists ------------------------------------------------------------------------------

_HEADER = "original_vido_id video_id frame_id path labels\n"


def test_frame_list(csv_file):
    path = csv_file(_HEADER + 'b 0 0 b/b_000001.jpg ""\nb 0 1 b/b_000002.jpg ""\n\na 1 0 x/y/1.png ""\n')
    assert read_frame_list(path) == {
        "b": FrameFiles("b", ("b_000001.jpg", "b_000002.jpg")),
        "a": FrameFiles("x/y", ("1.png",)),
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "frame list .*rows.csv has no rows"),
        (_HEADER, "has no rows"),
        (_HEADER + "a 0 0\n", "rows.csv:2: 3 columns"),
        (
            _HEADER + 'a 0 0 a/1.jpg ""\na 0 1 b/2.jpg ""\n',
            "rows.csv:3: a frame of a is in b, others are in a",
        ),
        (b"a 0 0 a/\xff.jpg x\n", "not UTF-8"),
    ],
)
def test_bad_frame_lists(csv_file, content, message):
    with pytest.raises(UserError, match=message):
        read_frame_list(csv_file(content))


def test_missing_frame_list(tmp_path):
    with pytest.raises(UserError, match="frame list .*none.csv does not exist"):
        read_frame_list(tmp_path / "none.csv")


# ---- what is no csv file, or another one --------------------------------------------------------


@pytest.mark.parametrize(
    "read", [read_ava_boxes, read_detections, read_person_boxes, read_exclusions, read_frame_list]
)
def test_devices_and_pipes_are_refused(tmp_path, read):
    """``/dev/zero`` never ends, and a pipe that nobody writes into never begins."""
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe.csv")
    for name, message in (("zero.csv", "is not an ordinary file"), ("pipe.csv", "is not an ordinary file")):
        with pytest.raises(UserError, match=f"{name} {message}"):
            read(tmp_path / name)
    with pytest.raises(UserError, match="is a folder"):
        read(tmp_path)


def test_pipes_that_the_shell_opened_are_read():
    """``tools/evaluate_ava.py -d <(zcat detections.csv.gz)``."""
    ours, theirs = os.pipe()
    with os.fdopen(theirs, "wb") as out, os.fdopen(ours, "rb"):
        out.write(b"a,1,0,0,1,1,3,0.5\na,x,0,0,1,1,3,0.5\n")
        out.close()
        with pytest.raises(UserError, match=f"/dev/fd/{ours}:2: second is 'x', not a finite number"):
            read_detections(f"/dev/fd/{ours}")
    ours, theirs = os.pipe()
    with os.fdopen(theirs, "wb") as out, os.fdopen(ours, "rb"):
        out.write(b"a,1,0,0,1,1,3,0.5\n")
        out.close()
        assert read_detections(f"/dev/fd/{ours}").action.tolist() == [3]


def test_person_boxes_with_person_ids_for_scores_are_doubted(csv_file, caplog):
    read_person_boxes(csv_file("a,1,0,0,1,1,,0.9\na,2,0,0,1,1,,1\n"))
    read_person_boxes(csv_file("a,1,0,0,1,1,,1\na,2,0,0,1,1,,1.0\n"))  # all certain
    assert not caplog.messages
    read_person_boxes(csv_file("a,1,0,0,1,1,3,1\na,2,0,0,1,1,3,12\n"))
    (message,) = caplog.messages
    assert (
        "rows.csv: every score is a whole number, such as 12; this may be a file of ground truth" in message
    )


@pytest.mark.parametrize(
    ("ending", "hint"), [(",,", "remove the commas at its end"), (",5", "write decimals with a point")]
)
def test_a_row_that_is_too_long(csv_file, ending, hint):
    with pytest.raises(UserError, match=hint):
        read_detections(csv_file(f"a,1,0,0,1,1,3,0.5{ending}\n"))


def test_frame_list_with_the_line_ends_of_any_system(csv_file):
    rows = ["original_vido_id video_id frame_id path labels", 'v 0 0 v/1.jpg ""', 'v 0 1 v/2.jpg ""']
    for end in ("\n", "\r\n", "\r"):
        assert read_frame_list(csv_file(end.join(rows)))["v"].names == ("1.jpg", "2.jpg")
