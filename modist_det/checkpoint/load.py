"""``load_weights``: start a model from a checkpoint of this or another code base."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor, nn

from ..structures.class_facts import ClassFacts, disagreement, renumbered
from ..utils.errors import UserError
from .describe import describe_backbone, fitting_config, fitting_keys
from .formats import Weights, convert, detect_format
from .reading import classes_inside, config_inside, read_checkpoint, tensors_of

__all__ = ["LoadReport", "Mismatch", "load_weights"]

logger = logging.getLogger(__name__)

_NAMES_SHOWN = 4
_LAST_LAYER = "head.projection."  # of every head here: one output a class


class Mismatch(NamedTuple):
    """A tensor whose shape in the file differs from the model's."""

    name: str
    checkpoint_shape: tuple[int, ...]
    model_shape: tuple[int, ...]


@dataclass
class LoadReport:
    """What became of the tensors of a checkpoint and of a model. ``str()`` is a summary.

    Attributes:
        path: of the file.
        format: one of :data:`~modist_det.checkpoint.formats.FORMATS`, as given or found.
        loaded: names in the model that got their values from the file.
        inflated: those of ``loaded`` whose 2D kernels were spread over time.
        missing: names in the model that the file has nothing for; they keep their values.
        unexpected: names in the file that the model has no place for.
        mismatched: same name, other shape; the model keeps its values.
        dropped: (name in the file, reason) of what is left out on purpose.
        config: the config (YAML) that a checkpoint of ours carries, or "".
        classes: what its outputs mean, where the file says so.
    """

    path: str
    format: str
    loaded: list[str] = field(default_factory=list)
    inflated: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    mismatched: list[Mismatch] = field(default_factory=list)
    dropped: list[tuple[str, str]] = field(default_factory=list)
    config: str = ""
    classes: ClassFacts | None = None

    def require_complete(self) -> None:
        """For evaluation, where a tensor with its initial values makes the result meaningless.

        Raises:
            UserError: some tensor of the model was not loaded.
        """
        lacking = self.missing + [mismatch.name for mismatch in self.mismatched]
        if lacking:
            raise UserError(
                f"{self.path} (format {self.format}) lacks a part of the model, or has it in another shape: "
                f"{_some(lacking)}; {self._remedy()}"
            )

    def _remedy(self) -> str:
        for name, theirs, ours in self.mismatched:
            if name.startswith(_LAST_LAYER) and theirs[1:] == ours[1:]:
                return (
                    f"the checkpoint has {theirs[0]} classes and the model {ours[0]}: use a dataset with the label map "
                    "of the checkpoint, or set MODEL.NUM_CLASSES"
                )
        return "check MODEL.META_ARCHITECTURE and MODEL.NUM_CLASSES"

    def __str__(self) -> str:
        shapes = [f"{m.name} {list(m.checkpoint_shape)} -> {list(m.model_shape)}" for m in self.mismatched]
        reasons: dict[str, list[str]] = {}
        for name, reason in self.dropped:
            reasons.setdefault(reason, []).append(name)
        lines = [f"loaded {len(self.loaded)} tensors from {self.path} (format {self.format})"]
        for title, names in (
            ("of them 2D kernels spread over time", self.inflated),
            ("missing in the file", self.missing),
            ("unexpected, no place in the model", self.unexpected),
            ("of another shape in the file", shapes),
            *((f"left out ({reason})", names) for reason, names in reasons.items()),
        ):
            if names:
                lines.append(f"  {len(names)} {title}: {_some(names)}")
        return "\n".join(lines)


def load_weights(
    model: nn.Module,
    path_or_url: str | os.PathLike,
    format: str = "auto",
    classes: ClassFacts | None = None,
) -> LoadReport:
    """Copy the weights of a checkpoint file into ``model``.

    A backbone loads whole or not at all. A head that the file lacks, or has for other classes, keeps
    its initial weights, which is usual in fine-tuning; the report says so and a warning is logged.

    Args:
        model: a backbone, or a meta architecture with ``backbone`` and ``head``; may be wrapped in
            DistributedDataParallel or ``torch.compile``.
        path_or_url: a file, ``zoo://NAME`` or a URL. Of our own, PySlowFast (``.pyth``, Caffe2's ``.pkl``),
            PyTorchVideo, the MoDist authors (``encoder_q.``), torchvision (2D ResNets, video models; also by
            ``torchvision://NAME/WEIGHTS``), or a plain state dict; saved by PyTorch, as a pickle of arrays or as
            safetensors.
        format: "auto" (found from the names) or one of :data:`~modist_det.checkpoint.formats.FORMATS`.
        classes: what the model's outputs mean, where it is known. If the file says that its own mean other classes, the
            last layer of its head is not loaded.

    The kernels of a 2D network are spread over time: each frame of a kernel gets its share, so that a clip of one
    repeated image gives what the image gave (Carreira and Zisserman 2017).

    Raises:
        UserError: the file cannot be read (see :func:`~modist_det.checkpoint.reading.read_state_dict`), has nothing for
            this model, or another backbone; the message then names configs that fit; or it has the classes of
            ``classes`` under other numbers. The model is then unchanged.
    """
    path = os.fspath(path_or_url)
    content = read_checkpoint(path)
    state_dict = tensors_of(content, path)
    if format == "auto":
        format = detect_format(state_dict)
    weights = convert(state_dict, format)

    model = _unwrap(model)
    targets = model.state_dict()
    prefix = "" if any(name.startswith("backbone.") for name in targets) else "backbone."
    if prefix:
        targets = {prefix + name: tensor for name, tensor in targets.items()}
        for name in [name for name in weights.tensors if not name.startswith(prefix)]:
            weights.drop(name, "the model is a backbone alone")
    inflated = _inflate(weights.tensors, targets)
    tensors = weights.tensors | inflated
    report = LoadReport(path, format, dropped=weights.dropped, config=config_inside(content))
    report.classes = classes_inside(content, path)
    _leave_out_other_classes(weights, targets, classes, report.classes)
    tensors = {name: tensors[name] for name in tensors if name in weights.tensors}
    _compare(tensors, targets, report)
    _check(report, weights, targets)

    report.unexpected = [weights.sources[name] for name in report.unexpected]
    chosen = {name.removeprefix(prefix): tensors[name] for name in report.loaded}
    report.loaded = list(chosen)
    report.inflated = [name for name in chosen if prefix + name in inflated]
    model.load_state_dict(chosen, strict=False)
    initial = report.missing + [mismatch.name for mismatch in report.mismatched]
    if initial:
        logger.warning("not loaded from %s, so left at initial values: %s", report.path, _some(initial))
    return report


def _leave_out_other_classes(
    weights: Weights, targets: dict[str, Tensor], ours: ClassFacts | None, theirs: ClassFacts | None
) -> None:
    """Drop the last layer of a head that would fit by its shape, but whose outputs mean other classes."""
    fits = [
        name
        for name, tensor in weights.tensors.items()
        if name.startswith(_LAST_LAYER) and name in targets and targets[name].shape == tensor.shape
    ]
    difference = disagreement(theirs, ours) if ours and theirs and fits else ""
    if not difference or not ours or not theirs:
        return
    if renumbered(theirs, ours):
        raise UserError(f"{difference}; number the classes as the checkpoint does")
    logger.warning("%s: the head's last layer starts anew", difference)
    for name in fits:
        weights.drop(name, "the head is for other classes")


def _inflate(tensors: dict[str, Tensor], targets: dict[str, Tensor]) -> dict[str, Tensor]:
    """2D kernels (out, in, H, W) for a model with 3D ones: at every frame, divided by the number of frames."""
    inflated = {}
    for name, tensor in tensors.items():
        target = targets.get(name)
        if target is not None and tensor.dim() == 4 and target.dim() == 5:
            frames = target.shape[2]
            inflated[name] = (tensor / frames).unsqueeze(2).repeat(1, 1, frames, 1, 1)
    return inflated


def _compare(tensors: dict[str, Tensor], targets: dict[str, Tensor], report: LoadReport) -> None:
    """Fill ``report``, for the time being with our names for what is unexpected."""
    for name, tensor in tensors.items():
        if name not in targets:
            report.unexpected.append(name)
        elif tensor.shape != targets[name].shape:
            report.mismatched.append(Mismatch(name, tuple(tensor.shape), tuple(targets[name].shape)))
        else:
            report.loaded.append(name)
    # Counters of BN, which old files lack, matter only to averaging without a momentum.
    report.missing += [
        name for name in targets if name not in tensors and not name.endswith("num_batches_tracked")
    ]


def _check(report: LoadReport, weights: Weights, targets: dict[str, Tensor]) -> None:
    """Refuse a file without anything for the model, and one with another backbone."""
    if not report.loaded and not report.mismatched and not fitting_keys(weights.tensors):
        sources = list(weights.sources.values()) + [name for name, _ in weights.dropped]
        raise UserError(
            f"nothing in {report.path} (format {report.format}) fits this model: the file has "
            f"{_some(sources)}; the model has {_some(list(targets))}"
        )
    problems = {
        "are missing in the file": report.missing,
        "have no place in the model": report.unexpected,
        "have another shape": [mismatch.name for mismatch in report.mismatched],
    }
    for problem, names in problems.items():
        in_backbone = [name for name in names if name.startswith("backbone.")]
        if in_backbone:
            raise UserError(
                f"{report.path} (format {report.format}) has another backbone than the model: "
                f"{len(in_backbone)} tensors {problem} ({_some(in_backbone)}). "
                f"The file: {describe_backbone(weights.tensors)}. The model: {describe_backbone(targets)}. "
                f"{fitting_config(weights.tensors)}"
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
