"""``TrainedModel``: a checkpoint with its config, classes and device, the base of the predictors."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, TypeVar

from torch import nn

from ..checkpoint import load_weights
from ..checkpoint.handlers import PREFIX
from ..checkpoint.reading import classes_inside, config_inside, read_checkpoint
from ..checkpoint.run_folder import checkpoint_in
from ..config import CfgNode, get_cfg
from ..data.samplers import training_steps
from ..engine.evaluate import place_model
from ..engine.precision import autocast_factory
from ..engine.setup import resolve_device
from ..modeling import build_model
from ..puppets.labels import CLASS_NAMES as PUPPETS_CLASSES
from ..structures.class_facts import FIRST_ID
from ..utils.errors import UserError
from ..utils.paths import local_path
from .class_names import choose_names, complete_names, names_of_config

__all__ = ["TrainedModel", "newest_run", "stored_config", "zoo_config"]

Self = TypeVar("Self", bound="TrainedModel")


class TrainedModel:
    """Builds the model of a config and loads its weights.

    Args:
        cfg: config of a model of this class's ``task``; ``MODEL.WEIGHTS`` is its checkpoint, ``MODEL.DEVICE`` the
            device.
        class_names: class names by id; default: those in the checkpoint, otherwise those of the config's datasets if
            available.

    Attributes:
        class_names: names of the classes in results, by ascending id.
        class_types: their label types, if the checkpoint has them.
        facts: the checkpoint's class and keyframe facts, or None.
        source: origin of the weights.

    Raises:
        UserError: the config is for another task, the checkpoint lacks weights, or its class names contradict
            ``class_names``.
    """

    task: ClassVar[str]
    purpose: ClassVar[str]  # what needs a model of this task, for messages
    wrong_model: ClassVar[str]  # what a model of another meta architecture does not do
    meta_architecture: ClassVar[type[nn.Module]]

    def __init__(self, cfg: CfgNode, class_names: Mapping[int, str] | None = None) -> None:
        if self.task != cfg.TASK:
            raise UserError(
                f"the config is for TASK {cfg.TASK}; {self.purpose} need a model of TASK {self.task}"
            )
        cfg = cfg.clone()
        if not cfg.MODEL.WEIGHTS:
            raise UserError(
                "MODEL.WEIGHTS names no checkpoint; a model without trained weights predicts nothing"
            )
        first = FIRST_ID[self.task]
        if cfg.MODEL.NUM_CLASSES == 0:
            inside = classes_inside(read_checkpoint(cfg.MODEL.WEIGHTS), cfg.MODEL.WEIGHTS)
            known = names_of_config(cfg) if class_names is None else class_names
            highest = max(known, default=first - 1)
            cfg.MODEL.NUM_CLASSES = highest + 1 - first if inside is None else inside.num_classes
        self.cfg = cfg
        self.device = resolve_device(cfg.MODEL.DEVICE)
        self.source = cfg.MODEL.WEIGHTS.removeprefix(PREFIX)
        self.read_input(cfg)
        model = build_model(cfg)
        if not isinstance(model, self.meta_architecture):
            raise UserError(f"MODEL.META_ARCHITECTURE {cfg.MODEL.META_ARCHITECTURE} {self.wrong_model}")
        report = load_weights(model, cfg.MODEL.WEIGHTS)
        report.require_complete()
        self.facts = report.classes
        self._training = report.training
        names = choose_names(cfg, cfg.MODEL.WEIGHTS, self.facts, class_names)
        self.class_names = complete_names(names, cfg.MODEL.NUM_CLASSES, first)
        types = self.facts.types if self.facts else {}
        self.class_types = {number: types[number] for number in self.class_names if number in types}
        self._channels = [number - first for number in self.class_names]
        self.model = place_model(cfg, model, self.device).eval()
        self._autocast = autocast_factory(cfg, self.device)

    def unfinished(self) -> str:
        """How far the training was when it saved this checkpoint, as "50 of 200 steps"; "" at its end or if unknown."""
        known = self._training
        numbers = [known.get(key) for key in ("iteration", "samples", "clips a step")]
        done, samples, clips = (number if isinstance(number, int) else 0 for number in numbers)
        if min(done, samples, clips) < 1:  # not of a run
            return ""
        steps = training_steps(samples, clips, self.cfg.SOLVER.MAX_EPOCH)
        return f"{done} of {steps} steps" if done < steps else ""

    @property
    def knows_puppets(self) -> bool:
        """Whether the classes are those of generated people (Puppets)."""
        return {name.lower() for name in self.class_names.values()} == set(PUPPETS_CLASSES.values())

    def read_input(self, cfg: CfgNode) -> None:
        """Take from the config how clips are made; called before the model is built."""

    @classmethod
    def from_checkpoint(
        cls: type[Self],
        path: str | os.PathLike,
        overrides: Sequence[str] = (),
        class_names: Mapping[int, str] | None = None,
    ) -> Self:
        """Load a checkpoint written by this project's training, which includes its config.

        Args:
            path: the file, its URL or ``zoo://NAME``, or a run's output folder, whose last checkpoint is used.
            overrides: ``[KEY, VALUE, ...]`` changes to the config.

        Raises:
            UserError: the file cannot be read or has no config.
        """
        if os.fspath(path).startswith(PREFIX):
            return cls.from_zoo(os.fspath(path), overrides, class_names)
        return cls(stored_config(path, overrides), class_names)

    @classmethod
    def from_zoo(
        cls: type[Self],
        name: str,
        overrides: Sequence[str] = (),
        class_names: Mapping[int, str] | None = None,
    ) -> Self:
        """Load a model zoo entry; its weights are downloaded if necessary.

        Raises:
            UserError: the entry does not exist, is for another task, or cannot be downloaded.
        """
        return cls(zoo_config(name, overrides), class_names)


def stored_config(path: str | os.PathLike, overrides: Sequence[str] = ()) -> CfgNode:
    """The config inside a checkpoint of this project, with ``MODEL.WEIGHTS`` set to the file.

    Args:
        path: the file or its URL, or a run's output folder, whose last checkpoint is used.

    Raises:
        UserError: the file cannot be read or has no config.
    """
    path = checkpoint_in(Path(local_path(path)))
    text = config_inside(read_checkpoint(path))
    if not text:
        raise UserError(
            f"{path} has no config, so it is not a checkpoint of this project's training; also give the config: "
            "--cfg FILE --checkpoint FILE, or ActionPredictor(cfg) with MODEL.WEIGHTS"
        )
    cfg = get_cfg()
    cfg.merge_from_text(text, str(path))
    cfg.MODEL.WEIGHTS = str(path)
    cfg.merge_from_list(list(overrides))
    return cfg


def zoo_config(name: str, overrides: Sequence[str] = ()) -> CfgNode:
    """The config of a model zoo entry.

    Raises:
        UserError: there is no such entry.
    """
    from ..model_zoo import get_config

    cfg = get_config(name)
    cfg.merge_from_list(list(overrides))
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
