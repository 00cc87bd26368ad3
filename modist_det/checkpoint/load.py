"""``load_weights``: initialize a model from a checkpoint of this or another code base."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor, nn

from ..modeling.backbone import Backbone
from ..structures.class_facts import ClassFacts, disagreement, renumbered
from ..utils.errors import UserError
from .describe import describe_backbone, fitting_config, fitting_keys
from .formats import convert, detect_format
from .mvit import keys_of_mvit
from .reading import classes_inside, config_inside, pyslowfast_config, read_checkpoint, tensors_of
from .settings import unlike
from .weights import Weights

__all__ = ["LoadReport", "Mismatch", "load_weights"]

logger = logging.getLogger(__name__)

_NAMES_SHOWN = 4
_LAST_LAYER = "head.projection."  # in all of our heads; one output per class


class Mismatch(NamedTuple):
    """A tensor whose shapes in the file and in the model differ."""

    name: str
    checkpoint_shape: tuple[int, ...]
    model_shape: tuple[int, ...]


@dataclass
class LoadReport:
    """Which tensors were loaded and which were not. ``str()`` is a summary.

    Attributes:
        path: of the file.
        format: one of :data:`~modist_det.checkpoint.formats.FORMATS`, as given or detected.
        loaded: names in the model that were loaded from the file.
        inflated: the part of ``loaded`` whose 2D kernels were inflated.
        missing: names in the model that are not in the file; they keep their values.
        unexpected: names in the file that are not in the model.
        mismatched: tensors of another shape in the file; the model keeps its values.
        dropped: (name in the file, reason) of each tensor that was left out on purpose.
        untraced: config key -> value of each setting of the backbone that a file does not show.
        adapted: (name in the model, how) of each tensor that was changed to fit the model.
        config: the config (YAML) inside a checkpoint of this project, or "".
        classes: the classes of its outputs, if the file names them.
        training: of a checkpoint that a run has saved, but for the best one, which need not be the last: its
            ``iteration``, number of ``samples`` and ``clips a step``.
    """

    path: str
    format: str
    loaded: list[str] = field(default_factory=list)
    inflated: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    mismatched: list[Mismatch] = field(default_factory=list)
    dropped: list[tuple[str, str]] = field(default_factory=list)
    untraced: dict[str, Any] = field(default_factory=dict)
    adapted: list[tuple[str, str]] = field(default_factory=list)
    config: str = ""
    classes: ClassFacts | None = None
    training: dict[str, Any] = field(default_factory=dict)

    def require_complete(self) -> None:
        """Call this before an evaluation: results of a partly loaded model are meaningless.

        Raises:
            UserError: a tensor of the model was not loaded.
        """
        lacking = self.missing + [mismatch.name for mismatch in self.mismatched]
        if lacking:
            raise UserError(
                f"{self.path} (format {self.format}) lacks tensors of the model, or has them in another shape: "
                f"{_some(lacking)}; {self._remedy()}"
            )

    def _remedy(self) -> str:
        for name, theirs, ours in self.mismatched:
            if name.startswith(_LAST_LAYER) and theirs and theirs[1:] == ours[1:]:
                return (
                    f"the checkpoint has {theirs[0]} classes and the model {ours[0]}: use a dataset with the label map "
                    "of the checkpoint, or set MODEL.NUM_CLASSES"
                )
        return "check MODEL.META_ARCHITECTURE and MODEL.NUM_CLASSES"

    def __str__(self) -> str:
        shapes = [f"{m.name} {list(m.checkpoint_shape)} -> {list(m.model_shape)}" for m in self.mismatched]
        reasons: dict[str, list[str]] = {}
        for name, reason in self.dropped:
            reasons.setdefault(f"left out ({reason})", []).append(name)
        for name, how in self.adapted:
            reasons.setdefault(how, []).append(name)
        lines = [f"loaded {len(self.loaded)} tensors from {self.path} (format {self.format})"]
        for title, names in (
            ("of these inflated from 2D kernels", self.inflated),
            ("missing from the file", self.missing),
            ("unexpected, not in the model", self.unexpected),
            ("of another shape in the file", shapes),
            *reasons.items(),
        ):
            if names:
                lines.append(f"  {len(names)} {title}: {_some(names)}")
        if self.untraced:
            settings = (f"{key} {str(value).replace(' ', '')}" for key, value in self.untraced.items())
            lines.append(f"  not visible in a file, so the config decides: {', '.join(settings)}")
        return "\n".join(lines)


def load_weights(
    model: nn.Module,
    path_or_url: str | os.PathLike,
    format: str = "auto",
    classes: ClassFacts | None = None,
    part: str = "",
) -> LoadReport:
    """Load the weights of a checkpoint file into ``model``.

    A backbone is loaded completely or not at all. If the head is missing from the file or has other classes, it keeps
    its initial weights, as is usual in fine-tuning; this is in the report and logged as a warning.

    2D kernels are inflated: each frame of the 3D kernel gets an equal share of the weights, so that a clip that repeats
    one image gives the result of that image (Carreira and Zisserman 2017).

    Args:
        model: a backbone, or a meta architecture with ``backbone`` and ``head``; may be wrapped in
            DistributedDataParallel or ``torch.compile``.
        path_or_url: a file, ``zoo://NAME`` or a URL. The weights may come from this project, PySlowFast (``.pyth``, or
            Caffe2 ``.pkl``), PyTorchVideo, the authors of MoDist (``encoder_q.``), torchvision (2D ResNets, video
            models; also as ``torchvision://NAME/WEIGHTS``), video transformers (docs/TRANSFORMERS.md) or a plain state
            dict. Files saved by PyTorch, pickles of arrays and safetensors are read.
        format: "auto" (detected from the names) or one of :data:`~modist_det.checkpoint.formats.FORMATS`.
        classes: the classes of the model's outputs, if known. If the file names other classes, the last layer of its
            head is not loaded.
        part: if the file has tensors whose names begin so, such as ``query.motion.backbone.``, they alone are the file.

    Raises:
        UserError: the file cannot be read (see :func:`~modist_det.checkpoint.reading.read_state_dict`), has nothing for
            this model, has another backbone (the message then names configs that fit), or numbers the same classes
            differently. The model is left unchanged.
    """
    path = os.fspath(path_or_url)
    content = read_checkpoint(path)
    state_dict = tensors_of(content, path)
    if part:
        own = {n.removeprefix(part): t for n, t in state_dict.items() if n.startswith(part)}
        state_dict = own or state_dict
    model = _unwrap(model)
    targets = model.state_dict()
    prefix = "" if any(name.startswith(("backbone.", "head.")) for name in targets) else "backbone."
    if format == "auto" and state_dict.keys() == targets.keys():
        # This very model, whatever its names look like: one of your own may call its layers as another project does.
        format, weights = "modist_det", Weights()
        for name, tensor in state_dict.items():
            weights.add(prefix + name, name, tensor)
    else:
        format = detect_format(state_dict) if format == "auto" else format
        weights = convert(state_dict, format)
    if prefix:
        targets = {prefix + name: tensor for name, tensor in targets.items()}
        for name in [name for name in weights.tensors if not name.startswith(prefix)]:
            weights.drop(name, "the model is only a backbone")
    if weights.head_only:
        targets = {name: tensor for name, tensor in targets.items() if not name.startswith("backbone.")}
    for name, reason in weights.optional.items():
        if name in weights.tensors and name not in targets:
            weights.drop(name, reason)
    report = LoadReport(path, format, dropped=weights.dropped, config=config_inside(content))
    if isinstance(run := content.get("run"), Mapping) and "best" not in content:
        report.training = {**run, "iteration": content.get("iteration")}
    of_file = keys_of_mvit(pyslowfast_config(content), path) if format == "pyslowfast_mvit" else {}
    backbone = dict(model.named_children()).get("backbone", model)
    if isinstance(backbone, Backbone):
        report.untraced = backbone.untraced() if format != "modist_det" else {}
        report.adapted += _adapt_backbone(weights, backbone, prefix)
    report.adapted += _adapt_classes(weights, targets)
    report.classes = classes_inside(content, path)
    if classes and report.classes:
        _leave_out_other_classes(weights, targets, classes, report.classes)
    inflated = _inflate(weights.tensors, targets)
    tensors = weights.tensors | inflated
    _compare(tensors, targets, report)
    _check(report, weights, targets, of_file)
    _compare_settings(report, of_file)

    report.unexpected = [weights.sources[name] for name in report.unexpected]
    chosen = {name.removeprefix(prefix): tensors[name] for name in report.loaded}
    report.loaded = list(chosen)
    report.inflated = [name for name in chosen if prefix + name in inflated]
    model.load_state_dict(chosen, strict=False)
    initial = report.missing + [mismatch.name for mismatch in report.mismatched]
    if initial:
        logger.warning("not loaded from %s, so left at their initial values: %s", report.path, _some(initial))
    return report


def _compare_settings(report: LoadReport, of_file: Mapping[str, Any]) -> None:
    """Warn of settings that the file's config shows and the model does not have; the others stay ``untraced``."""
    for key in report.untraced.keys() & of_file.keys():
        if (here := report.untraced.pop(key)) != of_file[key]:
            logger.warning("%s: %s", report.path, unlike(key, here, of_file[key]))


def _adapt_backbone(weights: Weights, backbone: Backbone, prefix: str) -> list[tuple[str, str]]:
    """:meth:`Backbone.adapt` for tensors with our names; (name in the model, how) of each."""
    before = {n.removeprefix("backbone."): t for n, t in weights.tensors.items() if n.startswith("backbone.")}
    own = dict(before)
    changes = backbone.adapt(own) if own else []
    reasons = dict(changes)
    for name in before.keys() - own.keys():
        weights.drop(f"backbone.{name}", reasons.get(name, "renamed"))
    for name, tensor in own.items():
        if tensor is not before.get(name):
            weights.add(f"backbone.{name}", weights.sources.get(f"backbone.{name}", ""), tensor)
    return [(f"backbone.{name}".removeprefix(prefix), how) for name, how in changes if name in own]


def _adapt_classes(weights: Weights, targets: dict[str, Tensor]) -> list[tuple[str, str]]:
    """Leave out rows of the last layer that stand for no class of the model; (name in the model, how) of each."""
    changes = []
    # With a hidden layer before it (MODEL.HEAD.MLP), the last layer is "projection.2".
    for name in (f"{_LAST_LAYER}{part}{kind}" for part in ("", "2.") for kind in ("weight", "bias")):
        theirs, ours = weights.tensors.get(name), targets.get(name)
        if theirs is None or ours is None or not theirs.dim() or not ours.dim():
            continue
        if weights.background and len(theirs) == len(ours) + 1:
            weights.tensors[name] = theirs[1:]
            changes.append((name, "without the first class, the background"))
        elif (len(theirs), len(ours)) == (710, 400):
            weights.tensors[name] = theirs[:400]
            changes.append((name, "the first 400 of Kinetics-710's classes, which are those of Kinetics-400"))
    return changes


def _leave_out_other_classes(
    weights: Weights, targets: dict[str, Tensor], ours: ClassFacts, theirs: ClassFacts
) -> None:
    """Drop the last layer of a head if its shape fits but its outputs stand for other classes."""
    fits = [
        name
        for name, tensor in weights.tensors.items()
        if name.startswith(_LAST_LAYER) and name in targets and targets[name].shape == tensor.shape
    ]
    difference = disagreement(theirs, ours) if fits else ""
    if not difference:
        return
    if renumbered(theirs, ours):
        raise UserError(f"{difference}; number the classes as in the checkpoint")
    logger.warning("%s: the last layer of the head keeps its initial weights", difference)
    for name in fits:
        weights.drop(name, "the head is for other classes")


def _inflate(tensors: dict[str, Tensor], targets: dict[str, Tensor]) -> dict[str, Tensor]:
    """2D kernels (out, in, H, W) where the model has 3D ones, repeated over the frames and divided by their number."""
    inflated = {}
    for name, tensor in tensors.items():
        target = targets.get(name)
        if target is not None and tensor.dim() == 4 and target.dim() == 5:
            frames = target.shape[2]
            inflated[name] = (tensor / frames).unsqueeze(2).repeat(1, 1, frames, 1, 1)
    return inflated


def _compare(tensors: dict[str, Tensor], targets: dict[str, Tensor], report: LoadReport) -> None:
    """Fill ``report``; ``unexpected`` has our names for now."""
    for name, tensor in tensors.items():
        if name not in targets:
            report.unexpected.append(name)
        elif tensor.shape != targets[name].shape:
            report.mismatched.append(Mismatch(name, tuple(tensor.shape), tuple(targets[name].shape)))
        else:
            report.loaded.append(name)
    # Old files have no BN counters; these matter only for BN without a momentum.
    report.missing += [
        name for name in targets if name not in tensors and not name.endswith("num_batches_tracked")
    ]


def _check(
    report: LoadReport, weights: Weights, targets: dict[str, Tensor], of_file: Mapping[str, Any]
) -> None:
    """Reject files with nothing for the model or with another backbone."""
    if not report.loaded and not report.mismatched and not fitting_keys(weights.tensors):
        sources = list(weights.sources.values()) + [name for name, _ in weights.dropped]
        raise UserError(
            f"nothing in {report.path} (format {report.format}) fits this model: the file contains "
            f"{_some(sources)}; the model has {_some(list(targets))}"
        )
    problems = {
        "are missing from the file": report.missing,
        "are not in the model": report.unexpected,
        "have another shape": [mismatch.name for mismatch in report.mismatched],
    }
    for problem, names in problems.items():
        in_backbone = [name for name in names if name.startswith("backbone.")]
        if in_backbone:
            raise UserError(
                f"{report.path} (format {report.format}) has another backbone than the model: "
                f"{len(in_backbone)} tensors {problem} ({_some(in_backbone)}). "
                f"The file: {describe_backbone(weights.tensors)}. The model: {describe_backbone(targets)}. "
                f"{fitting_config(weights.tensors, of_file)}"
            )


def _some(names: list[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _unwrap(model: nn.Module) -> nn.Module:
    """The model inside DistributedDataParallel (``module``) and ``torch.compile`` (``_orig_mod``)."""
    for attribute in ("module", "_orig_mod"):
        inner = getattr(model, attribute, None)
        if isinstance(inner, nn.Module):
            return _unwrap(inner)
    return model
