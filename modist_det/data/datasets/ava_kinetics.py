"""The Kinetics part of AVA-Kinetics: times of whole YouTube videos become times of Kinetics' clips."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from ...utils.errors import UserError
from ...utils.files import atomic_path
from ...utils.text_files import read_text
from ...video.listing import VIDEO_EXTENSIONS, extension, walk

__all__ = ["write_clip_annotations"]

_CLIP = re.compile(r"(?P<id>.+)_(?P<start>\d+)_(?P<end>\d+)$")


def write_clip_annotations(annotations: Path, videos: Sequence[Path], out: Path) -> tuple[int, int]:
    """Rewrite ``kinetics_train_v1.0.csv`` for clips ``ID_START_END.mp4``, so that it is read as any csv of AVA's.

    Rows are ``youtube_id,second of the whole video,x1,y1,x2,y2,action``; rows with fewer columns are keyframes without
    labels and are left out. A keyframe in several clips is taken from the one in whose middle it is.

    Args:
        annotations: the csv.
        videos: folders with Kinetics-700's clips, at any depth.
        out: the csv to write: clip (with its folders), second from its start, box, action.

    Returns:
        Keyframes with a clip, and all labelled keyframes.

    Raises:
        UserError: a row is malformed, or no keyframe has a clip.
    """
    clips: dict[str, list[tuple[float, float, str]]] = {}
    for folder in videos:
        for entry, _ in walk(folder):
            path = Path(entry.path)
            if extension(path.name) in VIDEO_EXTENSIONS and (match := _CLIP.match(path.stem)):
                name = path.relative_to(folder).with_suffix("").as_posix()
                clips.setdefault(match["id"], []).append((float(match["start"]), float(match["end"]), name))
    lines, found, labelled = [], set(), set()
    for number, row in enumerate(csv.reader(read_text(annotations).splitlines()), 1):
        if len(row) < 7:
            continue
        try:
            second = float(row[1])
        except ValueError:
            raise UserError(f"{annotations}:{number}: second {row[1]!r} is no number") from None
        labelled.add((row[0], row[1]))
        around = [clip for clip in clips.get(row[0], ()) if clip[0] <= second <= clip[1]]
        if around:
            start, _, clip_name = min(around, key=lambda clip: abs(second - (clip[0] + clip[1]) / 2))
            found.add((row[0], row[1]))
            lines.append(",".join([clip_name, f"{second - start:.3f}", *row[2:7]]))
    if not lines:
        raise UserError(
            f"none of the {len(labelled)} labelled keyframes of {annotations} is in a clip ID_START_END.mp4 of "
            f"{', '.join(map(str, videos))}"
        )
    with atomic_path(out) as temporary:
        temporary.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return len(found), len(labelled)
