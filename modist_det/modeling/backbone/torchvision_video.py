"""``TorchvisionVideo``: torchvision's video models with their own parameter names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from ...core import CfgNode, add_section
from ...utils.errors import UserError, nearest
from ..registry import BACKBONE_REGISTRY
from .base import Backbone

__all__ = ["FEATURES", "TORCHVISION_MODELS", "TorchvisionVideo", "torchvision_family", "torchvision_model"]

add_section(
    "MODEL.TORCHVISION",
    NAME="r2plus1d_18",  # the others: docs/BACKBONES.md
    # "map", or "pooled": what torchvision's own classifier sees, to classify with its weights.
    FEATURES="map",
)

FEATURES = ("map", "pooled")


class _Model(NamedTuple):
    """How to use a torchvision network as a backbone.

    Attributes:
        channels: of its last map.
        temporal_stride, spatial_stride: of its last map.
        classifier: name of the classifier, which is not part of the backbone.
        encode: (network, clip) -> input of ``to_map`` and ``to_vector``.
        to_map: -> (B, C, T, H, W).
        to_vector: -> (B, C), the input of the classifier.
    """

    channels: int
    temporal_stride: int
    spatial_stride: int
    classifier: str
    encode: Callable[[Any, Tensor], Any]
    to_map: Callable[[Any, Any], Tensor]
    to_vector: Callable[[Any, Any], Tensor]


def _encode_resnet(network: Any, clip: Tensor) -> Tensor:
    return network.layer4(network.layer3(network.layer2(network.layer1(network.stem(clip)))))


def _encode_s3d(network: Any, clip: Tensor) -> Tensor:
    # The last pool has no padding, so clips need at least 5 frames of 17x17 pixels. With 5, 6 or 7 frames, oneDNN
    # (torch 2.14, CPU) crashes or computes wrong gradients in the first temporal convolution (kernel 7, stride 2).
    if clip.shape[2] < 8 or min(clip.shape[3:]) < 17:
        raise UserError(f"s3d needs clips of at least 8 frames of 17x17 pixels, not {_clip_size(clip)}")
    return network.features(clip)


def _pool_s3d(network: Any, maps: Tensor) -> Tensor:
    if maps.shape[2] < 2 or min(maps.shape[3:]) < 7:
        raise UserError(
            "s3d needs at least 13 frames of 209x209 pixels to pool; use larger clips or MODEL.TORCHVISION.FEATURES map"
        )
    return network.avgpool(maps).mean(dim=(2, 3, 4))


def _encode_mvit(network: Any, clip: Tensor) -> tuple[Tensor, tuple[int, ...]]:
    # Positions are interpolated to the size of the clip; torchvision's own forward accepts only one size.
    patches = network.conv_proj(clip)
    size = tuple(patches.shape[2:])
    tokens = _with_positions(network.pos_encoding, patches)
    for block in network.blocks:
        tokens, size = block(tokens, size)
    return network.norm(tokens), size


def _with_positions(encoding: Any, patches: Tensor) -> Tensor:
    """Patches (B, C, T, H, W) as tokens (B, 1 + THW, C), the class token first."""
    if encoding.spatial_pos is None:  # relative positions are interpolated by the blocks
        return encoding(patches.flatten(2).transpose(1, 2))
    frames, *size = patches.shape[2:]
    in_time = F.interpolate(encoding.temporal_pos.T[None], frames, mode="linear")
    grid = encoding.spatial_pos.T.unflatten(1, encoding.spatial_size)
    in_space = F.interpolate(grid[None], size, mode="bilinear")
    tokens = (patches + in_time[:, :, :, None, None] + in_space[:, :, None]).flatten(2).transpose(1, 2)
    class_token = (encoding.class_token + encoding.class_pos).expand(len(tokens), 1, -1)
    return torch.cat([class_token.to(tokens), tokens], dim=1)


def _map_of_tokens(_: Any, encoded: tuple[Tensor, tuple[int, ...]]) -> Tensor:
    tokens, size = encoded
    return tokens[:, 1:].transpose(1, 2).unflatten(2, size)


def _class_token(_: Any, encoded: tuple[Tensor, tuple[int, ...]]) -> Tensor:
    return encoded[0][:, 0]


def _encode_swin(network: Any, clip: Tensor) -> Tensor:
    return network.norm(network.features(network.pos_drop(network.patch_embed(clip)))).permute(0, 4, 1, 2, 3)


def _same(_: Any, maps: Tensor) -> Tensor:
    return maps


def _mean(_: Any, maps: Tensor) -> Tensor:
    return maps.mean(dim=(2, 3, 4))


# Name in torchvision.models -> facts.
TORCHVISION_MODELS = {
    "r3d_18": _Model(512, 8, 16, "fc", _encode_resnet, _same, _mean),
    "r2plus1d_18": _Model(512, 8, 16, "fc", _encode_resnet, _same, _mean),
    "mc3_18": _Model(512, 1, 16, "fc", _encode_resnet, _same, _mean),
    "s3d": _Model(1024, 8, 32, "classifier", _encode_s3d, _same, _pool_s3d),
    "mvit_v1_b": _Model(768, 2, 32, "head", _encode_mvit, _map_of_tokens, _class_token),
    "mvit_v2_s": _Model(768, 2, 32, "head", _encode_mvit, _map_of_tokens, _class_token),
    "swin3d_t": _Model(768, 2, 32, "head", _encode_swin, _same, _mean),
    "swin3d_s": _Model(768, 2, 32, "head", _encode_swin, _same, _mean),
    "swin3d_b": _Model(1024, 2, 32, "head", _encode_swin, _same, _mean),
}

# A parameter that only one family has.
_FAMILIES = {
    "stem.3.weight": "R(2+1)D",
    "layer1.0.conv1.0.weight": "MC3 or R3D",
    "features.0.0.0.weight": "S3D",
    "pos_encoding.class_token": "MViT",
    "features.0.0.attn.relative_position_bias_table": "Swin3D",
}


@BACKBONE_REGISTRY.register()
class TorchvisionVideo(Backbone):
    """A video model of torchvision without its classifier: R3D, R(2+1)D, MC3, S3D, MViT or Swin3D.

    All accept clips of any size (S3D: at least 8 frames of 17x17 pixels). Maps have the size of the clip divided by the
    strides, rounded up (S3D: rounded down in the last step). Parameters have torchvision's names below ``network.``,
    and ``load_weights`` reads torchvision's files.

    Args:
        name: one of :data:`TORCHVISION_MODELS`.
        features: "map" or "pooled". The latter is the input of torchvision's own classifier as a map of one cell (the
            class token of MViT, S3D's sliding average, the mean for the others), for classification with torchvision's
            weights; ``spatial_stride`` is then 0.
        in_channels: of the clip; must be 3.

    Raises:
        UserError: an unknown name or kind of features, or the clip does not have 3 channels.
    """

    def __init__(self, name: str = "r2plus1d_18", features: str = "map", in_channels: int = 3) -> None:
        super().__init__()
        if name not in TORCHVISION_MODELS:
            raise UserError(
                f"MODEL.TORCHVISION.NAME is {name!r}, which is not a known video model"
                f"{nearest(name, TORCHVISION_MODELS)} (known: {', '.join(TORCHVISION_MODELS)})"
            )
        if features not in FEATURES:
            raise UserError(f"MODEL.TORCHVISION.FEATURES is {features!r}, but takes {' or '.join(FEATURES)}")
        if in_channels != 3:
            raise UserError(f"torchvision's {name} needs clips with 3 channels, not {in_channels}")
        facts = TORCHVISION_MODELS[name]
        self.name = name
        self.features = features
        self.network: Any = torchvision.models.get_model(name, weights=None)
        setattr(self.network, facts.classifier, nn.Identity())
        self.out_channels = (facts.channels,)
        is_map = features == "map"
        self.temporal_strides = (facts.temporal_stride if is_map else 0,)
        self.spatial_stride = facts.spatial_stride if is_map else 0

    @classmethod
    def from_config(cls, cfg: CfgNode) -> TorchvisionVideo:
        """Built from ``cfg.MODEL.TORCHVISION``."""
        node = cfg.MODEL.TORCHVISION
        return cls(name=node.NAME, features=node.FEATURES, in_channels=len(cfg.MODEL.PIXEL_MEAN))

    @classmethod
    def config_of(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        name = torchvision_model({key.removeprefix("network."): tensor for key, tensor in tensors.items()})
        return {"MODEL.TORCHVISION.NAME": name} if name else {}

    @classmethod
    def describe(cls, tensors: Mapping[str, Tensor]) -> str:
        return cls.config_of(tensors).get("MODEL.TORCHVISION.NAME", "")

    def forward(self, clip: Tensor) -> list[Tensor]:
        """(B, 3, T, H, W) -> [(B, ``out_channels[0]``, T', H', W')]; T', H' and W' are 1 for pooled features.

        Raises:
            UserError: the clip is too small for S3D.
        """
        facts = TORCHVISION_MODELS[self.name]
        encoded = facts.encode(self.network, clip)
        if self.features == "map":
            return [facts.to_map(self.network, encoded)]
        return [facts.to_vector(self.network, encoded)[:, :, None, None, None]]


def _clip_size(clip: Tensor) -> str:
    return f"{clip.shape[2]} of {clip.shape[3]}x{clip.shape[4]}"


def torchvision_family(names: Iterable[str]) -> str:
    """Which of torchvision's video networks has parameters of these names; ``""``: none."""
    return next((_FAMILIES[name] for name in names if name in _FAMILIES), "")


def torchvision_model(tensors: Mapping[str, Tensor]) -> str:
    """The name in ``torchvision.models`` of the network with these parameters; ``""``: none."""
    family = torchvision_family(tensors)
    if family == "MC3 or R3D":
        kernel = tensors.get("layer2.0.conv1.0.weight")
        return "r3d_18" if kernel is not None and kernel.shape[2] > 1 else "mc3_18"
    if family == "MViT":
        return "mvit_v1_b" if "pos_encoding.spatial_pos" in tensors else "mvit_v2_s"
    if family == "Swin3D":
        last = tensors.get("features.4.17.norm1.weight")
        return "swin3d_t" if last is None else "swin3d_s" if len(last) == 384 else "swin3d_b"
    return {"R(2+1)D": "r2plus1d_18", "S3D": "s3d"}.get(family, "")
