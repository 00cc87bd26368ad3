"""Link detections of single frames (or of a few successive ones) to tubes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..structures.actions import PersonBoxes
from ..structures.boxes import iou_matrix
from ..structures.keyframes import IntArray
from ..structures.tracking import Track, Tracker
from ..structures.tubes import Codes, TubeTable, read_tubes
from ..utils.errors import UserError
from ..utils.json_reading import malformed
from .protocols import TUBE_RULES, check_protocol

__all__ = ["LINKED_SCORES", "link_detections", "trim_tubes"]

LINKED_SCORES = ("as_published", "own_scores")

Floats = NDArray[np.float64]
# Frames, boxes of each (n, 4) and score of each (n,), and the score of the tube.
_Tube = tuple[IntArray, Floats, Floats, float]

_MAX_GAP = 5  # frames for which the tracker may miss a person
_YOWO_TUBES = 3  # of a class in a video
_YOWO_FRAMES = 10_000_000  # of a video


@dataclass(frozen=True)
class _Greedy:
    """How a greedy linker works.

    Attributes:
        suppress: boxes (n, 4 K) and scores (n,) -> indices of those kept, the best first, and their scores.
        extra: pixels added to widths and heights.
        min_overlap: mean IoU with a tube's last boxes at which it is continued.
        max_missed: frames without a match after which a tube ends.
        min_score: of a tube.
    """

    suppress: Callable[[Floats, Floats], tuple[IntArray, Floats]]
    extra: float
    min_overlap: float
    max_missed: int
    min_score: float


def link_detections(
    detections: Any,
    protocol: str = "recommended",
    num_frames: Mapping[Hashable, Any] | None = None,
    classes: Sequence[Hashable] | None = None,
    min_length: int | None = None,
    scores: str = "as_published",
    best_class: bool | None = None,
) -> list[dict[str, Any]]:
    """Link frame detections to tubes, for each video and class by itself.

    ``act``
        ACT-detector: per frame the 10 best boxes (or tubelets) after suppression at a mean IoU of 0.3; tubes take, in
        order of their mean score, the best box with an IoU of at least 0.2; a tube ends after 5 missed frames. A box
        is the mean of the tubelets that cover it. (With single boxes the original has no box in missed frames; here
        they are interpolated.) Tubes below a score of 0.01 are dropped.
    ``multisports``
        The same, with soft suppression at 0.6, an IoU of at least 0.5 and no missed frame; score at least 0.005.
    ``yowo``
        Best paths over the whole video by dynamic programming, at most three; frames without boxes get those of the
        nearest frame. Tubes have the length of the video.
    ``recommended``
        The tracker of :mod:`modist_det.inference`: optimal assignment to predicted boxes, up to 5 missed frames,
        which are interpolated. It knows no suppression.

    Args:
        detections: boxes with ``video``, ``class``, ``frame``, ``box``, ``score``, in any form of
            :func:`~modist_det.structures.tubes.read_tubes`. In "act" a box may be a tubelet of K boxes (4 K numbers)
            that starts at ``frame``.
        protocol: how to link.
        num_frames: frames of each video (a number, or a dict with ``"frames"``), for "yowo"; default: until the last
            frame with detections. Frames count from 1 there.
        classes: what the entries of ``scores`` mean.
        min_length: shorter tubes are dropped; default: 15 in "act" and "multisports", else 1.
        scores: in "multisports": ``"as_published"`` gives every linked box the score of the very last detection,
            which is a slip in mmaction2's code; ``"own_scores"`` does what was meant.
        best_class: of boxes with ``scores``, only the class with the highest one is a detection; default: in
            "multisports".

    Returns:
        Tubes as records with ``video``, ``class``, ``score`` (the mean over boxes), ``frames`` (m,),
        ``boxes`` (m, 4) and ``scores_by_frame`` (m,): what :func:`~modist_det.evaluation.video_map` takes.

    Raises:
        UserError: an unknown protocol, or malformed detections.
    """
    check_protocol(protocol)
    if scores not in LINKED_SCORES:
        raise UserError(f"scores is {scores!r}, but must be one of {', '.join(LINKED_SCORES)}")
    videos: Codes = {}
    labels: Codes = {}
    best = TUBE_RULES[protocol].best_class if best_class is None else best_class
    table = read_tubes(detections, "detections", videos, labels, class_names=classes, best_class=best).rows()
    if protocol != "act" and table.boxes.shape[1] != 4:
        raise UserError(
            f"detections: tubelets of several boxes are linked by protocol 'act', not by {protocol!r}"
        )
    if protocol == "multisports" and scores == "as_published" and len(table):
        table = TubeTable(
            table.video,
            table.label,
            np.full(len(table), table.score[-1]),
            table.starts,
            table.frame,
            table.boxes,
        )
    if min_length is None:
        min_length = 15 if protocol in _GREEDY else 1
    ends = {}
    if protocol == "yowo":
        with malformed("num_frames"):
            ends = _ends(table, videos, num_frames)
    video_names, label_names = list(videos), list(labels)
    tubes = []
    for video, label, frames in _groups(table):
        if protocol in _GREEDY:
            linked = _link_greedily(frames, _GREEDY[protocol])
        elif protocol == "yowo":
            linked = _best_paths(frames, ends[video])
        else:
            linked = _track(frames)
        for times, boxes, per_frame, score in linked:
            if len(times) >= min_length:
                tubes.append(
                    {
                        "video": video_names[video],
                        "class": label_names[label],
                        "score": score,
                        "frames": times,
                        "boxes": boxes,
                        "scores_by_frame": per_frame,
                    }
                )
    return tubes


_Frames = dict[int, tuple[Floats, Floats]]  # boxes and scores of each frame, ascending


def _groups(table: TubeTable) -> Iterator[tuple[int, int, _Frames]]:
    """Video, class, and the boxes of each frame in their order."""
    order = np.lexsort((table.frame, table.label, table.video))
    keys = np.column_stack([table.video, table.label, table.frame])[order]
    changes = keys[1:] != keys[:-1]
    bounds = [0, *(np.flatnonzero(changes.any(axis=1)) + 1).tolist(), len(keys)] if len(keys) else []
    boxes, score = table.boxes[order], table.score[order]
    frames: _Frames = {}
    for start, end in itertools.pairwise(bounds):
        frames[int(keys[start, 2])] = boxes[start:end], score[start:end]
        if end == len(keys) or (keys[end, :2] != keys[start, :2]).any():
            yield int(keys[start, 0]), int(keys[start, 1]), frames
            frames = {}


def _ends(table: TubeTable, videos: Codes, num_frames: Mapping[Hashable, Any] | None) -> dict[int, int]:
    last = np.zeros(len(videos), np.int64)
    np.maximum.at(last, table.video, table.frame)
    ends = {}
    for name, number in videos.items():
        if num_frames is not None and name not in num_frames:
            raise UserError(f"num_frames has no number for video {name!r}")
        entry = last[number] if num_frames is None else num_frames[name]
        ends[number] = int(entry["frames"] if isinstance(entry, Mapping) else entry)
        if last[number] > ends[number]:
            raise UserError(
                f"detections: video {name!r} has {ends[number]} frames, but there is a box at frame {last[number]}"
            )
        if ends[number] > _YOWO_FRAMES:
            raise UserError(
                f"video {name!r} has {ends[number]} frames; protocol 'yowo' links at most {_YOWO_FRAMES:,}"
            )
    return ends


# ---- greedy ---------------------------------------------------------------------------------------


def _mean_iou(a: Floats, b: Floats, extra: float) -> Floats:
    """Mean IoU (A, B) of tubelets (A, 4 K) and (B, 4 K)."""
    pairs = zip(np.split(a, a.shape[1] // 4, axis=1), np.split(b, b.shape[1] // 4, axis=1), strict=True)
    return np.asarray(np.mean([iou_matrix(x, y, extra) for x, y in pairs], axis=0))


def _suppress(boxes: Floats, scores: Floats, threshold: float) -> tuple[IntArray, Floats]:
    """Suppression at a mean IoU (+1 pixel): kept indices, the best first; and of all, the IoU with their suppressor."""
    overlap = _mean_iou(boxes, boxes, 1)
    order = np.argsort(scores, kind="stable")[::-1]
    kept, by = [], np.zeros(len(scores))
    while len(order):
        kept.append(order[0])
        with_best = overlap[order[0], order[1:]]
        out = with_best > threshold
        by[order[1:][out]] = with_best[out]
        order = order[1:][~out]
    return np.array(kept, np.int64), by


def _ten_best(boxes: Floats, scores: Floats) -> tuple[IntArray, Floats]:
    kept, _ = _suppress(boxes, scores, 0.3)
    return kept[:10], scores[kept[:10]]


def _ten_best_softly(boxes: Floats, scores: Floats) -> tuple[IntArray, Floats]:
    _, by = _suppress(boxes, scores, 0.6)
    weighted = scores * (1 - by)
    order = np.argsort(weighted, kind="stable")[::-1][:10]
    return order, weighted[order]


_GREEDY = {
    "act": _Greedy(_ten_best, 1, 0.2, 5, 0.01),
    "multisports": _Greedy(_ten_best_softly, 0, 0.5, 1, 0.005),
}


def _link_greedily(frames: _Frames, how: _Greedy) -> Iterator[_Tube]:
    width = next(iter(frames.values()))[0].shape[1]
    span = width // 4
    limit = max(how.max_missed, 1)
    current: list[list[tuple[int, Floats, float]]] = []
    finished: list[list[tuple[int, Floats, float]]] = []
    for frame, (all_boxes, all_scores) in frames.items():
        # Frames without boxes come between: tubes end there, too.
        finished += [tube for tube in current if frame - 1 - tube[-1][0] >= limit]
        current = [tube for tube in current if frame - 1 - tube[-1][0] < limit]
        kept, scores = how.suppress(all_boxes, all_scores)
        boxes = all_boxes[kept]
        means = np.array([np.mean(np.array([entry[2] for entry in tube])) for tube in current])
        going = []
        for tube in (current[i] for i in np.argsort(-means, kind="stable")):
            last_frame, last, _ = tube[-1]
            offset = frame - last_frame
            common = max(span - offset, 1)  # frames of both; of neither: the last and the first
            overlap = _mean_iou(boxes[:, : 4 * common], last[None, -4 * common :], how.extra)[:, 0]
            enough = np.flatnonzero(overlap >= how.min_overlap)
            if len(enough):
                choice = enough[np.argmax(scores[enough])]
                tube.append((frame, boxes[choice], float(scores[choice])))
                boxes, scores = np.delete(boxes, choice, axis=0), np.delete(scores, choice)
            elif offset >= limit:
                finished.append(tube)
                continue
            going.append(tube)
        current = going + [[(frame, box, float(score))] for box, score in zip(boxes, scores, strict=True)]
    for tube in finished + current:
        score = float(np.mean([entry[2] for entry in tube]))
        if score >= how.min_score:
            yield *_merged(tube, span), score


def _merged(tube: list[tuple[int, Floats, float]], span: int) -> tuple[IntArray, Floats, Floats]:
    """Frames, boxes and scores: means over the tubelets that cover a frame, interpolated where none does."""
    begin = tube[0][0]
    length = tube[-1][0] + span - begin
    sums, count = np.zeros((length, 5)), np.zeros(length)
    for frame, boxes, score in tube:
        rows = slice(frame - begin, frame - begin + span)
        sums[rows, :4] += boxes.reshape(span, 4)
        sums[rows, 4] += score
        count[rows] += 1
    covered = np.flatnonzero(count)
    means = sums[covered] / count[covered, None]
    filled = np.column_stack([np.interp(np.arange(length), covered, column) for column in means.T])
    return np.arange(begin, begin + length), filled[:, :4], filled[:, 4]


# ---- best paths -----------------------------------------------------------------------------------


def _best_paths(frames: _Frames, num_frames: int) -> Iterator[_Tube]:
    """YOWO's linking, in single precision like the original."""
    known = np.array(list(frames))
    nearest = [known[np.abs(known - number).argmin()] for number in range(1, num_frames + 1)]
    boxes = [frames[number][0].astype(np.float32) for number in nearest]
    scores = [frames[number][1].astype(np.float32) for number in nearest]
    edges = []
    for before, after, s, t in zip(boxes[:-1], boxes[1:], scores[:-1], scores[1:], strict=True):
        s, t = s[:, None], t[None]
        edges.append(iou_matrix(before, after) + (s + t) + np.float32(0.5) * (s * t))
    for _ in range(_YOWO_TUBES):
        value = np.zeros(len(boxes[-1]), np.float32)
        following = []
        for edge in reversed(edges):
            through = edge + value
            following.append(through.argmax(axis=1))
            value = through.max(axis=1)
        path = [int(value.argmax())]
        for choice in reversed(following):
            path.append(int(choice[path[-1]]))
        per_frame = np.array([s[at] for s, at in zip(scores, path, strict=True)], np.float64)
        corners = np.array([b[at] for b, at in zip(boxes, path, strict=True)], np.float64)
        yield np.arange(1, num_frames + 1), corners, per_frame, float(per_frame.mean())
        boxes = [np.delete(b, at, 0) for b, at in zip(boxes, path, strict=True)]
        scores = [np.delete(s, at) for s, at in zip(scores, path, strict=True)]
        edges = [
            np.delete(np.delete(edge, at, 0), after, 1)
            for edge, at, after in zip(edges, path[:-1], path[1:], strict=True)
        ]
        if any(not len(b) for b in boxes):
            break


# ---- tracker --------------------------------------------------------------------------------------


def _track(frames: _Frames) -> Iterator[_Tube]:
    tracker = Tracker(start_score=0.0, max_gap=_MAX_GAP + 1)
    ended: list[Track] = []
    for frame, (boxes, scores) in frames.items():
        ended += tracker.update(float(frame), PersonBoxes(boxes, scores))  # type: ignore[arg-type]
    for track in ended + tracker.finish():
        seen = np.array(track.times)
        times = np.arange(seen[0], seen[-1] + 1)
        boxes = np.column_stack([np.interp(times, seen, column) for column in np.array(track.boxes).T])
        scores = np.array(track.scores)
        yield times.astype(np.int64), boxes, np.interp(times, seen, scores), float(scores.mean())


# ---- trimming -------------------------------------------------------------------------------------


def trim_tubes(
    tubes: Sequence[Mapping[str, Any]], level: float = 0.5, switch_cost: float = 2.0
) -> list[dict[str, Any]]:
    """Cut tubes in time to the parts in which the action happens; a tube may have several.

    Each frame is "action" or "background" so that the sum over action frames of (score / mean score of the tube -
    ``level``), minus ``switch_cost`` for each part, is greatest (dynamic programming; as in Saha et al., 2016).

    Args:
        tubes: records with ``scores_by_frame``, as :func:`link_detections` returns.
        level: share of a tube's mean score that separates action from background.
        switch_cost: what a part has to gain; 0 cuts at each frame below the level.

    Returns:
        Records of the parts; ``score`` is the mean of their frames.

    Raises:
        UserError: a tube has no ``scores_by_frame``.
    """
    parts = []
    for number, tube in enumerate(tubes):
        if "scores_by_frame" not in tube:
            raise UserError(f"tube {number} has no 'scores_by_frame', so it cannot be trimmed")
        scores = np.asarray(tube["scores_by_frame"], np.float64)
        mean = scores.mean() or 1.0
        for start, end in _runs(scores / mean - level, switch_cost):
            cut = {name: np.asarray(tube[name])[start:end] for name in ("frames", "boxes", "scores_by_frame")}
            parts.append({**tube, **cut, "score": float(scores[start:end].mean())})
    return parts


def _runs(gain: Floats, cost: float) -> list[tuple[int, int]]:
    """Intervals [start, end) that maximize the sum of ``gain`` inside, minus ``cost`` for each."""
    outside, inside = 0.0, -np.inf  # best values so far; of the second the interval is open
    stays, opens = [], []
    for value in gain.tolist():
        opens.append(outside - cost > inside)
        stays.append(outside >= inside)
        outside, inside = max(outside, inside), max(inside, outside - cost) + value
    runs: list[tuple[int, int]] = []
    at, is_open, end = len(gain), inside > outside, len(gain)
    while at > 0:
        at -= 1
        if is_open:
            if opens[at]:
                runs.append((at, end))
                is_open = False
                # The value before this frame is that of the outside state at `at`.
        elif not stays[at]:
            is_open, end = True, at
    return runs[::-1]
