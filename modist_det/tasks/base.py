"""The interface between tasks and the engine."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from fvcore.common.registry import Registry
from numpy.typing import NDArray
from torch import nn

from ..core import CfgNode, add_section
from ..data.build import stack_samples
from ..evaluation.evaluator import Evaluator
from ..modeling.registry import META_ARCH_REGISTRY, ForTask, lookup
from ..structures.class_facts import ClassFacts, join_facts
from ..structures.samples import Collate, Mapper
from ..utils.errors import UserError

__all__ = [
    "TASK_REGISTRY",
    "LabelledTask",
    "Mapper",
    "Pictures",
    "Task",
    "build_task",
    "check_titles",
    "class_facts",
    "complete_num_classes",
    "join_class_facts",
]

add_section("", TASK="detection")  # name of a registered task, which connects data, model and evaluators

# Maps cfg.TASK to a function of the config that returns the task.
TASK_REGISTRY = Registry("TASK")

# Function (model, number of completed steps) -> images, uint8 RGB (H, W, 3), by name.
Pictures = Callable[[nn.Module, int], "dict[str, NDArray[np.uint8]]"]


class Task:
    """Connects data and evaluation for one kind of training. Built from a config by :func:`build_task`.

    A task of your own is a subclass, and a function registered in ``TASK_REGISTRY`` that makes it. Its records may be
    anything that its mapper understands; the engine asks nothing of a sample but its ``id``. It needs only the methods
    that its runs use: one that never trains has no ``train_data``.

    Attributes:
        record_name: name of a record in messages.
        collate: samples -> batch. The default stacks clips and makes lists of everything else.
    """

    record_name: ClassVar[str] = "record"
    collate: Collate = staticmethod(stack_samples)

    def complete_config(self, cfg: CfgNode) -> None:
        """Fill in what the data decides (``MODEL.NUM_CLASSES``); raise ``UserError`` where they disagree."""

    def train_data(self, cfg: CfgNode) -> tuple[Sequence[Any], Mapper]:
        """Records of all training sets together, and the training mapper."""
        raise UserError(f"{type(self).__name__} has no training data; it only evaluates (--eval-only)")

    def test_data(self, cfg: CfgNode, name: str) -> tuple[Sequence[Any], Mapper]:
        """Records of the test set ``name`` and the evaluation mapper."""
        raise UserError(f"{type(self).__name__} has no test data; leave DATASETS.TEST empty")

    def title(self, name: str) -> str:
        """Title of the dataset ``name`` in metrics and file names; unique among the test sets."""
        return name

    def evaluator(self, cfg: CfgNode, name: str, output_dir: Path) -> Evaluator[Any, Any]:
        """The evaluator of the test set ``name``; it may write into ``output_dir``."""
        raise UserError(f"{type(self).__name__} has no evaluator; leave DATASETS.TEST empty")

    def class_facts(self) -> ClassFacts | None:
        """What the outputs of the task's models mean, by its datasets; None: it does not say."""
        return None

    def pictures(self, cfg: CfgNode) -> Pictures | None:
        """Images for PICTURE_PERIOD (see ``tasks/pictures.py``); None if the task has none."""
        return None


class LabelledTask(Task):
    """Base of tasks whose outputs are the classes of their datasets.

    Args:
        datasets: all datasets used, by their names in the config.
    """

    _datasets: Mapping[str, Any]

    def __init__(self, datasets: Mapping[str, Any]) -> None:
        self._datasets = datasets
        self._facts = join_class_facts(datasets)

    def class_facts(self) -> ClassFacts | None:
        """The facts of all datasets together."""
        return self._facts

    def complete_config(self, cfg: CfgNode) -> None:
        complete_num_classes(cfg, {n: d.metadata.num_classes for n, d in self._datasets.items()})
        check_titles([self.title(name) for name in cfg.DATASETS.TEST])

    def title(self, name: str) -> str:
        return self._datasets[name].metadata.name


def build_task(cfg: CfgNode) -> Task:
    """Build the task named by ``cfg.TASK``."""
    task = lookup(TASK_REGISTRY, cfg.TASK, "TASK")
    _check_architecture(cfg)
    return task(cfg)


def _check_architecture(cfg: CfgNode) -> None:
    """Raise ``UserError`` if the meta architecture is for another task (its attribute ``task``)."""
    name = cfg.MODEL.META_ARCHITECTURE
    model = lookup(META_ARCH_REGISTRY, name, "MODEL.META_ARCHITECTURE")
    if isinstance(model, ForTask) and model.task != cfg.TASK:
        raise UserError(f"MODEL.META_ARCHITECTURE {name} is for TASK {model.task}, but TASK is {cfg.TASK}")


def class_facts(task: Task) -> ClassFacts | None:
    """:meth:`Task.class_facts`, as a function for code written for earlier versions."""
    return task.class_facts()


def join_class_facts(datasets: Mapping[str, Any]) -> ClassFacts | None:
    """The facts of ``datasets`` (by their names in the config) together.

    Raises:
        UserError: two of them give a class different ids, or an id different classes.
    """
    facts = [
        dataclasses.replace(dataset.metadata.class_facts, source=f"dataset {name}")
        for name, dataset in datasets.items()
    ]
    return join_facts(facts)


def complete_num_classes(cfg: CfgNode, widths: Mapping[str, int]) -> None:
    """Set MODEL.NUM_CLASSES, if it is 0, to the largest number of classes of a dataset (``widths``, by dataset name).

    Raises:
        UserError: a dataset has more classes than MODEL.NUM_CLASSES.
    """
    if cfg.MODEL.NUM_CLASSES == 0 and widths:
        cfg.MODEL.NUM_CLASSES = max(widths.values())
    for name, width in widths.items():
        if width > cfg.MODEL.NUM_CLASSES:
            raise UserError(
                f"dataset {name} has {width} classes, but MODEL.NUM_CLASSES is "
                f"{cfg.MODEL.NUM_CLASSES}; set it to {width}, or to 0 to take it from the data"
            )


def check_titles(titles: Sequence[str]) -> None:
    """Raise ``UserError`` if two test sets have the same title, since their metrics would be mixed up."""
    for title in titles:
        if titles.count(title) > 1:
            raise UserError(
                f"two of DATASETS.TEST are called {title!r}; give one another 'name:' in its file"
            )
