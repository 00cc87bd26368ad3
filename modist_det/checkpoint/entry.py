"""``Entry``: the facts about one file of published weights."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TASKS", "Entry", "Figure"]

# "pretraining": a backbone to fine-tune; "person_detection": boxes for the action detector.
TASKS = ("detection", "classification", "pretraining", "person_detection")


@dataclass(frozen=True)
class Figure:
    """One published metric, such as ``Figure("top1", 74.8, "Kinetics-400")``."""

    metric: str
    value: float
    dataset: str


@dataclass(frozen=True)
class Entry:
    """Facts about a file of weights, as stated by its authors.

    Attributes:
        name: ``source/model``.
        task: one of :data:`TASKS`.
        url: of the file.
        format: as detected by :func:`~modist_det.checkpoint.load_weights`; "torchvision" or "detectron2" for person
            detectors.
        data: training data.
        source: page that states ``url`` and ``figures``.
        licence: as stated by the source.
        prefix: of the network's parameter names, if the file contains other networks as well.
        config: path below ``configs``; ``""`` for person detectors.
        input: number of frames x distance between frames ("uniform": spread over the video), or ``image``.
        figures: metrics published by the source; this project measured none of them.
        note: a short remark.
        builder: name in ``torchvision.models``, for networks that this project does not define.
        size: in bytes, if known.
        sha256: hexadecimal SHA-256 of the file, or its first digits (eight in names of torchvision's and OpenMMLab's
            files).
        verified: the file was checked: it matches ``sha256`` and fills the whole network.
    """

    name: str
    task: str
    url: str
    format: str
    data: str
    source: str
    licence: str
    prefix: str = ""
    config: str = ""
    input: str = "image"
    figures: tuple[Figure, ...] = ()
    note: str = ""
    builder: str = ""
    size: int | None = None
    sha256: str = ""
    verified: bool = False
