"""UCF101-24, JHMDB, MultiSports: files written here from the formats' descriptions, and real tubes."""

from __future__ import annotations

import json
import pickle
import shutil

import numpy as np
import pytest
import torch
from scipy.io import savemat

from modist_det.config import get_cfg
from modist_det.data.catalog import DatasetCatalog
from modist_det.data.datasets.ava_check import Report
from modist_det.data.datasets.tubes import TubesDataset
from modist_det.data.datasets.tubes_check import check_tubes
from modist_det.utils.errors import UserError
from modist_det.video.reader import probe

NAMES = ("Biking/v_Biking_g01_c01", "Diving/v_Diving_g01_c01")


def corners(x: float, count: int) -> np.ndarray:
    return np.array([[x + i, 20, x + i + 64, 140] for i in range(count)], float)


def act(videos) -> bytes:
    """Biking at frames 3 to 12 with two people, Diving at frames 1 to 5."""
    tube = dict.fromkeys(NAMES)
    frames = np.arange(3, 13)[:, None]
    tube[NAMES[0]] = {0: [np.hstack([frames, corners(x, 10)]).astype(np.float32) for x in (0, 100)]}
    tube[NAMES[1]] = {1: [np.hstack([np.arange(1, 6)[:, None], corners(30, 5)]).astype(np.float32)]}
    content = {
        "labels": ["Biking", "Diving"],
        "gttubes": tube,
        "nframes": {NAMES[0]: 20, NAMES[1]: 10},
        "train_videos": [[NAMES[1]]],
        "test_videos": [[NAMES[0]]],
        "resolution": dict.fromkeys(NAMES, (240, 320)),
    }
    return pickle.dumps(content, protocol=2)


def as_sizes(boxes: np.ndarray) -> np.ndarray:
    return np.hstack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]]).astype(np.uint16)


def pyannot() -> bytes:
    def tube(label, first, boxes):
        return {"label": label, "sf": first, "ef": first + len(boxes), "boxes": as_sizes(boxes)}

    people = [tube(0, 2, corners(x, 10)) for x in (0, 100)]
    content = {
        NAMES[0]: {"annotations": people, "numf": 20, "label": 0},
        NAMES[1]: {"annotations": [tube(1, 0, corners(30, 5))], "numf": 10, "label": 1},
    }
    return pickle.dumps(content)


def final_annots(path) -> None:
    """Some tubes of the file have more boxes than frames."""

    def tube(label, first, boxes):
        more = as_sizes(np.vstack([boxes, boxes[:1]])).astype(float)
        ends = (float(first + len(boxes) - 1), float(first), float(label), more)
        return np.array([ends], [("ef", "O"), ("sf", "O"), ("class", "O"), ("boxes", "O")])

    people = np.concatenate([tube(1, 3, corners(x, 10)) for x in (0, 100)])
    entries = [(20.0, NAMES[0], people), (10.0, NAMES[1], tube(2, 1, corners(30, 5)))]
    savemat(path, {"annot": np.array(entries, [("num_imgs", "O"), ("name", "O"), ("tubes", "O")])[None]})


def _process(evaluator, record, scores):
    """A batch of one keyframe."""
    batch = {"video_id": [record.video_id], "second": [record.second], "original_boxes": [record.boxes]}
    evaluator.process(batch, [{"scores": scores}])


@pytest.fixture
def folder(tmp_path):
    for name in NAMES:
        file = tmp_path / "videos" / f"{name}.avi"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    (tmp_path / "UCF101v2-GT.pkl").write_bytes(act(NAMES))
    (tmp_path / "pyannot.pkl").write_bytes(pyannot())
    final_annots(tmp_path / "finalAnnots.mat")
    (tmp_path / "splitfiles").mkdir()
    (tmp_path / "splitfiles" / "testlist01.txt").write_text(
        f"{NAMES[0]}.avi\nArchery/v_Archery_g01_c01.avi\n"
    )
    return tmp_path


@pytest.mark.parametrize("file", ["UCF101v2-GT.pkl", "pyannot.pkl", "finalAnnots.mat"])
def test_all_files_of_ucf24_say_the_same(folder, file):
    dataset = TubesDataset("d", folder / "videos", folder / file)
    assert dataset.metadata.class_names == {1: "Biking", 2: "Diving"}
    records = dataset.records()
    assert len(records) == 10 + 5
    first = records[0]
    assert (first.video_id, first.second, first.time) == (NAMES[0], 2 / 25, 2 / 25)
    assert first.video.endswith(f"{NAMES[0]}.avi")
    np.testing.assert_allclose(first.boxes[:, 0] * 320, [0, 100])
    np.testing.assert_allclose(first.boxes[1], [100 / 320, 20 / 240, 164 / 320, 140 / 240], rtol=1e-6)
    assert first.actions == ((1,), (1,)) and records[14].actions == ((2,),)
    assert records[14].second == pytest.approx(4 / 25)
    assert [r.second for r in TubesDataset("d", folder / "videos", folder / file, every=4).records()] == (
        pytest.approx([2 / 25, 6 / 25, 10 / 25, 0, 4 / 25])
    )


def test_subsets(folder):
    test = TubesDataset("d", folder / "videos", folder / "UCF101v2-GT.pkl", "test")
    assert test.video_names == (NAMES[0],) and len(test.records()) == 10
    with pytest.raises(UserError, match="no split test 2 .*it has test 1, train 1"):
        _ = TubesDataset("d", folder / "videos", folder / "UCF101v2-GT.pkl", "test", 2).video_names
    listed = TubesDataset(
        "d", folder / "videos", folder / "pyannot.pkl", list_file=folder / "splitfiles" / "testlist01.txt"
    )
    assert listed.video_names == (NAMES[0],)


def test_catalogue(folder, monkeypatch):
    monkeypatch.setenv("MODIST_DATASETS", str(folder.parent))
    folder.rename(folder.parent / "ucf101_24")
    assert len(DatasetCatalog.get("ucf24_test").records()) == 10
    assert len(DatasetCatalog.get("ucf24_train").records()) == 5
    with pytest.raises(UserError, match="section JHMDB of datasets/README.md"):
        DatasetCatalog.get("jhmdb_split2_test")
    assert {"jhmdb_split3_train", "multisports_test"} <= set(DatasetCatalog.list())


def test_multisports(tmp_path, monkeypatch):
    """As mmaction2's tools/data/multisports/parse_anno.py reads the file: ``test_videos`` are the validation set,
    resolutions are (height, width), tubes are rows of frame, x1, y1, x2, y2 by class, and videos are mp4 files."""
    names = ("aerobic_gymnastics/v_a_c001", "football/v_b_c002")
    rows = np.array([[288, 640, 180, 960, 720], [289, 320, 0, 640, 360]], np.float32)
    content = {
        "labels": ["aerobic push up", "football shoot"],
        "train_videos": [[names[0]]],
        "test_videos": [[names[1]]],
        "nframes": {names[0]: 725, names[1]: 300},
        "resolution": dict.fromkeys(names, (720, 1280)),
        "gttubes": {names[0]: {0: [rows, rows + np.float32([0, 16, 0, 16, 0])]}, names[1]: {1: [rows[:1]]}},
    }
    for name in names:
        file = tmp_path / "multisports" / "videos" / f"{name}.mp4"
        file.parent.mkdir(parents=True)
        file.touch()
    path = tmp_path / "multisports" / "multisports_GT.pkl"
    path.write_bytes(pickle.dumps(content))
    monkeypatch.setenv("MODIST_DATASETS", str(tmp_path))
    train, val = (DatasetCatalog.get(f"multisports_{subset}") for subset in ("train", "test"))
    assert train.metadata.class_names == {1: "aerobic push up", 2: "football shoot"}
    assert (train.video_names, val.video_names) == (names[:1], names[1:])
    assert train.size_of(names[0]) == (1280, 720, 725, 25)
    first, second = train.records()
    assert (first.second, second.second) == (287 / 25, 288 / 25) and first.actions == ((1,), (1,))
    assert first.boxes[0].tolist() == [0.5, 0.25, 0.75, 1] and second.boxes[0].tolist() == [0.25, 0, 0.5, 0.5]
    (record,) = val.records()
    assert record.actions == ((2,),) and record.video.endswith("videos/football/v_b_c002.mp4")

    del content["train_videos"]  # mmaction2's own sample of the file
    path.write_bytes(pickle.dumps(content))
    assert DatasetCatalog.get("multisports_test").video_names == names[1:]
    with pytest.raises(UserError, match="no split train 1 .it has test 1"):
        _ = DatasetCatalog.get("multisports_train").video_names


def test_several_actions_of_one_person(folder):
    """Tubes with the same box are one person with several actions, whose perfect scores give a perfect result."""
    box, other = [0.1, 0.1, 0.4, 0.9], [0.5, 0.1, 0.9, 0.9]
    tubes = [
        {"label": label, "start_frame": start, "end_frame": 6, "boxes": [corners] * (6 - start)}
        for label, start, corners in (("wave", 0, box), ("sit", 0, other), ("walk", 3, box))
    ]
    content = {NAMES[0]: {"width": 320, "height": 240, "fps": 10, "num_frames": 8, "tubes": tubes}}
    (folder / "tubes.json").write_text(json.dumps(content))
    dataset = TubesDataset("d", folder / "videos", folder / "tubes.json")
    records = dataset.records()
    assert [record.actions for record in records] == [((3,), (1,))] * 3 + [((2, 3), (1,))] * 3
    evaluator = dataset.evaluator(get_cfg(), folder)
    for record in records:
        scores = torch.zeros(len(record.boxes), 3)
        for row, actions in enumerate(record.actions):
            scores[row, np.array(actions) - 1] = 1
        _process(evaluator, record, scores)
    metrics = evaluator.evaluate()
    assert metrics["frame_mAP"] == metrics["video_mAP@0.5"] == pytest.approx(1)


def test_videos_in_one_folder_and_boxes_beyond_the_image(folder):
    plain = NAMES[0].split("/")[1]
    (folder / "videos" / f"{NAMES[0]}.avi").rename(folder / "videos" / f"{plain}.avi")
    tube = {"label": "x", "start_frame": 0, "end_frame": 1, "boxes": [[-0.1, 0.5, 0.5, 1.2]]}
    entry = {"width": 320, "height": 240, "fps": 10, "num_frames": 8, "tubes": [tube]}
    (folder / "tubes.json").write_text(json.dumps(dict.fromkeys(NAMES, entry)))
    records = TubesDataset("d", folder / "videos", folder / "tubes.json").records()
    assert [record.video for record in records] == [
        str(folder / "videos" / f"{name}.avi") for name in (plain, NAMES[1])
    ]
    assert records[0].boxes.tolist() == [[0, 0.5, 0.5, 1]]
    (folder / "list.txt").write_text(f"{plain}.avi\n")
    listed = TubesDataset("d", folder / "videos", folder / "tubes.json", list_file=folder / "list.txt")
    assert listed.video_names == NAMES[:1]
    tube["end_frame"] = 3
    (folder / "tubes.json").write_text(json.dumps({NAMES[0]: entry}))
    with pytest.raises(UserError, match="has 1 boxes for another number of frames"):
        TubesDataset("d", folder / "videos", folder / "tubes.json").records()


def test_puppet_masks(tmp_path):
    mask = np.zeros((240, 320, 3), np.uint8)
    mask[20:61, 100:151, :2] = 5  # rows 20 to 60, columns 100 to 150; nobody in the last frame
    path = tmp_path / "puppet_mask" / "wave" / "clip" / "puppet_mask.mat"
    path.parent.mkdir(parents=True)
    savemat(path, {"part_mask": mask})
    dataset = TubesDataset("d", tmp_path, tmp_path / "puppet_mask")
    (tube,) = dataset.tubes()
    assert tube.frames.tolist() == [1, 2] and tube.boxes[0].tolist() == [100, 20, 150, 60]
    assert dataset.size_of("wave/clip")[:3] == (320, 240, 3)


@pytest.mark.parametrize("protocol", ["recommended", "act", "multisports", "yowo"])
def test_a_perfect_model(folder, protocol, tmp_path):
    """Scores of the right class only: all metrics are 1, with every second frame, too."""
    for every in (1, 2):
        dataset = TubesDataset("d", folder / "videos", folder / "pyannot.pkl", every=every)
        cfg = get_cfg()
        cfg.merge_from_list(["TEST.TUBES.PROTOCOL", protocol, "TEST.TUBES.MIN_LENGTH", 2])
        evaluator = dataset.evaluator(cfg, tmp_path)
        for record in dataset.records():
            batch = {
                "video_id": [record.video_id],
                "second": [record.second],
                "original_boxes": [record.boxes],
            }
            scores = torch.full((len(record.boxes), 2), 0.0)
            for row, (action,) in enumerate(record.actions):
                scores[row, action - 1] = 0.9 - 0.1 * row
            evaluator.process(batch, [{"scores": scores}])
        metrics = evaluator.evaluate()
        # YOWO's tubes are as long as the video, whose end the ground truth does not reach.
        assert metrics["frame_mAP"] == pytest.approx(1)
        assert metrics["AP/Biking"] == metrics["AP/Diving"] == pytest.approx(1)
        assert metrics["video_mAP@0.5"] == pytest.approx(1, abs=1e-4)
    assert (tmp_path / "d_detections.csv").is_file()


@pytest.mark.parametrize(("linking", "best"), [("", 0.5), ("recommended", 1), ("multisports", 1)])
def test_linking_of_another_protocol(folder, linking, best):
    """A person is away for eight frames: YOWO's paths go through them, so one of the two tubes cannot be found."""
    tubes = [
        {"label": "x", "start_frame": a, "end_frame": a + 20, "boxes": [[0.1, 0.1, 0.4, 0.9]] * 20}
        for a in (0, 28)
    ]
    entry = {"width": 320, "height": 240, "fps": 25, "num_frames": 60, "tubes": tubes}
    (folder / "tubes.json").write_text(json.dumps({NAMES[0]: entry}))
    dataset = TubesDataset("d", folder / "videos", folder / "tubes.json")
    cfg = get_cfg()
    cfg.merge_from_list(["TEST.TUBES.PROTOCOL", "yowo", "TEST.TUBES.LINKING", linking])
    evaluator = dataset.evaluator(cfg, folder)
    for record in dataset.records():
        _process(evaluator, record, torch.tensor([[0.9]]))
    metrics = evaluator.evaluate()
    assert metrics["frame_mAP"] == pytest.approx(1, abs=1e-4)
    assert metrics["video_mAP@0.2"] == pytest.approx(best, abs=1e-4)
    cfg.TEST.TUBES.LINKING = "yow"
    with pytest.raises(UserError, match="unknown protocol 'yow'"):
        dataset.evaluator(cfg, folder)


@pytest.mark.parametrize(
    ("protocol", "frame", "tube"),
    [("recommended", 1, 1), ("act", 1, 1), ("multisports", 0, 0), ("yowo", 0, 1)],
)
def test_the_second_class_of_a_box(folder, protocol, frame, tube):
    """The true class is never the best-scored one: some protocols do not count it then."""
    dataset = TubesDataset("d", folder / "videos", folder / "pyannot.pkl")
    cfg = get_cfg()
    cfg.merge_from_list(["TEST.TUBES.PROTOCOL", protocol, "TEST.TUBES.MIN_LENGTH", 2])
    evaluator = dataset.evaluator(cfg, folder)
    for record in dataset.records():
        scores = torch.tensor([[0.5, 0.5]] * len(record.boxes))
        for row, (action,) in enumerate(record.actions):
            scores[row, 2 - action] = 0.6
        _process(evaluator, record, scores)
    metrics = evaluator.evaluate()
    assert (metrics["frame_mAP"] > 0, metrics["video_mAP@0.5"] > 0) == (frame, tube)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps(print), "holds "),
        (b"", "no annotation file of tubes"),
        (pickle.dumps({"gttubes": {}}), "no annotation file of tubes"),
        (
            pickle.dumps({"A/v": {"annotations": [{"label": 3, "sf": 0, "ef": 1, "boxes": []}]}}),
            "numbers have gaps",
        ),
        (act(NAMES).replace(b"nframes", b"nframed"), "no annotation file of tubes"),
    ],
)
def test_malformed(folder, content, message):
    (folder / "x.pkl").write_bytes(content)
    with pytest.raises(UserError, match=message):
        TubesDataset("d", folder / "videos", folder / "x.pkl").records()


def test_other_mistakes(folder):
    with pytest.raises(UserError, match="does not exist"):
        TubesDataset("d", folder / "videos", folder / "none.pkl").records()
    (folder / "x.mat").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"no \.mat file"):
        TubesDataset("d", folder / "videos", folder / "x.mat").records()
    dataset = TubesDataset("d", folder / "splitfiles", folder / "pyannot.pkl")
    with pytest.raises(UserError, match="no annotated video is in"):
        dataset.records()
    with pytest.raises(UserError, match="no detected boxes"):
        dataset.records("detected")


def test_real_tubes(real_data):
    folder = real_data / "ucf101_24"
    content = json.loads((folder / "tubes.json").read_text())
    dataset = TubesDataset("real", [folder / "videos", real_data / "ucf101"], folder / "tubes.json")
    records = dataset.records()
    frames = {
        (name, frame)
        for name, entry in content.items()
        for tube in entry["tubes"]
        for frame in range(tube["start_frame"], tube["end_frame"])
    }
    assert len(records) == len(frames)
    assert {record.video_id for record in records} == set(content)
    name, entry = next(iter(content.items()))
    record = next(r for r in records if r.video_id == name and round(r.second * entry["fps"]) == 10)
    np.testing.assert_allclose(
        record.boxes[0], entry["tubes"][0]["boxes"][10 - entry["tubes"][0]["start_frame"]]
    )


def test_check(tmp_path, tiny_puppets):
    clip = next((tiny_puppets / "videos").glob("*.mp4"))
    (tmp_path / "videos").mkdir()
    shutil.copy(clip, tmp_path / "videos" / "a.mp4")
    shutil.copy(clip, tmp_path / "videos" / "b.mp4")
    (tmp_path / "videos" / "c.mp4").write_bytes(b"no video")
    info = probe(clip)

    def entry(count: int, box: list[float]) -> dict:
        tube = {"label": "x", "start_frame": 0, "end_frame": count, "boxes": [box] * count}
        size = {"width": info.width, "height": info.height, "fps": info.fps, "num_frames": count}
        return {**size, "tubes": [tube]}

    def check(content: dict) -> Report:
        (tmp_path / "tubes.json").write_text(json.dumps(content))
        return check_tubes(TubesDataset("d", tmp_path / "videos", tmp_path / "tubes.json"), threads=1)

    whole = entry(info.num_frames, [0, 0, 1, 1])
    sound = check({"a": whole, "b": entry(5, [0, 0, 1, 1.2])})
    assert not sound.problems and sound.classes == [(1, "x", 2)]
    assert [w for w in sound.warnings if "5 boxes reach beyond the image" in w] == sound.warnings
    assert ("videos", "2 annotated, 2 found, 2 readable") in sound.summary
    wrong = check({"a": entry(info.num_frames + 2, [0, 0, 1, 1]), "c": whole, "d": whole}).problems
    assert [text for text in wrong if f"of video a lasts until frame {info.num_frames + 2}" in text]
    assert [text for text in wrong if "c.mp4" in text] and [
        text for text in wrong if "video d is missing" in text
    ]
    assert len(wrong) == 3
    (tmp_path / "tubes.json").write_text("{")
    assert "is not JSON" in check_tubes(TubesDataset("d", tmp_path, tmp_path / "tubes.json")).problems[0]
