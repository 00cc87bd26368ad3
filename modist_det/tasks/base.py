"""What a task tells the engine."""

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
    "Mapper",
    "Pictures",
    "Task",
    "build_task",
    "check_titles",
    "class_facts",
    "complete_num_classes",
    "join_class_facts",
]

add_section(
    "", TASK="detection"
)  # which module of modist_det/tasks/ wires data, model and evaluators together

# Maps cfg.TASK to a function of the config that returns the task.
TASK_REGISTRY = Registry("TASK")

# Called with the model and the number of steps made; images, uint8 RGB (H, W, 3), by name.
Pictures = Callable[[nn.Module, int], "dict[str, NDArray[np.uint8]]"]


class Task:
    """Wires data and evaluation for one kind of training. Made from a config by :func:`build_task`.

    A task of your own is a subclass, and a function registered in ``TASK_REGISTRY`` that makes it. Its records may be
    anything that its mapper understands; the engine asks nothing of a sample but its ``id``.

    Attributes:
        record_name: what one record is called in messages.
        collate: samples -> batch. The default stacks clips and makes lists of everything else.
    """

    record_name: ClassVar[str] = "record"
    collate: Collate = staticmethod(stack_samples)

    def complete_config(self, cfg: CfgNode) -> None:
        """Fill in what the data decides (``MODEL.NUM_CLASSES``); raise ``UserError`` where they disagree."""

    def train_data(self, cfg: CfgNode) -> tuple[Sequence[Any], Mapper]:
        """Records of all training sets together, and the training mapper."""
        raise NotImplementedError

    def test_data(self, cfg: CfgNode, name: str) -> tuple[Sequence[Any], Mapper]:
        """Records of the test set ``name`` and the evaluation mapper."""
        raise NotImplementedError

    def title(self, name: str) -> str:
        """What metrics and files of the dataset ``name`` are called; unique among the test sets."""
        return name

    def evaluator(self, cfg: CfgNode, name: str, output_dir: Path) -> Evaluator[Any, Any]:
        """What turns predictions on the test set ``name`` into metrics; it may write into ``output_dir``."""
        raise NotImplementedError

    def class_facts(self) -> ClassFacts | None:
        """What the outputs of the task's models mean, by its datasets; None: it does not say."""
        return None

    def pictures(self, cfg: CfgNode) -> Pictures | None:
        """What PICTURE_PERIOD draws (see ``tasks/pictures.py``); None: nothing."""
        return None


def build_task(cfg: CfgNode) -> Task:
    """The task that ``cfg.TASK`` names."""
    task = lookup(TASK_REGISTRY, cfg.TASK, "TASK")
    _check_architecture(cfg)
    return task(cfg)


def _check_architecture(cfg: CfgNode) -> None:
    """Refuse a meta architecture that says it is made for another task (its attribute ``task``)."""
    name = cfg.MODEL.META_ARCHITECTURE
    model = lookup(META_ARCH_REGISTRY, name, "MODEL.META_ARCHITECTURE")
    if isinstance(model, ForTask) and model.task != cfg.TASK:
        raise UserError(f"MODEL.META_ARCHITECTURE {name} is for TASK {model.task}, but TASK is {cfg.TASK}")


def class_facts(task: Task) -> ClassFacts | None:
    """What the outputs of the task's models mean; None for a task that does not say."""
    return task.class_facts()


def join_class_facts(datasets: Mapping[str, Any]) -> ClassFacts | None:
    """The facts of ``datasets`` (by their names in the config) together.

    Raises:
        UserError: two of them number the same classes differently, or mean other classes by one id.
    """
    facts = [
        dataclasses.replace(dataset.metadata.class_facts, source=f"dataset {name}")
        for name, dataset in datasets.items()
    ]
    return join_facts(facts)


def complete_num_classes(cfg: CfgNode, widths: Mapping[str, int]) -> None:
    """Set MODEL.NUM_CLASSES, where it is 0, to the most that a dataset has (``widths``: by its name in the config).

    Raises:
        UserError: a dataset has more.
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
    """Refuse test sets of one name: the figures of one would be taken for the other's."""
    for title in titles:
        if titles.count(title) > 1:
            raise UserError(
                f"two of DATASETS.TEST are called {title!r}; give one another 'name:' in its file"
            )
