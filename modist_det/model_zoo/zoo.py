"""Build the config and the network of a catalogue entry and load its file."""

from __future__ import annotations

import os

import torch
from torch import nn

from ..checkpoint import load_weights
from ..checkpoint.configs import config_folder
from ..checkpoint.entry import Entry
from ..checkpoint.formats import names_in_format
from ..checkpoint.handlers import PREFIX, get_checkpoint_path, get_entry, list_names
from ..checkpoint.torchvision_files import load_torchvision_weights
from ..config import CfgNode, get_cfg
from ..modeling import build_backbone, build_model
from ..utils.errors import UserError

__all__ = [
    "build",
    "expected_tensors",
    "fill",
    "get",
    "get_checkpoint_path",
    "get_config",
    "get_entry",
    "list_names",
]


def get_config(name: str, trained: bool = True) -> CfgNode:
    """The config of an entry's network and input.

    Args:
        trained: set ``MODEL.WEIGHTS`` to ``zoo://NAME``. Nothing is downloaded yet.

    Raises:
        UserError: there is no such entry, or this project does not define its network.
    """
    entry = get_entry(name)
    if not entry.config:
        raise UserError(
            f"{entry.name} is a {entry.task.replace('_', ' ')} network of {entry.format} without a config here; "
            "get_checkpoint_path returns its file"
        )
    cfg = get_cfg()
    cfg.merge_from_file(config_folder() / entry.config)
    # The config itself may name weights.
    cfg.MODEL.WEIGHTS = f"{PREFIX}{entry.name}" if trained else ""
    return cfg


def get(name: str, trained: bool = True) -> nn.Module:
    """The network of an entry, on the CPU, in evaluation mode.

    A classifier or detector is called with a batch (see :mod:`modist_det.modeling.meta_arch`), a pretrained
    backbone with a normalized clip, torchvision's person detectors with a list of images.

    Args:
        trained: load the weights, downloaded if they are not in the cache; otherwise they are random.

    Raises:
        UserError: there is no such entry, its file cannot be downloaded or does not fit, or it needs detectron2.

    Example::

        model = model_zoo.get("pytorchvideo/slow_8x8_r50_k400")
        scores = model({"video": clip})[0]["scores"]  # clip: uint8 RGB (1, 3, 8, H, W)
    """
    entry = get_entry(name)
    model = build(entry)
    if trained:
        fill(model, entry, get_checkpoint_path(entry.name))
    return model.eval()


def build(entry: Entry) -> nn.Module:
    """The entry's network with random weights: a meta architecture, or a backbone alone for pretrained backbones.

    Raises:
        UserError: the entry is a detectron2 network (see :func:`~modist_det.model_zoo.get_config`).
    """
    if entry.builder:
        import torchvision

        return torchvision.models.get_model(entry.builder, weights=None, weights_backbone=None)
    cfg = get_config(entry.name, trained=False)
    return build_backbone(cfg) if entry.task == "pretraining" else build_model(cfg)


def fill(network: nn.Module, entry: Entry, path: str | os.PathLike) -> None:
    """Load the entry's file into its network.

    Raises:
        UserError: the file lacks a tensor of the network, or has it in another shape.
    """
    if entry.builder:
        load_torchvision_weights(network, entry.builder, path)
    else:
        load_weights(network, path).require_complete()


def expected_tensors(entry: Entry) -> dict[str, tuple[int, ...]]:
    """Names (in the file's own naming) and shapes of the tensors that the entry's file must contain.

    They follow from the entry's config. The file may contain more: heads for other tasks, BN counters, solver state.

    Raises:
        UserError: as for :func:`build`.
    """
    with torch.device("meta"):
        network = build(entry)
    prefix = "backbone." if entry.task == "pretraining" else ""
    shapes = {
        prefix + name: tuple(tensor.shape)
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    if entry.builder:
        return shapes
    cfg = get_config(entry.name, trained=False)
    theirs = names_in_format(
        shapes,
        entry.format,
        pool_after_res2=cfg.MODEL.RESNET3D.POOL_AFTER_RES2 > 1,
        detection=entry.task == "detection",
    )
    if missing := shapes.keys() - theirs.keys():
        raise UserError(f"{entry.name}: the format {entry.format} has no name for {sorted(missing)[0]}")
    expected = {entry.prefix + theirs[name]: shape for name, shape in shapes.items()}
    if entry.name.startswith("torchvision/s3d"):  # S3D's classifier is a 1x1x1 convolution
        expected["classifier.1.weight"] += (1, 1, 1)
    if entry.format == "mmaction2_vit" and entry.task == "detection":  # class 0 is the background
        expected |= {
            name: (shape[0] + 1, *shape[1:]) for name, shape in expected.items() if ".fc_cls." in name
        }
    if entry.format == "torchvision":  # 2D kernels
        expected = {name: (*s[:2], *s[3:]) if len(s) == 5 else s for name, s in expected.items()}
    return expected
