"""Folders of images through the interface of videos."""

from __future__ import annotations

import os
import pickle

import av
import cv2
import numpy as np
import pytest
from av.video.reformatter import Interpolation

from modist_det.data.datasets.ava_check import duration_of
from modist_det.video.frame_cache import FrameCache
from modist_det.video.frame_folder import FrameFolder, natural_key
from modist_det.video.frame_list import ListedFolder
from modist_det.video.reader import VideoError, VideoReader, open_video, probe


@pytest.fixture
def folder(tmp_path, draw):
    """Twelve PNG images whose names sort wrongly as text: frame_1.png ... frame_12.png."""
    for number in range(12):
        cv2.imwrite(str(tmp_path / f"frame_{number + 1}.png"), draw(number)[..., ::-1])
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "._frame_3.png").write_bytes(b"left behind by a Mac")
    return tmp_path


def test_natural_order():
    names = ["b10.jpg", "a2_10.jpg", "B9.jpg", "a2_9.jpg", "a10.jpg", "007.jpg", "08.jpg", "6.jpg"]
    assert sorted(names, key=natural_key) == [
        "6.jpg", "007.jpg", "08.jpg", "a2_9.jpg", "a2_10.jpg", "a10.jpg", "B9.jpg", "b10.jpg"
    ]  # fmt: skip


def test_frames_by_number(folder, draw):
    with open_video(folder, fps=30) as video:
        assert isinstance(video, FrameFolder)
        got = video.frames_at_indices([11, 0, 9, 9, -4, 99])
        assert got.dtype == np.uint8
        assert np.array_equal(got, [draw(i) for i in (11, 0, 9, 9, 0, 11)])
        assert video.frames_at_indices([]).shape == (0, 64, 96, 3)
        with pytest.raises(ValueError, match="whole numbers"):
            video.frames_at_indices([1.0])


def test_frames_by_time_as_in_a_file(folder, draw, encode):
    path = encode(folder / "same.mkv", "ffv1", 12, pix_fmt="bgr0")  # without loss
    seconds = [0.0, 0.01, 0.02, 0.0201, 0.06, 0.1, 0.2999, 0.3, 0.44, 5.0, -1.0]
    expected = [0, 0, 0, 1, 1, 2, 7, 7, 11, 11, 0]  # halves go to the earlier one
    with open_video(folder, fps=25) as images, VideoReader(path) as video:
        assert np.array_equal(images.frames_at_times(seconds), [draw(i) for i in expected])
        assert np.array_equal(video.frames_at_times(seconds), [draw(i) for i in expected])
        assert np.array_equal(
            images.frames_at_times(seconds, short_side=40), video.frames_at_times(seconds, short_side=40)
        )


def test_fractional_rates(folder, draw):
    with FrameFolder(folder, fps=29.97) as video:
        times = np.arange(12) / 29.97
        assert np.array_equal(video.frames_at_times(times), [draw(i) for i in range(12)])


def test_facts(folder):
    info = probe(folder, fps=25)
    assert (info.width, info.height, info.num_frames, info.codec, info.rotation) == (96, 64, 12, "images", 0)
    assert info.rate == 25
    assert info.duration == pytest.approx(0.48)


def test_scaling(folder, draw):
    frame = av.VideoFrame.from_ndarray(draw(4), format="rgb24")
    expected = frame.to_ndarray(format="rgb24", width=45, height=30, interpolation=Interpolation.BILINEAR)
    with open_video(folder, fps=25) as video:
        assert np.array_equal(video.frames_at_indices([4], size=(30, 45))[0], expected)
        assert np.array_equal(video.frames_at_indices([4], short_side=30)[0], expected)


def test_jpeg_colours(tmp_path, draw):
    cv2.imwrite(str(tmp_path / "1.JPG"), np.full((40, 60, 3), (10, 120, 240), np.uint8)[..., ::-1])
    with open_video(tmp_path, fps=1) as video:
        assert np.abs(video.frames_at_indices([0]).astype(int) - (10, 120, 240)).max() <= 3


def test_new_images_are_seen(folder, draw):
    assert probe(folder, fps=25).num_frames == 12
    cv2.imwrite(str(folder / "frame_13.png"), draw(12))
    os.utime(folder, ns=(1, 1))  # in case the clock of the file system is coarse
    assert probe(folder, fps=25).num_frames == 13


def test_folder_without_rate(folder):
    with pytest.raises(VideoError, match=r"give their frame rate \(fps\)"):
        open_video(folder)
    with pytest.raises(VideoError, match="must be above 0"):
        open_video(folder, fps=0)


def test_folder_without_images(tmp_path):
    (tmp_path / "readme.txt").write_text("x")
    with pytest.raises(VideoError, match=rf"{tmp_path}: no \.jpg or \.png images"):
        open_video(tmp_path, fps=25)
    with pytest.raises(VideoError, match="No such file"):
        FrameFolder(tmp_path / "nothing", fps=25)


@pytest.mark.parametrize(
    ("data", "reason"), [(b"", "empty"), (b"no image at all", "not an image"), (None, "not an image")]
)
def test_broken_image(data, reason, folder):
    path = folder / "frame_5.png"
    path.write_bytes(path.read_bytes()[:40] if data is None else data)
    with open_video(folder, fps=25) as video:
        assert len(video.frames_at_indices([3, 5])) == 2
        with pytest.raises(VideoError, match=rf"{path}: .*{reason}"):
            video.frames_at_indices([3, 4])


def test_jpeg_that_is_cut_off(tmp_path, draw, capfd):
    path = tmp_path / "1.jpg"
    cv2.imwrite(str(path), draw(200))
    path.write_bytes(path.read_bytes()[:-200])
    with open_video(tmp_path, fps=25) as video, pytest.raises(VideoError, match="cut off"):
        video.frames_at_indices([0])
    assert capfd.readouterr().err == ""


def test_images_of_different_sizes(folder):
    cv2.imwrite(str(folder / "frame_7.png"), np.zeros((10, 20, 3), np.uint8))
    with (
        open_video(folder, fps=25) as video,
        pytest.raises(VideoError, match=r"20x10 pixels, but frame_1\.png is 96x64"),
    ):
        video.frames_at_indices([0, 6])


# ---- one series of names ----------------------------------------------------------------------


@pytest.fixture
def images(tmp_path, draw):
    """``images({name: number drawn on it})`` writes them into a folder, which it returns."""

    def write(names):
        folder = tmp_path / "frames"
        folder.mkdir(exist_ok=True)
        for name, number in names.items():
            ending = name[name.rindex(".") :].lower()
            (folder / name).write_bytes(cv2.imencode(ending, draw(number)[..., ::-1])[1].tobytes())
        return folder

    return write


def numbers_of(folder, read_number, count, fps=10) -> list[int]:
    with open_video(folder, fps) as video:
        assert video.info.num_frames == count
        return [read_number(frame) for frame in video.frames_at_indices(range(count))]


@pytest.mark.parametrize(
    "name",
    ["img_{:05d}.jpg", "{:06d}.png", "film-12_{:06d}.jpg", "frame{}.JPG", "{}.jpeg", "f_{:04d}_left.png"],
)
@pytest.mark.parametrize("first", [0, 1])
def test_usual_names(images, read_number, name, first, caplog):
    folder = images({name.format(first + k): k for k in range(12)})
    (folder / "Thumbs.db").touch()
    assert numbers_of(folder, read_number, 12) == list(range(12))
    assert not caplog.text


def test_optical_flow_beside_the_frames_is_left_out(images, read_number):
    folder = images({f"img_{k + 1:05d}.jpg": k for k in range(3)})
    images({f"flow_{axis}_{k:05d}.jpg": 99 for axis in "xy" for k in range(3)})
    assert numbers_of(folder, read_number, 3) == [0, 1, 2]
    for k in range(3):
        (folder / f"img_{k + 1:05d}.jpg").unlink()
    with pytest.raises(VideoError, match=r"2 series of names: flow_x_\*\.jpg \(3 images\), flow_y_\*\.jpg"):
        open_video(folder, 10)


@pytest.mark.parametrize(
    ("others", "message"),
    [
        (
            ["mask_1.png", "mask_2.png"],
            r"2 series of names: img_\*\.jpg \(3 images\), mask_\*\.png \(2 images\)",
        ),
        (["img_4.png"], r"2 series of names: img_\*\.jpg \(3 images\), img_\*\.png \(1 image\)"),
        (
            ["cover.jpg"],
            r"beside the frames img_\*\.jpg \(3 images\) there is 1 image without a number \(cover",
        ),
        (["a.png", "b.png"], r"there are 2 images without a number \(a\.png, b\.png\)"),
        (["img_03.jpg"], r"img_03\.jpg and img_3\.jpg have the same number"),
        (["IMG_4.jpg"], "2 series of names"),
    ],
)
def test_strangers_are_named(images, others, message):
    folder = images({f"img_{k + 1}.jpg": k for k in range(3)})
    images(dict.fromkeys(others, 7))
    with pytest.raises(VideoError, match=message):
        open_video(folder, 10)


def test_names_that_end_with_another_number(images):
    folder = images({f"f_{k:04d}_64x48.jpg": k for k in range(1, 4)})
    with pytest.raises(
        VideoError, match=r"3 series of names: f_0001_64x\*\.jpg .*the last number in a name is taken"
    ):
        FrameFolder(folder, fps=10)


def test_images_without_numbers(images):
    with pytest.raises(VideoError, match=r"the images have no numbers \(a\.jpg, b\.jpg\)"):
        open_video(images({"a.jpg": 0, "b.jpg": 1}), 10)


def test_a_gap_is_an_error_and_moves_no_frame(images, read_number):
    folder = images({f"img_{k:05d}.jpg": k for k in (1, *range(10, 16), 18)})
    message = r"8 numbers are missing between img_00001\.jpg and img_00010\.jpg \(10 in 2 such places\)"
    with open_video(folder, 10) as video:
        assert read_number(video.frames_at_times([1.0])[0]) == 11  # by its number
        with pytest.raises(VideoError, match=message):
            video.frames_at_indices([3])
        with pytest.raises(VideoError, match=message):
            _ = video.info
    with pytest.raises(VideoError, match=message):
        probe(folder, 10)


def test_a_series_that_begins_elsewhere_is_a_doubt(images, read_number, caplog, monkeypatch):
    monkeypatch.setattr("modist_det.video.frame_folder._doubted", [])
    folder = images({f"{k:06d}.jpg": k for k in range(31, 34)})
    assert numbers_of(folder, read_number, 3) == [31, 32, 33]
    assert "the lowest number is that of 000031.jpg, which counts as the first frame" in caplog.text
    doubts = []
    assert duration_of(str(folder), 10, doubts) == pytest.approx(0.3)
    assert len(doubts) == 1 and "are images before it missing?" in doubts[0]


# ---- lists ------------------------------------------------------------------------------------


def test_listed_images_are_read_and_no_others(images, read_number):
    folder = images({name: k for k, name in enumerate(["b_7.jpg", "cover.png", "a.jpg", "b_1.jpg"])})
    listed = ListedFolder(folder, ["a.jpg", "b_7.jpg"])
    assert numbers_of(listed, read_number, 2) == [2, 0]
    assert numbers_of(pickle.loads(pickle.dumps(listed)), read_number, 2) == [2, 0]
    cache = FrameCache(folder.parent / "cache")
    for other in (listed, ListedFolder(folder, ["cover.png"])):
        assert len(cache.open(other, 10)._frames) == other.num_images
    missing = ListedFolder(folder, ["a.jpg", "c.jpg", "d.jpg"])
    assert "2 of 3 listed images are missing, for example c.jpg" in str(duration_of(missing, 10))


def test_a_count_that_disagrees(images):
    folder = images({f"{k}.jpg": k for k in range(3)})
    assert open_video(ListedFolder(folder, num_images=3), 10).info.num_frames == 3
    with pytest.raises(VideoError, match="it has 3 images, but the annotations list 30"):
        open_video(ListedFolder(folder, num_images=30), 10)


def test_a_folder_is_listed_once_while_it_stays_as_it_is(images, monkeypatch):
    folder = images({f"{k}.jpg": k for k in range(3)})
    calls = []
    real = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: calls.append(path) or real(path))
    for _ in range(3):
        open_video(folder, 10).frames_at_indices([1])
    assert len(calls) == 1
