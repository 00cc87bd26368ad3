"""Which entries of folders count."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from modist_det.utils.listing import extension, is_hidden, scan, videos_in, walk

LEFT_BEHIND = [
    "._a.mp4",
    ".DS_Store",
    ".ipynb_checkpoints",
    "@eaDir",
    "@EADIR",
    "__MACOSX",
    "$RECYCLE.BIN",
    "System Volume Information",
    "lost+found",
    "Thumbs.db",
    "desktop.ini",
    "#recycle",
]


def relative(folder) -> list[str]:
    return sorted(os.path.relpath(entry.path, folder) for entry, _ in walk(folder))


@pytest.mark.parametrize("name", LEFT_BEHIND)
def test_what_systems_leave_behind_does_not_count(tmp_path, name) -> None:
    assert is_hidden(name)
    (tmp_path / name).mkdir()
    (tmp_path / name / "a.mp4").touch()
    (tmp_path / "b.mp4").touch()
    assert relative(tmp_path) == ["b.mp4"]
    assert [entry.name for entry in scan(tmp_path)] == ["b.mp4"]


def test_linked_folders_are_followed_and_loops_end(tmp_path) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    for file in (root / "real/deep/a.mp4", elsewhere / "c.mp4", elsewhere / "more/d.mp4"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    (root / "away").symlink_to(elsewhere)
    (root / "real/deep/up").symlink_to(root)  # a loop
    (elsewhere / "self").symlink_to(elsewhere)
    (root / "again").symlink_to(root / "real")  # its files have names of their own already
    (root / "broken").symlink_to(tmp_path / "nowhere")
    (root / "b.mp4").symlink_to(elsewhere / "c.mp4")
    assert relative(root) == ["away/c.mp4", "away/more/d.mp4", "b.mp4", "broken", "real/deep/a.mp4"]


def test_extension_is_that_of_the_last_part() -> None:
    names = ["a.MP4", "a.tar.gz", "a", ".mp4", "a.", "b.mp4/a", "b/.mp4", "a b.M2TS"]
    assert [extension(name) for name in names] == [".mp4", ".gz", "", "", "", "", "", ".m2ts"]


def test_videos_of_a_folder(tmp_path, caplog) -> None:
    for name in ("f10.avi", "f2.gif", "f3.ASF", "f4.m2ts", "notes.txt", "clip.xyz", "._f1.mp4"):
        (tmp_path / name).touch()
    (tmp_path / "frames.mp4").mkdir()
    with caplog.at_level(logging.WARNING):
        names = [Path(path).name for path in videos_in(tmp_path)]
    assert names == ["f2.gif", "f3.ASF", "f4.m2ts", "f10.avi"]
    assert "1 file is of an unknown kind" in caplog.text and "clip.xyz" in caplog.text
    assert "notes.txt" not in caplog.text
