"""What is known of one file of published weights."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TASKS", "Entry", "Figure"]

# "pretraining": a backbone to fine-tune; "person_detection": boxes for the action detector.
TASKS = ("detection", "classification", "pretraining", "person_detection")


@dataclass(frozen=True)
class Figure:
    """One published result, such as ``Figure("top1", 74.8, "Kinetics-400")``."""

    metric: str
    value: float
    dataset: str


@dataclass(frozen=True)
class Entry:
    """Facts about a file of weights, as its authors state them.

    Attributes:
        name: ``source/model``.
        task: one of :data:`TASKS`.
        url: of the file.
        format: as :func:`~modist_det.checkpoint.load_weights` finds it; of person detectors "torchvision" or
            "detectron2".
        data: what it was trained on.
        source: page that states ``url`` and ``figures``.
        licence: that the source states.
        prefix: of the network's names in the file, where other networks are beside it.
        config: below ``configs``; ``""`` for person detectors.
        input: frames x distance between them, or ``image``.
        figures: published by the source; nothing here was measured by this project.
        note: a few words.
        builder: name in ``torchvision.models`` of a network that is not one of ours.
        size: bytes, where known.
        sha256: of the file in hexadecimal, or its first digits (torchvision's file names have eight).
        verified: somebody saw the bytes: they match ``sha256`` and load with nothing missing.
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
