"""Registries of the classes and functions that configs refer to by name.

``cfg.MODEL.BACKBONE.NAME: ResNet3D`` selects the class registered under that name. A registered class has plain
constructor arguments and a class method that reads the config: ``from_config(cfg)``, for heads
``from_config(cfg, backbone)``. Losses map logits and targets to one value per row; one without settings is a function.

What such a class may offer beyond that is a protocol here: :class:`Head`, :class:`ForTask`, :class:`MakesBatches`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from fvcore.common.registry import Registry
from torch import Tensor

from ..core import CfgNode
from ..utils.errors import UserError, nearest

__all__ = [
    "BACKBONE_REGISTRY",
    "HEAD_REGISTRY",
    "LOSS_REGISTRY",
    "META_ARCH_REGISTRY",
    "ForTask",
    "Head",
    "MakesBatches",
    "UsesContext",
    "lookup",
]

BACKBONE_REGISTRY = Registry("BACKBONE")
HEAD_REGISTRY = Registry("HEAD")
LOSS_REGISTRY = Registry("LOSS")
META_ARCH_REGISTRY = Registry("META_ARCH")


class Head(Protocol):
    """What a head, an ``nn.Module``, offers to the models of the package."""

    num_classes: int

    def __call__(self, features: Sequence[Tensor], *regions: Tensor) -> Tensor:
        """Logits of the feature maps; of a detector, (N, K) of the boxes ``regions``, (N, 5)."""

    def scores(self, logits: Tensor) -> Tensor:
        """Scores in [0, 1] of such logits."""


@runtime_checkable
class ForTask(Protocol):
    """A head or meta architecture for one ``TASK``; those that do not say it serve all."""

    task: str


@runtime_checkable
class MakesBatches(Protocol):
    """A meta architecture that ``tools/benchmark.py model`` can time."""

    def random_batch(self, cfg: CfgNode, batch_size: int, num_boxes: int) -> dict[str, Any]:
        """A training batch of noise, from torch's global generator on its default device; a class method.

        Args:
            batch_size: number of videos.
            num_boxes: persons per clip, where the model takes boxes.
        """


@runtime_checkable
class UsesContext(Protocol):
    """An RoI head that needs more of a batch than maps and rois."""

    def context(self, batch: Any) -> tuple[Any, ...]:
        """What the head is called with, after maps and rois."""


def lookup(registry: Registry, name: str, key: str) -> Any:
    """The object registered as ``name``, or a :class:`UserError` that names the config key ``key``."""
    if name not in registry:
        known = [entry for entry, _ in registry]
        raise UserError(
            f"{key} is {name!r}, which is not registered{nearest(name, known)} (known: {', '.join(sorted(known))}; "
            "--import MODULE adds what a module registers)"
        )
    return registry.get(name)
