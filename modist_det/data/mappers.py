"""From a record to a sample: decode frames, transform them, convert labels to tensors."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core import COUNT, POSITIVE, CfgNode, Key, Limit, add_section
from ..structures.samples import DetectionSample, Sample
from ..utils.errors import UserError
from ..video.frame_cache import OpenVideo, video_opener
from ..video.reader import open_video
from ..video.sampling import clip_around, middles_around
from . import transforms as T
from .augmentation import Augmentation, View, box_jitter, train_augmentation
from .datasets.records import DetectionRecord

__all__ = ["DetectionMapper", "InHalves"]

# Frames per clip: far more than any model needs, but too few to exhaust memory before the first batch.
FRAMES = Limit(1, 10_000)

add_section(
    "INPUT",
    NUM_FRAMES=Key(8, FRAMES),
    # Frames of a clip are SAMPLING_RATE / TARGET_FPS seconds apart.
    SAMPLING_RATE=Key(8, COUNT),
    TARGET_FPS=Key(30.0, POSITIVE),
    MIN_SIZE_TEST=Key(256, COUNT),  # short side at test time
)
# Evaluation of detectors: a score is that of the action times that of the person detector.
add_section("TEST", TIMES_PERSON_SCORE=False)


_SAMPLINGS = {"clip": clip_around, "middles": middles_around}


@runtime_checkable
class InHalves(Protocol):
    """A mapper whose two halves can be timed separately."""

    def decode(self, record: Any, rng: np.random.Generator) -> Any:
        """Decode the frames. A tuple is passed to ``transform`` as several arguments."""

    def transform(self, *args: Any) -> Sample:
        """Make the sample from the record, the result of ``decode`` and the generator."""


@dataclass
class DetectionMapper:
    """Maps a keyframe to the clip around it, person boxes in pixels of the clip, and labels.

    ``mapper(record, rng)`` returns a dict:

    - ``video``: uint8 (3, T, H, W), RGB, contiguous;
    - ``boxes``: float32 (N, 4), x1y1x2y2 in pixels of the clip, inside it;
    - ``labels``: float32 (N, K) of 0 and 1; class id ``c`` is column ``c - 1``;
    - ``id``: ``"video,second"``; ``video_id``; ``second``;
    - ``original_boxes``: float32 (N, 4), the same persons as annotated, in [0, 1];
    - ``original_size``: (height, width) of the video in pixels.

    In training the augmentation transforms the clip and may drop persons. In evaluation the short side is scaled to
    ``min_size_test``, and the whole frame and all persons are kept. Frames are those nearest in time to
    ``t + k * sampling_rate / target_fps``, or later by half a spacing; times outside the video repeat its first or last
    frame.

    Args:
        num_classes: K.
        num_frames: T.
        sampling_rate: spacing of the clip's frames, counted in frames at ``target_fps``.
        target_fps: frames per second to which ``sampling_rate`` refers.
        min_size_test: short side in evaluation (pixels).
        sampling: "clip" (:func:`~modist_det.video.sampling.clip_around`) or "middles" (``middles_around``).
        augmentation: used in training; None in evaluation.
        person_scores: samples have ``person_scores``, by which a detector multiplies its scores.
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
    person_scores: bool = False
    open_video: OpenVideo = open_video

    def __post_init__(self) -> None:
        if self.num_frames < 1 or self.sampling_rate < 1 or self.target_fps <= 0:
            raise UserError(
                f"a clip of INPUT.NUM_FRAMES {self.num_frames}, SAMPLING_RATE {self.sampling_rate} at TARGET_FPS "
                f"{self.target_fps} is impossible; all three must be positive"
            )
        if self.sampling not in _SAMPLINGS:
            raise UserError(
                f"INPUT.SAMPLING is {self.sampling!r}; known for detection: {', '.join(_SAMPLINGS)}"
            )
        around = _SAMPLINGS[self.sampling]
        self.offsets = around(self.num_frames, self.sampling_rate) / self.target_fps  # seconds

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool) -> DetectionMapper:
        """Build from ``cfg.INPUT`` and ``cfg.MODEL.NUM_CLASSES``."""
        node = cfg.INPUT
        jitter = [partial(box_jitter, shares=node.BOX_JITTER)] if any(node.BOX_JITTER) else []
        return cls(
            cfg.MODEL.NUM_CLASSES,
            num_frames=node.NUM_FRAMES,
            sampling_rate=node.SAMPLING_RATE,
            target_fps=node.TARGET_FPS,
            min_size_test=node.MIN_SIZE_TEST,
            sampling=node.SAMPLING,
            augmentation=train_augmentation(cfg, *jitter, resized_crop=False) if is_train else None,
            person_scores=cfg.TEST.TIMES_PERSON_SCORE and not is_train,
            open_video=video_opener(cfg),
        )

    def __call__(self, record: DetectionRecord, rng: np.random.Generator) -> DetectionSample:
        clip, original_size = self.decode(record, rng)
        return self.transform(record, clip, original_size, rng)

    def decode(self, record: DetectionRecord, rng: np.random.Generator) -> tuple[Tensor, tuple[int, int]]:
        """First half of a call: the decoded and scaled frames, and (height, width) of the video."""
        short_side = self.augmentation.crop.short_side(rng) if self.augmentation else self.min_size_test
        with self.open_video(record.video, fps=record.fps) as video:
            frames = video.frames_at_times(record.time + self.offsets, short_side=short_side)
            original_size = (video.info.height, video.info.width)
        return torch.from_numpy(frames).permute(3, 0, 1, 2), original_size

    def transform(
        self, record: DetectionRecord, clip: Tensor, original_size: tuple[int, int], rng: np.random.Generator
    ) -> DetectionSample:
        """Second half of a call: turn the result of :meth:`decode` into the sample."""
        height, width = clip.shape[-2:]
        boxes = T.clip_boxes(T.scale_boxes(record.boxes, height, width), height, width)
        view = View(clip, boxes, np.arange(len(boxes)))
        if self.augmentation is not None:
            view = self.augmentation(view, rng)
        sample: DetectionSample = {
            "video": view.clip.contiguous(),
            "boxes": torch.from_numpy(view.boxes),
            "labels": torch.from_numpy(self._labels(record)[view.kept]),
            "id": record.id,
            "video_id": record.video_id,
            "second": record.second,
            "original_boxes": torch.from_numpy(record.boxes[view.kept]),
            "original_size": original_size,
        }
        if self.person_scores:
            sample["person_scores"] = torch.from_numpy(record.scores[view.kept])
        return sample

    def _labels(self, record: DetectionRecord) -> NDArray[np.float32]:
        labels = np.zeros((len(record.boxes), self.num_classes), dtype=np.float32)
        for row, actions in zip(labels, record.actions, strict=True):
            row[[action - 1 for action in actions]] = 1.0
        return labels
