"""``ActionPredictor``: a trained action detector, ready to use on clips."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ..checkpoint import load_weights
from ..checkpoint.reading import classes_inside, config_inside, read_checkpoint
from ..config import CfgNode, get_cfg
from ..data import transforms as T
from ..data.mappers import DetectionMapper
from ..engine.evaluate import place_model
from ..engine.precision import autocast_factory
from ..engine.setup import resolve_device
from ..modeling import ActionDetector, build_model
from ..structures.actions import ClipActions
from ..utils.errors import UserError
from ..utils.paths import local_path
from ..video.info import output_size
from .class_names import choose_names, complete_names, names_of_config

__all__ = ["ActionPredictor"]


class ActionPredictor:
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

    def __init__(self, cfg: CfgNode, class_names: Mapping[int, str] | None = None) -> None:
        if cfg.TASK != "detection":
            raise UserError(
                f"the config is for TASK {cfg.TASK}; actions of people need a model of TASK detection"
            )
        cfg = cfg.clone()
        if not cfg.MODEL.WEIGHTS:
            raise UserError(
                "MODEL.WEIGHTS names no checkpoint; a model without trained weights predicts nothing"
            )
        if cfg.MODEL.NUM_CLASSES == 0:
            inside = classes_inside(read_checkpoint(cfg.MODEL.WEIGHTS), cfg.MODEL.WEIGHTS)
            known = names_of_config(cfg) if class_names is None else class_names
            cfg.MODEL.NUM_CLASSES = max(known, default=0) if inside is None else inside.num_classes
        self.cfg = cfg
        self.device = resolve_device(cfg.MODEL.DEVICE)
        self.source = cfg.MODEL.WEIGHTS
        mapper = DetectionMapper.from_config(cfg, is_train=False)
        self.offsets = mapper.offsets
        self.short_side = mapper.min_size_test
        model = build_model(cfg)
        if not isinstance(model, ActionDetector):
            raise UserError(
                f"MODEL.META_ARCHITECTURE {cfg.MODEL.META_ARCHITECTURE} does not score given boxes"
            )
        report = load_weights(model, cfg.MODEL.WEIGHTS)
        report.require_complete()
        self.facts = report.classes
        names = choose_names(cfg, cfg.MODEL.WEIGHTS, self.facts, class_names)
        self.class_names = complete_names(names, cfg.MODEL.NUM_CLASSES)
        types = self.facts.types if self.facts else {}
        self.class_types = {number: types[number] for number in self.class_names if number in types}
        self._channels = torch.tensor([number - 1 for number in self.class_names])
        self.model = place_model(cfg, model, self.device).eval()
        self._autocast = autocast_factory(cfg, self.device)

    @classmethod
    def from_checkpoint(
        cls,
        path: str | os.PathLike,
        overrides: Sequence[str] = (),
        class_names: Mapping[int, str] | None = None,
    ) -> ActionPredictor:
        """Load a checkpoint written by this project's training, which includes its config.

        Args:
            path: the file, its URL or ``zoo://NAME``, or a run's output folder, whose last checkpoint is used.
            overrides: ``[KEY, VALUE, ...]`` changes to the config.

        Raises:
            UserError: the file cannot be read or has no config.
        """
        if os.fspath(path).startswith("zoo://"):
            return cls.from_zoo(os.fspath(path), overrides, class_names)
        path = _checkpoint_in(Path(local_path(path)))
        cfg = _config_in(path)
        cfg.MODEL.WEIGHTS = str(path)
        cfg.merge_from_list(list(overrides))
        return cls(cfg, class_names)

    @classmethod
    def from_zoo(
        cls, name: str, overrides: Sequence[str] = (), class_names: Mapping[int, str] | None = None
    ) -> ActionPredictor:
        """Load a model zoo entry; its weights are downloaded if necessary.

        Raises:
            UserError: the entry does not exist, is not a detection model, or cannot be downloaded.
        """
        from ..model_zoo import get_config

        cfg = get_config(name)
        cfg.merge_from_list(list(overrides))
        predictor = cls(cfg, class_names)
        predictor.source = name
        return predictor

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


def _checkpoint_in(path: Path) -> Path:
    """The file itself, or the last checkpoint in a run's folder."""
    if not path.is_dir():
        return path
    from ..checkpoint.checkpointer import Checkpointer

    for folder in (path / "checkpoints", path):
        last = Checkpointer(folder).last()
        if last:
            return last
    raise UserError(
        f"{path} is a folder without a checkpoint (checkpoints/model_*.pth); has the run finished?"
    )


def _config_in(path: Path) -> CfgNode:
    """The config stored in a checkpoint of this project."""
    text = config_inside(read_checkpoint(path))
    if not text:
        raise UserError(
            f"{path} has no config, so it is not a checkpoint of this project's training; also give the config: "
            "--cfg FILE --checkpoint FILE, or ActionPredictor(cfg) with MODEL.WEIGHTS"
        )
    cfg = get_cfg()
    cfg.merge_from_text(text, str(path))
    return cfg


def newest_run(root: str | os.PathLike = "output") -> Path | None:
    """The detection run below ``root`` with the newest checkpoint; ``None`` if there is none."""
    pointers = sorted(Path(root).glob("**/checkpoints/last_checkpoint"), key=lambda p: p.stat().st_mtime)
    for pointer in reversed(pointers):
        config = pointer.parent.parent / "config.yaml"
        if config.is_file() and re.search(
            r"^TASK: detection$", config.read_text(encoding="utf-8"), re.MULTILINE
        ):
            return pointer.parent.parent
    return None
