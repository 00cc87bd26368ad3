"""Files in AVA's formats, read into columns of arrays and written from them. No torch, no loop over rows.

=================  ===============================================  ===========================
file               columns                                          function
=================  ===============================================  ===========================
ground truth       ``video,second,x1,y1,x2,y2,action[,person]``     :func:`read_ava_boxes`
detections         ``video,second,x1,y1,x2,y2,action,score``        :func:`read_detections`
person boxes       the same; the action may be empty                :func:`read_person_boxes`
exclusions         ``video,second``                                 :func:`read_exclusions`
label map          ``item { name id }`` (AVA 2.1) or
                   ``label { name label_id label_type }`` (2.2)     :func:`read_label_map`
frame list         ``original_vido_id video_id frame_id path ...``  :func:`read_frame_list`
=================  ===============================================  ===========================

In the first three a row of two columns is a keyframe with nothing in it. Person boxes and frame lists are
PySlowFast's files, the others are AVA's own.
"""

from __future__ import annotations

import io
import logging
import os
import posixpath
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ...utils.errors import UserError
from ...utils.files import atomic_path
from ...utils.text_files import read_text
from .label_map import LabelEntry, read_label_map
from .reading import find_problems, read_table, scan_table
from .tables import (
    DETECTIONS,
    EXCLUSIONS,
    GROUND_TRUTH,
    PERSON_BOXES,
    BoxTable,
    KeyTable,
    Layout,
    Problem,
    doubt_of_scores,
)

__all__ = [
    "DETECTIONS",
    "EXCLUSIONS",
    "GROUND_TRUTH",
    "PERSON_BOXES",
    "BoxTable",
    "FrameFiles",
    "KeyTable",
    "LabelEntry",
    "Layout",
    "Problem",
    "detection_lines",
    "find_problems",
    "read_ava_boxes",
    "read_detections",
    "read_exclusions",
    "read_frame_list",
    "read_label_map",
    "read_person_boxes",
    "scan_table",
    "write_ava_boxes",
    "write_detections",
]

logger = logging.getLogger(__name__)

_ROWS_AT_A_TIME = 1 << 17  # of writing


def read_ava_boxes(path: str | os.PathLike[str]) -> BoxTable:
    """Ground truth.

    Raises:
        UserError: the file is missing, not text or without rows; a row has another number of columns than
            2, 7 or 8, something else than a number where one belongs, a class id below 1, or a box that is
            inverted or outside [0, 1]. Names file and line.
    """
    return _not_empty(read_table(path, GROUND_TRUTH))


def read_detections(path: str | os.PathLike[str]) -> BoxTable:
    """Scored action detections; may be empty. Boxes may be inverted and may exceed the image.

    Raises:
        UserError: as :func:`read_ava_boxes`, but a box is refused only where it is so far outside that it must be
            in pixels.
    """
    return read_table(path, DETECTIONS)


def read_person_boxes(path: str | os.PathLike[str]) -> BoxTable:
    """Boxes of a person detector with its score; ``action`` is -1 where the file gives none.

    Warns where the scores look like the person ids of ground truth.

    Raises:
        UserError: as :func:`read_ava_boxes`.
    """
    table = _not_empty(read_table(path, PERSON_BOXES))
    if doubt := doubt_of_scores(table):
        logger.warning("%s", doubt)
    return table


def read_exclusions(path: str | os.PathLike[str]) -> KeyTable:
    """Keyframes that are left out of the evaluation; may be empty.

    Raises:
        UserError: the file is missing or not text, or a row is not ``video,second``; names file and line.
    """
    return read_table(path, EXCLUSIONS).keyframes


def _not_empty(table: BoxTable) -> BoxTable:
    if not len(table) and not len(table.keyframes):
        raise UserError(f"{table.path} has no rows")
    return table


@dataclass(frozen=True)
class FrameFiles:
    """The extracted frames of one video.

    Attributes:
        folder: relative to the folder of all frames, as the list gives it.
        names: file names in ``folder``, one a frame, in order.
    """

    folder: str
    names: tuple[str, ...]


def read_frame_list(path: str | os.PathLike[str]) -> dict[str, FrameFiles]:
    """Frames by video, from a frame list of PySlowFast (``original_vido_id video_id frame_id path labels``).

    Raises:
        UserError: the file is missing or empty, a row has fewer than four columns, or the frames of one
            video are in different folders; names file and line.
    """
    folders: dict[str, str] = {}
    names: dict[str, list[str]] = {}
    text = read_text(path, f"frame list {path}")
    for number, line in enumerate(io.StringIO(text, newline=None), start=1):
        cells = line.split()
        if not cells or (number == 1 and cells[0].startswith("original_vi")):
            continue
        if len(cells) < 4:
            raise UserError(
                f"{path}:{number}: {len(cells)} columns, but a frame list has "
                "original_vido_id video_id frame_id path labels, separated by spaces"
            )
        video, (folder, name) = cells[0], posixpath.split(cells[3])
        if folders.setdefault(video, folder) != folder:
            raise UserError(
                f"{path}:{number}: a frame of {video} is in {folder or '.'}, others are in {folders[video]}"
            )
        names.setdefault(video, []).append(name)
    if not names:
        raise UserError(f"frame list {path} has no rows")
    return {video: FrameFiles(folders[video], tuple(names[video])) for video in names}


def write_detections(path: str | os.PathLike[str], table: BoxTable) -> None:
    """Write scored detections as AVA's csv, whole or not at all; keyframes without a box are rows of two columns.

    Whole seconds are written as ``%04d``, boxes with 6 decimals, scores with 9 significant digits, which is
    all that a float32 holds.
    """
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as out:
        out.writelines(detection_lines(table))


def detection_lines(table: BoxTable) -> Iterator[str]:
    """The text that :func:`write_detections` writes, in pieces of whole lines."""
    return _lines(table, lambda part: [f",{score:.9g}" for score in table.score[part].tolist()])


def write_ava_boxes(path: str | os.PathLike[str], table: BoxTable) -> None:
    """Write ground truth as AVA's csv, whole or not at all; the eighth column, person ids, only if there are any."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as out:
        if (table.person >= 0).any():
            out.writelines(
                _lines(table, lambda part: [f",{p}" if p >= 0 else "," for p in table.person[part].tolist()])
            )
        else:
            out.writelines(_lines(table, lambda part: [""] * len(table.person[part])))


def _lines(table: BoxTable, last_cells: Callable[[slice], list[str]]) -> Iterator[str]:
    """The rows as text; ``last_cells`` words what follows the action in the rows of a slice."""
    names = [_quoted(name) for name in table.videos]
    keyframes = zip(table.keyframes.video.tolist(), table.keyframes.second.tolist(), strict=True)
    yield "".join(f"{names[video]},{_second_text(second)}\n" for video, second in keyframes)
    for start in range(0, len(table), _ROWS_AT_A_TIME):
        part = slice(start, start + _ROWS_AT_A_TIME)
        # The rows of one person differ in class and score only: word the rest once.
        place = np.column_stack([table.video[part], table.second[part], table.boxes[part]])
        new = np.append(True, (place[1:] != place[:-1]).any(axis=1))
        prefixes = [
            f"{names[int(video)]},{_second_text(second)},{x1:.6f},{y1:.6f},{x2:.6f},{y2:.6f}"
            for video, second, x1, y1, x2, y2 in place[new].tolist()
        ]
        actions = [str(a) if a >= 0 else "" for a in table.action[part].tolist()]
        rows = zip((np.cumsum(new) - 1).tolist(), actions, last_cells(part), strict=True)
        yield "".join([f"{prefixes[i]},{action}{last}\n" for i, action, last in rows])


def _second_text(second: float) -> str:
    """``0902``, or with up to six decimals where it is no whole number."""
    return f"{second:04.0f}" if second.is_integer() else f"{second:011.6f}".rstrip("0")


def _quoted(name: str) -> str:
    """The name as a csv cell."""
    if any(letter in name for letter in ',"\r\n'):
        return '"' + name.replace('"', '""') + '"'
    return name
