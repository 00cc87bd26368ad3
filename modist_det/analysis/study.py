"""A study: pretraining methods against each other on labelled datasets, over several seeds, from one YAML file.

The untrained network and an unlearned feature, the flow-edge pyramid, are always rows. Everything that is finished is
kept: a study that was stopped continues where it was. ``docs/study/puppets.yaml`` is an example.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..checkpoint.checkpointer import Checkpointer
from ..config import get_cfg
from ..core import CfgNode
from ..data.datasets.records import VideoRecord
from ..data.pretraining import PretrainingMapper
from ..engine.metrics import read_metrics
from ..engine.run import run
from ..evaluation.feature_evaluator import feature_metrics
from ..evaluation.linear_probe import fit_linear_probe
from ..modeling import build_model
from ..modeling.methods.base import mean_features
from ..modeling.methods.motion_regression import motion_pyramid
from ..modeling.methods.pathways import MOTION, Encoder, PathwayMethod
from ..motion.maps import motion_kind
from ..motion.reader import MotionSource, resize_maps
from ..tasks import build_task
from ..tasks.classification import ClassificationTask
from ..utils.errors import UserError, nearest
from ..utils.files import write_json
from ..utils.json_reading import read_json
from ..utils.yaml_reading import read_yaml
from ..video.info import output_size
from .linear_probe import extract_features, prepare_features
from .mean_results import last_metrics

__all__ = [
    "PYRAMID",
    "UNTRAINED",
    "Recipe",
    "Study",
    "collect",
    "motion_views",
    "pyramid_features",
    "read_study",
    "run_study",
]

logger = logging.getLogger(__name__)

UNTRAINED, PYRAMID = "untrained", "flow-edge pyramid"
GRID = (4, 8, 8)  # of the pyramid
# Initial weights, with the data's BN statistics.
_NO_LEARNING = {"BASE_LR": 0.0, "WARMUP_START_LR": 0.0, "WARMUP_EPOCHS": 0.0, "MAX_EPOCH": 1.0}


@dataclass(frozen=True)
class Recipe:
    """A config file and the keys that are set on top of it."""

    cfg: str
    options: Mapping[str, Any]

    def config(self, **more: Any) -> CfgNode:
        """The config; ``more`` are further keys, with ``__`` for dots."""
        options = {**self.options, **{key.replace("__", "."): value for key, value in more.items()}}
        return get_cfg(self.cfg, [word for pair in options.items() for word in pair])


@dataclass(frozen=True)
class Study:
    """What :func:`read_study` read.

    Attributes:
        output: folder of all runs and results.
        seeds: of weights, order, augmentation and shares of labels.
        pretrain_on: datasets (names or description files), used without labels.
        datasets: name -> (training set, test set), with labels.
        methods: name of a row -> how to pretrain.
        probe: TASK classification, how clips for frozen features are taken.
        fine_tuning: TASK classification; None for none.
        shares: of the labels in fine-tuning; the number of steps is the same for all.
        compare: pairs of rows whose difference in linear accuracy is tested.
        fine_tuned: rows that are fine-tuned.
        equal_time: name of a row -> (method, row whose training time it gets).
    """

    output: Path
    seeds: tuple[int, ...]
    pretrain_on: tuple[str, ...]
    datasets: dict[str, tuple[str, str]]
    methods: dict[str, Recipe]
    probe: Recipe
    fine_tuning: Recipe | None
    shares: tuple[float, ...]
    compare: tuple[tuple[str, str], ...]
    fine_tuned: tuple[str, ...]
    equal_time: dict[str, tuple[str, str]]

    @property
    def networks(self) -> dict[str, Recipe]:
        """The methods and, before them, the untrained network of the first."""
        first = next(iter(self.methods.values()))
        still = Recipe(first.cfg, {**first.options, **{f"SOLVER.{k}": v for k, v in _NO_LEARNING.items()}})
        return {UNTRAINED: still, **self.methods}

    @property
    def rows(self) -> tuple[str, ...]:
        """All rows of the tables."""
        return (PYRAMID, *self.networks, *self.equal_time)


_KEYS = {
    *("output", "seeds", "pretrain_on", "datasets", "methods"),
    *("options", "budgets", "equal_time", "probe", "fine_tuning", "fine_tuned", "shares", "compare"),
}


def read_study(path: str | Path) -> Study:
    """Read the YAML file of a study; see ``docs/STUDY.md`` for its keys.

    Raises:
        UserError: a key is unknown, missing or of the wrong kind.
    """
    where = f"study {path}"
    content = _mapping(read_yaml(path, where), where)
    for key in content.keys() - _KEYS:
        raise UserError(f"{where}: unknown key {key!r}{nearest(key, _KEYS)}")
    for key in ("output", "datasets", "methods", "probe"):
        if not content.get(key):
            raise UserError(f"{where}: {key} is missing")
    datasets = {}
    for name, sets in _mapping(content["datasets"], f"{where}: datasets").items():
        if not isinstance(sets, dict) or sets.keys() != {"train", "test"}:
            raise UserError(f"{where}: dataset {name} needs train and test, and nothing else")
        datasets[name] = (str(sets["train"]), str(sets["test"]))
    budgets = _mapping(content.get("budgets") or {"": {}}, f"{where}: budgets")
    common = _mapping(content.get("options") or {}, f"{where}: options")
    methods = {
        f"{name}, {budget}" if budget else name: Recipe(
            recipe.cfg, {**recipe.options, **_mapping(keys, f"{where}: budget {budget}")}
        )
        for name, recipe in _recipes(content["methods"], f"{where}: methods", common).items()
        for budget, keys in budgets.items()
    }
    for name in (UNTRAINED, PYRAMID):
        if name in methods:
            raise UserError(f"{where}: methods: {name} is a row of every study; choose another name")
    equal_time = {}
    for name, other in _mapping(content.get("equal_time") or {}, f"{where}: equal_time").items():
        if name not in methods or other not in methods:
            raise UserError(
                f"{where}: equal_time needs rows of {', '.join(methods)}, not {name!r}: {other!r}"
            )
        equal_time[f"{name}, time of {other}"] = (name, other)
    networks = (UNTRAINED, *methods, *equal_time)
    rows = (UNTRAINED, PYRAMID, *methods, *equal_time)
    compare = _list(content, "compare", (), where)
    for pair in compare:
        if not isinstance(pair, list) or len(pair) != 2 or not all(row in rows for row in pair):
            raise UserError(f"{where}: compare needs pairs of {', '.join(rows)}, not {pair}")
    fine_tuned = _list(content, "fine_tuned", networks, where)
    for name in fine_tuned:
        if name not in networks:
            raise UserError(f"{where}: fine_tuned needs rows of {', '.join(networks)}, not {name!r}")
    tuned = content.get("fine_tuning")
    return Study(
        output=Path(content["output"]),
        seeds=_list(content, "seeds", (0, 1, 2), where),
        pretrain_on=_list(content, "pretrain_on", [train for train, _ in datasets.values()], where),
        datasets=datasets,
        methods=methods,
        probe=_recipes({"probe": content["probe"]}, where, common)["probe"],
        fine_tuning=_recipes({"fine_tuning": tuned}, where, common)["fine_tuning"] if tuned else None,
        shares=_list(content, "shares", (0.1, 1.0), where),
        compare=tuple((first, second) for first, second in compare),
        fine_tuned=fine_tuned,
        equal_time=equal_time,
    )


def _mapping(content: Any, where: str) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise UserError(f"{where}: a mapping of names is expected, not {type(content).__name__}")
    return content


def _list(content: Mapping[str, Any], key: str, default: Sequence[Any], where: str) -> tuple[Any, ...]:
    value = content.get(key) or list(default)
    if not isinstance(value, list):
        raise UserError(f"{where}: {key} is a list, not {value!r}")
    return tuple(value)


def _recipes(content: Any, where: str, common: Mapping[str, Any]) -> dict[str, Recipe]:
    recipes = {}
    for name, entry in _mapping(content, where).items():
        if not isinstance(entry, dict) or not entry.keys() <= {"cfg", "options"} or "cfg" not in entry:
            raise UserError(f"{where}: {name} needs cfg (a config file) and may have options (its keys)")
        recipes[name] = Recipe(str(entry["cfg"]), {**common, **(entry.get("options") or {})})
    return recipes


# ---- running ----------------------------------------------------------------------------------


def run_study(study: Study) -> None:
    """Make all runs and evaluations that are missing; results are in ``output/results``."""
    for seed in study.seeds:
        for name, recipe in study.networks.items():
            folder = _folder(study, "pretrain", name, seed)
            _train(recipe, folder, seed, DATASETS__TRAIN=list(study.pretrain_on))
        for name, (method, other) in study.equal_time.items():
            folder = _folder(study, "pretrain", name, seed)
            _train(_for_time_of(study, method, other), folder, seed, DATASETS__TRAIN=list(study.pretrain_on))
    for dataset, (train, test) in study.datasets.items():
        _keep(_result(study, dataset, PYRAMID, 0), partial(_judge_pyramid, study, train, test))
        for name in (*study.networks, *study.equal_time):
            for seed in study.seeds:
                judge = partial(_judge_network, study, dataset, name, seed)
                _keep(_result(study, dataset, name, seed), judge)


def _keep(path: Path, make: Callable[[], Mapping[str, Any]]) -> None:
    if not path.exists():
        logger.info("making %s", path)
        write_json(path, make())


def _train(recipe: Recipe, folder: Path, seed: int, **more: Any) -> None:
    """Train, or go on training, unless it is done.

    Raises:
        UserError: the folder was made with another config, or training was stopped.
    """
    none: dict[str, Any] = {} if "DATASETS__TEST" in more else {"DATASETS__TEST": [], "DATASETS__GALLERY": []}
    cfg = recipe.config(SEED=seed, OUTPUT_DIR=str(folder), **none, **more)
    mark, asked = folder / "done.json", cfg.dump()
    if mark.exists():
        if read_json(mark)["config"] != asked:
            raise UserError(f"{folder} was made with another config; delete it, or choose another output")
        return
    status = run(cfg, resume=True)
    if status:
        raise UserError(f"{folder}: stopped; the same command continues the study")
    write_json(mark, {"config": asked})


def _for_time_of(study: Study, method: str, other: str) -> Recipe:
    """A method for as many epochs as take the time of ``other``, by the steps of both with the first seed."""

    def seconds(name: str) -> float:
        rows = read_metrics(_folder(study, "pretrain", name, study.seeds[0]) / "metrics.json")
        steps = [row for row in rows if "time" in row]
        return float(np.median([row["time"] for row in steps])) * steps[-1]["iteration"]

    recipe = study.methods[method]
    epochs = recipe.config().SOLVER.MAX_EPOCH * seconds(other) / seconds(method)
    return Recipe(recipe.cfg, {**recipe.options, "SOLVER.MAX_EPOCH": round(epochs, 2)})


def _judge_network(study: Study, dataset: str, name: str, seed: int) -> dict[str, Any]:
    train, test = study.datasets[dataset]
    checkpointer = Checkpointer(_folder(study, "pretrain", name, seed) / "checkpoints")
    weights = checkpointer.last()
    folder = _folder(study, f"probe/{dataset}", name, seed)
    cfg = study.probe.config(
        SEED=seed,
        OUTPUT_DIR=str(folder),
        MODEL__WEIGHTS=str(weights),
        DATASETS__TRAIN=[train],
        DATASETS__TEST=[test],
    )
    task, model, device = prepare_features(cfg, "a study")
    sides: list[Any] = []
    for part in (train, test):
        features, records = extract_features(cfg, task, model, device, part, folder / "features")
        sides += [features, _labels(records)]
    result = _judge(*sides)
    result.update(_judge_motion_encoder(checkpointer, task, cfg, train, test))
    if study.fine_tuning is None or name not in study.fine_tuned:
        return result
    epochs = study.fine_tuning.config().SOLVER
    for share in study.shares:
        folder = _folder(study, f"fine_tuning/{dataset}", f"{name} {share:g}", seed)
        _train(
            study.fine_tuning,
            folder,
            seed,
            DATASETS__TRAIN=[train],
            DATASETS__TEST=[test],
            DATASETS__TRAIN_SHARE=share,
            DATASETS__TRAIN_SHARE_SEED=seed,
            SOLVER__MAX_EPOCH=epochs.MAX_EPOCH / share,
            SOLVER__WARMUP_EPOCHS=epochs.WARMUP_EPOCHS / share,
            MODEL__WEIGHTS=str(weights),
        )
        result[f"fine-tuning {share:.0%}"] = last_metrics(folder)["top1"]
    return result


def _judge_motion_encoder(
    checkpointer: Checkpointer, task: ClassificationTask, probe: CfgNode, train: str, test: str
) -> dict[str, float]:
    """Metrics of the motion pathway's features of the same test views; ``{}`` if the method has no motion pathway."""
    loaded = checkpointer.load_last()
    assert loaded is not None
    path, content = loaded
    cfg = get_cfg()
    cfg.merge_from_text(content["config"], str(path))
    model = build_model(cfg)
    if not isinstance(model, PathwayMethod) or MOTION not in model.query:
        return {}
    model.load_state_dict(content["model"])
    model.eval()
    backbone, normalizer = cast(Encoder, model.query[MOTION]).backbone, partial(model.normalized, MOTION)
    pretraining = PretrainingMapper.from_config(cfg)
    assert pretraining.motion is not None
    sides: list[Any] = []
    for part in (train, test):
        records, mapper = task.test_data(probe, part)
        views = motion_views(records, mapper, pretraining.motion, pretraining.motion_times)
        with torch.no_grad():
            rows = [mean_features(backbone, normalizer, clips[None], len(clips))[0] for clips in views]
        sides += [torch.stack(rows).numpy(), _labels(records)]
    found = _judge(*sides)
    return {f"motion encoder {name}": found[name] for name in ("linear", "knn")}


def _judge_pyramid(study: Study, train: str, test: str) -> dict[str, Any]:
    cfg = study.probe.config(DATASETS__TRAIN=[train], DATASETS__TEST=[test])
    task = build_task(cfg)
    if not isinstance(task, ClassificationTask):
        raise UserError(f"{study.probe.cfg}: TASK is {cfg.TASK}; a probe needs classification")
    task.complete_config(cfg)
    motion = next(iter(study.methods.values())).config(MOTION__ENABLED=True)
    sides: list[Any] = []
    for part in (train, test):
        records, mapper = task.test_data(cfg, part)
        source = PretrainingMapper.from_config(motion).motion
        assert source is not None
        sides += [pyramid_features(records, mapper, source), _labels(records)]
    return _judge(*sides)


def pyramid_features(
    records: Sequence[VideoRecord], mapper: Any, source: MotionSource
) -> NDArray[np.float32]:
    """The amount of motion in 4 x 8 x 8 cells of each video's test views, averaged over the views: (N, 256 C).

    Args:
        mapper: of classification, for evaluation.
    """
    kind = motion_kind(source.kind)
    still = torch.full((kind.channels,), kind.still / 255)
    rows = [motion_pyramid(v, GRID, still).mean(dim=0) for v in motion_views(records, mapper, source)]
    return torch.stack(rows).numpy()


def motion_views(
    records: Sequence[VideoRecord],
    mapper: Any,
    source: MotionSource,
    times: NDArray[np.float64] | None = None,
) -> Iterator[Tensor]:
    """The motion maps of each video's test views, uint8 (views, C, T', S, S).

    Args:
        mapper: of classification, for evaluation.
        times: (T',), seconds from the first frame of a view to each of its maps; None: at its frames.
    """
    for record in records:
        with mapper.open_video(record.video, record.fps) as video:
            numbers = mapper.frame_numbers(record, video.info, np.random.default_rng(0))
            seconds = numbers / float(video.info.rate)
            if times is not None:
                seconds = (seconds[:: mapper.num_frames, None] + times).ravel()
            size = output_size(video.info.height, video.info.width, None, mapper.min_size_test)
            maps = resize_maps(source.maps(video, seconds), size)
        count = mapper.num_frames if times is None else len(times)
        yield replace(mapper, num_frames=count).crops(maps.transpose(0, 1))


def _judge(
    gallery: NDArray[np.floating],
    gallery_labels: NDArray[np.integer],
    queries: NDArray[np.floating],
    query_labels: NDArray[np.integer],
) -> dict[str, Any]:
    """Metrics of frozen features, and for each query whether the linear classifier is right."""
    sides = (gallery, gallery_labels, queries, query_labels)
    classifier = fit_linear_probe(
        gallery, gallery_labels, int(max(gallery_labels.max(), query_labels.max())) + 1
    )
    right = classifier(queries).argmax(axis=1) == query_labels
    metrics = feature_metrics(*sides, linear_probe=False)
    return {**metrics, "linear": float(right.mean()), "right": right.astype(int).tolist()}


def _labels(records: Sequence[VideoRecord]) -> NDArray[np.int64]:
    for record in records:
        if len(record.labels) != 1:
            raise UserError(f"{record.id} has {len(record.labels)} labels; a study needs one a video")
    return np.array([record.labels[0] for record in records], np.int64)


# ---- places -----------------------------------------------------------------------------------


def _file_name(row: str) -> str:
    return "".join(c if c.isalnum() or c in ".-_" else "_" for c in row)


def _folder(study: Study, part: str, name: str, seed: int) -> Path:
    return study.output / part / _file_name(name) / str(seed)


def _result(study: Study, dataset: str, name: str, seed: int) -> Path:
    return study.output / "results" / dataset / _file_name(name) / f"{seed}.json"


def collect(study: Study) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Finished results: dataset -> row -> one dict a seed."""

    def of(dataset: str, name: str) -> Iterator[dict[str, Any]]:
        for seed in study.seeds if name != PYRAMID else (0,):
            path = _result(study, dataset, name, seed)
            if path.exists():
                yield dict(read_json(path))

    return {
        dataset: {name: found for name in study.rows if (found := list(of(dataset, name)))}
        for dataset in study.datasets
    }
