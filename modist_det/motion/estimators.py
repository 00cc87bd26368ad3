"""Optical flow estimators behind one interface.

``build_flow_estimator("DIS")`` needs no weights and takes milliseconds a frame; RAFT is what the authors of
MoDist used.

Example::

    estimate = build_flow_estimator("DIS")
    flow = estimate(frames, earlier)  # uint8 (N, H, W, 3) twice -> float32 (N, 2, H, W)
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from fvcore.common.registry import Registry
from numpy.typing import NDArray
from torch import Tensor

from ..utils.errors import UserError, nearest

__all__ = ["FLOW_REGISTRY", "RAFT", "DIS", "Farneback", "FlowEstimator", "build_flow_estimator"]

FLOW_REGISTRY = Registry("FLOW")

Frames = NDArray[np.uint8]


class FlowEstimator(Protocol):
    """Called with frames and the frames that they are compared with."""

    def __call__(self, frames: Frames, others: Frames) -> Tensor:
        """Where each pixel of a frame is in the other one.

        Args:
            frames, others: uint8 (N, H, W, 3), RGB.

        Returns:
            float32 (N, 2, H, W) on the CPU: the pixel at (x, y) of ``frames[i]`` is at ``(x + flow[0], y + flow[1])``
            of ``others[i]``.
        """
        ...


def build_flow_estimator(name: str = "DIS", **options: Any) -> FlowEstimator:
    """The estimator registered as ``name``: "DIS", "Farneback" or "RAFT", with its constructor's options.

    Raises:
        UserError: there is no such estimator.
    """
    if name not in FLOW_REGISTRY:
        known = [entry for entry, _ in FLOW_REGISTRY]
        raise UserError(f"there is no flow estimator {name!r}{nearest(name, known)} (known: {', '.join(known)})")
    return FLOW_REGISTRY.get(name)(**options)


@FLOW_REGISTRY.register()
class DIS:
    """Dense inverse search (Kroeger et al. 2016), OpenCV's: milliseconds a frame, no weights.

    Args:
        preset: "ultrafast", "fast" or "medium", from quick to exact.
    """

    def __init__(self, preset: str = "medium") -> None:
        presets = {
            "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
            "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
            "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
        }
        if preset not in presets:
            raise UserError(f"DIS has no preset {preset!r}{nearest(preset, presets)} (known: {', '.join(presets)})")
        self._preset = presets[preset]

    def __call__(self, frames: Frames, others: Frames) -> Tensor:
        # Made for each call: OpenCV's object cannot be pickled into a worker process.
        estimator = cv2.DISOpticalFlow.create(self._preset)
        return _pair_by_pair(frames, others, lambda frame, other: estimator.calc(frame, other, None))


@FLOW_REGISTRY.register()
class Farneback:
    """Polynomial expansion (Farneback 2003), OpenCV's.

    Args:
        levels, window, iterations: of the pyramid, in pixels of the averaging window, per level.
    """

    def __init__(self, levels: int = 3, window: int = 15, iterations: int = 3) -> None:
        self.levels = levels
        self.window = window
        self.iterations = iterations

    def __call__(self, frames: Frames, others: Frames) -> Tensor:
        return _pair_by_pair(
            frames,
            others,
            lambda frame, other: cv2.calcOpticalFlowFarneback(
                frame, other, None, 0.5, self.levels, self.window, self.iterations, 5, 1.1, 0
            ),
        )


@FLOW_REGISTRY.register()
class RAFT:
    """RAFT (Teed and Deng 2020), torchvision's, in batches on a device.

    Args:
        size: "large" or "small".
        weights: name of torchvision's weights, downloaded by it on first use ("C_T_V2", trained on Chairs and
            Things, is nearest to the "things" weights of MoDist's authors); or the path of a file that holds
            the model's state dict.
        iterations: of the update block.
        batch_size: pairs computed at once.
        device: "cpu", "cuda", ...
    """

    # Width and height that the network works on: multiples of 8, and large enough for its 4-level pyramid.
    _MULTIPLE, _SMALLEST = 8, 128

    def __init__(
        self,
        size: str = "large",
        weights: str = "C_T_V2",
        iterations: int = 20,
        batch_size: int = 4,
        device: str | torch.device = "cpu",
    ) -> None:
        from torchvision.models import get_model, get_weight

        if size not in ("large", "small"):
            raise UserError(f"RAFT comes as 'large' and 'small', not {size!r}")
        self.iterations = iterations
        self.batch_size = batch_size
        self.device = torch.device(device)
        if os.path.sep in weights or Path(weights).is_file():
            model = get_model(f"raft_{size}", weights=None)
            _load_state(model, weights)
        else:
            family = f"Raft_{size.capitalize()}_Weights"
            try:
                entry = get_weight(f"{family}.{weights}")
            except ValueError as error:
                raise UserError(f"torchvision has no RAFT weights {weights!r} for size {size!r}") from error
            try:
                model = get_model(f"raft_{size}", weights=entry)
            except OSError as error:
                raise UserError(
                    f"RAFT's weights could not be downloaded ({error}); download {entry.url} elsewhere and give "
                    "the file's path as weights"
                ) from error
        self.model = model.to(self.device).eval()

    @torch.inference_mode()
    def __call__(self, frames: Frames, others: Frames) -> Tensor:
        _check_pairs(frames, others)
        height, width = frames.shape[1:3]
        flows = [torch.zeros(0, 2, height, width)]
        for first in range(0, len(frames), self.batch_size):
            part = slice(first, first + self.batch_size)
            pair = (self._prepare(frames[part]), self._prepare(others[part]))
            flow = self.model(*pair, num_flow_updates=self.iterations)[-1]
            top, left = self._padding(height)[0], self._padding(width)[0]
            flows.append(flow[..., top : top + height, left : left + width].float().cpu())
        return torch.cat(flows)

    def _padding(self, length: int) -> tuple[int, int]:
        """Pixels added before and after so that the network can work on ``length`` pixels."""
        wanted = max(-(-length // self._MULTIPLE) * self._MULTIPLE, self._SMALLEST)
        return (wanted - length) // 2, wanted - length - (wanted - length) // 2

    def _prepare(self, frames: Frames) -> Tensor:
        clip = torch.from_numpy(frames).to(self.device).permute(0, 3, 1, 2).float() / 127.5 - 1
        height, width = frames.shape[1:3]
        return F.pad(clip, (*self._padding(width), *self._padding(height)), mode="replicate")


def _load_state(model: torch.nn.Module, path: str) -> None:
    if not Path(path).is_file():
        raise UserError(f"RAFT's weights {path} do not exist")
    try:
        model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # a damaged file, another size, something else altogether
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} does not hold the weights of this RAFT: {reason}") from error


def _pair_by_pair(frames: Frames, others: Frames, estimate: Callable[[Any, Any], Any]) -> Tensor:
    """Flow of gray pairs, one after the other."""
    _check_pairs(frames, others)
    flow = np.empty((*frames.shape[:3], 2), np.float32)
    for index, (frame, other) in enumerate(zip(frames, others, strict=True)):
        flow[index] = estimate(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), cv2.cvtColor(other, cv2.COLOR_RGB2GRAY))
    return torch.from_numpy(flow).permute(0, 3, 1, 2).contiguous()


def _check_pairs(frames: Frames, others: Frames) -> None:
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.shape != others.shape or frames.dtype != np.uint8:
        raise ValueError(
            f"flow needs two uint8 arrays (N, H, W, 3) of one shape, not {frames.shape} and {others.shape}"
        )
