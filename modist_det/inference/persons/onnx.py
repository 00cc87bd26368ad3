"""Small one-stage detectors as ONNX files: FastestDet and YOLOX.

Both are trained on COCO, whose first class is the person. They run on the CPU with onnxruntime if it
is installed, otherwise with OpenCV.
"""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ...structures.actions import PersonBoxes
from ...structures.boxes import has_area
from ...utils.cache import cache_folder
from ...utils.download import file_sha256
from ...utils.errors import UserError
from ...utils.files import atomic_path
from ...utils.paths import local_path
from .base import DETECTOR_OF_FILE, PERSON_DETECTOR_REGISTRY, Frame, non_maximum_suppression
from .onnx_network import Network, NetworkError, library, load_network, try_network

__all__ = ["YOLOX", "FastestDet", "decode_fastestdet", "decode_yolox", "family_of", "find_model"]

_FASTESTDET_SIZE = 352
_YOLOX_SIZES = (640, 416)  # s, m, l and x; nano and tiny
_LARGEST_SIZE = 4096
_YOLOX_STRIDES = (8, 16, 32)
_YOLOX_GREY = 114  # grey level of the padding, as in training


def decode_fastestdet(output: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Boxes (N, 4) in [0, 1] and person scores (N,) of one output (5 + classes, rows, columns).

    Channels are objectness, the centre's offset from its cell (through tanh), width and height (through the logistic
    function, in shares of the image), then a probability per class. The author's score is
    ``objectness ** 0.6 * probability ** 0.4``.
    """
    _, rows, columns = output.shape
    grid_y, grid_x = np.mgrid[:rows, :columns]
    x = (np.tanh(output[1]) + grid_x) / columns
    y = (np.tanh(output[2]) + grid_y) / rows
    half_width, half_height = 0.5 / (1 + np.exp(-output[3])), 0.5 / (1 + np.exp(-output[4]))
    boxes = np.stack([x - half_width, y - half_height, x + half_width, y + half_height], axis=-1)
    scores = output[0] ** 0.6 * output[5] ** 0.4
    return boxes.reshape(-1, 4).astype(np.float32), scores.ravel()


def decode_yolox(
    output: NDArray[np.float32], size: int, strides: Sequence[int] = _YOLOX_STRIDES
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Boxes (N, 4) in pixels of the network's input and person scores (N,) of one output (N, 5 + classes).

    Rows are the cells of one grid per stride, row by row. The centre is an offset from its cell in strides, width and
    height are logarithms in strides; the score is objectness times class probability.
    """
    cells, steps = [], []
    for stride in strides:
        count = size // stride
        grid_y, grid_x = np.mgrid[:count, :count]
        cells.append(np.stack([grid_x, grid_y], axis=-1).reshape(-1, 2))
        steps.append(np.full((count * count, 1), stride))
    cell, step = np.concatenate(cells), np.concatenate(steps)
    centres = (output[:, :2] + cell) * step
    half = np.exp(output[:, 2:4]) * step / 2
    return np.hstack([centres - half, centres + half]).astype(np.float32), output[:, 4] * output[:, 5]


class _Region(NamedTuple):
    """A region of the frame given to the network, in [0, 1]; ``mirrored``: flipped horizontally."""

    x1: float
    y1: float
    x2: float
    y2: float
    mirrored: bool = False


@dataclass(eq=False)
class _OnnxDetector(ABC):
    """Base of the families: reads the file, runs on one or more regions of a frame, and suppresses duplicates.

    Args:
        path: the ONNX file.
        min_score: minimum score of boxes.
        start_score: see :class:`.PersonDetector`.
        max_iou, max_inside: see :func:`.non_maximum_suppression`.
        mirror: also run on the mirrored frame, in twice the time.
        tiles: number of overlapping tiles along the longer side on which to run in addition to the whole frame, to find
            smaller people; 1: the whole frame only.
    """

    path: str | os.PathLike | None = None
    min_score: float = 0.15
    start_score: float = 0.6
    max_iou: float = 0.5
    max_inside: float = 0.9
    mirror: bool = False
    tiles: int = 1

    min_hits: ClassVar[int] = 2
    spacing: ClassVar[float] = 0.0
    file_name: ClassVar[str] = ""
    how_to_get: ClassVar[str] = ""

    def __post_init__(self) -> None:
        path = find_model(self.file_name) if self.path is None else self.path
        if path is None:
            raise UserError(
                f"no file {self.file_name} in {' or '.join(map(str, model_folders()))}; {self.how_to_get}"
            )
        self.path = Path(local_path(path))
        self._network = read_network(self.path, self._sizes())

    @classmethod
    def source(cls, path: str | os.PathLike | None = None, **_: Any) -> str | os.PathLike:
        return path or ""

    def _sizes(self) -> Sequence[int]:
        """Possible sides of the network's input, for both families."""
        return (_FASTESTDET_SIZE, *_YOLOX_SIZES)

    def __call__(self, frames: Sequence[Frame]) -> list[PersonBoxes | None]:
        return [self._detect(frame.image) for frame in frames]

    def _detect(self, image: NDArray[np.uint8]) -> PersonBoxes:
        found = [self._look(image, region) for region in self._regions(*image.shape[:2])]
        boxes = np.concatenate([boxes for boxes, _ in found])
        scores = np.concatenate([scores for _, scores in found])
        boxes = boxes.clip(0, 1)
        possible = (scores >= self.min_score) & has_area(boxes)
        boxes, scores = boxes[possible], scores[possible]
        kept = non_maximum_suppression(boxes, scores, self.max_iou, self.max_inside)
        return PersonBoxes(boxes[kept], scores[kept].astype(np.float32))

    def _regions(self, height: int, width: int) -> list[_Region]:
        regions = [_Region(0, 0, 1, 1)]
        if self.tiles > 1:
            length = 1.4 / (self.tiles + 0.4)  # neighbouring tiles overlap by two sevenths
            for start in np.linspace(0, 1 - length, self.tiles).tolist():
                wide = width >= height
                regions.append(
                    _Region(start, 0, start + length, 1) if wide else _Region(0, start, 1, start + length)
                )
        return regions + [region._replace(mirrored=True) for region in regions if self.mirror]

    def _look(
        self, image: NDArray[np.uint8], region: _Region
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Run on one region; boxes in [0, 1] of the whole frame, and scores."""
        height, width = image.shape[:2]
        x1, y1 = int(region.x1 * width), int(region.y1 * height)
        part = image[y1 : max(round(region.y2 * height), 1), x1 : max(round(region.x2 * width), 1)]
        boxes, scores = self._forward(part[:, ::-1] if region.mirrored else part)
        if region.mirrored:
            boxes = np.stack([1 - boxes[:, 2], boxes[:, 1], 1 - boxes[:, 0], boxes[:, 3]], axis=1)
        # The region in whole pixels, as cut out.
        scale = np.array([part.shape[1], part.shape[0]] * 2)
        moved = (boxes * scale + np.array([x1, y1] * 2)) / np.array([width, height] * 2)
        return moved.astype(np.float32), scores

    @abstractmethod
    def _forward(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Boxes (N, 4) in [0, 1] of ``image`` and person scores (N,), all of the network's output."""

    def _run(self, blob: Any) -> NDArray[np.float32]:
        try:
            return self._network(blob)
        except NetworkError as error:
            raise UserError(
                f"{self.path} does not take images of {blob.shape[-1]}x{blob.shape[-2]} pixels "
                f"({library()}: {error}); is it of the {type(self).__name__} family?"
            ) from error


@PERSON_DETECTOR_REGISTRY.register()
@dataclass(eq=False)
class FastestDet(_OnnxDetector):
    """FastestDet (https://github.com/dog-qiuqiu/FastestDet): 1 MB, 352x352, the fastest on a CPU.

    The frame is stretched to a square, as in training. Its boxes are coarse, so by default weak boxes are kept to
    continue tracks. ``tiles=2`` finds more people, but takes three times as long; see docs/RESULTS.md.
    """

    min_hits: ClassVar[int] = 3
    file_name: ClassVar[str] = "FastestDet.onnx"
    how_to_get: ClassVar[str] = (
        "download example/onnx-runtime/FastestDet.onnx of https://github.com/dog-qiuqiu/FastestDet into one of them, "
        "or choose another detector with --persons"
    )

    def _forward(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        size = (_FASTESTDET_SIZE, _FASTESTDET_SIZE)
        shrinks = max(image.shape[:2]) > _FASTESTDET_SIZE
        scaled = cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        output = self._run(cv2.dnn.blobFromImage(scaled, 1 / 255, swapRB=True))
        if output.ndim != 4 or output.shape[1] < 6:
            raise UserError(
                f"{self.path} gives an output of shape {output.shape}, not FastestDet's (1, 85, 22, 22)"
            )
        return decode_fastestdet(output[0])


@PERSON_DETECTOR_REGISTRY.register()
@dataclass(eq=False)
class YOLOX(_OnnxDetector):
    """YOLOX (https://github.com/Megvii-BaseDetection/YOLOX) as written by its ``tools/export_onnx.py``.

    The frame keeps its aspect ratio and is padded with grey at the right or bottom.

    Args:
        size: side of the network's input; 0: try 640 and 416.
        decoded: whether the file was exported with ``--decode_in_inference`` (outputs are pixels).
    """

    file_name: ClassVar[str] = "yolox_tiny.onnx"
    how_to_get: ClassVar[str] = (
        "download one of the ONNX files of https://github.com/Megvii-BaseDetection/YOLOX/releases and name it: "
        "--persons yolox_s.onnx"
    )

    min_score: float = 0.1
    start_score: float = 0.4
    max_iou: float = 0.6
    max_inside: float = 1.0
    size: int = 0
    decoded: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.size <= _LARGEST_SIZE:
            raise UserError(
                f"option size of person detector YOLOX is {self.size}, but takes 0 to {_LARGEST_SIZE} pixels"
            )
        super().__post_init__()
        self.size = self.size or self._find_size()

    def _sizes(self) -> Sequence[int]:
        return (self.size,) if self.size else super()._sizes()

    def _find_size(self) -> int:
        for size in _YOLOX_SIZES:
            try:
                output = self._run(np.zeros((1, 3, size, size), np.float32))
            except UserError:
                continue
            if output.ndim == 3 and output.shape[1] == _cells(size):
                return size
        raise UserError(
            f"{self.path} takes neither 640 nor 416 pixels, or is not of the YOLOX family; "
            "give --person-option size=..."
        )

    def _forward(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        height, width = image.shape[:2]
        ratio = self.size / max(height, width)
        new_height, new_width = max(int(height * ratio), 1), max(int(width * ratio), 1)
        square = np.full((self.size, self.size, 3), _YOLOX_GREY, np.uint8)
        square[:new_height, :new_width] = cv2.resize(image, (new_width, new_height))
        output = self._run(cv2.dnn.blobFromImage(square, swapRB=True))
        if output.ndim != 3 or output.shape[1] != _cells(self.size) or output.shape[2] < 6:
            raise UserError(
                f"{self.path} gives an output of shape {output.shape}, not YOLOX's (1, {_cells(self.size)}, 85)"
            )
        boxes: NDArray
        if self.decoded:
            half = output[0, :, 2:4] / 2
            boxes = np.hstack([output[0, :, :2] - half, output[0, :, :2] + half])
            scores = output[0, :, 4] * output[0, :, 5]
        else:
            boxes, scores = decode_yolox(output[0], self.size)
        return (boxes / [new_width, new_height, new_width, new_height]).astype(np.float32), scores


def _cells(size: int) -> int:
    return sum((size // stride) ** 2 for stride in _YOLOX_STRIDES)


def read_network(path: Path, sizes: Sequence[int] = (_FASTESTDET_SIZE, *_YOLOX_SIZES)) -> Network:
    """Load an ONNX file after a trial run in another process, once per file, user and library.

    Args:
        sizes: image sides of the trial run.

    Raises:
        UserError: the file is missing or unreadable, or the trial crashed or took too much time or memory.
    """
    if not path.is_file():
        raise UserError(f"there is no file {path} to read a person detector from")
    note = cache_folder() / "tried_networks" / _key(path, sizes)
    if not note.is_file():
        if fault := try_network(path, library(), sizes):
            raise UserError(
                f"{path} is refused as a person detector: it {fault} ({library()} in a trial process); the "
                "file is damaged or malicious"
            )
        with (
            contextlib.suppress(UserError),
            atomic_path(note) as temporary,
        ):  # cannot be remembered: try again next time
            temporary.write_text(f"{path}\n", encoding="utf-8", errors="replace")
    try:
        return load_network(path, library())
    except NetworkError as error:
        raise UserError(f"{library()} cannot read {path} as ONNX ({error})") from error


def _key(path: Path, sizes: Sequence[int]) -> str:
    version = metadata.version("onnxruntime") if library() == "onnxruntime" else cv2.__version__
    return f"{file_sha256(path)}-{library()}-{version}-{'-'.join(map(str, sorted(set(sizes))))}"


def family_of(path: str | os.PathLike) -> str:
    """``"YOLOX"`` or ``"FastestDet"``: from the file's name, otherwise from the input size that it accepts.

    Raises:
        UserError: the file cannot be read.
    """
    name = Path(path).name.lower()
    for family in ("YOLOX", "FastestDet"):
        if family.lower() in name:
            return family
    network = read_network(Path(path))
    try:
        output = network(np.zeros((1, 3, _FASTESTDET_SIZE, _FASTESTDET_SIZE), np.float32))
        return "FastestDet" if output.ndim == 4 else "YOLOX"
    except NetworkError:
        return "YOLOX"


DETECTOR_OF_FILE[".onnx"] = family_of


def model_folders() -> list[Path]:
    """Search path of detector files: ``$MODIST_MODELS``, ``./models``, the user's cache."""
    named = os.environ.get("MODIST_MODELS")
    return [
        *([Path(named)] if named else []),
        Path("models"),
        Path.home() / ".cache" / "modist_det" / "models",
    ]


def find_model(name: str) -> Path | None:
    """Find a file in :func:`model_folders`; None if it is in none of them."""
    return next((folder / name for folder in model_folders() if (folder / name).is_file()), None)
