"""From a labelled video to a clip of it for training, or to all its test views."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..config import CfgNode
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
from . import transforms as T
from .datasets.records import VideoRecord

__all__ = ["ClassificationMapper"]

SAMPLINGS = ("clip", "span", "segments")
# Of random erasing (Zhong et al. 2020): share of the frame, width over height.
_ERASED_AREA = (0.02, 1 / 3)
_ERASED_ASPECT = (0.3, 10 / 3)


class ClassificationMapper:
    """Video -> clip and labels.

    ``mapper(record, rng)`` returns a dict:

    - ``video``: uint8 RGB; in training (3, T, S, S) with S = ``crop_size``, or (R, 3, T, S, S) with ``repeats`` R
      above 1; in evaluation (V * C, 3, T, S, S) with S = ``min_size_test``: C crops of view 0, then of view 1, ...;
    - ``labels``: float32 (K,) of 0 and 1;
    - ``video_number``: int64 (), the record's; ``id``; ``video_id``.

    In training a clip begins anywhere in the video. It is scaled to a random short side and cropped, or a random
    part of it is scaled to the crop (``resized_crop``); then flipped and its colours changed. In evaluation V clips
    lie at equal distances, with C square crops each along the longer side, as :mod:`.sampling` quotes PySlowFast; the
    video is decoded once for all of them. Frames are counted, not timed: clip frame ``i`` is frame
    ``floor(start + i * sampling_rate * fps / target_fps)`` of a video at ``fps``. With ``sampling`` "span" the frames
    are spread from the first to the last of the same span, as PySlowFast does for classification: 8 frames at
    ``sampling_rate`` 8 are then 9 frames apart. With "segments" a clip has one frame of each of T equal parts of the
    video, and there is one view.

    Args:
        num_classes: K.
        num_frames: T.
        sampling_rate: frames of a clip are this many frames apart at ``target_fps``.
        target_fps: frames per second in which ``sampling_rate`` counts.
        min_size_train: smallest and largest short side in training (pixels).
        min_size_test: short side in evaluation.
        crop_size: side of the training crop.
        resized_crop: of frames with the largest training short side, a random resized crop of ``area`` (share of the
            frame) and ``aspect`` (width over height).
        flip_prob, jitter_prob, grayscale_prob, erase_prob: of each change in training; erased is a rectangle of 2 %
            to a third of the frame.
        jitter: half-widths of the brightness, contrast and saturation factors and of the hue's shift.
        rand_augment: number of operations (0: none) and magnitude of RandAugment.
        sampling: "clip", "span" or "segments".
        repeats: R, clips made from one decoding.
        num_views, num_crops: V and C (1: the centre, or 3) in evaluation.
        is_train: which of the two.
        open_video: how videos are opened.

    Raises:
        UserError: a size is impossible. A call raises ``VideoError`` for a video that cannot be read.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        num_frames: int = 8,
        sampling_rate: int = 8,
        target_fps: float = 30.0,
        min_size_train: tuple[int, int] = (256, 320),
        min_size_test: int = 256,
        crop_size: int = 224,
        resized_crop: bool = False,
        area: tuple[float, float] = (0.3, 1.0),
        aspect: tuple[float, float] = (0.5, 2.0),
        flip_prob: float = 0.5,
        jitter_prob: float = 0.0,
        jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.4, 0.0),
        grayscale_prob: float = 0.0,
        erase_prob: float = 0.0,
        rand_augment: tuple[int, int] = (0, 9),
        sampling: str = "clip",
        repeats: int = 1,
        num_views: int = 10,
        num_crops: int = 3,
        is_train: bool = False,
        open_video: OpenVideo = open_video,
    ) -> None:
        smallest, largest = min_size_train
        if smallest > largest:
            raise UserError(
                f"INPUT.MIN_SIZE_TRAIN is [{smallest}, {largest}]; give [smallest, largest] in pixels"
            )
        if is_train and not resized_crop and crop_size > smallest:
            raise UserError(
                f"INPUT.CROP_SIZE {crop_size} does not fit into clips of short side {smallest}; "
                f"raise INPUT.MIN_SIZE_TRAIN to [{crop_size}, ...] or lower the crop"
            )
        if num_crops not in (1, 3):
            raise UserError(f"TEST.NUM_SPATIAL_CROPS is {num_crops}; it is 1 (the centre) or 3")
        if sampling not in SAMPLINGS:
            raise UserError(f"INPUT.SAMPLING is {sampling!r}; known: {', '.join(SAMPLINGS)}")
        if sampling == "segments" and not is_train and num_views > 1:
            raise UserError(
                f"TEST.NUM_ENSEMBLE_VIEWS is {num_views}, but with INPUT.SAMPLING segments every view would show the "
                "same frames; set it to 1"
            )
        self.num_classes = num_classes
        self.num_frames = num_frames
        self.sampling_rate = sampling_rate
        self.target_fps = target_fps
        self.min_size_train = (smallest, largest)
        self.min_size_test = min_size_test
        self.crop_size = crop_size
        self.resized_crop = resized_crop
        self.area = area
        self.aspect = aspect
        self.flip_prob = flip_prob
        self.jitter_prob = jitter_prob
        self.jitter = jitter
        self.grayscale_prob = grayscale_prob
        self.erase_prob = erase_prob
        self.rand_augment = rand_augment
        self.sampling = sampling
        self.repeats = repeats
        self.num_views = num_views
        self.crop_positions = (1,) if num_crops == 1 else (0, 1, 2)
        self.is_train = is_train
        self.open_video = open_video

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool) -> ClassificationMapper:
        """Settings from ``cfg.INPUT`` and ``cfg.TEST``, the number of classes from ``cfg.MODEL.NUM_CLASSES``."""
        node = cfg.INPUT
        jitter = node.COLOR_JITTER
        return cls(
            cfg.MODEL.NUM_CLASSES,
            num_frames=node.NUM_FRAMES,
            sampling_rate=node.SAMPLING_RATE,
            target_fps=node.TARGET_FPS,
            min_size_train=tuple(node.MIN_SIZE_TRAIN),
            min_size_test=node.MIN_SIZE_TEST,
            crop_size=node.CROP_SIZE,
            resized_crop=node.RESIZED_CROP,
            area=tuple(node.CROP_AREA),
            aspect=tuple(node.CROP_ASPECT),
            flip_prob=node.RANDOM_FLIP,
            jitter_prob=jitter.PROB,
            jitter=(jitter.BRIGHTNESS, jitter.CONTRAST, jitter.SATURATION, jitter.HUE),
            grayscale_prob=node.GRAYSCALE_PROB,
            erase_prob=node.ERASE_PROB,
            rand_augment=(node.RAND_AUGMENT.NUM_OPS, node.RAND_AUGMENT.MAGNITUDE),
            sampling=node.SAMPLING,
            repeats=node.REPEATS,
            num_views=cfg.TEST.NUM_ENSEMBLE_VIEWS,
            num_crops=cfg.TEST.NUM_SPATIAL_CROPS,
            is_train=is_train,
            open_video=video_opener(cfg),
        )

    def __call__(self, record: VideoRecord, rng: np.random.Generator) -> dict[str, Any]:
        return self.transform(record, self.decode(record, rng), rng)

    def decode(self, record: VideoRecord, rng: np.random.Generator) -> Tensor:
        """The first half of a call: the frames wanted, uint8 (3, T, H, W), of all views one after the other."""
        if not self.is_train:
            short_side = self.min_size_test
        elif self.resized_crop:
            short_side = self.min_size_train[1]
        else:
            short_side = T.draw_short_side(rng, *self.min_size_train)
        with self.open_video(record.video, record.fps) as video:
            indices = self.frame_numbers(record, video.info, rng)
            frames = video.frames_at_indices(indices, short_side=short_side)
        return torch.from_numpy(frames).permute(3, 0, 1, 2)

    def transform(self, record: VideoRecord, frames: Tensor, rng: np.random.Generator) -> dict[str, Any]:
        """The second half of a call: from what :meth:`decode` returned to the sample."""
        labels = torch.zeros(self.num_classes)
        labels[list(record.labels)] = 1.0
        return {
            "video": self._training_clips(frames, rng) if self.is_train else self._crops(frames),
            "labels": labels,
            "video_number": torch.tensor(record.number),
            "id": record.id,
            "video_id": record.video_id,
        }

    def frame_numbers(
        self, record: VideoRecord, info: VideoInfo, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """Numbers of the frames of one clip (training) or of every view."""
        first, total = _part(record, info)
        if self.sampling == "segments":
            return first + segment_indices(total, self.num_frames, rng if self.is_train else None)
        fps = float(info.rate)
        span = clip_span(self.num_frames, self.sampling_rate, fps, self.target_fps)
        if self.is_train:
            starts = [random_clip_start(total, span, rng)]
        else:
            starts = [uniform_view_start(total, span, view, self.num_views) for view in range(self.num_views)]
        stride = self.sampling_rate * fps / self.target_fps
        if self.sampling == "span":
            stride = (span - 1) / max(self.num_frames - 1, 1)
        return first + np.concatenate(
            [clip_indices(start, self.num_frames, stride, total) for start in starts]
        )

    def _training_clips(self, frames: Tensor, rng: np.random.Generator) -> Tensor:
        """(3, T, S, S), or (R, 3, T, S, S)."""
        clips = [self._augment(frames, rng) for _ in range(self.repeats)]
        return clips[0].contiguous() if self.repeats == 1 else torch.stack(clips)

    def _augment(self, clip: Tensor, rng: np.random.Generator) -> Tensor:
        height, width = clip.shape[-2:]
        if self.resized_crop:
            window = T.draw_resized_window(rng, height, width, self.area, self.aspect)
            clip = T.resize(T.crop(clip, window), self.crop_size, self.crop_size)
        else:
            clip = T.crop(clip, T.draw_window(rng, height, width, self.crop_size))
        if rng.random() < self.flip_prob:
            clip = T.flip(clip)
        if rng.random() < self.jitter_prob:
            clip = T.color_jitter(clip, T.draw_color_jitter(rng, self.jitter))
        if rng.random() < self.grayscale_prob:
            clip = T.grayscale(clip)
        num_ops, magnitude = self.rand_augment
        if num_ops:
            clip = T.rand_augment(clip, num_ops, magnitude, seed=int(rng.integers(2**31)))
        if rng.random() < self.erase_prob:
            window = T.draw_resized_window(rng, self.crop_size, self.crop_size, _ERASED_AREA, _ERASED_ASPECT)
            clip = T.erase(clip, window, T.draw_noise(rng, window.height, window.width))
        return clip

    def _crops(self, frames: Tensor) -> Tensor:
        """Frames (3, V * T, H, W) -> (V * C, 3, T, S, S)."""
        height, width = frames.shape[-2:]
        size = min(height, width)
        views = frames.unflatten(1, (-1, self.num_frames)).transpose(0, 1)
        offsets = [spatial_crop_offset(height, width, size, position) for position in self.crop_positions]
        crops = [views[..., top : top + size, left : left + size] for top, left in offsets]
        return torch.stack(crops, dim=1).flatten(0, 1)


def _part(record: VideoRecord, info: VideoInfo) -> tuple[int, int]:
    """The first frame of the part of the video that counts, and how many there are."""
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
