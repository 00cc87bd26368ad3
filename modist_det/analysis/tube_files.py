"""Evaluate files of tubes and frame detections (JSON or pickle) in any protocol."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

from ..checkpoint.unpickler import read_values
from ..evaluation.bootstrap import map_interval, tube_hits
from ..evaluation.error_analysis import errors_of
from ..evaluation.linking import link_detections
from ..evaluation.protocols import TUBE_RULES
from ..evaluation.tube_ap import Comparison, Thresholds, compare_frames, compare_tubes
from ..utils.errors import UserError
from ..utils.json_reading import read_json

__all__ = ["TubeFile", "evaluate_files", "is_tubes", "read_content", "read_tube_file", "report_text"]

_DETECTIONS = ("tube_detections", "frame_detections", "frame_boxes", "tubelets", "detections")


@dataclass(frozen=True)
class TubeFile:
    """What a file holds.

    Attributes:
        parts: its data, in a form of :func:`modist_det.structures.tubes.read_tubes`.
        classes: what the entries of ``scores`` mean, or None.
        num_frames: frames of each video, or None.
    """

    parts: tuple[Any, ...]
    classes: Sequence[Any] | None = None
    num_frames: Mapping[Any, Any] | None = None


def read_content(path: str | os.PathLike) -> Any:
    """The content of a JSON file, or of a pickle (``.pkl``, ``.pickle``) of plain values and arrays.

    Raises:
        UserError: the file is missing, damaged, or holds anything else.
    """
    if Path(path).suffix not in (".pkl", ".pickle"):
        return read_json(path)
    if not Path(path).is_file():
        raise UserError(f"{path} does not exist")
    return read_values(path, f"{path} is no pickle, or is damaged")


def read_tube_file(path: str | os.PathLike, *, truth: bool) -> TubeFile:
    """Read ground truth or detections.

    The file is a list of records (or columns, or nested dicts), or a dict that has them as ``ground_truth`` or
    ``tube_detections``, ``frame_detections``, ``frame_boxes``, ``tubelets`` or ``detections``; beside them it may have
    ``classes`` and ``videos`` (frames of each).

    Raises:
        UserError: it has none of these.
    """
    content = read_content(path)
    if not isinstance(content, (dict, list)):
        raise UserError(f"{path} holds neither a list of records nor a dict")
    names = ("ground_truth",) if truth else _DETECTIONS
    if isinstance(content, list) or "video" in content:
        return TubeFile((content,))
    parts = tuple(content[name] for name in names if name in content)
    if parts:
        return TubeFile(parts, content.get("classes"), content.get("videos"))
    if any(not isinstance(value, Mapping) for value in content.values()):
        raise UserError(
            f"{path} has none of {', '.join(names)} (it has {', '.join(map(str, list(content)[:5]))})"
        )
    return TubeFile((content,))


def is_tubes(data: Any) -> bool:
    """Whether data of :func:`read_tube_file` are tubes, not frame detections."""
    first = data[0] if isinstance(data, list) and data else data
    return isinstance(first, Mapping) and ("frames" in first or "tube" in first)


def evaluate_files(
    truth: TubeFile,
    found: TubeFile,
    protocol: str,
    frame_thresholds: Thresholds,
    tube_thresholds: Thresholds,
    *,
    linking: str = "",
    min_length: int | None = None,
    scores: str = "as_published",
    error_threshold: float | None = None,
) -> dict[str, Any]:
    """Frame mAP of frame detections, video mAP of tubes; frame detections are linked if there are no tubes.

    Args:
        linking: the protocol by whose rules boxes are linked; default: ``protocol``.
        min_length, scores: of linking.
        error_threshold: also count errors of tubes at this threshold.

    Returns:
        ``protocol``, ``frame_map``, ``video_map``, ``errors``, as far as they could be computed.
    """
    classes = found.classes or truth.classes
    result: dict[str, Any] = {"protocol": protocol}
    tubes = [part for part in found.parts if is_tubes(part)]
    boxes = [part for part in found.parts if not is_tubes(part)]
    (groundtruth,) = truth.parts
    if boxes:
        compared = compare_frames(groundtruth, boxes[0], protocol, classes)
        result["frame_map"] = _with_intervals(compared, frame_thresholds)
    if is_tubes(groundtruth):
        if not tubes:
            num_frames = found.num_frames or truth.num_frames
            best = TUBE_RULES[protocol].best_class
            tubes = [
                link_detections(boxes[0], linking or protocol, num_frames, classes, min_length, scores, best)
            ]
        compared = compare_tubes(groundtruth, tubes[0], protocol, classes)
        result["video_map"] = _with_intervals(compared, tube_thresholds)
        if error_threshold is not None:
            result["errors"] = errors_of(compared, error_threshold)
    if len(result) == 1:
        raise UserError("the detections are tubes, but the ground truth has boxes of single frames")
    return result


def _with_intervals(compared: Comparison, thresholds: Thresholds) -> dict[str, dict[str, Any]]:
    """Results with ``interval``, the ends of the 95 % confidence interval, at single thresholds."""
    results = compared.results(thresholds)
    for name, entry in results.items():
        if ":" not in name and (interval := map_interval(tube_hits(compared, float(name)))) is not None:
            entry["interval"] = [interval["low"], interval["high"]]
    return results


def report_text(result: Mapping[str, Any]) -> str:
    """What :func:`evaluate_files` returned, as tables."""
    lines = [f"protocol {result['protocol']}"]
    for name, title in (("frame_map", "frame AP"), ("video_map", "video AP")):
        if name in result:
            columns = result[name]
            names = list(next(iter(columns.values()))["per_class"])
            rows = [[label, *(_text(c["per_class"][label]) for c in columns.values())] for label in names]
            rows.append(["mean", *(_text(c["mean"]) for c in columns.values())])
            if any("interval" in column for column in columns.values()):
                ends = [column.get("interval", (None, None)) for column in columns.values()]
                rows += [
                    ["95 %, from", *(_text(low) for low, _ in ends)],
                    ["to", *(_text(high) for _, high in ends)],
                ]
            lines += ["", tabulate(rows, [title, *columns], disable_numparse=True, colalign=["left"])]
    if "errors" in result:
        errors = result["errors"]
        rows = [[kind, errors["count"][kind], _text(lost)] for kind, lost in errors["lost"].items()]
        lines += ["", tabulate(rows, ["error", "number", "mAP lost"], disable_numparse=True)]
    return "\n".join(lines)


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
