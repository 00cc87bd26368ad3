"""Choose inputs, action model and person detector from command-line arguments, with defaults."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ..checkpoint.handlers import PREFIX, list_names
from ..config import CfgNode, get_cfg
from ..utils.errors import UserError, nearest
from ..utils.paths import is_remote, why_missing
from ..video.listing import IMAGE_EXTENSIONS, extension, scan, videos_in
from .classifier import ClassPredictor
from .persons import PersonDetector, build_person_detector
from .persons.base import why_no_detector
from .persons.onnx import FastestDet, find_model, model_folders
from .predictor import ActionPredictor
from .stream import input_name, is_camera
from .trained import newest_run, stored_config, zoo_config

__all__ = [
    "Predictor",
    "check_available",
    "choose_config",
    "choose_detector",
    "choose_predictor",
    "config_of_model",
    "find_inputs",
    "load_predictor",
    "predictor_for",
]

_PATIENCE = 5.0  # seconds in which a server must answer
# Small, trained on AVA, and fast enough for a CPU.
_ZOO_DEFAULT = f"{PREFIX}pyslowfast/slow_4x16_r50_ava22"


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
    return predictor_for(config_of_model(text, overrides), class_names, text)


def config_of_model(name: str, overrides: Sequence[str] = ()) -> CfgNode:
    """The config of a trained model, with ``MODEL.WEIGHTS``; see :func:`load_predictor`."""
    if name.startswith(PREFIX) or (name in list_names() and not Path(name).exists()):
        return zoo_config(name, overrides)
    if not Path(name).exists() and not is_remote(name):
        raise UserError(
            f"{name} does not exist, and the model zoo has no such name{nearest(name, list_names(), 3)}"
        )
    if reason := why_missing(name):
        raise UserError(f"{name}: {reason}")
    return stored_config(name, overrides)


def predictor_for(
    cfg: CfgNode, class_names: Mapping[int, str] | None = None, name: str | os.PathLike = ""
) -> Predictor:
    """The predictor for the task of a config with ``MODEL.WEIGHTS``.

    Args:
        name: what the user called the model; a remote name is its ``source``, rather than the file in the cache.

    Raises:
        UserError: there is none for its task.
    """
    if cfg.TASK not in _PREDICTORS:
        raise UserError(
            f"{cfg.MODEL.WEIGHTS or 'the config'} is for TASK {cfg.TASK}, which predicts nothing about a video; give a "
            f"model of TASK {' or '.join(_PREDICTORS)}, or train one from these weights: modist-det train --data DATA "
            "--from THEM"
        )
    predictor = _PREDICTORS[cfg.TASK](cfg, class_names)
    if is_remote(name):
        predictor.source = os.fspath(name).removeprefix(PREFIX)
    return predictor


def choose_config(
    checkpoint: str | os.PathLike | None = None,
    zoo: str | None = None,
    cfg: str | os.PathLike | None = None,
    overrides: Sequence[str] = (),
) -> CfgNode:
    """The config of the model that is named by a checkpoint (with a config if it has none) or a model zoo entry.

    Default: the latest detection run below ``output``, otherwise a small AVA model of the zoo. Nothing of the zoo is
    downloaded yet.

    Raises:
        UserError: two models are given, or there is no such model.
    """
    if checkpoint and zoo:
        raise UserError("--checkpoint and --zoo both name a model; give one of them")
    if cfg and not checkpoint:
        raise UserError("--cfg goes with --checkpoint FILE")
    if cfg:
        node = get_cfg(cfg)
        node.MODEL.WEIGHTS = str(checkpoint)  # merging would read a name such as 1e5 as a number
        node.merge_from_list(list(overrides))
        return node
    if zoo:
        checkpoint = PREFIX + zoo.removeprefix(PREFIX)
    return config_of_model(str(checkpoint or newest_run() or _ZOO_DEFAULT), overrides)


def choose_predictor(
    checkpoint: str | os.PathLike | None = None,
    zoo: str | None = None,
    cfg: str | os.PathLike | None = None,
    class_names: Mapping[int, str] | None = None,
    overrides: Sequence[str] = (),
) -> Predictor:
    """Load the model of :func:`choose_config`.

    Raises:
        UserError: two models are given, or the model is not available.
    """
    return predictor_for(choose_config(checkpoint, zoo, cfg, overrides), class_names)


def check_available(cfg: CfgNode, detector: str | None, options: Mapping[str, Any]) -> None:
    """Check before any work and any download that model and person detector can be had, within seconds.

    Args:
        cfg: of :func:`choose_config`.
        detector, options: of :func:`choose_detector`; unused by a classifier.

    Raises:
        UserError: a file is missing, or its server does not answer; all that is missing is named.
    """
    faults = []
    looks: list[Callable[[], str]] = [lambda: why_missing(cfg.MODEL.WEIGHTS, _PATIENCE)]
    if ActionPredictor.task == cfg.TASK:
        looks.append(lambda: why_no_detector(_detector_name(detector, options), options, _PATIENCE))
    with ThreadPoolExecutor() as pool:  # at once: each may take as long as the patience
        reasons = list(pool.map(lambda look: look(), looks))
    if reason := reasons[0]:
        text = f"no action model: {cfg.MODEL.WEIGHTS}: {reason}"
        if cfg.MODEL.WEIGHTS == _ZOO_DEFAULT:
            text += (
                "; there is no trained run below output/. Name one with --checkpoint, or train a small one in minutes: "
                "python datasets/prepare_puppets.py && python tools/run_net.py --cfg configs/Puppets/Slow_R18.yaml"
            )
        faults.append(text)
    if reason := "".join(reasons[1:]):
        faults.append(f"no person detector: {reason}" + ("" if detector else f"; {_without_fastestdet()}"))
    if faults:
        raise UserError("; ".join(faults))


def choose_detector(name: str | None = None, options: Mapping[str, Any] | None = None) -> PersonDetector:
    """Build a person detector by name or file; default: FastestDet if its file is found, otherwise torchvision's.

    Raises:
        UserError: it is not available.
    """
    options = options or {}
    try:
        return build_person_detector(_detector_name(name, options), **options)
    except UserError as error:
        if name:
            raise
        raise UserError(f"no person detector: {error}; {_without_fastestdet()}") from error


def _detector_name(name: str | None, options: Mapping[str, Any]) -> str:
    if name:
        return name
    return "FastestDet" if find_model(FastestDet.file_name) or "path" in options else "FasterRCNN"


def _without_fastestdet() -> str:
    return f"no file {FastestDet.file_name} in {' or '.join(map(str, model_folders()))} ({FastestDet.how_to_get})"


def find_inputs(inputs: Iterable[str]) -> dict[str, str]:
    """Find video files, frame folders, cameras and URLs; returns them by the name of their result files.

    A folder with videos is expanded to these videos; any other folder is a frame folder.

    Raises:
        UserError: an input does not exist, a folder is empty, or two inputs have the same name.
    """
    found: dict[str, str] = {}
    for text in inputs:
        path = Path(text)
        places = [text]
        if path.is_dir():
            places = videos_in(path)
            if not places:
                if not any(extension(entry.name) in IMAGE_EXTENSIONS for entry in scan(path)):
                    raise UserError(f"{text} has neither videos nor frames ({', '.join(IMAGE_EXTENSIONS)})")
                places = [text]
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
