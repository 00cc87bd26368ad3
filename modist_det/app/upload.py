"""``push``: a trained model to the Hugging Face Hub, with a model card."""

from __future__ import annotations

import html
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tabulate import tabulate

from ..checkpoint.hub import HUB_PREFIX, explained, hub_package, parse_hub_path
from ..checkpoint.reading import classes_inside, read_checkpoint
from ..checkpoint.run_folder import checkpoint_in
from ..config import CfgNode
from ..core.node import flatten
from ..engine.metrics import is_evaluation, read_metrics
from ..evaluation.report import results_table
from ..export.convert import convert_checkpoint, find_config
from ..structures.class_facts import ClassFacts
from ..utils.errors import UserError
from ..utils.paths import is_remote

__all__ = ["model_card", "push"]

_METRICS = "metrics.json"
# The hub has no task of its own for actions of people.
_ON_HUB = {
    "detection": ("video-classification", "An action detector: who does what, where and when in a video"),
    "classification": ("video-classification", "A video classifier"),
    "pretraining": ("feature-extraction", "A pretrained video backbone"),
}


def push(run: str | os.PathLike, to: str, *, private: bool = False, message: str = "Upload model") -> str:
    """Upload a trained model, so that ``load(to)`` gives the same predictions; returns the address of its page.

    The repository is created if there is none. It gets ``model.safetensors`` (the weights that evaluations use, with
    config and classes inside), ``config.yaml``, ``classes.json``, the run's ``metrics.json`` and a model card. Absolute
    paths in the config are shortened to file names.

    Args:
        run: a run's output folder, whose best or else last checkpoint is taken, or a checkpoint.
        to: ``hf://ORG/NAME``.
        private: create the repository as private.
        message: of the commit.

    Raises:
        UserError: there is no checkpoint, it has no config, or the hub refuses the upload or cannot be reached.
    """
    place = parse_hub_path(to)
    if place.file or place.revision:
        raise UserError(f"{to} names more than a repository; push to {HUB_PREFIX}{place.repo}")
    hub = hub_package()
    checkpoint = checkpoint_in(Path(run))
    cfg = find_config(str(checkpoint))
    if cfg is None:
        raise UserError(f"{checkpoint} has no config, so it is not a checkpoint of this project's training")
    _shorten_paths(cfg)
    content = read_checkpoint(checkpoint)
    classes = classes_inside(content, str(checkpoint))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        convert_checkpoint(str(checkpoint), folder / "model.safetensors", "safetensors", cfg)
        (folder / "config.yaml").write_text(cfg.dump(), encoding="utf-8")
        if classes is not None:
            (folder / "classes.json").write_text(classes.to_json(), encoding="utf-8")
        row: Mapping[str, Any] = {}
        recorded = checkpoint.parent.parent / _METRICS
        if recorded.is_file():
            shutil.copy(recorded, folder / _METRICS)
            evaluations = [row for row in read_metrics(recorded) if is_evaluation(row)]
            row = next((r for r in evaluations[::-1] if r["iteration"] == content.get("iteration")), {})
        card = model_card(place.repo, cfg, classes, _by_test_set(row), content.get("iteration"))
        (folder / "README.md").write_text(card, encoding="utf-8")
        with explained(place):
            api = hub.HfApi()
            page = api.create_repo(place.repo, private=private or None, exist_ok=True)
            api.upload_folder(repo_id=place.repo, folder_path=folder, commit_message=message)
    return str(page)


def _shorten_paths(cfg: CfgNode) -> None:
    """Whose disk a run was on is nobody's business: of an absolute path only the name stays."""

    def shortened(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return type(value)(map(shortened, value))
        return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value

    changes = {key: short for key, value in flatten(cfg).items() if (short := shortened(value)) != value}
    cfg.merge_from_list([word for pair in changes.items() for word in pair])


def _by_test_set(row: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The results in a line of the metrics file."""
    results: dict[str, dict[str, Any]] = {}
    for key, value in row.items():
        test_set, _, name = key.partition("/")
        if name and value is not None:
            results.setdefault(test_set, {})[name] = value
    return results


def model_card(
    repo: str,
    cfg: CfgNode,
    classes: ClassFacts | None,
    results: Mapping[str, Mapping[str, Any]],
    steps: int | None = None,
) -> str:
    """The text of ``README.md``, with the hub's metadata in front.

    Args:
        repo: ``ORG/NAME``.
        results: metrics of the checkpoint by test set, as the run recorded them.
        steps: after which the checkpoint was saved.
    """
    hub = hub_package()
    tag, what = _ON_HUB.get(cfg.TASK, ("video-classification", f"A model for {cfg.TASK}"))
    headline = [
        (test_set, name, value)
        for test_set, metrics in results.items()
        for name, value in metrics.items()
        if "/" not in name and not isinstance(value, str)
    ]
    data = hub.ModelCardData(
        library_name="modist_det",
        pipeline_tag=tag,
        tags=["modist_det", "video", f"action-{cfg.TASK}", cfg.MODEL.BACKBONE.NAME.lower()],
        metrics=list(dict.fromkeys(name for _, name, _ in headline)) or None,
        model_name=repo.split("/")[1] if headline else None,
        eval_results=[
            hub.EvalResult(
                task_type=tag,
                dataset_type=test_set,
                dataset_name=test_set,
                metric_type=name,
                metric_value=value,
            )
            for test_set, name, value in headline
        ]
        or None,
    )
    path = f"{HUB_PREFIX}{repo}"
    use = f'import modist_det as md\nprint(md.load("{path}").predict("clip.mp4"))'
    if cfg.TASK not in ("detection", "classification"):
        use = f'from modist_det.checkpoint import load_weights\nload_weights(model, "{path}")'
    parts = [
        f"---\n{data.to_yaml()}\n---",
        f"# {repo.split('/')[1]}",
        f"{what}, trained with modist_det.",
        f"## How to use\n\n```python\n{use}\n```\n\n"
        f"`modist-det train --data FOLDER --from {path}` fine-tunes it. The weights are in `model.safetensors`, with "
        "config and classes inside.",
        f"## Results\n\n{_results(results, steps)}",
        f"## Classes\n\n{_classes(classes, results)}" if classes else "",
        f"## Training\n\n{_training(cfg, steps)}\n\n`config.yaml` has all settings.",
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _results(results: Mapping[str, Mapping[str, Any]], steps: int | None) -> str:
    if not results:
        return "The run recorded no evaluation of this checkpoint."
    notes = [f"{test_set}: {metrics['about']}" for test_set, metrics in results.items() if "about" in metrics]
    numbers = {
        test_set: {name: value for name, value in metrics.items() if name != "about"}
        for test_set, metrics in results.items()
    }
    table = results_table(numbers, "github")
    return "\n\n".join([f"As the run recorded them after {steps} steps:", table, *map(html.escape, notes)])


def _classes(classes: ClassFacts, results: Mapping[str, Mapping[str, Any]]) -> str:
    sets = [title for title, metrics in results.items() if any(name.startswith("AP/") for name in metrics)]
    rows = []
    for number, name in classes.names.items():
        values = [results[title].get(f"AP/{name}") for title in sets]
        shown = ["" if value is None else f"{value:.4f}" for value in values]
        rows.append((number, html.escape(name).replace("|", "\\|"), *shown))
    headers = ["id", "class", *(f"AP on {title}" for title in sets)]
    return tabulate(rows, headers, tablefmt="github", disable_numparse=True)


def _training(cfg: CfgNode, steps: int | None) -> str:
    start = cfg.MODEL.WEIGHTS if is_remote(cfg.MODEL.WEIGHTS) else ""
    rows = [
        ("backbone", cfg.MODEL.BACKBONE.NAME),
        ("clips", f"{cfg.INPUT.NUM_FRAMES} frames, every {cfg.INPUT.SAMPLING_RATE}."),
        ("data", ", ".join(cfg.DATASETS.TRAIN)),
        ("started from", start),
        ("steps", "" if steps is None else f"{steps} of {cfg.SOLVER.IMS_PER_BATCH} clips"),
    ]
    return tabulate([row for row in rows if row[1]], ["", ""], tablefmt="github", disable_numparse=True)
