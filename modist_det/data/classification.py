"""From a labelled video to a training clip, or to all its test views."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core import COUNT, NOT_NEGATIVE, SHARE, CfgNode, Key, Limit, add_section
from ..structures.samples import ClassificationSample
from ..utils.errors import UserError
from ..video.frame_cache import OpenVideo, video_opener
from ..video.reader import VideoError, VideoInfo, open_video
from ..video.sampling import (
    clip_indices,
    clip_span,
    random_clip_start,
    segment_indices,
    spatial_crop_offset,
    uniform_view_start,
)
from .augmentation import Augmentation, Sometimes, View, erase, rand_augment, train_augmentation
from .datasets.records import VideoRecord

__all__ = ["ClassificationMapper"]

add_section(
    "INPUT",
    RESIZED_CROP=False,  # random resized crops in training, instead of square crops at a random short side
    # Frames of a "clip" (SAMPLING_RATE apart), the same number spread over all of its "span" (PySlowFast's
    # classification: 8 x 8 is 9 frames apart), or one of each of NUM_FRAMES "segments" of the video. Detection: a
    # "clip" with a frame at the keyframe (PySlowFast), or the "middles" of SAMPLING_RATE frames (VideoMAE, UMT).
    SAMPLING="clip",
    # Training clips per decoded video, each augmented differently (repeated augmentation).
    REPEATS=Key(1, COUNT),
    ERASE_PROB=Key(0.0, SHARE),  # probability of random erasing, the same rectangle in all frames
)
add_section(
    "INPUT.RAND_AUGMENT",
    NUM_OPS=Key(0, NOT_NEGATIVE),  # 0: off; operations per clip, the same for all its frames
    MAGNITUDE=Key(9, Limit(0, 30)),
)
add_section(
    "TEST",
    # Evenly spaced clips per video, each with 1 (central) or 3 crops along its longer side.
    NUM_ENSEMBLE_VIEWS=Key(10, Limit(1, 1000)),
    NUM_SPATIAL_CROPS=Key(3, Limit(1, 3)),
)

SAMPLINGS = ("clip", "span", "segments")


@dataclass
class ClassificationMapper:
    """Video -> clip and labels.

    ``mapper(record, rng)`` returns a dict:

    - ``video``: uint8 RGB; in training (3, T, S, S) with S the crop's size, or (R, 3, T, S, S) with ``repeats`` R
      above 1; in evaluation (V * C, 3, T, S, S) with S = ``min_size_test``: C crops of view 0, then of view 1, ...;
    - ``labels``: float32 (K,) of 0 and 1;
    - ``video_number``: int64 (), the record's; ``id``; ``video_id``.

    In training a clip starts at a random frame and is augmented. In evaluation V evenly spaced clips are taken, each
    with C square crops along the longer side (PySlowFast's rules, see :mod:`modist_det.video.sampling`); the video is
    decoded once for all of them. Frames are chosen by number, not by time: clip frame ``i`` is frame
    ``floor(start + i * sampling_rate * fps / target_fps)`` of a video at ``fps``. With ``sampling`` "span" the frames
    are spread from the first to the last of the same span, as PySlowFast does for classification: 8 frames at
    ``sampling_rate`` 8 are then 9 frames apart. With "segments" a clip has one frame of each of T equal parts of the
    video, and there is one view.

    Args:
        num_classes: K.
        num_frames: T.
        sampling_rate: spacing of a clip's frames, counted in frames at ``target_fps``.
        target_fps: frames per second to which ``sampling_rate`` refers.
        min_size_test: short side in evaluation (pixels).
        sampling: "clip", "span" or "segments".
        augmentation: used in training; None in evaluation.
        repeats: R, training clips made from one decoding.
        num_views, num_crops: V and C (1: the centre, or 3) in evaluation.
        open_video: function that opens a video.

    Raises:
        UserError: a size is invalid. A call raises ``VideoError`` for a video that cannot be read.
    """

    num_classes: int
    _: KW_ONLY
    num_frames: int = 8
    sampling_rate: int = 8
    target_fps: float = 30.0
    min_size_test: int = 256
    sampling: str = "clip"
    augmentation: Augmentation | None = None
    repeats: int = 1
    num_views: int = 10
    num_crops: int = 3
    open_video: OpenVideo = open_video

    def __post_init__(self) -> None:
        if self.num_crops not in (1, 3):
            raise UserError(f"TEST.NUM_SPATIAL_CROPS is {self.num_crops}; it is 1 (the centre) or 3")
        if self.sampling not in SAMPLINGS:
            raise UserError(f"INPUT.SAMPLING is {self.sampling!r}; known: {', '.join(SAMPLINGS)}")
        if self.sampling == "segments" and self.augmentation is None and self.num_views > 1:
            raise UserError(
                f"TEST.NUM_ENSEMBLE_VIEWS is {self.num_views}, but with INPUT.SAMPLING segments every view would show "
                "the same frames; set it to 1"
            )

    @property
    def crop_positions(self) -> tuple[int, ...]:
        """Positions of the crops along the longer side, of 0 (first), 1 (centre) and 2 (last)."""
        return (1,) if self.num_crops == 1 else (0, 1, 2)

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool) -> ClassificationMapper:
        """Build from ``cfg.INPUT``, ``cfg.TEST`` and ``cfg.MODEL.NUM_CLASSES``."""
        node = cfg.INPUT
        augmentation = None
        if is_train:
            num_ops, magnitude = node.RAND_AUGMENT.NUM_OPS, node.RAND_AUGMENT.MAGNITUDE
            drawn = [partial(rand_augment, num_ops=num_ops, magnitude=magnitude)] if num_ops else []
            erasing = Sometimes(node.ERASE_PROB, erase)
            augmentation = train_augmentation(cfg, *drawn, erasing, resized_crop=node.RESIZED_CROP)
        return cls(
            cfg.MODEL.NUM_CLASSES,
            num_frames=node.NUM_FRAMES,
            sampling_rate=node.SAMPLING_RATE,
            target_fps=node.TARGET_FPS,
            min_size_test=node.MIN_SIZE_TEST,
            augmentation=augmentation,
            sampling=node.SAMPLING,
            repeats=node.REPEATS,
            num_views=cfg.TEST.NUM_ENSEMBLE_VIEWS,
            num_crops=cfg.TEST.NUM_SPATIAL_CROPS,
            open_video=video_opener(cfg),
        )

    def __call__(self, record: VideoRecord, rng: np.random.Generator) -> ClassificationSample:
        return self.transform(record, self.decode(record, rng), rng)

    def decode(self, record: VideoRecord, rng: np.random.Generator) -> Tensor:
        """First half of a call: decode the frames of all views in turn, uint8 (3, T, H, W)."""
        short_side = self.augmentation.crop.short_side(rng) if self.augmentation else self.min_size_test
        with self.open_video(record.video, record.fps) as video:
            indices = self.frame_numbers(record, video.info, rng)
            frames = video.frames_at_indices(indices, short_side=short_side)
        return torch.from_numpy(frames).permute(3, 0, 1, 2)

    def transform(
        self, record: VideoRecord, frames: Tensor, rng: np.random.Generator
    ) -> ClassificationSample:
        """Second half of a call: turn the result of :meth:`decode` into the sample."""
        labels = torch.zeros(self.num_classes)
        labels[list(record.labels)] = 1.0
        return {
            "video": self._augmented(frames, rng) if self.augmentation else self.crops(frames),
            "labels": labels,
            "video_number": torch.tensor(record.number),
            "id": record.id,
            "video_id": record.video_id,
        }

    def frame_numbers(
        self, record: VideoRecord, info: VideoInfo, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """Frame numbers of one clip (training) or of all views."""
        first, total = _part(record, info)
        if self.sampling == "segments":
            return first + segment_indices(total, self.num_frames, rng if self.augmentation else None)
        fps = float(info.rate)
        span = clip_span(self.num_frames, self.sampling_rate, fps, self.target_fps)
        if self.augmentation:
            starts = [random_clip_start(total, span, rng)]
        else:
            starts = [uniform_view_start(total, span, view, self.num_views) for view in range(self.num_views)]
        stride = self.sampling_rate * fps / self.target_fps
        if self.sampling == "span":
            stride = (span - 1) / max(self.num_frames - 1, 1)
        return first + np.concatenate(
            [clip_indices(start, self.num_frames, stride, total) for start in starts]
        )

    def _augmented(self, frames: Tensor, rng: np.random.Generator) -> Tensor:
        """(3, T, S, S), or (R, 3, T, S, S)."""
        assert self.augmentation is not None
        clips = [self.augmentation(View(frames), rng).clip for _ in range(self.repeats)]
        return clips[0].contiguous() if self.repeats == 1 else torch.stack(clips)

    def crops(self, frames: Tensor) -> Tensor:
        """The square crops of all views: frames (channels, V * T, H, W) -> (V * C, channels, T, S, S)."""
        height, width = frames.shape[-2:]
        size = min(height, width)
        views = frames.unflatten(1, (-1, self.num_frames)).transpose(0, 1)
        offsets = [spatial_crop_offset(height, width, size, position) for position in self.crop_positions]
        crops = [views[..., top : top + size, left : left + size] for top, left in offsets]
        return torch.stack(crops, dim=1).flatten(0, 1)


def _part(record: VideoRecord, info: VideoInfo) -> tuple[int, int]:
    """The first frame of the annotated part of the video, and its number of frames."""
    if record.start is None or record.end is None:
        return 0, info.num_frames
    fps = float(info.rate)
    first = round(record.start * fps)
    total = min(round(record.end * fps), info.num_frames) - first
    if total < 1:
        raise VideoError(
            record.video, f"it ends before second {record.start:g}, where the part {record.id} begins"
        )
    return first, total
