"""Convert checkpoints to other formats (``tools/convert_checkpoint.py``)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor, nn

from ..checkpoint import load_weights
from ..checkpoint.formats import convert, detect_format
from ..checkpoint.reading import (
    classes_inside,
    config_inside,
    pyslowfast_config,
    read_checkpoint,
    tensors_of,
)
from ..checkpoint.video_vit import VIT_FORMATS
from ..checkpoint.writing import WRITTEN_FORMATS, write_weights
from ..config import CfgNode, get_cfg
from ..model_zoo import config_of_file
from ..modeling import build_backbone, build_model
from ..structures.class_facts import ClassFacts
from ..utils.errors import UserError, nearest
from ..utils.files import atomic_path
from ..video.listing import file_key
from .export import TOLERANCE, check_onnx, check_program, export_onnx, export_program
from .networks import as_function

__all__ = ["TARGETS", "convert_checkpoint", "find_config", "target_of"]

TARGETS = (*WRITTEN_FORMATS, "onnx", "program")
_SUFFIXES = {".safetensors": "safetensors", ".onnx": "onnx", ".pt2": "program"}


def target_of(path: str | os.PathLike, named: str = "") -> str:
    """The target format (one of :data:`TARGETS`): as named, or according to the file's suffix.

    Raises:
        UserError: an unknown name or suffix.
    """
    if named:
        if named not in TARGETS:
            raise UserError(f"--to {named} is unknown{nearest(named, TARGETS)} (known: {', '.join(TARGETS)})")
        return named
    suffix = Path(path).suffix
    if suffix not in _SUFFIXES:
        raise UserError(f"the format of {path} is unclear from its suffix: add --to {'|'.join(TARGETS)}")
    return _SUFFIXES[suffix]


def find_config(source: str, file: str = "", overrides: Sequence[str] = ()) -> CfgNode | None:
    """The config of the network in ``source``, or ``None`` if it is unknown.

    Args:
        source: the checkpoint. Our own contain a config; for ``zoo://NAME`` it is in the catalogue; that of a video
            transformer follows from the file and ``overrides``.
        file: a config file to use instead.
        overrides: KEY VALUE pairs applied to the config.

    Raises:
        UserError: there are overrides but no config, or the config is invalid.
    """
    cfg: CfgNode | None = None
    if file:
        cfg = get_cfg(file)
    elif source.startswith("zoo://"):
        from ..model_zoo import get_config

        cfg = get_config(source, trained=False)
    elif text := config_inside(content := read_checkpoint(source)):
        cfg = get_cfg()
        cfg.merge_from_text(text, f"the config in {source}")
    elif (format := detect_format(tensors_of(content, source))) in VIT_FORMATS or (
        format == "pyslowfast_mvit" and pyslowfast_config(content)
    ):
        return config_of_file(source, overrides)
    if cfg is not None:
        cfg.merge_from_list(list(overrides))
    elif overrides:
        raise UserError(f"{' '.join(overrides)}: {source} has no config to change; give --cfg FILE")
    return cfg


def convert_checkpoint(
    source: str, out: str | os.PathLike, target: str, cfg: CfgNode | None, size: tuple[int, int] | None = None
) -> list[str]:
    """Write the weights in ``source`` as ``target``.

    With a config, the network is built and filled first, so that the result is complete. Without one, tensors are only
    renamed, and networks cannot be exported.

    Args:
        target: one of :data:`TARGETS`.
        size: height and width of the clips of an exported network (default: INPUT.MIN_SIZE_TEST, square).

    Returns:
        Messages for the user, one per line.

    Raises:
        UserError: a config is needed but missing, the weights do not fit it, or the export differs from the model.
    """
    there = [file_key(path, Path(path).stat()) for path in (out, source) if Path(path).exists()]
    if len(there) == 2 and there[0] == there[1]:
        raise UserError(f"{out} is also the input; give another output file")
    if target in ("onnx", "program"):
        if cfg is None:
            raise UserError(f"the network of {source} is unknown; give --cfg FILE to export it")
        return _export(source, out, target, cfg, size)
    if cfg is None and target == "pytorchvideo":
        raise UserError("PyTorchVideo's names depend on the network's head and pooling; give --cfg FILE")
    tensors, classes, remarks = _renamed(source) if cfg is None else _filled(source, cfg)
    left_out = write_weights(
        out,
        tensors,
        target,
        config=cfg.dump() if cfg is not None else "",
        classes=classes,
        pool_after_res2=cfg is not None and cfg.MODEL.RESNET3D.POOL_AFTER_RES2 > 1,
        detection=cfg is not None and cfg.MODEL.META_ARCHITECTURE == "ActionDetector",
    )
    if classes is not None and target not in ("modist_det", "safetensors"):
        remarks.append(f"the format {target} cannot store the names of the {len(classes.names)} classes")
    remarks.append(f"{out}: {len(tensors) - len(left_out)} tensors as {target}")
    return remarks


_Filled = tuple[dict[str, Tensor], ClassFacts | None, list[str]]


def _renamed(source: str) -> _Filled:
    content = read_checkpoint(source)
    state = tensors_of(content, source)
    format = detect_format(state)
    weights = convert(state, format)
    remarks = [f"{source}: {len(weights.tensors)} tensors, format {format}"]
    if weights.dropped:
        remarks.append(
            f"{len(weights.dropped)} left out: {', '.join(sorted({why for _, why in weights.dropped}))}"
        )
    return weights.tensors, classes_inside(content, source), remarks


def _filled(source: str, cfg: CfgNode) -> _Filled:
    is_backbone = cfg.TASK == "pretraining"
    network: nn.Module = build_backbone(cfg) if is_backbone else build_model(cfg)
    report = load_weights(network, source)
    report.require_complete()
    prefix = "backbone." if is_backbone else ""
    tensors = {prefix + name: tensor for name, tensor in network.state_dict().items()}
    return tensors, None if is_backbone else report.classes, [str(report)]


def _network_config(cfg: CfgNode) -> str:
    """The keys that say what the network is and how its clips are made, for a file that others may be given: without
    those of the training, and without paths of this machine."""
    cfg = cfg.clone()
    cfg.MODEL.WEIGHTS = ""
    kept = {key: cfg[key] for key in ("VERSION", "TASK", "IMPORTS", "INPUT", "MODEL")}
    return CfgNode(kept).dump()


def _export(
    source: str, out: str | os.PathLike, target: str, cfg: CfgNode, size: tuple[int, int] | None
) -> list[str]:
    model = build_model(cfg)
    as_function(model)  # raises before the weights are read
    report = load_weights(model, source)
    report.require_complete()
    height, width = size or (cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MIN_SIZE_TEST)
    clip = (cfg.INPUT.NUM_FRAMES, height, width)
    texts = {"config": _network_config(cfg)} | (
        {"class_facts": report.classes.to_json()} if report.classes else {}
    )
    with atomic_path(out) as temporary:
        if target == "onnx":
            export_onnx(model, temporary, clip, texts)
            difference = check_onnx(model, temporary, clip)
        else:
            suffixes = {"config": ".yaml", "class_facts": ".json"}
            export_program(
                model, temporary, clip, {name + suffixes[name]: text for name, text in texts.items()}
            )
            difference = check_program(model, temporary, clip)
        if not difference <= TOLERANCE:
            raise UserError(
                f"the scores of the exported network differ from the model's by {difference:.2g}; {out} was not written"
            )
    return [str(report), f"{out}: clips of {clip[0]} frames {height}x{width}, scores within {difference:.1e}"]
