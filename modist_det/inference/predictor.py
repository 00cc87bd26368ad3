"""``ActionPredictor``: a trained action detector, ready to use on clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ..config import CfgNode
from ..data import transforms as T
from ..data.mappers import DetectionMapper
from ..modeling import ActionDetector
from ..structures.actions import ClipActions
from ..utils.errors import UserError
from ..video.info import output_size
from .draw_scores import calibrated_scores
from .trained import TrainedModel, newest_run

__all__ = ["ActionPredictor", "newest_run"]


class ActionPredictor(TrainedModel):
    """Predicts action scores from a clip and person boxes.

    Args:
        cfg: config of a detection model; ``MODEL.WEIGHTS`` is its checkpoint, ``MODEL.DEVICE`` the device.
        class_names: class names by id; default: those in the checkpoint, otherwise those of the config's datasets if
            available.

    Attributes:
        class_names: names of the classes in results, by ascending id.
        class_types: their label types, if the checkpoint has them.
        facts: the checkpoint's class and keyframe facts, or None.
        offsets: float64 (T,): times of a clip's frames relative to its keyframe, in seconds.
        draw_scores: score from which an action is drawn, by class id, from the run's last evaluation; empty: none.
        short_side: clips are scaled to this short side (pixels).
        source: origin of the weights.

    Raises:
        UserError: the config is not that of a detection model, the checkpoint lacks weights, or its class names
            contradict ``class_names``.

    Example::

        predictor = ActionPredictor.from_checkpoint("output/Puppets/Slow_R18/checkpoints/model_0002100.pth")
        with open_video("clip.mp4") as video:
            clip = video.frames_at_times(3.0 + predictor.offsets)    # uint8 (T, H, W, 3)
        actions = predictor(clip, [[40, 20, 90, 120]])
        print(actions.top(0))                                        # [("wave", 0.93), ...]
    """

    task = "detection"
    purpose = "actions of people"
    wrong_model = "does not score given boxes"
    meta_architecture = ActionDetector

    def __init__(self, cfg: CfgNode, class_names: Mapping[int, str] | None = None) -> None:
        super().__init__(cfg, class_names)
        self.draw_scores = calibrated_scores(self.source, self.class_names)

    def read_input(self, cfg: CfgNode) -> None:
        mapper = DetectionMapper.from_config(cfg, is_train=False)
        self.offsets = mapper.offsets
        self.short_side = mapper.min_size_test

    def __call__(self, clip: NDArray[np.uint8] | Tensor, boxes: ArrayLike) -> ClipActions:
        """Score the people in one clip.

        Args:
            clip: uint8 RGB, (T, H, W, 3) array or (3, T, H, W) tensor, of any size, with frames at
                ``offsets`` from the keyframe.
            boxes: (N, 4) x1y1x2y2 at the keyframe, in pixels of the clip; N may be 0.

        Raises:
            UserError: a shape or dtype is wrong.
        """
        return self.predict_batch([clip], [boxes])[0]

    @torch.inference_mode()
    def predict_batch(
        self, clips: Sequence[NDArray[np.uint8] | Tensor], boxes: Sequence[ArrayLike]
    ) -> list[ClipActions]:
        """Like a call, for several clips; clips with the same size after scaling share a forward pass."""
        if len(clips) != len(boxes):
            raise UserError(f"there are {len(clips)} clips, but boxes of {len(boxes)}")
        arrays = [_as_boxes(given) for given in boxes]
        scaled = [self._scale(clip, array) for clip, array in zip(clips, arrays, strict=True)]
        results: list[ClipActions | None] = [None] * len(clips)
        for shape in dict.fromkeys(video.shape for video, _ in scaled):
            chosen = [i for i, (video, _) in enumerate(scaled) if video.shape == shape]
            with_people = [i for i in chosen if len(arrays[i])]
            scores = self._scores([scaled[i] for i in with_people])
            for i in chosen:
                found = scores[with_people.index(i)] if i in with_people else self._no_scores()
                results[i] = ClipActions(arrays[i], found, self.class_names)
        return [result for result in results if result is not None]

    def _scores(self, samples: list[tuple[Tensor, Tensor]]) -> list[NDArray[np.float32]]:
        if not samples:
            return []
        batch = {
            "video": torch.stack([video for video, _ in samples]),
            "boxes": [boxes for _, boxes in samples],
        }
        with self._autocast():
            predictions = self.model(batch)
        return [p["scores"].cpu()[:, self._channels].numpy() for p in predictions]

    def _no_scores(self) -> NDArray[np.float32]:
        return np.zeros((0, len(self.class_names)), np.float32)

    def _scale(self, clip: NDArray[np.uint8] | Tensor, boxes: NDArray[np.float32]) -> tuple[Tensor, Tensor]:
        """Scale a clip to uint8 (3, T, H, W) with the test short side, and its boxes (N, 4) with it."""
        video = torch.from_numpy(clip).permute(3, 0, 1, 2) if isinstance(clip, np.ndarray) else clip
        frames = len(self.offsets)
        if video.dtype != torch.uint8 or video.dim() != 4 or video.shape[:2] != (3, frames):
            raise UserError(
                f"a clip is {clip.dtype} of shape {tuple(clip.shape)}; this model takes uint8 RGB, "
                f"({frames}, H, W, 3) as array or (3, {frames}, H, W) as tensor"
            )
        height, width = video.shape[-2:]
        new_height, new_width = output_size(height, width, None, self.short_side)
        if (new_height, new_width) != (height, width):
            video = T.resize(video, new_height, new_width)
        moved = T.clip_boxes(
            T.scale_boxes(boxes, new_height / height, new_width / width), new_height, new_width
        )
        return video.contiguous(), torch.from_numpy(moved)


def _as_boxes(boxes: ArrayLike) -> NDArray[np.float32]:
    array = np.asarray(boxes, np.float32)
    array = array.reshape(0, 4) if array.size == 0 else array
    if array.ndim != 2 or array.shape[1] != 4 or not np.isfinite(array).all():
        raise UserError(f"boxes are of shape {array.shape}; give finite x1,y1,x2,y2 in pixels, (N, 4)")
    return array
