"""The person detector interface, and building one from a name or a file."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from fvcore.common.registry import Registry
from numpy.typing import NDArray

from ...structures.actions import PersonBoxes
from ...structures.boxes import area, intersection
from ...utils.errors import UserError, nearest
from ...utils.paths import why_missing

__all__ = [
    "DETECTOR_OF_FILE",
    "PERSON_DETECTOR_REGISTRY",
    "Frame",
    "HasSource",
    "PersonDetector",
    "Picture",
    "Remarks",
    "build_person_detector",
    "non_maximum_suppression",
    "why_no_detector",
]

# Name -> class; its constructor's arguments are the options.
PERSON_DETECTOR_REGISTRY = Registry("PERSON_DETECTOR")
# File extension -> function that maps a path to the name of the detector for it.
DETECTOR_OF_FILE: dict[str, Callable[[str], str]] = {}


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame in which to detect people.

    Attributes:
        image: uint8 (H, W, 3), RGB.
        video: id of its video.
        second: time since the video's first frame.
    """

    image: NDArray[np.uint8]
    video: str = ""
    second: float = 0.0


Picture = Frame  # the name of earlier versions


class PersonDetector(Protocol):
    """Finds people in frames.

    Attributes:
        start_score: detections with a lower score can continue a track, but not start one.
        min_hits: number of frames in which a person must be detected with that score to be reported.
        spacing: seconds between frames with known boxes, if the boxes come from a file; otherwise 0.
    """

    start_score: float
    min_hits: int
    spacing: float

    def __call__(self, frames: Sequence[Frame]) -> list[PersonBoxes | None]:
        """Detect the people in each frame; None if the frame's boxes are unknown (no entry in a file of boxes)."""
        ...


@runtime_checkable
class Remarks(Protocol):
    """A person detector that has something to say about a video once it is done."""

    def remark(self, video: str) -> str:
        """What the user should know; "" for nothing."""


@runtime_checkable
class HasSource(Protocol):
    """A class of person detectors that can tell what file it would read, before it downloads it."""

    @classmethod
    def source(cls, **options: Any) -> str | os.PathLike:
        """The file or URL for these options of the constructor; "" for none."""
        ...


def why_no_detector(name: str, options: Mapping[str, Any], patience: float) -> str:
    """Why :func:`build_person_detector` would find no file to read, as :func:`~modist_det.utils.paths.why_missing`."""
    kind, arguments = _choose(name, options)
    source = kind.source(**arguments) if isinstance(kind, HasSource) else ""
    return why_missing(source, patience) if source else ""


def build_person_detector(name: str, **options: Any) -> PersonDetector:
    """Build a detector by its registered name or from a file.

    Args:
        name: ``"FastestDet"``, ``"YOLOX"``, ``"FasterRCNN"``, ``"Detectron2"``; or a file: ``.csv`` and ``.json``
            hold boxes, ``.onnx`` a network of the FastestDet or YOLOX family.
        options: arguments of the detector's constructor.

    Raises:
        UserError: the detector, file or option does not exist, or weights or a package are missing.
    """
    kind, arguments = _choose(name, options)
    return kind(**arguments)


def _choose(name: str, options: Mapping[str, Any]) -> tuple[Any, Mapping[str, Any]]:
    """The class of a detector and the arguments of its constructor."""
    if detector_of := DETECTOR_OF_FILE.get(Path(name).suffix.lower()):
        name, options = detector_of(name), {"path": name, **options}
    if name not in PERSON_DETECTOR_REGISTRY:
        known = sorted(entry for entry, _ in PERSON_DETECTOR_REGISTRY)
        raise UserError(
            f"there is no person detector {name!r}{nearest(name, known)} (known: {', '.join(known)}; or a .csv, "
            ".json or .onnx file)"
        )
    kind = PERSON_DETECTOR_REGISTRY.get(name)
    _check_options(name, options, inspect.signature(kind).parameters)
    return kind, options


def _check_options(name: str, options: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
    for option in options:
        if option not in parameters:
            raise UserError(
                f"person detector {name} has no option {option!r}{nearest(option, parameters)} "
                f"(it has {', '.join(parameters)})"
            )
    for option, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and option not in options:
            raise UserError(f"person detector {name} needs the option {option}")
        kind, value = type(parameter.default), options.get(option, parameter.default)
        # True is a number in Python, but not for a user.
        fits = isinstance(value, (int, float)) and isinstance(value, bool) == (kind is bool)
        if kind in (bool, int, float) and not (fits and (kind is not int or isinstance(value, int))):
            wanted = {bool: "True or False", int: "a whole number", float: "a number"}[kind]
            raise UserError(f"option {option} of person detector {name} is {value!r}, but must be {wanted}")


def non_maximum_suppression(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], max_iou: float, max_inside: float = 1.0
) -> NDArray[np.intp]:
    """Indices of the boxes (N, 4) that are kept, best first.

    A box is removed if its IoU with a better kept box is above ``max_iou``, or if more than the fraction ``max_inside``
    of it lies inside a better box (usually a box of half a person).
    """
    order = np.argsort(-scores, kind="stable")
    corners = boxes[order]
    areas = area(corners)
    alive = np.ones(len(order), bool)
    for i in range(len(order)):
        if alive[i]:
            shared = intersection(corners[i], corners[i + 1 :])
            alive[i + 1 :] &= shared <= max_iou * (areas[i] + areas[i + 1 :] - shared)
            alive[i + 1 :] &= shared <= max_inside * areas[i + 1 :]
    return order[alive]
