"""Re-encoding videos: which frame is shown when, keyframes, quality, restarts."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest

from modist_det.data.catalog import DatasetCatalog
from modist_det.data.motion_sources import find_sources
from modist_det.utils.errors import UserError
from modist_det.video.listing import Source
from modist_det.video.packed import Video, write_index, write_shard
from modist_det.video.prepare import (
    PreparationSettings,
    Prepared,
    PreparedFile,
    prepare_videos,
    prepared_name,
    psnr,
    ssim,
)
from modist_det.video.reader import VideoReader, open_video
from modist_det.video.writer import VideoWriter

QUICK = {"preset": "ultrafast", "quality": 10}


def _prepare(video: Path, target: Path, frame_fps=None, replace=False, **settings):
    source = Source(str(video), frame_fps, str(target))
    done = prepare_videos(
        [source], PreparationSettings(**QUICK | settings), replace=replace, show_progress=False
    )
    return done.files[0]


def _keyframes(path):
    with av.open(str(path)) as container:
        return [packet.is_keyframe for packet in container.demux(video=0) if packet.size]


def test_each_frame_keeps_its_time(encode, read_number, tmp_path):
    pts = [0, 1, 2, 5, 6, 7, 11, 12, 13, 14]  # a variable rate
    source = encode(tmp_path / "clip.mkv", num_frames=10, pts=pts)
    outcome = _prepare(source, tmp_path / "new.mp4", keyframe_every=3, short_side=48)
    assert (outcome.status, outcome.frames) == ("made", 10), outcome.reason
    with open_video(source) as old, open_video(tmp_path / "new.mp4") as new:
        assert (new.info.height, new.info.width) == (48, 72)
        np.testing.assert_allclose(new.info.times, old.info.times, atol=1e-5)
        assert new.info.rate == old.info.rate
        numbers = [read_number(frame) for frame in new.frames_at_indices(range(10))]
    assert numbers == list(range(10))
    assert _keyframes(tmp_path / "new.mp4") == [True, False, False] * 3 + [True]


def test_times_of_a_rate_that_ticks_do_not_divide(encode, tmp_path):
    """24000/1001 frames a second are 3753.75 ticks of 1/90000 s apart: a constant rate must stay one."""
    _prepare(encode(tmp_path / "a.mp4", num_frames=30), tmp_path / "b.mp4", fps="24000/1001")
    with av.open(str(tmp_path / "b.mp4")) as container:
        stream = container.streams.video[0]
        pts = sorted(packet.pts for packet in container.demux(stream) if packet.size)
        steps = {Fraction(b - a) * stream.time_base for a, b in zip(pts, pts[1:], strict=False)}
    assert steps == {Fraction(1001, 24000)}


def test_a_constant_rate_takes_the_nearest_frames(encode, read_number, tmp_path):
    source = encode(tmp_path / "clip.mp4", num_frames=20, rate=25)
    outcome = _prepare(source, tmp_path / "new.mp4", keyframe_every=1, fps="12")
    assert outcome.frames == 10  # 0.8 s are 9.6 frames
    with open_video(tmp_path / "new.mp4") as new:
        assert new.info.rate == 12
        numbers = [read_number(frame) for frame in new.frames_at_indices(range(10))]
    # every 25 / 12 frames: the last but two is at 14.6; 12.5 is as near to 12 as to 13, and the earlier one counts
    assert numbers == [0, 2, 4, 6, 8, 10, 12, 15, 17, 19]
    assert all(_keyframes(tmp_path / "new.mp4"))


@pytest.mark.parametrize(
    ("short_side", "expected"),
    [(50, (50, 76)), (41, (40, 62)), (64, (64, 96)), (500, (64, 96)), (0, (64, 96))],
)
def test_sizes(encode, tmp_path, short_side, expected):
    """Both sides are the nearest even numbers, and small videos do not grow."""
    source = encode(tmp_path / "clip.mp4", num_frames=2)
    assert _prepare(source, tmp_path / "new.mp4", short_side=short_side).status == "made"
    with open_video(tmp_path / "new.mp4") as new:
        assert (new.info.height, new.info.width) == expected


def test_settings_reach_the_encoder(encode, tmp_path):
    """x264 writes its own into the file: no B-frames, no keyframes at cuts, no CABAC, which is slow to decode."""
    source = encode(tmp_path / "clip.mp4", num_frames=4)
    _prepare(source, tmp_path / "new.mp4", keyframe_every=3, preset="medium", quality=21)
    content = (tmp_path / "new.mp4").read_bytes()
    for option in (b"cabac=0", b"bframes=0", b"scenecut=0", b"keyint=3 ", b"crf=21.0", b"subme=7"):
        assert option in content, option


@pytest.mark.parametrize(("shift", "status"), [(2e-4, "failed"), (-2e-4, "failed"), (4e-5, "made")])
def test_wrong_times_are_failures(encode, tmp_path, monkeypatch, shift, status):
    source, write = encode(tmp_path / "clip.mp4", num_frames=10), VideoWriter.write
    monkeypatch.setattr(
        VideoWriter, "write", lambda self, image, second: write(self, image, second + shift * (second > 0.2))
    )
    outcome = _prepare(source, tmp_path / "new.mp4")
    assert outcome.status == status
    assert (tmp_path / "new.mp4").exists() == (status == "made")
    if status == "failed":
        assert f"{source}: frame " in outcome.reason
        assert " of the new file is shown at 0." in outcome.reason


def test_lost_frames_are_failures(encode, tmp_path, monkeypatch):
    source, write = encode(tmp_path / "clip.mp4", num_frames=10, rate=10), VideoWriter.write
    monkeypatch.setattr(
        VideoWriter, "write", lambda self, image, second: second > 0.85 or write(self, image, second)
    )
    outcome = _prepare(source, tmp_path / "new.mp4")
    assert outcome.reason == f"{source}: the new file has 9 frames instead of 10"
    assert not (tmp_path / "new.mp4").exists()


def test_frames_that_cannot_be_decoded_are_counted(encode, tmp_path, monkeypatch):
    source, decoded = encode(tmp_path / "clip.mp4", num_frames=10), VideoReader.all_frames
    monkeypatch.setattr(VideoReader, "all_frames", lambda self, size: islice(decoded(self, size), 8))
    outcome = _prepare(source, tmp_path / "new.mp4")
    assert outcome.status == "failed"
    assert f"{source}: it has 10 frames, of which 8 can be decoded" in outcome.reason
    assert not (tmp_path / "new.mp4").exists()


def test_what_is_reported(encode, tmp_path):
    source = encode(tmp_path / "clip.mp4", num_frames=12)
    outcome = _prepare(source, tmp_path / "new.mp4", quality=0)
    assert outcome.bytes_before == source.stat().st_size
    assert outcome.bytes_after == (tmp_path / "new.mp4").stat().st_size
    assert 30 < outcome.psnr < 99
    assert 0.95 < outcome.ssim < 1
    worse = _prepare(source, tmp_path / "new.mp4", quality=45)
    assert worse.psnr < outcome.psnr - 5
    assert worse.ssim < outcome.ssim
    assert min(outcome.clip_before, outcome.clip_after) > 0
    one = PreparedFile("a", "b", "made", "", 9, 3_000_000, 2_000_000, 40.0, 0.9, 0.030, 0.010)
    two = replace(one, psnr=38.0, ssim=0.8, clip_before=0.050, clip_after=0.020)
    kept, failed = (PreparedFile("a", "b", status) for status in ("kept", "failed"))
    assert Prepared([one, two, kept, failed, failed]).summary() == (
        "2 videos made, 1 kept, 2 failed; 6.0 MB -> 4.0 MB; PSNR 39.0 dB (lowest 38.0), SSIM 0.8500 (lowest 0.8000); "
        "a clip of 8 frames is read in 15.0 ms instead of 40.0"
    )
    assert Prepared([kept]).summary() == "0 videos made, 1 kept, 0 failed"


def test_frame_folders_and_sound(encode, draw, read_number, tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(5):
        av.VideoFrame.from_ndarray(draw(number), format="rgb24").to_image().save(
            folder / f"f_{number:03}.png"
        )
    assert _prepare(folder, tmp_path / "frames.mp4", frame_fps=5.0).frames == 5
    with open_video(tmp_path / "frames.mp4") as video:
        assert video.info.rate == 5
        assert [read_number(frame) for frame in video.frames_at_indices(range(5))] == list(range(5))
    talk = encode(tmp_path / "talk.mp4", num_frames=25, sound=True)
    for sound in (False, True):
        _prepare(talk, tmp_path / "new.mp4", sound=sound)
        with av.open(str(tmp_path / "new.mp4")) as container:
            assert len(container.streams.audio) == sound


def test_sound_before_the_first_frame_is_dropped(encode, tmp_path):
    """Two seconds of sound from 0 on, of which the video begins at 1 s."""
    source = encode(tmp_path / "late.mkv", num_frames=50, pts=range(25, 75), sound=True)
    assert _prepare(source, tmp_path / "new.mp4", sound=True).status == "made"
    with av.open(str(tmp_path / "new.mp4")) as container:
        packets = [packet for packet in container.demux(audio=0) if packet.size]
        times = [float(packet.pts * packet.time_base) for packet in packets]
    assert 0 <= times[0] < 0.1
    assert 0.85 < times[-1] < 1.1


def test_pixels_keep_their_shape(draw, tmp_path):
    with VideoWriter(tmp_path / "wide.mp4", 64, 96, Fraction(25), pixel_aspect=Fraction(4, 3)) as writer:
        for number in range(3):
            writer.write(draw(number), number / 25)
    assert _prepare(tmp_path / "wide.mp4", tmp_path / "new.mp4").status == "made"
    with open_video(tmp_path / "new.mp4") as video:
        assert video.pixel_aspect == Fraction(4, 3)


def test_finished_files_are_kept_and_changed_ones_made_again(encode, tmp_path):
    source, target = encode(tmp_path / "clip.mp4", num_frames=12), tmp_path / "new.mp4"
    assert [_prepare(source, target).status for _ in range(2)] == ["made", "kept"]
    assert _prepare(source, target, keyframe_every=2).status == "made"
    encode(source, num_frames=14)
    assert _prepare(source, target, keyframe_every=2).frames == 14
    target.write_bytes(target.read_bytes()[:500])
    assert _prepare(source, target, keyframe_every=2).status == "made"


def test_in_place(encode, tmp_path):
    """The original goes when the new file is complete, and a second run does nothing."""
    for name in ("one.mp4", "two.avi"):
        encode(tmp_path / name, "mpeg4", 12)
    for expected in ("made", "kept"):
        sources = find_sources([str(tmp_path)], None, target_of=prepared_name)
        done = prepare_videos(sources, PreparationSettings(**QUICK), replace=True, show_progress=False)
        assert [file.status for file in done.files] == [expected] * 2
        assert sorted(path.name for path in tmp_path.iterdir()) == ["one.mp4", "two.mp4"]
    other = _prepare(tmp_path / "one.mp4", tmp_path / "one.mp4", replace=True, keyframe_every=2)
    assert other.status == "made"  # other settings
    assert _keyframes(tmp_path / "one.mp4") == [True, False] * 6


@pytest.mark.parametrize("replace", [False, True])
def test_no_other_video_is_replaced(encode, tmp_path, replace):
    source, other = encode(tmp_path / "clip.avi", "mpeg4", 12), encode(tmp_path / "clip.mp4", num_frames=9)
    before = source.read_bytes(), other.read_bytes()
    outcome = _prepare(source, other, replace=replace)
    assert (outcome.status, outcome.reason) == (
        "failed",
        f"{source}: {other} is another video; rename one of them",
    )
    assert (source.read_bytes(), other.read_bytes()) == before
    outcome = _prepare(other, other)
    assert outcome.status == "failed"
    assert "would replace it" in outcome.reason
    assert (source.read_bytes(), other.read_bytes()) == before


def test_in_place_after_a_stop(encode, tmp_path, monkeypatch):
    """There is one file at all times, so the next run finds no second one of that name."""
    source = encode(tmp_path / "clip.avi", "mpeg4", 12)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "rename", lambda *names: (_ for _ in ()).throw(KeyboardInterrupt))
        _prepare(source, tmp_path / "clip.mp4", replace=True)
    assert [path.name for path in tmp_path.iterdir()] == ["clip.avi"]
    (again,) = find_sources([str(tmp_path)], None, target_of=prepared_name)
    assert _prepare(Path(again.video), Path(again.target), replace=True).status == "kept"
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]
    with open_video(tmp_path / "clip.mp4") as video:
        assert video.info.num_frames == 12


def test_in_place_of_links_and_packed_videos(encode, tmp_path):
    """A link's video stays, and a packed folder gets no folder of its own, which would hide what it holds."""
    store = encode(tmp_path / "store.avi", "mpeg4", 12)
    content = store.read_bytes()
    link = tmp_path / "link.avi"
    link.symlink_to(store)
    assert _prepare(link, tmp_path / "link.mp4", replace=True).status == "made"
    assert store.read_bytes() == content
    assert not link.is_symlink()
    packed = tmp_path / "packed"
    packed.mkdir()
    videos = [Video("a/v.avi", str(store), len(content), 0, {})]
    write_index(packed, [videos], [write_shard(packed, 0, videos)])
    outcome = _prepare(packed / "a" / "v.avi", packed / "a" / "v.mp4", replace=True)
    assert outcome.status == "failed"
    assert "packed folder" in outcome.reason
    assert not (packed / "a").exists()
    assert _prepare(packed / "a" / "v.avi", tmp_path / "out" / "v.mp4").status == "made"


def test_new_names(tmp_path):
    (tmp_path / "frames.mp4").mkdir()
    for name, new in (
        ("v.avi", "v.mp4"),
        ("v.1.MP4", "v.1.mp4"),
        ("talk.2020", "talk.2020.mp4"),
        ("frames.mp4", "frames.mp4.mp4"),
    ):
        assert prepared_name(tmp_path / name) == tmp_path / new


def test_a_name_that_is_no_text(encode, tmp_path):
    source = tmp_path / "odd\udcff.mp4"
    encode(tmp_path / "v.mp4", num_frames=4).rename(source)
    assert _prepare(source, tmp_path / "out" / source.name).status == "made"


def test_damaged_videos_are_failures_and_leave_nothing(encode, tmp_path):
    source = encode(tmp_path / "clip.mp4", num_frames=30, options={"g": "5"})
    data = bytearray(source.read_bytes())
    start = data.index(b"mdat") + len(data) // 2
    data[start : start + 400] = bytes(400)
    source.write_bytes(data)
    outcome = _prepare(source, tmp_path / "new" / "clip.mp4", replace=True)
    assert outcome.status == "failed"
    assert str(source) in outcome.reason
    assert source.exists()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [source]


def test_a_dataset_goes_on_with_the_new_folder(encode, tmp_path):
    """Lists name videos with or without their ending."""
    for folder in ("a", "b"):
        (tmp_path / "old" / folder).mkdir(parents=True)
        encode(tmp_path / "old" / folder / "v.avi", "mpeg4", 12)
    (tmp_path / "train.csv").write_text("a/v.avi 0\nb/v.avi 1\n")
    text = "format: video_list\nvideos: {}\nannotations: train.csv\n"
    found = {}
    for name in ("old", "new"):
        (tmp_path / f"{name}.yaml").write_text(text.format(name))
    sources = find_sources([str(tmp_path / "old.yaml")], tmp_path / "new", target_of=prepared_name)
    assert [Path(s.target).relative_to(tmp_path).as_posix() for s in sources] == [
        "new/a/v.mp4",
        "new/b/v.mp4",
    ]
    prepare_videos(sources, PreparationSettings(**QUICK), show_progress=False)
    for name in ("old", "new"):
        records = DatasetCatalog.get(tmp_path / f"{name}.yaml").records()
        found[name] = [(record.video_id, tuple(record.labels)) for record in records]
    assert found["new"] == found["old"]


def test_bad_rates(encode, tmp_path):
    for text in ("fast", "0", "25/0", "-1"):
        with pytest.raises(UserError, match="frame rate"):
            prepare_videos([], PreparationSettings(fps=text))


def test_quality_measures():
    """PSNR from its definition; SSIM window by window."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (24, 20, 3), dtype=np.uint8)
    other = np.clip(image.astype(int) + rng.integers(-20, 21, image.shape), 0, 255).astype(np.uint8)
    assert psnr(image, image) == 99
    error = (
        sum((int(a) - int(b)) ** 2 for a, b in zip(image.ravel(), other.ravel(), strict=True)) / image.size
    )
    assert psnr(image, other) == pytest.approx(20 * np.log10(255 / np.sqrt(error)))

    x, y = (np.rint(i @ np.array([0.299, 0.587, 0.114])) for i in (image, other))
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    window /= window.sum()
    c1, c2 = 6.5025, 58.5225
    values = []
    px, py = (np.pad(i, 5, mode="reflect") for i in (x, y))
    for row in range(x.shape[0]):
        for column in range(x.shape[1]):
            a, b = (p[row : row + 11, column : column + 11] for p in (px, py))
            ma, mb = (window * a).sum(), (window * b).sum()
            va, vb = (window * (a - ma) ** 2).sum(), (window * (b - mb) ** 2).sum()
            vab = (window * (a - ma) * (b - mb)).sum()
            values.append((2 * ma * mb + c1) * (2 * vab + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2)))
    assert ssim(image, other) == pytest.approx(np.mean(values), abs=1e-5)
    assert ssim(image, image) == pytest.approx(1)
