"""The Kinetics part of AVA-Kinetics: times of whole videos become times of clips."""

from __future__ import annotations

import pytest

from modist_det.data.catalog import DatasetCatalog
from modist_det.data.datasets.ava_kinetics import write_clip_annotations
from modist_det.utils.errors import UserError

ROWS = """\
a_b,12.500,0.1,0.2,0.3,0.4,12
a_b,12.500,0.1,0.2,0.3,0.4,80
a_b,19.250,0.1,0.2,0.3,0.4,3
gone,5.000,0.1,0.2,0.3,0.4,3
a_b,90.000,0.1,0.2,0.3,0.4,3
unlabelled,7
"""


@pytest.fixture
def files(tmp_path):
    for clip in ("x/a_b_000010_000020.mp4", "y/a_b_000018_000028.mp4", "y/other.mp4"):
        path = tmp_path / "videos" / clip
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "k.csv").write_text(ROWS)
    return tmp_path


def test_seconds_of_the_clip_in_whose_middle_they_are(files):
    assert write_clip_annotations(files / "k.csv", [files / "videos"], files / "out.csv") == (2, 4)
    assert (files / "out.csv").read_text().splitlines() == [
        "x/a_b_000010_000020,2.500,0.1,0.2,0.3,0.4,12",
        "x/a_b_000010_000020,2.500,0.1,0.2,0.3,0.4,80",
        "y/a_b_000018_000028,1.250,0.1,0.2,0.3,0.4,3",
    ]


def test_refuses(files):
    (files / "empty").mkdir()
    with pytest.raises(UserError, match=r"none of the 4 labelled keyframes of .*k\.csv is in a clip"):
        write_clip_annotations(files / "k.csv", [files / "empty"], files / "out.csv")
    (files / "k.csv").write_text("a_b,noon,0.1,0.2,0.3,0.4,12\n")
    with pytest.raises(UserError, match=r"k\.csv:1: second 'noon' is no number"):
        write_clip_annotations(files / "k.csv", [files / "videos"], files / "out.csv")


def test_by_its_name(files, monkeypatch):
    monkeypatch.setenv("MODIST_DATASETS", str(files))
    with pytest.raises(UserError, match=r"missing train\.yaml.*section AVA-Kinetics of datasets/README.md"):
        DatasetCatalog.get("ava_kinetics_train")
    folder = files / "ava_kinetics"
    folder.mkdir()
    (folder / "map.pbtxt").write_text(
        'item { name: "bend" id: 12 } item { name: "x" id: 80 } item { name: "y" id: 3 }'
    )
    write_clip_annotations(files / "k.csv", [files / "videos"], folder / "train.csv")
    (folder / "train.yaml").write_text(
        "format: ava\nvideos: ../videos\nlabel_map: map.pbtxt\nannotations: train.csv\n"
    )
    first, second = DatasetCatalog.get("ava_kinetics_train").records()
    assert (first.video_id, first.time, first.actions) == ("x/a_b_000010_000020", 2.5, ((12, 80),))
    assert (second.video_id, second.time) == ("y/a_b_000018_000028", 1.25)
