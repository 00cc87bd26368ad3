"""Use our datasets, backbones and results in detectron2: its catalogs, ``Visualizer`` and backbone registry.

Example::

    register_datasets()
    keyframes = DatasetCatalog.get("puppets_val")  # detectron2's
    Image.fromarray(draw_keyframe(keyframes[0], MetadataCatalog.get("puppets_val"))).save("keyframe.png")

Requires detectron2 (INSTALL.md); without it, importing this module raises a ``UserError``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..data.catalog import DatasetCatalog as OurCatalog
from ..data.datasets.detection import DetectionDataset
from ..structures.class_facts import class_name
from ..utils.errors import UserError
from ..video.reader import open_video

try:
    from detectron2.data import DatasetCatalog, MetadataCatalog
    from detectron2.structures import Boxes, BoxMode, Instances
    from detectron2.utils.visualizer import Visualizer

    from . import detectron2_backbones
except ImportError as error:
    raise UserError(f"detectron2 is required ({error}); INSTALL.md explains how to install it") from error

__all__ = [
    "action_instances",
    "dataset_dicts",
    "draw_keyframe",
    "load_keyframe",
    "register_datasets",
    "use_backbone",
]

use_backbone = detectron2_backbones.use_backbone


def register_datasets(names: Iterable[str] | None = None) -> list[str]:
    """Register AVA-style datasets in detectron2's ``DatasetCatalog`` and ``MetadataCatalog``.

    Files are read when a dataset is requested. Registering the same dataset again changes nothing.

    Args:
        names: names in our catalog, or paths of description files, which are registered under the names that they
            contain (default: AVA and Puppets).

    Returns:
        The names in detectron2's catalogs.

    Raises:
        UserError: a name is already used in detectron2's catalog, or the dataset is not AVA-style.
    """
    registered = []
    for source in _built_in() if names is None else names:
        name = source if source in OurCatalog.list() else _open(source).metadata.name
        if name not in DatasetCatalog.list():
            DatasetCatalog.register(name, partial(_load, source, name))
            _registered[name] = source
        elif _registered.get(name) != source:
            raise UserError(
                f"{source}: detectron2's catalog has another dataset {name!r}; change 'name:' in this dataset's file"
            )
        registered.append(name)
    return registered


def _built_in() -> list[str]:
    return [name for name in OurCatalog.list() if name.startswith(("ava_", "puppets_"))]


_registered: dict[str, str] = {}  # name in detectron2's catalog -> our dataset


def dataset_dicts(dataset: DetectionDataset, boxes: str = "ground_truth") -> list[dict[str, Any]]:
    """Keyframes in detectron2's format, with one annotation per person and action, as in AVA's csv.

    ``category_id`` is the class id minus 1, which is the channel of our models. In addition to the standard fields
    (``file_name`` is the video; ``height`` and ``width`` are read from it), a dict has ``video_id``, ``second``,
    ``time`` and ``fps``, and an annotation has ``person``, the person's index in the keyframe.
    """
    sizes: dict[str, tuple[int, int]] = {}
    dicts = []
    for record in dataset.records(boxes=boxes):
        if record.video not in sizes:
            with open_video(record.video, record.fps) as video:
                sizes[record.video] = (video.info.height, video.info.width)
        height, width = sizes[record.video]
        scaled = (record.boxes.astype(np.float64) * (width, height, width, height)).tolist()
        dicts.append(
            {
                "file_name": record.video,
                "image_id": record.id,
                "height": height,
                "width": width,
                "video_id": record.video_id,
                "second": record.second,
                "time": record.time,
                "fps": record.fps,
                "annotations": [
                    {
                        "bbox": box,
                        "bbox_mode": BoxMode.XYXY_ABS,
                        "category_id": action - 1,
                        "person": person,
                    }
                    for person, (box, actions) in enumerate(zip(scaled, record.actions, strict=True))
                    for action in actions
                ],
            }
        )
    return dicts


def load_keyframe(keyframe: dict[str, Any]) -> NDArray[np.uint8]:
    """The RGB frame (H, W, 3) for a dict from :func:`dataset_dicts`."""
    with open_video(keyframe["file_name"], keyframe["fps"]) as video:
        return video.frames_at_times([keyframe["time"]])[0]


def action_instances(boxes: Tensor, scores: Tensor, image_size: tuple[int, int]) -> Instances:
    """People with action scores as detectron2's ``Instances``.

    Args:
        boxes: (N, 4) x1y1x2y2 in [0, 1].
        scores: (N, K) from our models.
        image_size: (height, width) in pixels.

    Returns:
        ``pred_boxes`` in pixels, ``scores`` and ``pred_classes`` (channels) of the best actions, and ``action_scores``
        (N, K).
    """
    height, width = image_size
    best = scores.max(dim=1)
    return Instances(
        image_size,
        pred_boxes=Boxes(boxes.float() * boxes.new_tensor([width, height, width, height])),
        scores=best.values,
        pred_classes=best.indices,
        action_scores=scores,
    )


def draw_keyframe(
    keyframe: dict[str, Any],
    metadata: Any,
    instances: Instances | None = None,
    top: int = 2,
    min_score: float = 0.2,
    scale: float = 1.0,
) -> NDArray[np.uint8]:
    """A keyframe drawn by detectron2's ``Visualizer``, with its annotations or, if given, with ``instances``.

    Args:
        keyframe: from :func:`dataset_dicts`.
        metadata: of the dataset, from ``MetadataCatalog``.
        instances: from :func:`action_instances`.
        top: number of actions drawn per instance.
        min_score: actions with lower scores are not drawn.
        scale: of the image.

    Returns:
        uint8 (H, W, 3), RGB.
    """
    names = metadata.thing_classes
    if instances is None:
        # draw_dataset_dict would draw the actions of one person on top of each other.
        persons: dict[int, tuple[list[float], list[str]]] = {}
        for annotation in keyframe["annotations"]:
            _, words = persons.setdefault(annotation["person"], (annotation["bbox"], []))
            words.append(names[annotation["category_id"]])
        boxes: Any = np.array([box for box, _ in persons.values()]).reshape(-1, 4)
        labels = [", ".join(words) for _, words in persons.values()]
    else:
        boxes, labels = instances.pred_boxes.to("cpu"), []
        for row in instances.action_scores.cpu():
            best = row.topk(min(top, len(row)))
            written = zip(best.indices.tolist(), best.values.tolist(), strict=True)
            labels.append(", ".join(f"{names[c]} {score:.2f}" for c, score in written if score >= min_score))
    visualizer = Visualizer(load_keyframe(keyframe), metadata, scale=scale)
    return visualizer.overlay_instances(boxes=boxes, labels=labels).get_image()


def _open(name: str | os.PathLike) -> DetectionDataset:
    return OurCatalog.get_as(name, DetectionDataset, "only those with person boxes can be registered")


def _load(name: str, target: str) -> list[dict[str, Any]]:
    dataset = _open(name)
    facts = dataset.metadata
    classes = [class_name(facts.class_names, c + 1) for c in range(facts.num_classes)]
    MetadataCatalog.get(target).set(
        thing_classes=classes,
        thing_dataset_id_to_contiguous_id={c + 1: c for c in range(facts.num_classes)},
        evaluator_type="ava" if facts.groundtruth else "",
        groundtruth=facts.groundtruth,
        label_map=facts.label_map,
        exclusions=facts.exclusions,
        first_second=facts.first_second,
        keyframe_spacing=facts.keyframe_spacing,
    )
    return dataset_dicts(dataset)
