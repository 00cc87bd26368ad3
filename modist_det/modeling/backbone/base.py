"""``Backbone``: the interface of backbones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Protocol, runtime_checkable

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ...core import CfgNode

__all__ = ["Backbone", "HasStages", "section_arguments"]


def section_arguments(section: CfgNode) -> dict[str, Any]:
    """Constructor arguments from a config section whose keys are their names: ``STEM_KERNEL`` is ``stem_kernel``."""
    return {key.lower(): value for key, value in section.items()}


@runtime_checkable
class HasStages(Protocol):
    """A backbone that also gives the maps of its stages, as feature pyramids need them.

    Attributes:
        stage_channels, stage_strides: of each stage, from the finest; strides in space.
    """

    stage_channels: tuple[int, ...]
    stage_strides: tuple[int, ...]

    def stages(self, clip: Tensor) -> Iterator[Tensor]:
        """(B, C, T, H, W) -> the map of each stage, (B, ``stage_channels[i]``, T_i, H_i, W_i)."""
        ...


class Backbone(nn.Module):
    """A network from a clip to feature maps, one per pathway.

    ``forward(clip)`` takes a float tensor (B, C, T, H, W) and returns a list of maps (B, ``out_channels[p]``, T_p, H',
    W'). H' and W' are those of the clip divided by ``spatial_stride``, rounded up; T_p is T divided by
    ``temporal_strides[p]``. Strides of 0 mean one cell for the whole clip, which is of no use for detection.

    Attributes:
        untraced_keys: config keys that change the result of a trained network but are not visible in its weights.
    """

    untraced_keys: ClassVar[tuple[str, ...]] = ()

    out_channels: tuple[int, ...]
    temporal_strides: tuple[int, ...]
    spatial_stride: int

    def __init__(self) -> None:
        super().__init__()
        self._fixed_statistics = False
        self._frozen = False

    @classmethod
    def from_config(cls, cfg: CfgNode) -> Backbone:
        """Built from ``cfg.MODEL``."""
        raise NotImplementedError

    @classmethod
    def config_of(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        """The config keys of a network of this class with these parameters, as far as names and shapes tell.

        Errors about weights that do not fit say by it what would; a class that leaves it out is not proposed.

        Args:
            tensors: by the network's own names.

        Returns:
            Dotted key -> value; ``{}``: it is no network of this class, or none that a config can build.
        """
        return {}

    @classmethod
    def describe(cls, tensors: Mapping[str, Tensor]) -> str:
        """What tells this network from others of its class, in a few words; ``""``: it is none of this class."""
        keys = cls.config_of(tensors)
        return ", ".join(f"{key.rpartition('.')[2].lower()} {value}" for key, value in keys.items())

    def untraced(self) -> dict[str, Any]:
        """The values of :attr:`untraced_keys` that this network was built with, as far as it keeps them as attributes
        of these names."""
        values = {key: getattr(self, key.rpartition(".")[2].lower(), None) for key in self.untraced_keys}
        return {key: value for key, value in values.items() if value is not None}

    def adapt(self, tensors: dict[str, Tensor]) -> list[tuple[str, str]]:
        """Fit a file's tensors to this network before they are loaded, such as tables of positions of another size.

        Args:
            tensors: by the network's own names; changed in place: tensors may be replaced, added and removed.

        Returns:
            (name, how, in a few words) of each tensor that was changed, for the report.
        """
        return []

    def forward(self, clip: Tensor) -> list[Tensor]:
        raise NotImplementedError

    def fix_statistics(self) -> Backbone:
        """Use the stored BN statistics in training, too; weights are still trained."""
        self._fixed_statistics = True
        return self.train(self.training)

    def freeze(self) -> Backbone:
        """Disable gradients and stay in evaluation mode, so that the features of a clip never change."""
        self.requires_grad_(False)
        self._frozen = True
        return self.train(self.training)

    def train(self, mode: bool = True) -> Backbone:
        super().train(mode and not self._frozen)
        if self._fixed_statistics:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self
