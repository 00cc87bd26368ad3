"""Draw test videos beside their nearest neighbours among the training videos."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..core import CfgNode
from ..data.datasets.records import VideoRecord
from ..evaluation.neighbours import nearest_labels
from ..utils.spread import evenly_spread
from ..video.reader import open_video
from ..visualization.keyframes import Image, bordered, contact_sheet, write_png
from .linear_probe import extract_features, prepare_features

__all__ = ["draw_neighbours", "show_neighbours"]

_SHORT_SIDE = 128  # pixels of a frame


def show_neighbours(
    cfg: CfgNode,
    out: str | os.PathLike,
    *,
    num_queries: int = 8,
    count: int = 6,
    folder: Path | None = None,
) -> None:
    """Write a PNG with a row for each query: its middle frame, then those of its nearest videos.

    Args:
        cfg: of TASK classification, with the backbone's weights in MODEL.WEIGHTS. Queries are ``num_queries`` evenly
            spread videos of the first of DATASETS.TEST, the gallery is the first of DATASETS.TRAIN.
        count: neighbours of each query.
        folder: of the features, which are kept as :func:`.linear_probe.probe` keeps them.

    Raises:
        UserError: another task, no datasets, or data that cannot be read.
    """
    task, model, device = prepare_features(cfg, "a search for neighbours")
    folder = folder or Path(cfg.OUTPUT_DIR) / "features"
    gallery, gallery_records = extract_features(cfg, task, model, device, cfg.DATASETS.TRAIN[0], folder)
    queries, query_records = extract_features(cfg, task, model, device, cfg.DATASETS.TEST[0], folder)
    names = task.class_names(cfg.DATASETS.TRAIN[0]), task.class_names(cfg.DATASETS.TEST[0])
    chosen = evenly_spread(len(queries), num_queries)
    shown = [query_records[i] for i in chosen]
    sheet = draw_neighbours(
        gallery,
        queries[chosen],
        lambda item: _middle_frame(gallery_records[item]),
        lambda query: _middle_frame(shown[query]),
        [_label(record, names[0]) for record in gallery_records],
        [_label(record, names[1]) for record in shown],
        count,
    )
    write_png(out, sheet)


def _label(record: VideoRecord, names: tuple[str, ...]) -> str:
    return ", ".join(names[index] for index in record.labels)


def _middle_frame(record: VideoRecord) -> Image:
    with open_video(record.video, record.fps) as video:
        start = record.start or 0.0
        end = video.info.duration if record.end is None else record.end
        return video.frames_at_times(np.array([(start + end) / 2]), short_side=_SHORT_SIDE)[0]


def draw_neighbours(
    gallery: NDArray[np.floating],
    queries: NDArray[np.floating],
    gallery_image: Callable[[int], Image],
    query_image: Callable[[int], Image],
    gallery_labels: Sequence[str] | None = None,
    query_labels: Sequence[str] | None = None,
    count: int = 5,
    cell_width: int = 160,
) -> Image:
    """An image with a row for each query: itself, then its nearest gallery items by cosine similarity.

    With labels, a neighbour of the query's label has a green border, any other a red one.

    Args:
        gallery: features (N, D); queries: features (M, D), of any length.
        gallery_image, query_image: uint8 RGB (H, W, 3) of an item; called for those that are shown.
        gallery_labels, query_labels: N and M names; both or neither.
        count: neighbours of each query, at most N.

    Returns:
        uint8 (H', W', 3), RGB.
    """
    if (gallery_labels is None) != (query_labels is None):
        raise ValueError("give the labels of both the gallery and the queries, or of neither")
    count = min(count, len(gallery))
    indices, similarities = nearest_labels(gallery, np.arange(len(gallery)), queries, count)
    images, titles = [], []
    for query in range(len(queries)):
        images.append(query_image(query))
        titles.append("query" if query_labels is None else query_labels[query])
        for item, similarity in zip(indices[query].tolist(), similarities[query].tolist(), strict=True):
            image, title = gallery_image(item), f"{similarity:.3f}"
            if gallery_labels is not None and query_labels is not None:
                title += f"  {gallery_labels[item]}"
                image = bordered(image, gallery_labels[item] == query_labels[query], cell_width)
            images.append(image)
            titles.append(title)
    return contact_sheet(images, titles, columns=1 + count, cell_width=cell_width)
