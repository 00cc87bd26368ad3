from __future__ import annotations

import numpy as np
import pytest

from modist_det.formats.ava.files import read_ava_boxes, read_person_boxes
from modist_det.inference import Picture
from modist_det.inference.persons.extract import detect_persons, videos_of_dataset, videos_of_folder
from modist_det.utils.errors import UserError


@pytest.fixture
def films(film, tmp_path):
    (tmp_path / "films").mkdir()
    for name in ("a", "b, with a comma", "c"):
        film(tmp_path / "films" / f"{name}.mp4", np.arange(55) / 25)
    return tmp_path / "films"


def test_folder(films, square_detector, tmp_path):
    videos = videos_of_folder(films, spacing=0.5)
    report = detect_persons(videos, square_detector, tmp_path / "p.csv", {}, show_progress=False)
    assert (report.made, report.kept, report.boxes, report.missing) == (3, 0, 15, 0)
    table = read_person_boxes(tmp_path / "p.csv")
    assert table.videos == ("a", "b, with a comma", "c")
    first = table.video == 0
    np.testing.assert_allclose(table.second[first], [0, 0.5, 1, 1.5, 2])
    np.testing.assert_allclose(
        table.boxes[first, 0] * 64, [round(4 + 8 * s) for s in (0, 0.5, 1, 1.5, 2)], atol=1.01
    )
    assert (table.action == -1).all()


def test_a_folder_is_refused_before_the_search(films, square_detector, tmp_path):
    with pytest.raises(UserError, match="cannot be written: it is a folder"):
        detect_persons(videos_of_folder(films), square_detector, films, {}, show_progress=False)
    assert square_detector.seen == []


def test_shards_and_restart(films, square_detector, tmp_path):
    """Two shards; one is stopped on the way. What is done is not done again, and all together is what one run gives."""
    videos = videos_of_folder(films)
    whole = tmp_path / "whole.csv"
    detect_persons(videos, square_detector, whole, {}, show_progress=False)

    out = tmp_path / "p.csv"
    report = detect_persons(videos, square_detector, out, {}, 1, 2, show_progress=False)
    assert (report.made, report.missing) == (1, 2) and not out.exists()

    class Stopped:
        start_score, min_hits, spacing = 0.5, 2, 0.0

        def __call__(self, pictures: list[Picture]):
            if pictures[0].video == "c":
                raise KeyboardInterrupt
            return square_detector(pictures)

    with pytest.raises(KeyboardInterrupt):
        detect_persons(videos, Stopped(), out, {}, 0, 2, show_progress=False)
    report = detect_persons(videos, square_detector, out, {}, 0, 2, show_progress=False)
    assert (report.made, report.kept, report.missing) == (1, 1, 0)
    assert out.read_bytes() == whole.read_bytes()
    with pytest.raises(UserError, match="give the same options"):
        detect_persons(videos, square_detector, out, {"persons": "YOLOX"}, show_progress=False)


def test_a_bad_video_does_not_stop_the_others(films, square_detector, tmp_path, capsys):
    (films / "b, with a comma.mp4").write_bytes(b"")
    out = tmp_path / "p.csv"
    report = detect_persons(videos_of_folder(films), square_detector, out, {})
    assert report.made == 2 and [name for name, _ in report.failed] == ["b, with a comma"]
    assert not out.exists() and report.missing == 1
    assert "empty (0 bytes)" in capsys.readouterr().err


def test_keyframes_of_a_data_set(tiny_puppets, square_detector, tmp_path):
    videos = videos_of_dataset(str(tiny_puppets / "val.yaml"))
    truth = read_ava_boxes(tiny_puppets / "val.csv")
    expected = {
        (truth.videos[v], s) for v, s in zip(truth.video.tolist(), truth.second.tolist(), strict=True)
    }
    expected |= {
        (truth.videos[v], s)
        for v, s in zip(truth.keyframes.video.tolist(), truth.keyframes.second.tolist(), strict=True)
    }
    assert {(video.name, second) for video in videos for second in video.seconds} == expected
    report = detect_persons(videos, square_detector, tmp_path / "p.csv", {}, show_progress=False)
    assert report.made == len(videos) and len(square_detector.seen) == len(expected)


def test_no_videos(tmp_path):
    with pytest.raises(UserError, match="neither a dataset nor a folder"):
        videos_of_folder(tmp_path / "none")
    with pytest.raises(UserError, match="no videos in"):
        videos_of_folder(tmp_path)


def test_long_names_in_other_scripts(films, square_detector, tmp_path):
    """Each Chinese character takes nine of the 255 bytes of a file name where it is written as %XX%XX%XX."""
    names = ["视频" * 38 + end for end in "ab"]
    for name, old in zip(names, ("a", "c"), strict=True):
        (films / f"{old}.mp4").rename(films / f"{name}.mp4")
    out = tmp_path / "p.csv"
    report = detect_persons(videos_of_folder(films), square_detector, out, {}, show_progress=False)
    assert report.made == 3 and not report.failed
    assert set(read_person_boxes(out).videos) == {*names, "b, with a comma"}


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\0"])
def test_damaged_settings(films, square_detector, tmp_path, text):
    out = tmp_path / "p.csv"
    (tmp_path / "p.csv.parts").mkdir()
    (tmp_path / "p.csv.parts/settings.json").write_text(text)
    with pytest.raises(UserError, match=r"settings\.json .*delete .*p\.csv\.parts to run the detector again"):
        detect_persons(videos_of_folder(films), square_detector, out, {}, show_progress=False)
