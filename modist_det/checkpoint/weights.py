"""``Weights``: the tensors of a file under our names."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

__all__ = ["Weights"]


@dataclass
class Weights:
    """Parameters and buffers under our names.

    Attributes:
        tensors: our name -> tensor.
        sources: our name -> name in the file.
        dropped: (name in the file, reason) of each tensor that is left out on purpose.
        optional: our name -> reason why a tensor is left out if the model has none of that name.
        head_only: the file is of a head for some backbone.
        background: the first class of the head's last layer is the background.
    """

    tensors: dict[str, Tensor] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    dropped: list[tuple[str, str]] = field(default_factory=list)
    optional: dict[str, str] = field(default_factory=dict)
    head_only: bool = False
    background: bool = False

    def add(self, name: str, source: str, tensor: Tensor) -> None:
        self.tensors[name] = tensor
        self.sources[name] = source

    def drop(self, name: str, reason: str) -> None:
        del self.tensors[name]
        self.dropped.append((self.sources.pop(name), reason))
