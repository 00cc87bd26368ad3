"""AVA-style data: keyframes of long videos, with person boxes that each have any number of actions.

Everything that differs between datasets (classes, frame rate of frame folders, the second at which videos begin,
keyframe spacing) is an argument, so the same code reads AVA and custom data.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...core import CfgNode
from ...evaluation.ava import MODES, detection_limit
from ...formats.ava.files import (
    read_ava_boxes,
    read_exclusions,
    read_frame_list,
    read_label_map,
    read_person_boxes,
)
from ...structures.boxes import has_area
from ...structures.keyframes import VideoKeyframes, unpack_keyframes
from ...structures.tables import BoxTable
from ...utils.errors import UserError, nearest
from ...video.frame_list import ListedFolder
from ...video.listing import file_key
from ...video.packed import is_folder
from .columns import Strings
from .description import check_folders, check_number, check_path, check_share, register_format
from .detection import DetectionDataset, DetectionMetadata
from .persons import Persons, group_persons, join, match_persons
from .records import DetectionRecord, DetectionRecords
from .unlabelled import VideoRecord
from .videos import equal_pair, locate, number_files, videos_of_folder

if TYPE_CHECKING:
    from ...evaluation.ava_evaluator import AVAEvaluator

__all__ = [
    "BOX_SOURCES",
    "PERSON_SCORE_THRESH",
    "AVADataset",
    "AVAMetadata",
    "DetectionRecord",
    "DetectionRecords",
]

logger = logging.getLogger(__name__)

BOX_SOURCES = ("ground_truth", "detected", "both")
PERSON_SCORE_THRESH = 0.9  # default minimum score of detected boxes


AVAMetadata = DetectionMetadata


class AVADataset(DetectionDataset):
    """Videos with annotations in AVA's formats. Files are parsed on first use; videos are never opened.

    Args:
        name: for messages.
        videos: folder, or folders, with ``ID.mp4`` (or another video format) or a frame folder ``ID/``.
        label_map: file with the names of the class ids: ``item { name: "walk" id: 12 }``.
        annotations: ground truth csv: ``video,second,x1,y1,x2,y2,action[,person]``.
        person_boxes: detector output, csv: ``video,second,x1,y1,x2,y2,action or empty,score``.
        exclusions: csv of keyframes to leave out: ``video,second``.
        frame_list: PySlowFast's frame list, which assigns the images in ``videos`` to videos, in order.
        fps: frame rate of frame folders.
        first_second: annotated second of each video's first frame: 0 if seconds count from there, 900 for AVA's clips
            that were cut at 15 minutes.
        keyframe_spacing: seconds between keyframes.
        num_classes: width of a model's output; default: the highest id of the label map. AVA trains 80
            classes and its label map names the 60 that are evaluated.
        match_iou: IoU from which a detected box takes an annotated person's labels; see :meth:`records`.
        max_missing: largest share of annotated videos that may be missing from ``videos``.

    Raises:
        UserError: an argument is out of range. Files are read and checked on first use.
    """

    def __init__(
        self,
        name: str,
        videos: str | os.PathLike | Sequence[str | os.PathLike],
        label_map: str | os.PathLike,
        annotations: str | os.PathLike | None = None,
        person_boxes: str | os.PathLike | None = None,
        exclusions: str | os.PathLike | None = None,
        frame_list: str | os.PathLike | None = None,
        fps: float = 30.0,
        first_second: float = 0.0,
        keyframe_spacing: float = 1.0,
        num_classes: int | None = None,
        match_iou: float = 0.75,
        max_missing: float = 0.1,
    ) -> None:
        self.name = str(name)
        self.videos = check_folders(videos)
        self.label_map = check_path("label_map", label_map)
        self.annotations = None if annotations is None else check_path("annotations", annotations)
        self.person_boxes = None if person_boxes is None else check_path("person_boxes", person_boxes)
        self.exclusions = None if exclusions is None else check_path("exclusions", exclusions)
        self.frame_list = None if frame_list is None else check_path("frame_list", frame_list)
        self.fps = check_number("fps", fps, above=0)
        self.first_second = check_number("first_second", first_second)
        self.keyframe_spacing = check_number("keyframe_spacing", keyframe_spacing, above=0)
        self.num_classes = num_classes
        self.match_iou = check_number("match_iou", match_iou, above=0)
        self.max_missing = check_share("max_missing", max_missing)
        if num_classes is not None and (type(num_classes) is not int or num_classes < 1):
            raise UserError(f"num_classes is {num_classes!r}, but must be a whole number from 1")
        if self.annotations is None and self.person_boxes is None:
            raise UserError("there are neither 'annotations' nor 'person_boxes'")

    @cached_property
    def metadata(self) -> AVAMetadata:
        """Facts about the dataset.

        Raises:
            UserError: the label map cannot be read or has an id above ``num_classes``.
        """
        entries = read_label_map(self.label_map)
        class_names = {number: entry.name for number, entry in entries.items()}
        highest = max(class_names)
        if self.num_classes is not None and self.num_classes < highest:
            raise UserError(f"num_classes is {self.num_classes}, but {self.label_map} has class id {highest}")
        return AVAMetadata(
            name=self.name,
            class_names=class_names,
            num_classes=self.num_classes or highest,
            fps=self.fps,
            first_second=self.first_second,
            keyframe_spacing=self.keyframe_spacing,
            groundtruth=self.annotations,
            label_map=self.label_map,
            exclusions=self.exclusions,
            class_types={number: entry.type for number, entry in entries.items() if entry.type},
        )

    def find_videos(self, video_ids: Sequence[str]) -> dict[str, str]:
        """Path of each video that exists; missing ones are omitted.

        With a frame list the path is a ``ListedFolder``: only the listed images are read.

        Raises:
            UserError: a folder of videos does not exist, an id matches two files, or two ids match one file.
        """
        if self.frame_list is not None:
            return self._listed_folders(self.frame_list, video_ids)
        names = list(dict.fromkeys(video_ids))
        place, paths, identities = locate(self.videos, Strings.of(names))
        there = np.flatnonzero(place >= 0)
        pair = equal_pair(number_files(identities, paths)[place[there]])
        if pair is not None:
            later, earlier = there[list(pair)].tolist()
            raise self._two_names(names[earlier], names[later], paths[place[earlier]])
        return {names[row]: paths[place[row]] for row in there.tolist()}

    def _listed_folders(self, frame_list: str, video_ids: Sequence[str]) -> dict[str, str]:
        frames = read_frame_list(frame_list)
        found: dict[str, str] = {}
        first: dict[tuple, str] = {}
        for name in dict.fromkeys(video_ids):
            folders = [Path(root, frames[name].folder) for root in self.videos] if name in frames else []
            for folder in [folder for folder in folders if is_folder(folder)][-1:]:
                found[name] = ListedFolder(folder, frames[name].names)
                images = (file_key(folder, folder.stat()), frames[name].names)
                if first.setdefault(images, name) != name:
                    raise self._two_names(first[images], name, found[name])
        return found

    def _two_names(self, first: str, second: str, path: str) -> UserError:
        return UserError(
            f"dataset {self.name}: {first!r} and {second!r} are one video, {path}; call it by one name in every row"
        )

    def records(
        self, boxes: str = "ground_truth", min_score: float = PERSON_SCORE_THRESH
    ) -> DetectionRecords:
        """Keyframes with at least one person, sorted by video and second, without excluded ones.

        Rows of one keyframe with the same box are one person with several actions.

        Args:
            boxes: which persons to return:

                - ``"ground_truth"``: the annotated ones.
                - ``"detected"``: person boxes with a score of at least ``min_score``, in annotated videos only (so
                  that one file can serve training and validation). If the file has actions (PySlowFast's
                  training boxes do), they are the labels, and a box without actions is a negative. If it
                  has none, a box gets the labels of the annotated person with the highest IoU, provided
                  that IoU is at least ``match_iou``, and no labels otherwise.
                - ``"both"``: the union of the two, for training. If the file has no actions, boxes that match no
                  annotated person are dropped, since their actions are unknown.
            min_score: in [0, 1].

        Raises:
            UserError: files cannot be read, a class id is above ``num_classes``, videos are missing (all, or a share
                above ``max_missing``), or no person is left; the message names the filter that removed the last ones.
        """
        if boxes not in BOX_SOURCES:
            raise UserError(
                f"person boxes {boxes!r} are unknown{nearest(boxes, BOX_SOURCES)} (known: {', '.join(BOX_SOURCES)})"
            )
        names: dict[str, int] = {}
        if boxes == "ground_truth":
            persons = self._annotated(names)
        elif boxes == "both":
            annotated = self._annotated(names)
            detected, unknown = self._detected(names, min_score, annotated, required=False)
            persons = join(annotated, detected.take(~unknown))
            if unknown.any():
                logger.info(
                    "%s: %d detected boxes match no annotated person and are left out",
                    self.name,
                    unknown.sum(),
                )
        else:
            annotated = _no_persons() if self.annotations is None else self._annotated(names)
            persons, _ = self._detected(names, min_score, annotated, required=True)
        if self.exclusions is not None:
            excluded = np.isin(persons.keys, read_exclusions(self.exclusions).keys(names))
            if len(persons) and excluded.all():
                raise UserError(
                    f"dataset {self.name}: {self.exclusions} excludes every keyframe that has a person "
                    f"({len(np.unique(persons.keys))}); give the exclusions of this data, or none"
                )
            persons = persons.take(~excluded)
        return self._to_records(persons, list(names))

    def ground_truth(self) -> BoxTable:
        """The rows of the annotations, with those of excluded keyframes and of missing videos.

        Raises:
            UserError: the file cannot be read, or there is none.
        """
        if self.annotations is None:
            raise UserError(f"dataset {self.name} has no 'annotations', which ground truth boxes come from")
        return read_ava_boxes(self.annotations)

    def video_records(self) -> list[VideoRecord]:
        """The annotated videos that exist, without their annotations (for pretraining)."""
        records = self.records("detected" if self.annotations is None else "ground_truth", min_score=0.0)
        return [
            VideoRecord(number, video_id, video, self.fps)
            for number, (video_id, video) in enumerate(zip(records.video_ids, records.videos, strict=True))
        ]

    def keyframes(self) -> list[VideoKeyframes]:
        """The annotated keyframes of each video, including those without people.

        Without annotations: keyframes every ``keyframe_spacing`` seconds of all videos in the folders.

        Raises:
            UserError: files are missing, or none of the videos exists.
        """
        facts = self.metadata
        if self.annotations is None:
            found = [video for folder in self.videos for video in videos_of_folder(folder)]
            return [
                replace(video, fps=facts.fps, first_second=facts.first_second, spacing=facts.keyframe_spacing)
                for video in found
            ]
        table = read_ava_boxes(self.annotations)
        seconds: dict[str, set[float]] = {}
        for part in (table, table.keyframes):
            for name, second in part.names():
                seconds.setdefault(name, set()).add(second)
        paths = self.find_videos(list(seconds))
        if not paths:
            raise UserError(
                f"none of the {len(seconds)} videos of {self.name} is in {', '.join(self.videos)}"
            )
        return [
            VideoKeyframes(name, path, facts.fps, facts.first_second, tuple(sorted(seconds[name])))
            for name, path in paths.items()
        ]

    def evaluator(self, cfg: CfgNode, output_dir: Path) -> AVAEvaluator:
        """The evaluator of AVA's frame mAP, configured by ``TEST.AVA``."""
        from ...evaluation.ava_evaluator import AVAEvaluator  # the only import here that needs torch

        if cfg.TEST.AVA.MODE not in MODES:
            raise UserError(f"TEST.AVA.MODE is {cfg.TEST.AVA.MODE!r}; known: {', '.join(map(repr, MODES))}")
        return AVAEvaluator(
            self.annotations,
            self.label_map,
            self.exclusions,
            output_dir=output_dir,
            dataset_name=self.name,
            mode=cfg.TEST.AVA.MODE,
            max_detections=detection_limit(self.metadata.class_names, cfg.TEST.AVA.MAX_DETECTIONS),
            boxes=cfg.DATASETS.TEST_BOXES,
        )

    def _annotated(self, names: dict[str, int]) -> Persons:
        return self._to_persons(self.ground_truth(), names)

    def _detected(
        self, names: dict[str, int], min_score: float, annotated: Persons, required: bool
    ) -> tuple[Persons, NDArray[np.bool_]]:
        """Detected persons with labels, and a mask of those without known actions.

        Raises:
            UserError: there are none although they are ``required``.
        """
        if self.person_boxes is None:
            raise UserError(f"dataset {self.name} has no 'person_boxes', which detected boxes come from")
        table = read_person_boxes(self.person_boxes)
        num_annotated = len(names)
        everybody = self._to_persons(table, names)
        sure = everybody.take(everybody.scores >= min_score)
        persons = sure
        if self.annotations is not None:
            persons = sure.take(unpack_keyframes(sure.keys)[0] < num_annotated)
        logger.info(
            "%s: %d of %d boxes of %s are taken (score at least %g, in annotated videos)",
            self.name,
            len(persons),
            len(everybody),
            self.person_boxes,
            min_score,
        )
        if not len(persons):
            message = self._why_nobody(everybody, len(sure), min_score, table, list(names)[:num_annotated])
            if required:
                raise UserError(message)
            logger.warning("%s; only annotated persons are used", message)
        if (table.action >= 1).any():
            return persons, np.zeros(len(persons), dtype=bool)
        match = match_persons(persons, annotated, self.match_iou)
        return persons.with_actions_of(annotated, match), match < 0

    def _why_nobody(
        self, everybody: Persons, num_sure: int, min_score: float, table: BoxTable, annotated: Sequence[str]
    ) -> str:
        """The message that says which filter removed all detected persons."""
        count = len(everybody)
        if not count:
            return f"{self.person_boxes} has no box that can be used, only keyframes"
        if not num_sure:
            return (
                f"no box of {self.person_boxes} reaches PERSON_SCORE_THRESH {min_score:g} ({count} boxes, best "
                f"{everybody.scores.max():g}); choose DATASETS.PERSON_SCORE_THRESH for this detector's scores "
                "(tools/evaluate_person_boxes.py prints a table)"
            )
        return (
            f"no box of {self.person_boxes} with a score of at least {min_score:g} ({num_sure} of {count}) is in a "
            f"video of {self.annotations}: videos there are called {_some(annotated)}, here {_some(table.videos)}"
        )

    def _to_persons(self, table: BoxTable, names: dict[str, int]) -> Persons:
        """Convert rows to persons; boxes without area are dropped."""
        num_classes = self.metadata.num_classes
        for row in np.flatnonzero(table.action > num_classes)[:1].tolist():
            raise UserError(
                f"{table.path}:{table.line[row]}: class id {table.action[row]} is above {num_classes}, "
                f"the highest of {self.label_map}"
            )
        boxes = np.clip(table.boxes, 0, 1).astype(np.float32)
        kept = has_area(boxes)
        if not kept.all():
            logger.warning("%s: %d boxes without area are left out", table.path, (~kept).sum())
        return group_persons(
            table.keys(names)[kept],
            boxes[kept],
            table.score[kept].astype(np.float32),
            table.action[kept].astype(np.int64),
        )

    def _to_records(self, persons: Persons, names: list[str]) -> DetectionRecords:
        asked = [names[number] for number in np.unique(unpack_keyframes(persons.keys)[0]).tolist()]
        found = self.find_videos(names)  # all names at once, so that two names of one video are noticed
        self._report_missing(asked, found)
        present = [number for number, name in enumerate(names) if name in found]
        place = np.full(len(names), -1, dtype=np.int32)  # of each name, among those that are present
        place[present] = np.arange(len(present))
        persons = persons.take(place[unpack_keyframes(persons.keys)[0]] >= 0)
        keys, box_starts = np.unique(persons.keys, return_index=True)
        video, seconds = unpack_keyframes(keys)
        return DetectionRecords(
            video_ids=[names[number] for number in present],
            videos=[found[names[number]] for number in present],
            video_index=place[video],
            seconds=seconds,
            first_second=self.first_second,
            fps=self.fps,
            box_starts=np.append(box_starts, len(persons)),
            boxes=persons.boxes,
            scores=persons.scores,
            action_starts=persons.action_starts,
            actions=persons.actions,
        )

    def _report_missing(self, asked: Sequence[str], found: Mapping[str, str]) -> None:
        missing = [name for name in asked if name not in found]
        if not missing:
            return
        example = Path(self.videos[0], missing[0])
        text = (
            f"dataset {self.name}: {len(missing)} of {len(asked)} videos are missing from {', '.join(self.videos)}, "
            f"for example {example}.mp4 (or another kind of video file, or a folder {example} of frames)"
        )
        if len(missing) > self.max_missing * len(asked) or not found:
            raise UserError(
                f"{text}; put them there or let 'videos' name the right folder; 'max_missing' is the share that "
                "may be missing"
            )
        logger.warning("%s; their keyframes are left out: %s", text, ", ".join(missing))


register_format(
    "ava",
    AVADataset,
    path_arguments=("videos", "annotations", "person_boxes", "label_map", "exclusions", "frame_list"),
)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:2]) + (", ..." if len(names) > 2 else "")


def _no_persons() -> Persons:
    none = np.zeros(0, dtype=np.int64)
    boxes, scores = np.zeros((0, 4), dtype=np.float32), np.zeros(0, dtype=np.float32)
    return Persons(none, boxes, scores, np.zeros(1, dtype=np.int64), none)
