"""Datasets of tubes: UCF101-24, JHMDB, MultiSports. Every box of an annotated frame can be a keyframe."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...core import CfgNode, Key, Limit, add_section
from ...utils.errors import UserError
from .description import check_number, register_format
from .detection import DetectionDataset, DetectionMetadata
from .persons import group_persons
from .records import DetectionRecords
from .tube_annotations import AnnotatedTube, TubeAnnotations, VideoSize, read_split, read_tube_annotations
from .videos import find_videos

if TYPE_CHECKING:
    from ...evaluation.tube_evaluator import TubeEvaluator

__all__ = ["TubesDataset"]

logger = logging.getLogger(__name__)

add_section(
    "TEST.TUBES",
    PROTOCOL="recommended",  # or "act", "multisports", "yowo" (docs/METRICS.md)
    LINKING="",  # the protocol whose linking makes tubes of boxes; "": that of PROTOCOL
    MIN_LENGTH=Key(0, Limit(0, 1_000_000)),  # frames of the shortest linked tube; 0: that of the linking
)


class TubesDataset(DetectionDataset):
    """Tubes of one subset.

    Args:
        name: for messages and results.
        videos: folders of video files or of frame folders, named as in the annotations (``Class/video`` or ``video``).
        annotations: file or folder of :func:`~.tube_annotations.read_tube_annotations`.
        subset: "train" or "test", for annotation files with splits; "all" for every video.
        split: number of the split.
        list_file: text file with the names of the videos, instead of the annotation file's splits.
        every: a keyframe at each ``every``-th annotated frame, from a video's first one on.
        fps: frame rate, where the annotations do not say it.

    Raises:
        UserError: a file is missing or malformed, or there is no such split.
    """

    def __init__(
        self,
        name: str,
        videos: str | Path | Sequence[str | Path],
        annotations: str | Path,
        subset: str = "all",
        split: int = 1,
        list_file: str | Path | None = None,
        every: int = 1,
        fps: float = 25.0,
    ) -> None:
        self.name = name
        self.videos = [str(videos)] if isinstance(videos, (str, Path)) else [str(folder) for folder in videos]
        self.path = annotations
        self.subset, self.split, self.list_file = subset, split, list_file
        self.every = int(check_number("every", every, above=0))
        self.fps = check_number("fps", fps, above=0)

    @cached_property
    def annotations(self) -> TubeAnnotations:
        return read_tube_annotations(self.path)

    @property
    def metadata(self) -> DetectionMetadata:
        names = dict(enumerate(self.annotations.classes, 1))
        return DetectionMetadata(
            self.name, names, len(names), self.fps, keyframe_spacing=self.every / self.fps
        )

    @cached_property
    def video_names(self) -> tuple[str, ...]:
        """Videos of the subset."""
        known = self.annotations.videos
        if self.list_file is not None:
            names = read_split(self.list_file)
            plain = {name.split("/")[-1]: name for name in known}
            listed = tuple(name if name in known else plain.get(name.split("/")[-1], "") for name in names)
            # Lists of the whole UCF101 name videos of other classes, too.
            chosen = tuple(name for name in listed if name)
            if not chosen:
                raise UserError(f"{self.list_file} lists no video that {self.path} has")
            return chosen
        if self.subset == "all":
            return tuple(known)
        splits = self.annotations.splits
        if (self.split, self.subset) not in splits:
            there = ", ".join(f"{subset} {number}" for number, subset in sorted(splits)) or "none"
            raise UserError(
                f"{self.path} has no split {self.subset} {self.split} (it has {there}); name a list_file, or use "
                "subset: all"
            )
        return splits[self.split, self.subset]

    def tubes(self) -> list[AnnotatedTube]:
        """The tubes of the subset's videos."""
        chosen = set(self.video_names)
        return [tube for tube in self.annotations.tubes if tube.video in chosen]

    def size_of(self, video: str) -> VideoSize:
        """Pixels and frame rate of a video."""
        size = self.annotations.videos[video]
        return size if size.fps else size._replace(fps=self.fps)

    def find_videos(self, video_ids: Sequence[str]) -> dict[str, str]:
        found = find_videos(self.videos, video_ids)
        plain = {name: name.split("/")[-1] for name in video_ids if name not in found}
        others = find_videos(self.videos, plain.values())
        return found | {name: others[short] for name, short in plain.items() if short in others}

    def records(self, boxes: str = "ground_truth", min_score: float = 0.0) -> DetectionRecords:
        """One for each keyframe. Tubes with the same box in a frame are several actions of one person."""
        if boxes != "ground_truth":
            raise UserError(
                f"dataset {self.name} has no {boxes} boxes, only ground_truth (DATASETS.TRAIN_BOXES, TEST_BOXES)"
            )
        tubes = self.tubes()
        paths = self.find_videos(list(dict.fromkeys(tube.video for tube in tubes)))
        missing = sorted({tube.video for tube in tubes} - paths.keys())
        if missing and paths:
            logger.warning(
                "dataset %s: %d annotated videos are not in %s, such as %s; an evaluation misses their tubes",
                self.name,
                len(missing),
                ", ".join(self.videos),
                missing[0],
            )
        tubes = [tube for tube in tubes if tube.video in paths]
        if not tubes:
            raise UserError(f"dataset {self.name}: no annotated video is in {', '.join(self.videos)}")
        names = list(dict.fromkeys(tube.video for tube in tubes))
        lengths = [len(tube.frames) for tube in tubes]
        number = {name: i for i, name in enumerate(names)}
        video = np.repeat([number[tube.video] for tube in tubes], lengths)
        label = np.repeat([tube.label + 1 for tube in tubes], lengths)
        frame = np.concatenate([tube.frames for tube in tubes])
        sizes = [self.size_of(name) for name in names]
        scale = np.array([[size.width, size.height] * 2 for size in sizes], float)
        corners = (np.concatenate([tube.boxes for tube in tubes]) / scale[video]).clip(0, 1)
        first = np.full(len(names), np.iinfo(np.int64).max)
        np.minimum.at(first, video, frame)
        kept = (frame - first[video]) % self.every == 0
        video, label, frame, corners = video[kept], label[kept], frame[kept], corners[kept]
        num_frames = int(frame.max()) + 1
        persons = group_persons(
            video * num_frames + frame, corners.astype(np.float32), np.ones(len(frame), np.float32), label
        )
        keys, starts = np.unique(persons.keys, return_index=True)
        video, frame = np.divmod(keys, num_frames)
        return DetectionRecords(
            video_ids=names,
            videos=[paths[name] for name in names],
            video_index=video,
            seconds=(frame - 1) / np.array([size.fps for size in sizes])[video],
            first_second=0.0,
            fps=self.fps,
            box_starts=np.append(starts, len(persons)),
            boxes=persons.boxes,
            scores=persons.scores,
            action_starts=persons.action_starts,
            actions=persons.actions,
        )

    def evaluator(self, cfg: CfgNode, output_dir: Path) -> TubeEvaluator:
        """Frame mAP and video mAP by ``TEST.TUBES``; tubes are linked from the scored boxes."""
        from ...evaluation.tube_evaluator import TubeEvaluator  # needs torch

        tubes = [
            {"video": t.video, "class": t.label + 1, "frames": t.frames, "boxes": t.boxes}
            for t in self.tubes()
        ]
        sizes = {tube.video: self.size_of(tube.video) for tube in self.tubes()}
        return TubeEvaluator(
            tubes,
            self.metadata.class_names,
            {name: (size.width, size.height, size.fps) for name, size in sizes.items()},
            self.every,
            output_dir,
            self.name,
            cfg.TEST.TUBES.PROTOCOL,
            cfg.TEST.TUBES.MIN_LENGTH or None,
            cfg.TEST.TUBES.LINKING,
        )


register_format("tubes", TubesDataset, path_arguments=("videos", "annotations", "list_file"))
