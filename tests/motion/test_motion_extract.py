"""Extraction of many videos: what is kept, what is made again, what is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import cv2
import pytest
import torch
from torchvision.models.optical_flow import raft_small

from modist_det.data.motion_sources import find_sources
from modist_det.motion.cached import find_map_file
from modist_det.motion.extract import ExtractionSettings, extract_motion
from modist_det.motion.map_file import MapFile
from modist_det.utils.errors import UserError

SETTINGS = ExtractionSettings(short_side=32, options=(("preset", "ultrafast"),))


@pytest.fixture
def videos(tmp_path, carried, write):
    """Two videos, one of them in a subfolder."""
    folder = tmp_path / "videos"
    write(folder / "a.mp4", carried(7, 64, 80, (1, 0)))
    write(folder / "sub" / "a.mp4", carried(9, 64, 80, (0, 1)))
    return folder


def run(videos, out, settings=SETTINGS, **options):
    return extract_motion(find_sources([str(videos)], out), out, settings, show_progress=False, **options)


def test_each_frame_of_each_video(videos, tmp_path):
    out = tmp_path / "out"
    report = run(videos, out)
    files = [out / "a.mp4.motion", out / "sub" / "a.mp4.motion"]
    assert (report.made, report.kept, report.maps, report.failed) == (2, 0, 16, [])
    assert report.bytes == sum(file.stat().st_size for file in files)
    for file, num_frames in zip(files, (7, 9), strict=True):
        with MapFile(file) as maps:
            info = maps.info
        assert (info.num_frames, info.height, info.width, info.rate) == (num_frames, 32, 40, "30")
        assert (info.estimator, info.kind) == ("DIS(preset='ultrafast')", "edges")


def test_finished_files_are_kept_and_only_they(videos, tmp_path):
    out = tmp_path / "out"
    run(videos, out)
    first, second = out / "a.mp4.motion", out / "sub" / "a.mp4.motion"
    whole, stamp = first.read_bytes(), second.stat().st_mtime_ns
    first.write_bytes(whole[:-40])
    begun = [
        out / f".a.mp4.motion.tmp-{'1' * 16}",
        out / "sub" / f".a.mp4.motion.tmp-{'2' * 16}",
        out / ".of_something_else.motion.tmp-3",
    ]
    for file in begun:
        file.touch()
    report = run(videos, out)
    assert [file.exists() for file in begun] == [False, False, True]
    assert (report.made, report.kept) == (1, 1)
    assert first.read_bytes() == whole
    assert second.stat().st_mtime_ns == stamp

    shutil.copy(videos / "sub" / "a.mp4", videos / "a.mp4")  # another video of the same name
    report = run(videos, out)
    assert (report.made, report.kept, report.maps) == (1, 1, 9)


def test_a_file_with_a_damaged_picture_is_made_again(videos, tmp_path):
    out = tmp_path / "out"
    run(videos, out)
    first = out / "a.mp4.motion"
    whole = first.read_bytes()
    first.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])  # its table is as it was
    report = run(videos, out)
    assert (report.made, report.kept) == (1, 1)
    assert first.read_bytes() == whole


@pytest.mark.parametrize("text", ["", "{", "[1]", "5"])
def test_damaged_notes_of_the_settings_are_named(videos, tmp_path, text):
    run(videos, tmp_path / "out")
    (tmp_path / "out/extraction.json").write_text(text)
    with pytest.raises(UserError, match=r"extraction\.json is damaged.*delete it"):
        run(videos, tmp_path / "out")


def test_a_bad_video_does_not_stop_the_others(videos, tmp_path):
    (videos / "aa.mp4").write_text("not a video")
    report = run(videos, tmp_path / "out")
    assert (report.made, report.kept) == (2, 0)
    assert [(video, "text file" in reason) for video, reason in report.failed] == [
        (str(videos / "aa.mp4"), True)
    ]
    assert not (tmp_path / "out" / "aa.mp4.motion").exists()


def test_frames_that_are_too_small_fail_by_name(tmp_path, carried, write):
    tiny = write(tmp_path / "tiny.mp4", carried(3, 8, 8, (0, 0)))
    [(video, reason)] = run(tiny, tmp_path / "out").failed
    assert video == str(tiny)
    assert reason.startswith(f"cannot read video {tiny}: ")
    assert "8x8 pixels" in reason


def test_a_folder_holds_maps_of_one_kind(videos, tmp_path):
    run(videos, tmp_path / "out")
    with pytest.raises(UserError, match=r"maps with short_side 32; give the same options or another folder"):
        run(videos, tmp_path / "out", ExtractionSettings(options=SETTINGS.options))
    with pytest.raises(UserError, match="no option"):
        run(videos, tmp_path / "new", ExtractionSettings(options=(("presets", 1),)))
    assert not (tmp_path / "new").exists()


def test_a_folder_of_an_earlier_release_goes_on(videos, tmp_path):
    run(videos, tmp_path / "out")
    settings = tmp_path / "out" / "extraction.json"
    content = json.loads(settings.read_text())
    assert content.pop("reference_side") == 0 and content.pop("limit") == 0
    settings.write_text(json.dumps(content))
    assert run(videos, tmp_path / "out").made == 0
    with pytest.raises(UserError, match="maps with reference_side 0"):
        run(videos, tmp_path / "out", replace(SETTINGS, reference_side=64))
    with pytest.raises(UserError, match="maps with limit 0"):
        run(videos, tmp_path / "out", replace(SETTINGS, limit=5.0))


def test_device_and_batch_size_may_change(tmp_path):
    weights = tmp_path / "small.pth"
    torch.save(raft_small(weights=None).state_dict(), weights)
    options = {"size": "small", "weights": str(weights), "batch_size": 1, "device": "cpu", "iterations": 1}
    for changes in ({}, {"batch_size": 2}, {"device": "cpu:0"}):
        settings = ExtractionSettings(estimator="RAFT", options=tuple({**options, **changes}.items()))
        assert extract_motion([], tmp_path / "out", settings, show_progress=False).failed == []
    settings = ExtractionSettings(estimator="RAFT", options=tuple({**options, "iterations": 2}.items()))
    with pytest.raises(UserError, match="maps with options .*'iterations': 1"):
        extract_motion([], tmp_path / "out", settings, show_progress=False)


def test_shares_are_the_whole(videos, tmp_path):
    sources = find_sources([str(videos)], tmp_path / "out")
    shares = [sources[shard::2] for shard in range(2)]
    assert sum(shares, []) == sources
    for share in shares:
        assert extract_motion(share, tmp_path / "out", SETTINGS, show_progress=False).made == 1
    assert run(videos, tmp_path / "out").kept == 2


def relative(sources, out):
    return [str(source.target).removeprefix(f"{out}/") for source in sources]


def test_sources_of_lists_files_and_data_sets(videos, tmp_path, tiny_puppets):
    (videos / "list.txt").write_text(f"# two\n\nsub/a.mp4\n{videos}/a.mp4\n")
    (videos / "notes.md").touch()
    both = ["a.mp4.motion", "sub/a.mp4.motion"]
    for given in ([videos / "list.txt"], [videos], [videos / "a.mp4", videos]):
        assert relative(find_sources([str(g) for g in given], "out"), "out") == both
    assert relative(find_sources([str(videos / "sub" / "a.mp4")], "out"), "out") == ["a.mp4.motion"]
    puppets = find_sources([str(tiny_puppets / "val.yaml")], "out")
    assert len(puppets) == 3
    assert all(source.video.endswith(".mp4") for source in puppets)
    (tmp_path / "mine.yaml").write_text("format: videos\nvideos: videos\n")
    assert relative(find_sources([str(tmp_path / "mine.yaml")], "out"), "out") == both


def test_folders_of_frames(tmp_path, carried):
    for number, frame in enumerate(carried(6, 64, 80, (1, 0))):
        (tmp_path / "videos" / "clip").mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / "videos" / "clip" / f"{number}.png"), frame)
    with pytest.raises(UserError, match="no videos in .*--fps"):
        find_sources([str(tmp_path / "videos")], "out")
    for given in (tmp_path / "videos", tmp_path / "videos" / "clip"):
        sources = find_sources([str(given)], tmp_path / "out", fps=10)
        assert relative(sources, tmp_path / "out") == ["clip.motion"]
    report = extract_motion(sources, tmp_path / "out", SETTINGS, show_progress=False)
    assert (report.made, report.maps) == (1, 6)


def test_sources_that_cannot_be(videos, tmp_path):
    with pytest.raises(UserError, match="have the same target out/a.mp4.motion"):
        find_sources([str(videos / "a.mp4"), str(videos / "sub" / "a.mp4")], "out")
    with pytest.raises(UserError, match=r"none\.mp4 does not exist"):
        find_sources(["none.mp4"], "out")
    with pytest.raises(UserError, match="nothing is not a folder, video.*dataset"):
        find_sources(["nothing"], "out")
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"list\.txt is not UTF-8 text"):
        find_sources([str(tmp_path / "list.txt")], "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no videos in"):
        find_sources([str(tmp_path / "empty")], "out")


def test_no_list_leads_out_of_the_folder_of_maps(videos, tmp_path):
    """Entries with ``..`` wrote beside ``--out``, over whatever was there."""
    lists = tmp_path / "a" / "b"
    lists.mkdir(parents=True)
    out = tmp_path / "out" / "deep"
    (lists / "list.txt").write_text("../../videos/a.mp4\n../../videos/sub/../sub/a.mp4\n")
    sources = find_sources([str(lists / "list.txt")], out)
    assert [source.target for source in sources] == [str(out / "a.mp4.motion"), str(out / "sub/a.mp4.motion")]
    extract_motion(sources, out, SETTINGS, show_progress=False)
    written = {path for path in tmp_path.rglob("*") if path.suffix == ".motion"}
    assert written == {out / "a.mp4.motion", out / "sub/a.mp4.motion"}
    # They are found by the same videos under either name.
    for name in (videos / "sub/a.mp4", lists / "../../videos/sub/a.mp4"):
        assert find_map_file(out, name) == out / "sub/a.mp4.motion"


def test_leftovers_of_systems_are_no_videos_and_links_are_followed(videos, tmp_path):
    (videos / "@eaDir").mkdir()
    for name in ("@eaDir/a.mp4", "._a.mp4"):
        (videos / name).write_bytes(b"no video")
    (videos / "loop").symlink_to(videos)
    shutil.copytree(videos / "sub", tmp_path / "elsewhere")
    (videos / "more").symlink_to(tmp_path / "elsewhere")
    names = [source.target for source in find_sources([str(videos)], "out")]
    assert names == [f"out/{name}.motion" for name in ("a.mp4", "more/a.mp4", "sub/a.mp4")]
