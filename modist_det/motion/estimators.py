"""Optical flow estimators with a common interface.

``build_flow_estimator("DIS")`` needs no weights and takes milliseconds per frame. The authors of MoDist used RAFT.

Example::

    estimate = build_flow_estimator("DIS", preset="fast")
    flow = estimate(frames, earlier)  # uint8 (N, H, W, 3) twice -> float32 (N, 2, H, W)
"""

from __future__ import annotations

import inspect
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

from ..checkpoint.torchvision_files import load_torchvision_weights
from ..utils.errors import UserError, nearest

__all__ = ["FLOW_REGISTRY", "RAFT", "DIS", "Farneback", "FlowEstimator", "build_flow_estimator"]

FLOW_REGISTRY = Registry("FLOW")

Frames = NDArray[np.uint8]

_NO_GUESS: Any = None  # no initial flow; OpenCV's type stubs require an array


class FlowEstimator(Protocol):
    """Estimates the flow between pairs of frames.

    Its ``repr`` contains everything that the results depend on, and is stored with extracted maps.
    """

    def __call__(self, frames: Frames, others: Frames) -> Tensor:
        """Flow from each frame to the other one.

        Args:
            frames, others: uint8 (N, H, W, 3), RGB.

        Returns:
            float32 (N, 2, H, W) on the estimator's device: the pixel at (x, y) in ``frames[i]`` moves to
            ``(x + flow[i, 0], y + flow[i, 1])`` in ``others[i]``.

        Raises:
            UserError: the frames are too small for the estimator.
        """
        ...


def build_flow_estimator(name: str = "DIS", **options: Any) -> FlowEstimator:
    """The estimator registered as ``name`` ("DIS", "Farneback", "RAFT"), built with ``options``.

    Raises:
        UserError: there is no such estimator or option, or an option's value is invalid.
    """
    if name not in FLOW_REGISTRY:
        known = [entry for entry, _ in FLOW_REGISTRY]
        raise UserError(
            f"there is no flow estimator {name!r}{nearest(name, known)} (known: {', '.join(known)})"
        )
    estimator = FLOW_REGISTRY.get(name)
    parameters = inspect.signature(estimator).parameters
    for option in options:
        if option not in parameters:
            raise UserError(
                f"the flow estimator {name} has no option {option!r}{nearest(option, parameters)} "
                f"(options: {', '.join(parameters)})"
            )
    return estimator(**options)


_DIS_PRESETS = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}


@FLOW_REGISTRY.register()
class DIS:
    """OpenCV's dense inverse search (Kroeger et al. 2016): milliseconds per frame, no weights.

    Args:
        preset: "ultrafast", "fast" or "medium", from fastest to most accurate.
    """

    def __init__(self, preset: str = "medium") -> None:
        if not isinstance(preset, str) or preset not in _DIS_PRESETS:
            raise UserError(
                f"DIS has no preset {preset!r}{nearest(str(preset), _DIS_PRESETS)} (known: {', '.join(_DIS_PRESETS)})"
            )
        self.preset = preset

    def __repr__(self) -> str:
        return f"DIS(preset={self.preset!r})"

    def __call__(self, frames: Frames, others: Frames) -> Tensor:
        def estimate(frame: Any, other: Any) -> Any:
            # A new object for each pair: with small frames, OpenCV's object changes its settings in the first call, so
            # that the flow would depend on earlier pairs.
            return cv2.DISOpticalFlow.create(_DIS_PRESETS[self.preset]).calc(frame, other, _NO_GUESS)

        return _pair_by_pair(frames, others, estimate)


@FLOW_REGISTRY.register()
class Farneback:
    """OpenCV's polynomial expansion (Farneback 2003).

    Args:
        levels: number of pyramid levels.
        window: side of the averaging window in pixels.
        iterations: per level.
    """

    def __init__(self, levels: int = 3, window: int = 15, iterations: int = 3) -> None:
        _check_positive("Farneback", levels=levels, window=window, iterations=iterations)
        self.levels = levels
        self.window = window
        self.iterations = iterations

    def __repr__(self) -> str:
        return f"Farneback(levels={self.levels}, window={self.window}, iterations={self.iterations})"

    def __call__(self, frames: Frames, others: Frames) -> Tensor:
        def estimate(frame: Any, other: Any) -> Any:
            return cv2.calcOpticalFlowFarneback(
                frame, other, _NO_GUESS, 0.5, self.levels, self.window, self.iterations, 5, 1.1, 0
            )

        return _pair_by_pair(frames, others, estimate)


@FLOW_REGISTRY.register()
class RAFT:
    """torchvision's RAFT (Teed and Deng 2020), in batches on a device.

    Args:
        size: "large" or "small".
        weights: torchvision's name for the weights, which are downloaded on first use ("C_T_V2", trained on Chairs and
            Things, is closest to the "things" weights of MoDist's authors), or the path or URL of a state dict.
        iterations: of the update block.
        batch_size: number of pairs computed at once.
        device: "cpu", "cuda", ...

    Raises:
        UserError: there is no such size, weights or device, the file has other weights, or a download failed.
    """

    # The network needs multiples of 8 pixels, and its 4-level pyramid 16 pixels at 1/8 resolution.
    _MULTIPLE, _SMALLEST = 8, 128

    def __init__(
        self,
        size: str = "large",
        weights: str = "C_T_V2",
        iterations: int = 20,
        batch_size: int = 4,
        device: str | torch.device = "cpu",
    ) -> None:
        if size not in ("large", "small"):
            raise UserError(f"RAFT's size is {size!r}; known: 'large', 'small'")
        _check_positive("RAFT", iterations=iterations, batch_size=batch_size)
        self.size = size
        self.weights = str(weights)
        self.iterations = iterations
        self.batch_size = batch_size
        try:
            self.device = torch.device(device)
            torch.empty(0, device=self.device)
        except (RuntimeError, TypeError, AssertionError) as error:
            raise UserError(f"RAFT: there is no device {device!r}; use 'cpu', 'cuda' or 'cuda:N'") from error
        self.model = _build_raft(size, self.weights).to(self.device).eval()

    def __repr__(self) -> str:
        return f"RAFT(size={self.size!r}, weights={Path(self.weights).name!r}, iterations={self.iterations})"

    @torch.no_grad()
    def __call__(self, frames: Frames, others: Frames) -> Tensor:
        _check_pairs(frames, others)
        height, width = frames.shape[1:3]
        top, left = self._padding(height)[0], self._padding(width)[0]
        out = torch.empty(len(frames), 2, height, width, device=self.device)
        for first in range(0, len(frames), self.batch_size):
            part = slice(first, first + self.batch_size)
            pair = self._prepare(frames[part]), self._prepare(others[part])
            flow = self.model(*pair, num_flow_updates=self.iterations)[-1]
            out[part] = flow[..., top : top + height, left : left + width]
        return out

    def _padding(self, length: int) -> tuple[int, int]:
        """Pixels of padding before and after ``length`` pixels."""
        missing = max(-(-length // self._MULTIPLE) * self._MULTIPLE, self._SMALLEST) - length
        return missing // 2, missing - missing // 2

    def _prepare(self, frames: Frames) -> Tensor:
        clip = torch.from_numpy(np.ascontiguousarray(frames)).to(self.device)
        clip = clip.permute(0, 3, 1, 2).float() / 127.5 - 1
        height, width = frames.shape[1:3]
        return F.pad(clip, (*self._padding(width), *self._padding(height)), mode="replicate")


def _build_raft(size: str, weights: str) -> torch.nn.Module:
    from torchvision.models import get_model

    model = get_model(f"raft_{size}", weights=None)
    load_torchvision_weights(model, f"raft_{size}", weights)
    return model


def _pair_by_pair(frames: Frames, others: Frames, estimate: Callable[[Any, Any], Any]) -> Tensor:
    """Flow of each pair of frames, converted to gray."""
    _check_pairs(frames, others)
    flow = np.empty((*frames.shape[:3], 2), np.float32)
    for index, (frame, other) in enumerate(zip(frames, others, strict=True)):
        pair = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), cv2.cvtColor(other, cv2.COLOR_RGB2GRAY)
        try:
            flow[index] = estimate(*pair)
        except cv2.error as error:
            height, width = frames.shape[1:3]
            raise UserError(
                f"OpenCV cannot estimate flow between frames of {width}x{height} pixels ({error.err}); "
                "use a larger working resolution (MOTION.SHORT_SIDE, --short-side) or larger videos"
            ) from error
    return torch.from_numpy(flow).permute(0, 3, 1, 2)


def _check_pairs(frames: Frames, others: Frames) -> None:
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.shape != others.shape or frames.dtype != np.uint8:
        raise ValueError(
            f"flow needs two uint8 arrays (N, H, W, 3) of one shape, not {frames.dtype} {frames.shape} "
            f"and {others.dtype} {others.shape}"
        )


def _check_positive(estimator: str, **options: int) -> None:
    for name, value in options.items():
        if not isinstance(value, int) or value < 1:
            raise UserError(f"{estimator}: {name} is {value!r}, but must be an integer above 0")
