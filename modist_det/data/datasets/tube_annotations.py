"""Annotation files of tubes: UCF101-24, JHMDB, MultiSports, JSON. Frames count from 1, boxes are in pixels."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...checkpoint.unpickler import read_values
from ...structures.tubes import VideoSize
from ...utils.errors import UserError
from ...utils.json_reading import malformed, read_json
from ...utils.text_files import read_text

__all__ = ["AnnotatedTube", "TubeAnnotations", "VideoSize", "read_split", "read_tube_annotations"]

_UCF24_SIZE = (320, 240)
_MASK_NAME = "puppet_mask.mat"


class AnnotatedTube(NamedTuple):
    """Boxes (m, 4) of one class at frames (m,), ascending."""

    video: str
    label: int  # index of the class
    frames: NDArray[np.int64]
    boxes: NDArray[np.float64]


@dataclass(frozen=True)
class TubeAnnotations:
    """What an annotation file says.

    Attributes:
        classes: names, in the file's order.
        videos: by name.
        tubes: of all videos.
        splits: names of the videos by (number from 1, "train" or "test"), where the file has them.
    """

    classes: tuple[str, ...]
    videos: Mapping[str, VideoSize]
    tubes: tuple[AnnotatedTube, ...]
    splits: Mapping[tuple[int, str], tuple[str, ...]] = field(default_factory=dict)


def read_tube_annotations(path: str | Path) -> TubeAnnotations:
    """Read a file by its kind.

    - ``.pkl``: ACT-detector's format (``UCF101v2-GT.pkl``, ``JHMDB-GT.pkl``, ``multisports_GT.pkl``: a dict with
      ``labels``, ``gttubes``, ``nframes``, ``resolution`` (height, width) and ``train_videos``, ``test_videos`` or
      both), or ``pyannot.pkl`` of the corrected UCF101-24 annotations (``{"Class/video": {"annotations": [{"label",
      "sf", "ef", "boxes"}], "numf"}}``; frames from 0, boxes x, y, width, height);
    - ``.mat``: ``finalAnnots.mat`` of UCF101-24;
    - ``.json``: ``{video: {"width", "height", "fps", "num_frames", "tubes": [{"label", "start_frame", "end_frame",
      "boxes"}]}}``, frames from 0, the end exclusive, boxes x1y1x2y2 in [0, 1];
    - a folder: JHMDB's ``puppet_mask/CLASS/VIDEO/puppet_mask.mat``.

    Raises:
        UserError: the file is missing, damaged or of another kind.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"annotation file {path} does not exist")
    what = f"{path} is no annotation file of tubes, or is damaged"
    with malformed(what):
        if path.is_dir():
            return _of_masks(path)
        if path.suffix == ".json":
            return _of_json(read_json(path))
        if path.suffix == ".mat":
            return _of_mat(_read_mat(path))
        content = read_values(path, what)
        return _of_act(content) if "gttubes" in content else _of_pyannot(content)


def read_split(path: str | Path) -> tuple[str, ...]:
    """Video names of a list such as ``testlist01.txt`` (``Class/video.avi 1``), without extension."""
    names = [line.split()[0] for line in read_text(path).splitlines() if line.strip()]
    if not names:
        raise UserError(f"{path} lists no videos")
    return tuple(re.sub(r"\.(avi|mp4)$", "", name) for name in names)


def _tube(video: str, label: int, first: int, boxes: Any, classes: int) -> AnnotatedTube:
    array = np.asarray(boxes, np.float64).reshape(-1, 4)
    return _checked(video, label, np.arange(first, first + len(array)), array, classes)


def _checked(
    video: str, label: int, frames: NDArray[np.int64], boxes: NDArray[np.float64], classes: int
) -> AnnotatedTube:
    if not 0 <= label < classes:
        raise ValueError(f"a tube of {video} has class {label}, but there are {classes}")
    if not len(frames) or not np.isfinite(boxes).all() or frames[0] < 1 or (np.diff(frames) < 1).any():
        raise ValueError(f"a tube of {video} has no boxes, boxes that are not finite, or frames out of order")
    return AnnotatedTube(video, label, frames, boxes)


def _of_act(content: Mapping[str, Any]) -> TubeAnnotations:
    classes = tuple(str(name) for name in content["labels"])
    videos = {
        str(name): VideoSize(int(width), int(height), int(content["nframes"][name]))
        for name, (height, width) in content["resolution"].items()
    }
    tubes = [
        _checked(str(video), int(label), np.rint(rows[:, 0]).astype(np.int64), rows[:, 1:5], len(classes))
        for video, by_class in content["gttubes"].items()
        for label, several in by_class.items()
        for rows in (np.asarray(tube, np.float64) for tube in several)
    ]
    splits = {
        (number, subset): tuple(map(str, names))
        for subset in ("train", "test")
        for number, names in enumerate(content.get(f"{subset}_videos", ()), 1)
    }
    return TubeAnnotations(classes, videos, tuple(tubes), splits)


def _corners(boxes: Any) -> NDArray[np.float64]:
    """x, y, width, height -> x1, y1, x2, y2."""
    array = np.asarray(boxes, np.float64).reshape(-1, 4)
    return np.concatenate([array[:, :2], array[:, :2] + array[:, 2:]], axis=1)


def _of_pyannot(content: Mapping[str, Any]) -> TubeAnnotations:
    names = {
        int(tube["label"]): str(video).split("/")[0]
        for video, entry in content.items()
        for tube in entry["annotations"]
    }
    if sorted(names) != list(range(len(names))):
        raise ValueError("its class numbers have gaps")
    videos = {str(video): VideoSize(*_UCF24_SIZE, int(entry["numf"])) for video, entry in content.items()}
    tubes = [
        _tube(str(video), int(tube["label"]), int(tube["sf"]) + 1, _corners(tube["boxes"]), len(names))
        for video, entry in content.items()
        for tube in entry["annotations"]
    ]
    return TubeAnnotations(tuple(names[label] for label in sorted(names)), videos, tuple(tubes))


def _read_mat(path: Path) -> Mapping[str, Any]:
    from scipy.io import loadmat  # slow to import

    try:
        return loadmat(path, squeeze_me=True, struct_as_record=False)
    except Exception as error:
        raise UserError(f"{path} is no .mat file, or is damaged ({error})") from None


def _several(value: Any) -> Iterable[Any]:
    """Entries of a struct array, which loadmat gives as an object if there is only one."""
    return np.atleast_1d(np.asarray(value, object)).tolist()


def _of_mat(content: Mapping[str, Any]) -> TubeAnnotations:
    entries = list(_several(content["annot"]))
    tubes_of = {str(entry.name): list(_several(entry.tubes)) for entry in entries}
    names = {int(t.__dict__["class"]): v.split("/")[0] for v, several in tubes_of.items() for t in several}
    if sorted(names) != list(range(1, len(names) + 1)):
        raise ValueError("its class numbers have gaps")
    videos = {str(entry.name): VideoSize(*_UCF24_SIZE, int(entry.num_imgs)) for entry in entries}
    tubes = []
    for video, several in tubes_of.items():
        for tube in several:
            boxes = _corners(tube.boxes)[: int(tube.ef) - int(tube.sf) + 1]
            tubes.append(_tube(video, int(tube.__dict__["class"]) - 1, int(tube.sf), boxes, len(names)))
    return TubeAnnotations(tuple(names[label] for label in sorted(names)), videos, tuple(tubes))


def _of_json(content: Mapping[str, Any]) -> TubeAnnotations:
    classes = tuple(sorted({tube["label"] for entry in content.values() for tube in entry["tubes"]}))
    videos = {
        name: VideoSize(int(e["width"]), int(e["height"]), int(e["num_frames"]), float(e["fps"]))
        for name, e in content.items()
    }
    tubes = []
    for name, entry in content.items():
        size = np.array([entry["width"], entry["height"]] * 2, float)
        for tube in entry["tubes"]:
            boxes = np.asarray(tube["boxes"], float).reshape(-1, 4) * size
            if len(boxes) != tube["end_frame"] - tube["start_frame"]:
                raise ValueError(f"a tube of {name} has {len(boxes)} boxes for another number of frames")
            first = int(tube["start_frame"]) + 1
            tubes.append(_tube(name, classes.index(tube["label"]), first, boxes, len(classes)))
    return TubeAnnotations(classes, videos, tuple(tubes))


def _of_masks(folder: Path) -> TubeAnnotations:
    files = sorted(folder.glob(f"*/*/{_MASK_NAME}"))
    if not files:
        raise ValueError(f"there is no CLASS/VIDEO/{_MASK_NAME} in it")
    classes = tuple(sorted({file.parts[-3] for file in files}))
    videos, tubes = {}, []
    for file in files:
        name = f"{file.parts[-3]}/{file.parts[-2]}"
        mask = np.atleast_3d(np.asarray(_read_mat(file)["part_mask"])) > 0
        rows: NDArray[np.bool_] = np.asarray(mask.any(axis=1))  # (height, frames)
        columns: NDArray[np.bool_] = np.asarray(mask.any(axis=0))  # (width, frames)
        there = np.flatnonzero(rows.any(axis=0))
        videos[name] = VideoSize(mask.shape[1], mask.shape[0], mask.shape[2])
        if not len(there):
            continue
        # The first and the last column and row with a part of the puppet, of each frame.
        boxes = np.stack(
            [
                columns.argmax(axis=0),
                rows.argmax(axis=0),
                len(columns) - 1 - columns[::-1].argmax(axis=0),
                len(rows) - 1 - rows[::-1].argmax(axis=0),
            ],
            axis=1,
        )[there].astype(float)
        tubes.append(_checked(name, classes.index(file.parts[-3]), there + 1, boxes, len(classes)))
    return TubeAnnotations(classes, videos, tuple(tubes))
