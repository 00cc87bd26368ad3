"""The linear probe on features that are extracted once, so that each further experiment takes seconds."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from torch import Tensor, nn

from ..core import CfgNode
from ..data.bad_videos import BadVideoMonitor, describe_bad_videos
from ..data.datasets.records import VideoRecord
from ..data.few_labels import video_share
from ..engine.evaluate import make_test_loader, place_model, start_from_weights
from ..engine.precision import autocast_dtype, autocast_factory
from ..engine.setup import evaluation_folder, prepare_run, write_config
from ..evaluation.evaluator import inference_on_dataset
from ..evaluation.linear_probe import fit_linear_probe
from ..modeling import build_model
from ..modeling.methods.base import mean_features
from ..tasks import build_task
from ..tasks.classification import ClassificationTask
from ..utils.errors import UserError
from ..utils.files import atomic_path
from ..utils.text_files import read_file

__all__ = ["extract_features", "prepare_features", "probe"]

logger = logging.getLogger(__name__)

# Config keys on which features depend, besides the backbone's weights.
_SECTIONS = ("INPUT", "TEST", "MODEL", "SOLVER.AMP")
_LARGEST = 1 << 34  # bytes of a file of features


class _FeatureModel(nn.Module):
    """A classifier without its head: features float32 (D,) of each video, the mean over its views."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.normalizer = model.normalizer
        self.backbone = model.backbone
        self.clips_per_forward: int = model.clips_per_forward

    def forward(self, batch: dict[str, Any]) -> list[dict[str, Tensor]]:
        features = mean_features(self.backbone, self.normalizer, batch["video"], self.clips_per_forward)
        return [{"features": row} for row in features]


class _Collector:
    """Stores the features of each video by its number."""

    def reset(self) -> None:
        self.features: dict[int, NDArray[np.float32]] = {}

    def process(self, batch: Mapping[str, Any], predictions: Sequence[Mapping[str, Any]]) -> None:
        for number, prediction in zip(batch["video_number"], predictions, strict=True):
            self.features[int(number)] = prediction["features"].cpu().numpy()

    def evaluate(self) -> dict[str, Any]:
        return {}


def probe(cfg: CfgNode, folder: Path | None = None) -> dict[str, dict[str, Any]]:
    """Fit a linear classifier to the features of DATASETS.TRAIN and evaluate it on each of DATASETS.TEST.

    Features of a video are the mean over its test views, without augmentation. Those of each dataset are kept in
    ``folder`` and reused while backbone, views and videos are unchanged. Needs a single process.

    Args:
        cfg: of TASK classification, with the weights to evaluate in MODEL.WEIGHTS; SOLVER is ignored.
        folder: folder of the features; default: ``OUTPUT_DIR/features``.

    Returns:
        Metrics of each test set, by its name.

    Raises:
        UserError: another task, several labels a video, or data that cannot be read.
    """
    task, model, device = prepare_features(cfg, "a linear probe")
    folder = folder or Path(cfg.OUTPUT_DIR) / "features"

    features: list[NDArray[np.float32]] = []
    labels: list[int] = []
    for name in cfg.DATASETS.TRAIN:
        of_set, records = extract_features(cfg, task, model, device, name, folder)
        rows = {record.number: row for row, record in enumerate(records)}
        for record in video_share(records, cfg.DATASETS.TRAIN_SHARE, cfg.DATASETS.TRAIN_SHARE_SEED):
            features.append(of_set[rows[record.number]])
            labels.append(_only_label(record))
    logger.info(
        "fitting a linear classifier to %d features with %d dimensions", len(labels), len(features[0])
    )
    classifier = fit_linear_probe(np.stack(features), np.array(labels), cfg.MODEL.NUM_CLASSES)

    results = {}
    for name in cfg.DATASETS.TEST:
        of_set, records = extract_features(cfg, task, model, device, name, folder)
        scores = torch.from_numpy(softmax(classifier(of_set), axis=1))
        evaluator = task.evaluator(cfg, name, evaluation_folder(cfg))
        one_hot = torch.eye(cfg.MODEL.NUM_CLASSES)[[_only_label(record) for record in records]]
        batch: Any = {
            "video_number": [r.number for r in records],
            "id": [r.id for r in records],
            "labels": one_hot,
        }
        evaluator.process(batch, [{"scores": row} for row in scores])
        results[task.title(name)] = evaluator.evaluate()
    return results


def prepare_features(cfg: CfgNode, purpose: str) -> tuple[ClassificationTask, nn.Module, torch.device]:
    """The task of ``cfg``, the network that gives features, and the device that it is on; ``cfg`` is frozen.

    Args:
        purpose: what they are for, in messages.

    Raises:
        UserError: another task, or no datasets.
    """
    task = build_task(cfg)
    if not isinstance(task, ClassificationTask):
        raise UserError(f"TASK is {cfg.TASK}; {purpose} needs TASK classification")
    task.complete_config(cfg)
    if not cfg.DATASETS.TRAIN or not cfg.DATASETS.TEST:
        raise UserError(f"{purpose} needs both DATASETS.TRAIN and DATASETS.TEST")
    cfg.freeze()
    device = prepare_run(cfg, evaluation_folder(cfg))
    write_config(cfg, evaluation_folder(cfg))  # OUTPUT_DIR may be that of a training run
    model = build_model(cfg)
    if cfg.MODEL.WEIGHTS:
        start_from_weights(model, cfg.MODEL.WEIGHTS, cfg)
    else:
        logger.warning("MODEL.WEIGHTS is empty: these are the features of random weights")
    return task, _FeatureModel(place_model(cfg, model, device)).to(device), device


def extract_features(
    cfg: CfgNode, task: ClassificationTask, model: nn.Module, device: torch.device, name: str, folder: Path
) -> tuple[NDArray[np.float32], list[VideoRecord]]:
    """Features (N, D) of the readable videos of a dataset, and their records; read from a file if there is one.

    Raises:
        UserError: too many videos cannot be read (DATALOADER.MAX_BAD_VIDEO_RATE).
    """
    all_records, mapper = task.test_data(cfg, name)
    title = re.sub(r"[^A-Za-z0-9_.-]+", "_", task.title(name))
    path = folder / f"{title}-{_fingerprint(cfg, model, device, all_records)}.npz"
    kept = _read_features(path)
    if kept is not None:
        logger.info("%s: features of %s", name, path)
        features, numbers = kept
    else:
        loader = make_test_loader(cfg, all_records, mapper)
        collector = _Collector()
        monitor = BadVideoMonitor(cfg.DATALOADER.MAX_BAD_VIDEO_RATE)
        with autocast_factory(cfg, device)():
            inference_on_dataset(
                model,
                monitor.watch(loader),
                collector,
                num_clips=loader.num_clips,
                title=f"features of {name}",
            )
        numbers = sorted(collector.features)
        if not numbers:
            raise UserError(
                f"no video of {name} could be read: {describe_bad_videos(monitor.reasons.items())}"
            )
        features = np.stack([collector.features[number] for number in numbers])
        content = io.BytesIO()
        np.savez(content, features=features, numbers=np.array(numbers))
        with atomic_path(path) as temporary:
            temporary.write_bytes(content.getvalue())
        logger.info("wrote %s", path)
    by_number = {record.number: record for record in all_records}
    return features, [by_number[number] for number in numbers]


def _read_features(path: Path) -> tuple[NDArray[np.float32], list[int]] | None:
    """Read a file of features; None if it is missing or damaged."""
    if not path.exists():
        return None
    try:
        data = read_file(path, largest=_LARGEST)
        # Ours are not compressed: nothing in the file may be larger than the file.
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > len(data):
                raise ValueError("more bytes than the file has")
        with np.load(io.BytesIO(data)) as content:
            features, numbers = content["features"], content["numbers"]
        if features.ndim != 2 or numbers.shape != (len(features),) or numbers.dtype.kind != "i":
            raise ValueError(f"features {features.shape} of videos {numbers.shape}")
        return features, numbers.tolist()
    except (
        *(OSError, ValueError, KeyError, EOFError, MemoryError, NotImplementedError, RuntimeError),
        *(zipfile.BadZipFile, zlib.error, struct.error, UserError),
    ) as error:
        logger.warning("%s is damaged (%s); features are extracted again", path, error)
        return None


def _only_label(record: VideoRecord) -> int:
    if len(record.labels) != 1:
        raise UserError(f"{record.id} has {len(record.labels)} labels; a linear probe needs one per video")
    return record.labels[0]


def _fingerprint(cfg: CfgNode, model: nn.Module, device: torch.device, records: Sequence[VideoRecord]) -> str:
    """A hash of everything on which features depend."""
    settings = {name: _section(cfg, name) for name in _SECTIONS}
    settings["SOLVER.AMP"]["ENABLED"] = autocast_dtype(cfg, device) is not None
    videos = [
        (record.id, record.video, record.fps, record.start, record.end, _stamp(record)) for record in records
    ]
    digest = hashlib.sha256(json.dumps([settings, videos], sort_keys=True).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _stamp(record: VideoRecord) -> list[int]:
    """Changes with the video's file."""
    try:
        stat = Path(record.video).stat()
    except OSError:
        return []
    return [stat.st_size, stat.st_mtime_ns]


def _section(cfg: CfgNode, name: str) -> Any:
    node: Any = cfg
    for part in name.split("."):
        node = node[part]
    # Where weights come from and what they run on change no features.
    ignored = ("WEIGHTS", "DEVICE", "HEAD", "LOSS", "COMPILE", "CHANNELS_LAST", "BATCH_SIZE", "EVAL_PERIOD")
    return {key: value for key, value in node.items() if key not in ignored}
