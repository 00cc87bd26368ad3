"""Which entries of folders count."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from modist_det.video.listing import extension, file_key, is_hidden, scan, videos_in, walk

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


def test_a_link_to_itself_is_left_out(tmp_path, caplog) -> None:
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "a.mp4").write_bytes(b"")
    assert [entry.name for entry, _ in walk(tmp_path)] == ["a.mp4"]
    assert videos_in(tmp_path) == [str(tmp_path / "a.mp4")]
    assert "circle is left out" in caplog.text


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


def without_inode(status: os.stat_result) -> os.stat_result:
    return os.stat_result((status.st_mode, 0, *status[2:]))


def test_file_systems_without_inodes(tmp_path, monkeypatch) -> None:
    """Some network and user-space file systems say 0 for all: then folders and files are told apart by their paths."""
    for name in ("a/b/1.mp4", "a/c/2.mp4", "d/3.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "d" / "loop").symlink_to(tmp_path)
    (tmp_path / "link.mp4").symlink_to(tmp_path / "d" / "3.mp4")
    keys = [
        file_key(tmp_path / name, without_inode((tmp_path / name).stat()))
        for name in ("d/3.mp4", "link.mp4", "a/b/1.mp4")
    ]
    assert keys[0] == keys[1] != keys[2]
    real = os.stat
    monkeypatch.setattr(os, "stat", lambda *args, **named: without_inode(real(*args, **named)))
    assert relative(tmp_path) == ["a/b/1.mp4", "a/c/2.mp4", "d/3.mp4", "link.mp4"]


def test_files_with_one_inode_are_compared_further(tmp_path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"22")
    (tmp_path / "c").hardlink_to(tmp_path / "a")
    a, b, c = ((tmp_path / name).stat() for name in "abc")
    assert file_key("a", a) == file_key("c", c) != file_key("b", b)
    same = os.stat_result((*b[:1], a.st_ino, a.st_dev, *b[3:10]), {"st_mtime_ns": b.st_mtime_ns})
    assert file_key("b", same) != file_key("a", a)
