"""``KeyQueue``: keys of earlier batches, the negatives of MoCo (He et al. 2020, section 3.2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["KeyQueue"]

_NO_VIDEO = -1


class KeyQueue(nn.Module):
    """A ring buffer with the newest ``size`` keys and the numbers of their videos.

    It consists of buffers: it moves with the model, is saved in checkpoints, and is updated without synchronizing with
    the device. Before it is full, it contains random directions, as in MoCo.

    Args:
        size: number of keys.
        dim: length of a key.
    """

    keys: Tensor  # (size, dim), rows of length 1
    videos: Tensor  # (size,), -1 where no key has been written
    position: Tensor  # (), where the next key goes

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("keys", F.normalize(torch.randn(size, dim), dim=1))
        self.register_buffer("videos", torch.full((size,), _NO_VIDEO, dtype=torch.int64))
        self.register_buffer("position", torch.zeros((), dtype=torch.int64))

    @property
    def size(self) -> int:
        return len(self.keys)

    @torch.no_grad()
    def append(self, keys: Tensor, videos: Tensor) -> None:
        """Replace the oldest keys by ``keys`` (B, dim) and the numbers of their videos (B,); B may exceed the size."""
        keys, videos = keys[-self.size :], videos[-self.size :]
        places = (self.position + torch.arange(len(keys), device=self.keys.device)) % self.size
        self.keys.index_copy_(0, places, keys.to(self.keys.dtype))
        self.videos.index_copy_(0, places, videos)
        self.position.add_(len(keys)).remainder_(self.size)
