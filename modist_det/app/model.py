"""``load``: a trained model by the name of a run folder, a checkpoint or a model zoo entry."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from ..inference import ActionPredictor, ClassPredictor, PipelineSettings, predict_video
from ..inference.choose import Predictor, choose_detector, load_predictor
from ..inference.persons import PersonDetector
from ..utils.errors import UserError, nearest
from .results import ClassificationResult, DetectionResult

__all__ = ["Model", "load"]


def load(
    name: str | os.PathLike,
    *,
    device: str = "auto",
    persons: str | None = None,
    person_options: Mapping[str, Any] | None = None,
) -> Model:
    """Load a trained detector or classifier.

    Args:
        name: a run's output folder, a checkpoint, its URL or ``hf://ORG/NAME``, or the name of a model zoo entry.
        device: "auto", "cpu", "cuda".
        persons: of a detector of actions: what finds the people, as ``--persons`` of ``tools/demo.py``; default:
            FastestDet where its file is found, otherwise torchvision's Faster R-CNN.
        person_options: options of the person detector.

    Raises:
        UserError: there is no such model, or it predicts neither actions nor classes.

    Example::

        import modist_det as md

        result = md.load("output/fights").predict("clip.mp4")
        print(result)
        result.save("clip_classes.mp4")
    """
    return Model(load_predictor(name, ["MODEL.DEVICE", device]), persons, person_options)


class Model:
    """A trained model: :meth:`predict` takes a video.

    Attributes:
        predictor: :class:`~modist_det.inference.ActionPredictor` or
            :class:`~modist_det.inference.ClassPredictor`.
    """

    def __init__(
        self,
        predictor: Predictor,
        persons: str | None = None,
        person_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.predictor = predictor
        self._persons = persons
        self._person_options = person_options

    @property
    def task(self) -> str:
        """ "detection" or "classification"."""
        return self.predictor.task

    @property
    def class_names(self) -> Mapping[int, str]:
        """Class names by id."""
        return self.predictor.class_names

    @cached_property
    def person_detector(self) -> PersonDetector:
        """What finds the people, for a detector of actions; built on first use."""
        return choose_detector(self._persons, self._person_options)

    def predict(
        self, video: str | os.PathLike, *, fps: float = 25.0, **settings: Any
    ) -> DetectionResult | ClassificationResult:
        """Find the actions or the class of a video.

        Args:
            video: a file, or a frame folder with frame rate ``fps``.
            settings: of a detector, those of :class:`~modist_det.inference.PipelineSettings` (``keyframe_every``,
                ``min_score``, ...); of a classifier ``window`` and ``every``, in seconds.

        Raises:
            UserError: a setting does not exist or is out of range, or the video cannot be read.
        """
        place = Path(video).absolute()
        if not place.exists():
            raise UserError(f"{video} does not exist; give a video file or a folder of frames")
        known = ("window", "every") if self.task == "classification" else _PIPELINE_SETTINGS
        for key in settings:
            if key not in known:
                raise UserError(
                    f"predict has no setting {key!r} for {self.task}{nearest(key, known)} "
                    f"(settings: {', '.join(known)})"
                )
        if isinstance(self.predictor, ClassPredictor):
            return ClassificationResult(self.predictor.predict_video(place, fps=fps, **settings), place, fps)
        assert isinstance(self.predictor, ActionPredictor)
        actions = predict_video(
            place, self.predictor, self.person_detector, PipelineSettings(**settings), fps=fps
        )
        return DetectionResult(actions, place, fps)

    def __repr__(self) -> str:
        names = list(self.class_names.values())
        some = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
        return (
            f"Model({self.predictor.source}: {self.task} on {self.predictor.device}, "
            f"{len(names)} classes: {some})"
        )


_PIPELINE_SETTINGS = tuple(PipelineSettings.__dataclass_fields__)
