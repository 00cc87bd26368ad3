"""Records of videos as columns."""

from __future__ import annotations

import gc
import pickle
import sys

import numpy as np
import pytest

from modist_det.data.datasets import KineticsDataset, VideoListDataset, VideoRecord, VideoRecords
from modist_det.data.datasets.columns import Strings
from modist_det.data.datasets.entries import Entry, as_entries, check_unique
from modist_det.utils.errors import UserError
from modist_det.video.frame_list import ListedFolder

RECORDS = [
    VideoRecord(3, "a", "x/a.mp4", None, (1,), 0.5, 2.0),
    VideoRecord(7, "b", "x/b", 12.5, (), None, None),
    VideoRecord(1, "\u00fc \udcff", "y/\ud800", None, (4, 0, 2)),
]


def test_items_are_the_records() -> None:
    columns = VideoRecords.of(RECORDS)
    assert list(columns) == RECORDS == columns[:] and columns[-1] == RECORDS[-1]
    assert VideoRecords.of(columns) is columns
    assert list(pickle.loads(pickle.dumps(columns))) == RECORDS
    with pytest.raises(IndexError):
        columns[3]


def test_taken_and_joined() -> None:
    columns = VideoRecords.of(RECORDS)
    assert list(columns.take(np.array([2, 0]))) == [RECORDS[2], RECORDS[0]]
    joined = VideoRecords.join([columns, RECORDS[:1], []])
    assert [r.number for r in joined] == [0, 1, 2, 3]
    assert [(r.video_id, r.labels, r.start) for r in joined] == [
        (r.video_id, r.labels, r.start) for r in [*RECORDS, RECORDS[0]]
    ]
    assert len(VideoRecords.join([])) == 0
    assert [r.video_id for r in columns.with_ids("xyz")] == ["x", "y", "z"] and columns[0].video_id == "a"


def test_what_lists_say_of_folders_stays() -> None:
    named, counted = ListedFolder("f", ["2.jpg", "1.jpg"]), ListedFolder("g", num_images=9)
    parts = [[VideoRecord(0, "f", named, 10.0)], [VideoRecord(0, "g", counted, 10.0), RECORDS[0]]]
    first, second, third = pickle.loads(pickle.dumps(VideoRecords.join(parts).take(np.arange(3))))
    assert first.video.names == ("2.jpg", "1.jpg") and second.video.num_images == 9
    assert type(third.video) is str


def test_strings() -> None:
    texts = ["b", "", "\u00e4", "b", "\udcff", "\ud800", "a\0"]
    column = Strings.of(texts)
    assert list(column) == texts and column[-1] == "a\0" and column[1:3] == ["", "\u00e4"]
    assert list(column.unique()) == ["b", "", "\u00e4", "\udcff", "\ud800", "a\0"]
    assert Strings.of(["a\0", "c", "b"]).places_in(column).tolist() == [6, -1, 0]
    assert list(column.take(column.order())) == sorted(texts)


def test_entries_of_ones_own_reader() -> None:
    rows = [
        Entry("a", ("x/a", "a"), (0, 2), "list:1", 1.0, 2.0),
        Entry("b", ("b",), (1,), "list:7", num_frames=30),
    ]
    assert list(as_entries(rows)) == rows
    with pytest.raises(UserError, match=r"list:9: video a is listed twice \(first: list:1\)"):
        check_unique([*rows, Entry("a", ("b",), (), "list:9")])


@pytest.mark.parametrize("kind", ["kinetics", "list"])
def test_records_are_no_objects(tmp_path, kind) -> None:
    """650,000 rows were 0.94 GB of objects, whose counters a worker writes to until it owns a copy of all."""
    count = 400
    (tmp_path / "v").mkdir()
    for number in range(count):
        (tmp_path / "v" / f"{number}_000000_000005.mp4").touch()
    header = "label,youtube_id,time_start,time_end,split\n"
    (tmp_path / "k.csv").write_text(header + "".join(f"c{i % 9},{i},0,5,t\n" for i in range(count)))
    (tmp_path / "l.txt").write_text("".join(f"{i}_000000_000005.mp4 {i % 9}\n" for i in range(count)))
    dataset = (
        KineticsDataset("k", tmp_path / "v", tmp_path / "k.csv")
        if kind == "kinetics"
        else VideoListDataset("l", tmp_path / "v", tmp_path / "l.txt")
    )
    dataset.records()  # imports and caches
    gc.collect()
    before = sys.getallocatedblocks()
    records = dataset.records()
    gc.collect()
    assert sys.getallocatedblocks() - before < count / 10
    assert len(records) == count and records[count - 1].video.endswith(f"/{count - 1}_000000_000005.mp4")
    assert [r.labels for r in records[:10]] == [(i % 9,) for i in range(10)]
    # Two texts and six numbers a row.
    columns = (
        records.video_ids,
        records.videos,
        records.fps,
        records.labels,
        records.starts,
        records.num_frames,
    )
    assert sum(column.nbytes for column in columns) / count < 250
