"""From an unlabelled video to clips of it, each with its motion."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..config import CfgNode
from ..motion.build import build_motion_source
from ..motion.maps import flip_maps
from ..motion.reader import MotionSource, read_frames
from ..utils.errors import UserError
from ..video.frame_cache import OpenVideo, video_opener
from ..video.reader import open_video
from ..video.sampling import draw_clips
from . import transforms as T
from .datasets.unlabelled import VideoRecord

__all__ = ["PretrainingMapper"]


class PretrainingMapper:
    """Video -> augmented clips and their motion maps.

    ``mapper(record, rng)`` returns a dict:

    - ``video``: uint8 (clips, 3, T, S, S), RGB;
    - ``motion``: uint8 (clips, C, T', S, S), where a motion source is given;
    - ``video_number``: int64 (), equal for clips of one video;
    - ``id``, ``video_id``.

    Each clip has one random resized crop, one flip and one set of colours for all its
    frames; its motion shares time, crop and flip. The T' motion frames are spread over the same span as the T
    frames.

    Args:
        num_frames: T.
        sampling_rate: frames of a clip are this many frames apart at ``target_fps``.
        target_fps: frames per second in which ``sampling_rate`` counts.
        crop_size: S.
        motion: where motion maps come from; None for RGB alone.
        motion_frames: T'.
        num_clips: of each video.
        shift: smallest and largest time (seconds) from the beginning of a clip to that of the next.
        area, aspect: of the crop: share of the frame's area, width over height.
        max_frame_side: frames of larger videos are decoded with this short side before the crop, where there is no
            motion source (which has its own); large enough that most crops are not scaled up.
        flip_prob, jitter_prob, grayscale_prob, blur_prob: of each change.
        jitter: half-widths of the brightness, contrast and saturation factors and of the hue's shift.
        blur_sigma: smallest and largest sigma (pixels) of the 3x3 blur.
        open_video: how videos are opened.
    """

    def __init__(
        self,
        *,
        num_frames: int,
        sampling_rate: int,
        target_fps: float,
        crop_size: int,
        motion: MotionSource | None = None,
        motion_frames: int = 16,
        num_clips: int = 2,
        shift: tuple[float, float] = (0.5, 10.0),
        area: tuple[float, float] = (0.3, 1.0),
        aspect: tuple[float, float] = (0.5, 2.0),
        max_frame_side: int = 320,
        flip_prob: float = 0.5,
        jitter_prob: float = 0.8,
        jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.4, 0.0),
        grayscale_prob: float = 0.2,
        blur_prob: float = 0.5,
        blur_sigma: tuple[float, float] = (0.1, 2.0),
        open_video: OpenVideo = open_video,
    ) -> None:
        for name, value in (
            ("INPUT.NUM_FRAMES", num_frames),
            ("INPUT.SAMPLING_RATE", sampling_rate),
            ("INPUT.TARGET_FPS", target_fps),
            ("INPUT.CROP_SIZE", crop_size),
            ("MOTION.NUM_FRAMES", motion_frames),
        ):
            if value <= 0:
                raise UserError(f"{name} is {value}; it must be above 0")
        if not 0 <= shift[0] <= shift[1]:
            raise UserError(f"INPUT.CLIP_SHIFT is {list(shift)}; it must rise from 0 or more")
        self.span = num_frames * sampling_rate / target_fps
        self.frame_times = np.arange(num_frames) * sampling_rate / target_fps
        self.motion_times = np.arange(motion_frames) * self.span / motion_frames
        self.crop_size = crop_size
        self.motion = motion
        self.num_clips = num_clips
        self.shift = shift
        self.area = area
        self.aspect = aspect
        self.max_frame_side = max_frame_side
        self.flip_prob = flip_prob
        self.jitter_prob = jitter_prob
        self.jitter = jitter
        self.grayscale_prob = grayscale_prob
        self.blur_prob = blur_prob
        self.blur_sigma = blur_sigma
        self.open_video = open_video

    @classmethod
    def from_config(cls, cfg: CfgNode, num_clips: int = 2) -> PretrainingMapper:
        node, motion = cfg.INPUT, cfg.MOTION
        jitter = node.COLOR_JITTER
        max_frame_side = max(node.MIN_SIZE_TRAIN)
        return cls(
            num_frames=node.NUM_FRAMES,
            sampling_rate=node.SAMPLING_RATE,
            target_fps=node.TARGET_FPS,
            crop_size=node.CROP_SIZE,
            motion=build_motion_source(
                motion.KIND,
                estimator=motion.ESTIMATOR,
                cache=motion.CACHE,
                gap_seconds=motion.GAP_SECONDS,
                short_side=motion.SHORT_SIDE,
                max_frame_side=max_frame_side,
            )
            if motion.ENABLED
            else None,
            motion_frames=motion.NUM_FRAMES,
            num_clips=num_clips,
            shift=tuple(node.CLIP_SHIFT),
            area=tuple(node.CROP_AREA),
            aspect=tuple(node.CROP_ASPECT),
            max_frame_side=max_frame_side,
            flip_prob=node.RANDOM_FLIP,
            jitter_prob=jitter.PROB,
            jitter=(jitter.BRIGHTNESS, jitter.CONTRAST, jitter.SATURATION, jitter.HUE),
            grayscale_prob=node.GRAYSCALE_PROB,
            blur_prob=node.BLUR_PROB,
            open_video=video_opener(cfg),
        )

    def __call__(self, record: VideoRecord, rng: np.random.Generator) -> dict[str, Any]:
        with self.open_video(record.video, record.fps) as video:
            starts = draw_clips(video.info.duration, self.span, self.shift, self.num_clips, rng)
            # Both are read from one open file; the crops are drawn afterwards.
            clips = [self._read(video, start) for start in starts]
        views = [self._augment(frames, maps, rng) for frames, maps in clips]
        sample = {
            "video": torch.stack([video for video, _ in views]),
            "video_number": torch.tensor(record.number),
            "id": record.id,
            "video_id": record.video_id,
        }
        if self.motion is not None:
            sample["motion"] = torch.stack([maps for _, maps in views])
        return sample

    def _read(self, video: Any, start: float) -> tuple[Tensor, Tensor]:
        """A clip (3, T, H, W) and its motion maps (C, T', H, W), of no frames where there is no source."""
        if self.motion is None:
            frames = read_frames(video, start + self.frame_times, self.max_frame_side)
            maps = torch.empty(0, 1, *frames.shape[1:3], dtype=torch.uint8)
        else:
            frames, maps = self.motion.frames_and_maps(
                video, start + self.frame_times, start + self.motion_times
            )
        return torch.from_numpy(frames).permute(3, 0, 1, 2), maps.permute(1, 0, 2, 3)

    def _augment(self, clip: Tensor, maps: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        window = T.draw_resized_window(rng, clip.shape[-2], clip.shape[-1], self.area, self.aspect)
        clip = T.resize(T.crop(clip, window), self.crop_size, self.crop_size)
        if self.motion is not None:
            maps = T.resize(T.crop(maps, window), self.crop_size, self.crop_size)
        if rng.random() < self.flip_prob:
            clip = T.flip(clip)
            if self.motion is not None:
                maps = flip_maps(maps.transpose(0, 1), self.motion.kind).transpose(0, 1)
        if rng.random() < self.jitter_prob:
            clip = T.color_jitter(clip, T.draw_color_jitter(rng, self.jitter))
        if rng.random() < self.grayscale_prob:
            clip = T.grayscale(clip)
        if rng.random() < self.blur_prob:
            clip = T.gaussian_blur(clip, float(rng.uniform(*self.blur_sigma)))
        return clip.contiguous(), maps.contiguous()
