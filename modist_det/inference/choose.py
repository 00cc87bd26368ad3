"""Choose inputs, action model and person detector from command-line arguments, with defaults."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..checkpoint.handlers import PREFIX, list_names
from ..config import CfgNode, get_cfg
from ..utils.errors import UserError, nearest
from ..utils.paths import is_remote
from ..video.listing import videos_in
from .classifier import ClassPredictor
from .persons import PersonDetector, build_person_detector
from .persons.onnx import FastestDet, find_model, model_folders
from .predictor import ActionPredictor
from .stream import input_name, is_camera
from .trained import newest_run, stored_config, zoo_config

__all__ = [
    "Predictor",
    "choose_detector",
    "choose_predictor",
    "find_inputs",
    "load_predictor",
    "predictor_for",
]

# Small, trained on AVA, and fast enough for a CPU.
_ZOO_DEFAULT = "pyslowfast/slow_4x16_r50_ava22"


_PREDICTORS: dict[str, type[ActionPredictor] | type[ClassPredictor]] = {
    predictor.task: predictor for predictor in (ActionPredictor, ClassPredictor)
}
Predictor = ActionPredictor | ClassPredictor


def load_predictor(
    name: str | os.PathLike, overrides: Sequence[str] = (), class_names: Mapping[int, str] | None = None
) -> Predictor:
    """The predictor of a trained model, for its task.

    Args:
        name: a run's output folder, a checkpoint, its URL or ``hf://ORG/NAME``, or the name of a model zoo entry.
        overrides: ``[KEY, VALUE, ...]`` changes to the config.

    Raises:
        UserError: there is no such model, or it predicts neither actions nor classes (pretraining).
    """
    text = os.fspath(name)
    if text.startswith(PREFIX) or (text in list_names() and not Path(text).exists()):
        predictor = predictor_for(zoo_config(text, overrides), class_names)
        predictor.source = text.removeprefix(PREFIX)
        return predictor
    if not Path(text).exists() and not is_remote(text):
        raise UserError(
            f"{text} does not exist, and the model zoo has no such name{nearest(text, list_names(), 3)}"
        )
    predictor = predictor_for(stored_config(text, overrides), class_names)
    if is_remote(text):
        predictor.source = text  # rather than the file in the cache
    return predictor


def predictor_for(cfg: CfgNode, class_names: Mapping[int, str] | None = None) -> Predictor:
    """The predictor for the task of a config with ``MODEL.WEIGHTS``."""
    return _PREDICTORS.get(cfg.TASK, ActionPredictor)(cfg, class_names)


def choose_predictor(
    checkpoint: str | os.PathLike | None = None,
    zoo: str | None = None,
    cfg: str | os.PathLike | None = None,
    class_names: Mapping[int, str] | None = None,
    overrides: Sequence[str] = (),
) -> Predictor:
    """Load the model from a checkpoint (with a config if it has none) or from a model zoo entry.

    Default: the latest detection run below ``output``, otherwise a small AVA model of the zoo.

    Raises:
        UserError: two models are given, or the model is not available.
    """
    if checkpoint and zoo:
        raise UserError("--checkpoint and --zoo both name a model; give one of them")
    if cfg and not checkpoint:
        raise UserError("--cfg goes with --checkpoint FILE")
    if cfg:
        node = get_cfg(cfg)
        node.MODEL.WEIGHTS = str(checkpoint)  # merging would read a name such as 1e5 as a number
        node.merge_from_list(list(overrides))
        return predictor_for(node, class_names)
    if checkpoint:
        return load_predictor(checkpoint, overrides, class_names)
    if zoo:
        return load_predictor(PREFIX + zoo.removeprefix(PREFIX), overrides, class_names)
    run = newest_run()
    if run is not None:
        return ActionPredictor.from_checkpoint(run, overrides, class_names)
    try:
        return ActionPredictor.from_zoo(_ZOO_DEFAULT, overrides, class_names)
    except UserError as error:
        raise UserError(
            f"no action model: no trained run below output/, and {_ZOO_DEFAULT} of the zoo is not available ({error}). "
            "Name one with --checkpoint, or train a small one in minutes: python datasets/prepare_puppets.py && "
            "python tools/run_net.py --cfg configs/Puppets/Slow_R18.yaml"
        ) from error


def choose_detector(name: str | None = None, options: Mapping[str, Any] | None = None) -> PersonDetector:
    """Build a person detector by name or file; default: FastestDet if its file is found, otherwise torchvision's.

    Raises:
        UserError: it is not available.
    """
    options = options or {}
    if name:
        return build_person_detector(name, **options)
    if find_model(FastestDet.file_name) or "path" in options:
        return build_person_detector("FastestDet", **options)
    try:
        return build_person_detector("FasterRCNN", **options)
    except UserError as error:
        raise UserError(
            f"no person detector: no file {FastestDet.file_name} in {' or '.join(map(str, model_folders()))} "
            f"({FastestDet.how_to_get}); {error}"
        ) from error


def find_inputs(inputs: Iterable[str]) -> dict[str, str]:
    """Find video files, frame folders, cameras and URLs; returns them by the name of their result files.

    A folder with videos is expanded to these videos; any other folder is a frame folder.

    Raises:
        UserError: an input does not exist, or two inputs have the same name.
    """
    found: dict[str, str] = {}
    for text in inputs:
        path = Path(text)
        places = [text]
        if path.is_dir():
            places = videos_in(path) or [text]
        elif not (path.exists() or is_camera(text) or "://" in text):
            # Checked before models are loaded or downloaded.
            raise UserError(f"{text} does not exist; give a video, a folder, a camera number or a URL")
        for place in places:
            name = input_name(place)
            if name in found:
                raise UserError(
                    f"{found[name]} and {place} would both be called {name}; rename one, or use two runs"
                )
            found[name] = place
    return found
