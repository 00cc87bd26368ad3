"""One video under two names: an error in every reader and in every check."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from modist_det.data.datasets import AVADataset, ClassFolders, KineticsDataset, VideoFolder, VideoListDataset
from modist_det.data.datasets.ava_check import check_dataset
from modist_det.data.datasets.classification_check import check_classification
from modist_det.data.datasets.columns import Strings
from modist_det.data.datasets.videos import equal_pair, find_videos, locate, number_files
from modist_det.utils.errors import UserError


@pytest.fixture
def folder(tmp_path) -> Path:
    """``videos/a.mp4``, an ordinary file ``b.mp4``, a link to a, and a hard link to a in a linked folder."""
    videos, other = tmp_path / "videos", tmp_path / "other"
    videos.mkdir()
    other.mkdir()
    (videos / "a.mp4").write_bytes(b"a")
    (videos / "b.mp4").write_bytes(b"b")
    (videos / "link.mp4").symlink_to(videos / "a.mp4")
    os.link(videos / "a.mp4", other / "hard.mp4")
    (videos / "sub").symlink_to(other)
    (tmp_path / "labels.pbtxt").write_text('item { name: "stand" id: 1 }\n')
    return tmp_path


def ava(folder: Path, names: list[str], boxes: list[str] | None = None) -> AVADataset:
    (folder / "gt.csv").write_text("".join(f"{name},1,0.1,0.1,0.5,0.5,1\n" for name in names))
    if boxes is not None:
        (folder / "boxes.csv").write_text("".join(f"{name},1,0.1,0.1,0.5,0.5,,0.99\n" for name in boxes))
    return AVADataset(
        "mine",
        folder / "videos",
        folder / "labels.pbtxt",
        annotations=folder / "gt.csv",
        person_boxes=None if boxes is None else folder / "boxes.csv",
    )


SECOND_NAMES = ["a.mp4", "./a", "link", "sub/hard", "../videos/a.mp4"]


@pytest.mark.parametrize("name", SECOND_NAMES)
def test_keyframes(folder, name) -> None:
    assert len(ava(folder, ["a", "b"]).records()) == 2
    dataset = ava(folder, ["b", "a", name])
    with pytest.raises(UserError, match=rf"'a' and '{name}' are one video, .*a\.mp4; call it by one name"):
        dataset.records()
    assert any("are one video" in problem for problem in check_dataset(dataset).problems)


def test_person_boxes_that_call_a_video_otherwise(folder) -> None:
    """They would find nobody: a detector's file of the names with extensions."""
    with pytest.raises(UserError, match=r"'a' and 'a\.mp4' are one video"):
        ava(folder, ["a", "b"], ["a.mp4", "b"]).records("detected")
    assert len(ava(folder, ["a", "b"], ["a", "b", "c"]).records("detected")) == 2


def test_listed_frames(folder) -> None:
    frames = folder / "videos" / "f"
    frames.mkdir()
    header = "original_vido_id video_id frame_id path labels\n"
    (folder / "list.csv").write_text(header + 'a 0 0 f/1.jpg ""\nb 1 0 f/2.jpg ""\nc 2 0 ./f/1.jpg ""\n')

    def dataset(names: list[str]) -> AVADataset:
        ava(folder, names)
        settings = {"annotations": folder / "gt.csv", "frame_list": folder / "list.csv"}
        return AVADataset("mine", folder / "videos", folder / "labels.pbtxt", **settings)

    a, b = dataset(["a", "b"]).records()  # two videos that share a folder
    assert (a.video.names, b.video.names) == (("1.jpg",), ("2.jpg",))
    with pytest.raises(UserError, match="'a' and 'c' are one video"):
        dataset(["a", "b", "c"]).records()


@pytest.mark.parametrize("name", [*SECOND_NAMES, "a.avi"])
def test_lists(folder, name) -> None:
    (folder / "list.txt").write_text(f"b.mp4 0\na.mp4 0\n{name} 0\n")
    dataset = VideoListDataset("l", folder / "videos", folder / "list.txt")
    with pytest.raises(UserError, match=r"list\.txt:3: .*(are both .*\.mp4|is listed twice)"):
        dataset.records()
    assert check_classification(dataset, open_videos=False).problems


def test_folders(folder) -> None:
    with pytest.raises(UserError, match=r"videos/(a|link)\.mp4 and .*videos/(a|link)\.mp4 are one file"):
        VideoFolder("v", folder / "videos").video_records()
    (folder / "videos/link.mp4").unlink()
    with pytest.raises(UserError, match=r"hard\.mp4 are one file|hard\.mp4 and .* are one file"):
        VideoFolder("v", folder / "videos").video_records()
    (folder / "other/hard.mp4").rename(folder / "hard.mp4")
    assert [r.video_id for r in VideoFolder("v", folder / "videos").video_records()] == ["a", "b"]
    with pytest.raises(UserError, match="are one file; remove one, or name fewer folders"):
        VideoFolder("v", [folder / "videos", folder / "videos"]).video_records()


def test_classes_that_are_links_to_one_folder(folder) -> None:
    for name in ("run", "walk"):
        (folder / "t" / name).parent.mkdir(exist_ok=True)
        (folder / "t" / name).symlink_to(folder / "other")
    with pytest.raises(UserError, match=r"walk/hard\.mp4 and run/hard\.mp4 .* are both"):
        ClassFolders("f", folder / "t").records()


def test_parts_of_a_video_share_it(folder) -> None:
    rows = "label,youtube_id,time_start,time_end,split\nx,a,0,5,t\nx,a,5,9,t\n"
    (folder / "k.csv").write_text(rows)
    dataset = KineticsDataset("k", folder / "videos", folder / "k.csv", trimmed=False)
    assert [(r.start, r.end) for r in dataset.records()] == [(0, 5), (5, 9)]
    with pytest.raises(UserError, match=r"a_000005_000009 and a_000000_000005 .* are both .*a\.mp4"):
        KineticsDataset("k", folder / "videos", folder / "k.csv").records()


def test_file_systems_that_list_one_inode_for_all_files(folder) -> None:
    place, paths, identities = locate([str(folder / "videos")], Strings.of(["a", "b", "link"]))
    identities[:] = 7
    numbers = number_files(identities, paths)[place]
    assert numbers[0] != numbers[1] and numbers[0] == numbers[2]
    assert equal_pair(numbers) == (2, 0)


def test_files_are_not_looked_at_one_by_one(folder, monkeypatch) -> None:
    (folder / "videos/link.mp4").unlink()
    for number in range(50):
        (folder / "videos" / f"v{number}.mp4").touch()
    looked: list[object] = []

    def counted(real: Callable) -> Callable:
        return lambda path, *args, **options: looked.append(path) or real(path, *args, **options)

    monkeypatch.setattr(os, "stat", counted(os.stat))
    monkeypatch.setattr(os, "lstat", counted(os.lstat))
    ids = [f"v{number}" for number in range(50)]
    assert len(find_videos([str(folder / "videos")], ids)) == 50
    assert len(looked) < 10


@pytest.mark.parametrize("name", ["a\0b", "x/\0/y", "n" * 300, "n" * 300 + "/a", "\udcff", "\ud800"])
def test_names_that_no_file_can_have(folder, name) -> None:
    assert find_videos([str(folder / "videos")], [name, "a"]).keys() == {"a"}


def test_a_file_of_unknown_kind_is_named(folder, caplog) -> None:
    (folder / "videos/c.xyz").touch()
    (folder / "videos/c.json").touch()
    (folder / "videos/b.xyz").touch()  # b is there
    assert find_videos([str(folder / "videos")], ["b", "c"]).keys() == {"b"}
    assert "1 file is of an unknown kind and left out, for example" in caplog.text and "c.xyz" in caplog.text
    assert find_videos([str(folder / "videos")], ["c.xyz"])["c.xyz"].endswith("c.xyz")


def test_file_names_that_are_no_text(folder) -> None:
    path = folder / "videos" / os.fsdecode(b"caf\xe9.mp4")
    path.touch()
    found = find_videos([str(folder / "videos")], [path.stem])
    assert found == {path.stem: str(path)}


@pytest.mark.parametrize("name", ["clip.MP4", "clip.mp4", "sub/clip.WebM"])
def test_ids_with_an_extension_in_any_case(tmp_path, name) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"")
    assert find_videos([str(tmp_path)], [name, "other"]) == {name: str(path)}
