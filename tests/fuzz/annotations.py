"""Files of tubes: tracks of annotation tools, datasets of tubes, results; as written, or refused."""

from __future__ import annotations

import functools
import json
import pickle
from pathlib import Path

import numpy as np

from modist_det.analysis.tube_files import evaluate_files, read_tube_file
from modist_det.data.datasets.tube_annotations import read_tube_annotations
from modist_det.formats.annotations import (
    FORMATS,
    AnnotatedTrack,
    TrackAnnotations,
    read_annotations,
    to_tubes,
)
from modist_det.structures.tubes import VideoSize

from .kinds import accepted, expect
from .mutate import mutate_bytes, mutate_text, mutate_tree

__all__ = ["tube_files"]

_SIZE = VideoSize(96, 64, 12, 12.5)


def _size_of(video: str) -> VideoSize:
    return _SIZE


def tube_files(rng: np.random.Generator, folder: Path) -> None:
    """One of the files, often damaged."""
    case = _TRACKS[rng.integers(len(_TRACKS))] if rng.random() < 0.5 else _TUBES[rng.integers(len(_TUBES))]
    case(rng, folder)


def _tracks(rng: np.random.Generator) -> TrackAnnotations:
    tracks = []
    for number in range(int(rng.integers(1, 4))):
        frames = np.sort(rng.choice(_SIZE.num_frames, int(rng.integers(1, 9)), replace=False))
        corners = rng.integers(0, 40, (len(frames), 2)).astype(float)
        boxes = np.hstack([corners, corners + rng.integers(5, 20, (len(frames), 2))])
        actions = tuple(rng.choice(["walk", "a & <b>", "走"], len(frames)).tolist())
        drawn = np.ones(len(frames), bool)
        tracks.append(AnnotatedTrack("v", number, "person", frames, boxes, drawn, {"action": actions}))
    return TrackAnnotations({"v": _SIZE}, tracks)


def _of_tools(name: str, rng: np.random.Generator, folder: Path) -> None:
    path, tracks = folder / FORMATS[name].place.format(video="v", suffix=FORMATS[name].suffix), _tracks(rng)
    FORMATS[name].write(path, tracks)
    if rng.random() < 0.3:
        with accepted(f"a valid file of {name}"):
            found = read_annotations(path, sizes=_size_of)
        expect(len(found.tracks) == len(tracks.tracks), "other tracks")
        by_number = sorted(found.tracks, key=lambda track: track.number)
        for one, other in zip(by_number, tracks.tracks, strict=True):
            expect(one.frames.tolist() == other.frames.tolist(), "other frames")
            expect(one.attributes == other.attributes or name == "mot", "other actions")
            expect(np.allclose(one.boxes, other.boxes), "other boxes")
        return
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json" and rng.random() < 0.8:
        text = json.dumps(mutate_tree(rng, json.loads(text)))
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
    else:
        path.write_bytes(mutate_text(rng, text))
    found = read_annotations(path, name, _size_of)
    sizes = dict.fromkeys(found.videos, _SIZE)
    (folder / "tubes.json").write_text(json.dumps(to_tubes(TrackAnnotations(sizes, found.tracks))))
    with accepted("what the import wrote"):
        read_tube_annotations(folder / "tubes.json")


def _content(rng: np.random.Generator) -> dict[str, object]:
    boxes = rng.integers(0, 40, (3, 2)).astype(np.float32)
    rows = np.hstack([np.arange(1, 4)[:, None], boxes, boxes + 9]).astype(np.float32)
    act = {
        "labels": ["walk"],
        "gttubes": {"walk/v": {0: [rows]}},
        "nframes": {"walk/v": 9},
        "train_videos": [["walk/v"]],
        "test_videos": [[]],
        "resolution": {"walk/v": (64, 96)},
    }
    tube = {"label": 0, "sf": 0, "ef": 3, "boxes": rows[:, 1:]}
    return act if rng.random() < 0.5 else {"walk/v": {"annotations": [tube], "numf": 9, "label": 0}}


def _damaged_pickle(rng: np.random.Generator, content: object) -> bytes:
    data = pickle.dumps(mutate_tree(rng, content) if rng.random() < 0.7 else content, protocol=2)
    return mutate_bytes(rng, data) if rng.random() < 0.3 else data


def _dataset_pickle(rng: np.random.Generator, folder: Path) -> None:
    (folder / "a.pkl").write_bytes(_damaged_pickle(rng, _content(rng)))
    for tube in read_tube_annotations(folder / "a.pkl").tubes:
        expect(tube.boxes.shape == (len(tube.frames), 4), "boxes that do not fit the frames")
        expect(np.isfinite(tube.boxes).all() and (np.diff(tube.frames) > 0).all(), "an impossible tube")


def _dataset_json(rng: np.random.Generator, folder: Path) -> None:
    tree = mutate_tree(rng, to_tubes(_tracks(rng)))
    (folder / "a.json").write_bytes(json.dumps(tree).encode("utf-8", "surrogatepass"))
    for tube in read_tube_annotations(folder / "a.json").tubes:
        expect(np.isfinite(tube.boxes).all() and len(tube.frames) > 0, "an impossible tube")


def _results(rng: np.random.Generator, folder: Path) -> None:
    """Frame mAP and video mAP of damaged detections, in [0, 1]."""
    boxes = [[10.0 + f, 20, 60 + f, 60] for f in range(4)]
    truth: object = [{"video": "v", "class": "run", "frames": [1, 2, 3, 4], "boxes": boxes}]
    rows: object = [
        {"video": "v", "class": "run", "frame": f + 1, "box": box, "score": 0.5}
        for f, box in enumerate(boxes)
    ]
    if rng.random() < 0.3:
        rows = {name: [row[name] for row in rows] for name in ("video", "class", "frame", "box", "score")}  # type: ignore[attr-defined]
        if rng.random() < 0.5:
            rows["tube"] = [1, 1, 2, 2]  # type: ignore[call-overload]
    elif rng.random() < 0.3:
        rows = {
            "frame_boxes": {"v": {"1": [{"box": boxes[0], "scores": [0.5]}]}},
            "classes": ["run"],
            "videos": {"v": 4},
        }
    (folder / "truth.json").write_text(json.dumps(truth))
    (folder / "found.pkl").write_bytes(_damaged_pickle(rng, rows))
    protocol = str(rng.choice(["recommended", "act", "multisports", "yowo"]))
    files = (
        read_tube_file(folder / "truth.json", truth=True),
        read_tube_file(folder / "found.pkl", truth=False),
    )
    result = evaluate_files(*files, protocol, 0.5, (0.2, "0.5:0.95"), error_threshold=0.5)
    for part in ("frame_map", "video_map"):
        for entry in result.get(part, {}).values():
            expect(entry["mean"] is None or 0 <= entry["mean"] <= 1.0001, f"{part} is {entry['mean']}")


_TRACKS = tuple(functools.partial(_of_tools, name) for name in FORMATS)
_TUBES = (_dataset_pickle, _dataset_json, _results)
