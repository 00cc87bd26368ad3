"""MOTChallenge: a csv of boxes with ``seqinfo.ini`` and, as CVAT writes it, ``labels.txt``."""

from __future__ import annotations

import configparser
import csv
import math
from pathlib import Path

from ...structures.tubes import VideoSize
from ...utils.errors import UserError
from ...utils.files import atomic_path
from ...utils.json_reading import malformed
from ...utils.text_files import read_text
from .tracks import Shape, TrackAnnotations, interpolate_shapes

__all__ = ["read_mot", "write_mot"]

_PERSONS = ("person", "pedestrian")
_JOIN = " + "  # between the actions in a name of labels.txt


def read_mot(path: Path) -> TrackAnnotations:
    """Read ``frame, id, x, y, width, height, confidence, class, visibility`` (the last three may be missing), frames
    from 1. All frames count as annotated; nothing is interpolated.

    ``labels.txt`` beside it has a class in each line. A class is an action; ``a + b`` are two. Without this file, all
    are persons. Rows with a confidence of 0 are left out. ``seqinfo.ini`` in the folder, or in that above, has size and
    frame rate. The video is called as the ``name`` there, of ``NAME/gt/gt.txt`` as its folder, otherwise as the file.

    Raises:
        UserError: a row is malformed.
    """
    labels = path.with_name("labels.txt")
    names = [line.strip() for line in read_text(labels).splitlines()] if labels.is_file() else []
    video, size = _sequence(path)
    shapes: dict[int, list[Shape]] = {}
    for row, fields in enumerate(csv.reader(read_text(path).splitlines()), 1):
        where = f"{path}:{row}"
        if not any(field.strip() for field in fields):
            continue
        with malformed(where):
            if not 6 <= len(fields) <= 10:
                raise UserError(f"{where} has {len(fields)} columns; a row is frame,id,x,y,width,height,...")
            numbers = [float(field) for field in fields]
            frame, number = (_whole(value) for value in numbers[:2])
            x, y, width, height = numbers[2:6]
            if len(numbers) > 6 and numbers[6] == 0:
                continue
            label = _whole(numbers[7]) if len(numbers) > 7 else -1
        if names and not 1 <= label <= len(names):
            raise UserError(f"{where}: class {label} is not among the {len(names)} of {labels}")
        actions = names[label - 1].split(_JOIN) if names else ()
        texts = {action: "true" for action in actions if action.lower() not in _PERSONS}
        box = (x, y, x + width, y + height)
        shapes.setdefault(number, []).append(Shape(frame - 1, box, texts))
    tracks = []
    for number, several in shapes.items():
        own = {shape.frame for shape in several}
        ends = [s._replace(frame=s.frame + 1, outside=True) for s in several if s.frame + 1 not in own]
        where = f"{path}, track {number}"
        tracks.append(interpolate_shapes(video, number, "person", [*several, *ends], where))
    return TrackAnnotations({video: size}, tracks)


def _whole(value: float) -> int:
    if not value.is_integer():
        raise ValueError(f"frame, id or class is {value:g}, but must be a whole number")
    return int(value)


def _sequence(path: Path) -> tuple[str, VideoSize]:
    """Name and size of the video."""
    name = path.parent.parent.name if path.parent.name in ("gt", "det") else ""
    for folder in (path.parent, path.parent.parent):
        file = folder / "seqinfo.ini"
        if file.is_file():
            parser = configparser.ConfigParser(interpolation=None)
            with malformed(f"{file} is no seqinfo.ini"):
                try:
                    parser.read_string(read_text(file))
                except configparser.Error as error:
                    raise UserError(f"{file} is no seqinfo.ini: {str(error).splitlines()[0]}") from None
                facts = parser["Sequence"]
                sides = (
                    facts.getint("imWidth", 0),
                    facts.getint("imHeight", 0),
                    facts.getint("seqLength", 0),
                )
                fps = facts.getfloat("frameRate", 0.0)
                if not math.isfinite(fps) or min(*sides, fps) < 0:
                    raise UserError(f"{file}: a size or the frame rate is negative or not finite")
                return facts.get("name", name) or path.stem, VideoSize(*sides, fps)
    return name or path.stem, VideoSize(0, 0)


def write_mot(path: Path, annotations: TrackAnnotations) -> None:
    """Write the csv of one video, with ``labels.txt`` beside it and ``seqinfo.ini`` in the folder above.

    The class of a box is the actions at that frame (:meth:`.AnnotatedTrack.actions`), or "person".

    Raises:
        UserError: there are several videos.
    """
    if len(annotations.videos) != 1:
        raise UserError(f"MOT has one video a file, but there are {len(annotations.videos)}")
    ((name, size),) = annotations.videos.items()
    rows = []
    for track in annotations.tracks:
        actions = track.actions()
        for row, frame in enumerate(track.frames.tolist()):
            label = _JOIN.join(action for action, here in actions.items() if here[row]) or _PERSONS[0]
            x1, y1, x2, y2 = track.boxes[row].tolist()
            rows.append((frame + 1, track.number, x1, y1, x2 - x1, y2 - y1, label))
    labels = sorted({row[-1] for row in rows})
    path.parent.mkdir(parents=True, exist_ok=True)
    info = {"name": name, "imWidth": size.width, "imHeight": size.height, "frameRate": repr(size.fps)}
    lines = [f"{key}={value}" for key, value in {**info, "seqLength": size.num_frames}.items()]
    for file, text in (
        (
            path,
            "".join(
                ",".join(map(repr, row[:-1])) + f",1,{labels.index(row[-1]) + 1},1\n" for row in sorted(rows)
            ),
        ),
        (path.with_name("labels.txt"), "".join(f"{label}\n" for label in labels)),
        (path.parent.parent / "seqinfo.ini", "\n".join(["[Sequence]", *lines, ""])),
    ):
        with atomic_path(file) as temporary:
            temporary.write_text(text, encoding="utf-8")
