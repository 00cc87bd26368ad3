"""Test videos and what a network finds alike among the training videos, as a picture."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ..core import CfgNode
from ..data.datasets.records import VideoRecord
from ..utils.spread import evenly_spread
from ..video.reader import open_video
from ..visualization.keyframes import Image, write_png
from .linear_probe import extract_features, prepare_features
from .neighbour_sheet import draw_neighbours

__all__ = ["show_neighbours"]

_SHORT_SIDE = 128  # pixels of a picture


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
        UserError: another task, no data sets, or data that cannot be read.
    """
    task, model, device = prepare_features(cfg, "a search for neighbours")
    folder = folder or Path(cfg.OUTPUT_DIR) / "features"
    gallery, gallery_records = extract_features(cfg, task, model, device, cfg.DATASETS.TRAIN[0], folder)
    queries, query_records = extract_features(cfg, task, model, device, cfg.DATASETS.TEST[0], folder)
    names = task.class_names(cfg.DATASETS.TRAIN[0]), task.class_names(cfg.DATASETS.TEST[0])
    chosen = evenly_spread(len(queries), num_queries)
    shown = [query_records[i] for i in chosen]
    picture = draw_neighbours(
        gallery,
        queries[chosen],
        lambda item: _middle_frame(gallery_records[item]),
        lambda query: _middle_frame(shown[query]),
        [_label(record, names[0]) for record in gallery_records],
        [_label(record, names[1]) for record in shown],
        count,
    )
    write_png(out, picture)


def _label(record: VideoRecord, names: tuple[str, ...]) -> str:
    return ", ".join(names[index] for index in record.labels)


def _middle_frame(record: VideoRecord) -> Image:
    with open_video(record.video, record.fps) as video:
        start = record.start or 0.0
        end = video.info.duration if record.end is None else record.end
        return video.frames_at_times(np.array([(start + end) / 2]), short_side=_SHORT_SIDE)[0]
