"""Draw detections in AVA's format on keyframes of their videos."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from ..data.catalog import DatasetCatalog
from ..data.datasets.detection import DetectionDataset
from ..data.datasets.records import DetectionRecord
from ..formats.ava.files import read_detections
from ..formats.ava.tables import BoxTable
from ..structures.class_facts import class_name
from ..utils.errors import UserError
from ..utils.spread import evenly_spread
from ..video.reader import open_video
from ..visualization.keyframes import BoxLabels, contact_sheet, draw_people, write_png
from .result_files import result_file

__all__ = ["draw_detection_sheet"]

logger = logging.getLogger(__name__)

_COLUMNS = 4
_WIDTH = 720  # pixels; of a frame while it is drawn on


def draw_detection_sheet(
    dataset_name: str,
    detections: str | os.PathLike,
    out: str | os.PathLike,
    *,
    keyframes: int = 12,
    top: int = 2,
    min_score: float = 0.2,
) -> None:
    """Write a PNG with detections (orange) and ground truth (green) on evenly spaced annotated keyframes.

    Args:
        dataset_name: catalogue name or description file of an AVA-style dataset with annotations.
        detections: csv in AVA's format, or a run's folder. If most of it is not about the dataset, a warning is logged.
        keyframes: largest number of keyframes.
        top: number of best actions labelled per person.
        min_score: minimum score of labelled actions.

    Raises:
        UserError: files are missing or malformed, or the dataset has no annotated keyframes.
    """
    dataset = DatasetCatalog.get_as(dataset_name, DetectionDataset, "there are no person boxes to draw")
    records = dataset.records(boxes="ground_truth")
    if not len(records):
        raise UserError(f"dataset {dataset_name} has no annotated keyframes")
    detections = result_file(detections, dataset_name)
    table = read_detections(detections)
    names = dataset.metadata.class_names
    for doubt in _doubts(table, dataset.ground_truth(), names):
        logger.warning("%s may be of other data than %s: %s", detections, dataset_name, doubt)
    images, titles = [], []
    for index in evenly_spread(len(records), keyframes):
        record = records[index]
        with open_video(record.video, record.fps) as video:
            frame = video.frames_at_times([record.time])[0]
        truth = [
            _labels(box, tuple(class_name(names, action) for action in actions), truth=True)
            for box, actions in zip(record.boxes.tolist(), record.actions, strict=True)
        ]
        # Enlarged first, so that the text of small videos does not hide the people.
        enlarged = cv2.resize(frame, None, fx=_WIDTH / frame.shape[1], fy=_WIDTH / frame.shape[1])
        images.append(draw_people(enlarged, truth + _detected(table, record, names, top, min_score)))
        titles.append(f"{record.video_id}  {record.second:g} s")
    sheet = contact_sheet(images, titles, _COLUMNS)
    write_png(out, sheet)


def _doubts(table: BoxTable, truth: BoxTable, names: Mapping[int, str]) -> list[str]:
    """What detections have that the dataset has not: keyframes (of most detections), or classes."""
    doubts = []
    numbers: dict[str, int] = {}
    annotated = np.union1d(truth.keys(numbers), truth.keyframes.keys(numbers))
    other = np.flatnonzero(~np.isin(table.keys(numbers), annotated))
    if len(other) > len(table) / 2:
        doubts.append(
            f"{len(other)} of {len(table)} detections are in none of its keyframes, as in {table.name(other[0])}"
        )
    if unknown := sorted(set(table.action.tolist()) - names.keys()):
        doubts.append(f"it has no class with the id {unknown[0]}")
    return doubts


def _detected(
    table: BoxTable, record: DetectionRecord, names: Mapping[int, str], top: int, min_score: float
) -> list[BoxLabels]:
    """The detections of one keyframe, one entry per box with its best actions."""
    if record.video_id not in table.videos:
        return []
    here = (table.video == table.videos.index(record.video_id)) & (table.second == record.second)
    rows = np.flatnonzero(here & (table.score >= min_score))
    people: dict[tuple[float, ...], list[int]] = {}
    for row in rows[np.argsort(-table.score[rows])]:
        people.setdefault(tuple(table.boxes[row].tolist()), []).append(row)
    return [
        _labels(
            box,
            tuple(
                f"{class_name(names, int(table.action[row]))} {table.score[row]:.2f}" for row in rows[:top]
            ),
        )
        for box, rows in people.items()
    ]


def _labels(box: Sequence[float], lines: tuple[str, ...], truth: bool = False) -> BoxLabels:
    x1, y1, x2, y2 = box
    return BoxLabels((x1, y1, x2, y2), lines, truth)
