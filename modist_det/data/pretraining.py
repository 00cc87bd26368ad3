"""From an unlabelled video to augmented clips with their motion maps."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch

from ..core import COUNT, NOT_NEGATIVE, POSITIVE, SHARE, CfgNode, Key, ListOf, add_section
from ..motion.build import build_motion_source
from ..motion.reader import MotionSource, read_frames
from ..structures.samples import PretrainingSample
from ..utils.errors import UserError
from ..video.frame_cache import OpenVideo, video_opener
from ..video.reader import VideoError, open_video
from ..video.sampling import draw_clips
from .augmentation import Augmentation, Sometimes, View, blur, train_augmentation
from .datasets.unlabelled import VideoRecord
from .mappers import FRAMES

__all__ = ["PretrainingMapper"]

logger = logging.getLogger(__name__)

add_section(
    "INPUT",
    # Seconds from the start of a clip to the start of the video's next one.
    CLIP_SHIFT=Key([0.5, 10.0], ListOf(float, 2, NOT_NEGATIVE, range=True)),
    BLUR_PROB=Key(0.0, SHARE),  # 3x3 Gaussian
)
add_section(
    "MOTION",
    ENABLED=True,  # False: RGB only
    # "edges" of flow (arXiv 2106.09703), "magnitude", "flow" (x, y) or "difference" of frames
    KIND="edges",
    NUM_FRAMES=Key(16, FRAMES),
    # Spacing of the maps in frames at INPUT.TARGET_FPS, which may be a fraction; 0: over the span of the RGB clip.
    SAMPLING_RATE=Key(0.0, NOT_NEGATIVE),
    # Seconds from the start of a clip to that of its maps, drawn for each clip, as far as the video reaches.
    SHIFT=Key([0.0, 0.0], ListOf(float, 2, range=True)),
    GAP_SECONDS=Key(5 / 30, POSITIVE),  # between the frames that are compared
    ESTIMATOR="DIS",  # "Farneback", "RAFT"; computed in the loader's workers
    SHORT_SIDE=Key(128, COUNT),  # resolution at which flow is computed; its values stay in source pixels
    # Flow in pixels of a frame with this short side, per GAP_SECONDS, so that maps depend on neither a video's
    # resolution nor its frame rate. 0: in pixels of the video, per whole number of frames (arXiv 2106.09703).
    REFERENCE_SIDE=Key(0, NOT_NEGATIVE),
    # Motion that becomes 255: pixels per pixel (edges), pixels (magnitude, flow) or grey levels (difference). 0: 10 for
    # edges (arXiv 2106.09703), 20 and 255 for the others.
    LIMIT=Key(0.0, NOT_NEGATIVE),
    CACHE="",  # folder written by tools/extract_motion.py, instead of computing
)


class PretrainingMapper:
    """Maps a video to augmented clips and their motion maps.

    ``mapper(record, rng)`` returns a dict:

    - ``video``: uint8 (clips, 3, T, S, S), RGB;
    - ``motion``: uint8 (clips, C, T', S, S), if a motion source is given;
    - ``video_number``: int64 (), the record's, equal for clips of one video;
    - ``id``, ``video_id``.

    Motion maps share the clip's crop and flip, and by default its time: the T' maps cover the same span as the T
    frames. Clips and maps lie inside the part from ``record.start`` to ``record.end``. A warning says when a part is
    too short for different clips.

    Args:
        num_frames: T.
        sampling_rate: spacing of a clip's frames, counted in frames at ``target_fps``.
        target_fps: frames per second to which ``sampling_rate`` refers.
        augmentation: applied to each clip and its motion maps; its crop size is S.
        motion: source of motion maps; None for RGB only.
        motion_frames: T'.
        motion_rate: spacing of the maps, as ``sampling_rate``; 0: over the span of the frames.
        motion_shift: range of the time (seconds) from the start of a clip to that of its maps.
        num_clips: clips per video.
        shift: range of the time (seconds) from the start of a clip to the start of the next.
        open_video: function that opens a video.
    """

    def __init__(
        self,
        *,
        num_frames: int,
        sampling_rate: int,
        target_fps: float,
        augmentation: Augmentation,
        motion: MotionSource | None = None,
        motion_frames: int = 16,
        motion_rate: float = 0.0,
        motion_shift: tuple[float, float] = (0.0, 0.0),
        num_clips: int = 2,
        shift: tuple[float, float] = (0.5, 10.0),
        open_video: OpenVideo = open_video,
    ) -> None:
        for name, value in (
            ("INPUT.NUM_FRAMES", num_frames),
            ("INPUT.SAMPLING_RATE", sampling_rate),
            ("INPUT.TARGET_FPS", target_fps),
            ("INPUT.CROP_SIZE", augmentation.crop.size),
            ("MOTION.NUM_FRAMES", motion_frames),
        ):
            if value <= 0:
                raise UserError(f"{name} is {value}; it must be above 0")
        if not 0 <= shift[0] <= shift[1]:
            raise UserError(f"INPUT.CLIP_SHIFT is {list(shift)}; it must rise from 0 or more")
        self.span = num_frames * sampling_rate / target_fps
        self.motion_span = motion_frames * motion_rate / target_fps if motion and motion_rate else self.span
        self.frame_times = np.arange(num_frames) * sampling_rate / target_fps
        self.motion_times = np.arange(motion_frames) * self.motion_span / motion_frames
        self.motion_shift = motion_shift
        self.augmentation = augmentation
        self.motion = motion
        self.num_clips = num_clips
        self.shift = shift
        self.open_video = open_video
        self._warned = False

    @classmethod
    def from_config(cls, cfg: CfgNode, num_clips: int = 2) -> PretrainingMapper:
        node, motion = cfg.INPUT, cfg.MOTION
        augmentation = train_augmentation(cfg, Sometimes(node.BLUR_PROB, blur), resized_crop=True)
        return cls(
            num_frames=node.NUM_FRAMES,
            sampling_rate=node.SAMPLING_RATE,
            target_fps=node.TARGET_FPS,
            augmentation=augmentation,
            motion=build_motion_source(
                motion.KIND,
                estimator=motion.ESTIMATOR,
                cache=motion.CACHE,
                gap_seconds=motion.GAP_SECONDS,
                short_side=motion.SHORT_SIDE,
                reference_side=motion.REFERENCE_SIDE,
                limit=motion.LIMIT,
                max_frame_side=max(node.MIN_SIZE_TRAIN),
            )
            if motion.ENABLED
            else None,
            motion_frames=motion.NUM_FRAMES,
            motion_rate=motion.SAMPLING_RATE,
            motion_shift=tuple(motion.SHIFT),
            num_clips=num_clips,
            shift=tuple(node.CLIP_SHIFT),
            open_video=video_opener(cfg),
        )

    def __call__(self, record: VideoRecord, rng: np.random.Generator) -> PretrainingSample:
        with self.open_video(record.video, record.fps) as video:
            first, length = _part(record, video.info.duration)
            self._warn_if_short(record, length)
            reach = max(self.span, self.motion_span)
            starts = first + np.array(draw_clips(length, reach, self.shift, self.num_clips, rng))
            # All clips are read from one open file; crops are drawn afterwards.
            clips = [
                self._read(video, start, self._motion_start(start, first, length, rng), rng)
                for start in starts
            ]
        views = [self.augmentation(view, rng) for view in clips]
        sample: PretrainingSample = {
            "video": torch.stack([view.clip for view in views]),
            "video_number": torch.tensor(record.number),
            "id": record.id,
            "video_id": record.video_id,
        }
        if self.motion is not None:
            sample["motion"] = torch.stack([view.maps for view in views if view.maps is not None])
        return sample

    def _warn_if_short(self, record: VideoRecord, length: float) -> None:
        """Say, once per process, that the clips of a video cannot be as far apart as configured."""
        span = max(self.span, self.motion_span)
        needed = span + (self.num_clips - 1) * self.shift[0]
        if self._warned or self.num_clips == 1 or length >= needed:
            return
        self._warned = True
        logger.warning(
            "%s has %.2f s, too short for %d clips of %.2f s (INPUT.NUM_FRAMES x SAMPLING_RATE / TARGET_FPS) that "
            "start %g s apart (INPUT.CLIP_SHIFT): its clips %s. Other short videos are treated alike; choose a "
            "smaller INPUT.SAMPLING_RATE or CLIP_SHIFT for them",
            record.id,
            length,
            self.num_clips,
            span,
            self.shift[0],
            "show the same frames" if length <= span else "are closer together",
        )

    def _motion_start(self, start: float, first: float, length: float, rng: np.random.Generator) -> float:
        """Where the maps of the clip at ``start`` begin, in a part of a video."""
        if not any(self.motion_shift):
            return start
        latest = first + length - self.motion_span
        return max(min(start + rng.uniform(*self.motion_shift), latest), first)

    def _read(self, video: Any, start: float, motion_start: float, rng: np.random.Generator) -> View:
        """A clip and, if there is a motion source, its motion maps."""
        times = start + self.frame_times
        if self.motion is None:
            frames = read_frames(video, times, self.augmentation.crop.short_side(rng))
            return View(torch.from_numpy(frames).permute(3, 0, 1, 2))
        frames, maps = self.motion.frames_and_maps(video, times, motion_start + self.motion_times)
        clip = torch.from_numpy(frames).permute(3, 0, 1, 2)
        return View(clip, maps=maps.permute(1, 0, 2, 3), motion_kind=self.motion.kind)


def _part(record: VideoRecord, duration: float) -> tuple[float, float]:
    """Start and length, in seconds, of the part of a video that a record names."""
    start = record.start or 0.0
    length = min(duration if record.end is None else record.end, duration) - start
    if length <= 0:
        raise VideoError(record.video, f"it ends before second {start:g}, where the part {record.id} begins")
    return start, length
