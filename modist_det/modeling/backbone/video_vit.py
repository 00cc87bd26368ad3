"""``VideoViT``: plain video transformers (VideoMAE, VideoMAE v2, MVD, UMT, MAE-ST, V-JEPA 1 and 2)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...core import COUNT, NOT_NEGATIVE, POSITIVE, SHARE, CfgNode, Key, add_section
from ...utils.errors import UserError
from ..registry import BACKBONE_REGISTRY
from .base import Backbone, section_arguments
from .multiscale import drop_rates, interpolate_positions, pad_clip, run_block
from .positions import Grid, resize_volume, rotary, sincos_table, sinusoid_table, umt_table
from .transformer import QKV_BIASES, Block, initialize

__all__ = ["FEATURES", "NORMS", "POSITIONS", "VIDEO_VITS", "VideoViT"]

POSITIONS = ("sinusoid", "learned", "sincos", "separable", "rotary")
NORMS = ("tokens", "pooled", "none")
FEATURES = ("map", "mean", "first")

# The defaults are those of VideoMAE's ViT-B in a detector.
add_section(
    "MODEL.VIDEO_VIT",
    DIM=Key(768, COUNT),
    DEPTH=Key(12, COUNT),
    HEADS=Key(0, NOT_NEGATIVE),  # 0: the published number for DIM
    MLP_RATIO=Key(4.0, POSITIVE),
    PATCH=Key(16, COUNT),
    TUBELET=Key(2, COUNT),
    POSITIONS="sinusoid",  # "learned" (UMT), "sincos" (V-JEPA 1), "separable" (MAE-ST), "rotary" (V-JEPA 2)
    NUM_FRAMES=Key(16, COUNT),  # of the position table; other clips get an interpolated one
    IMAGE_SIZE=Key(224, COUNT),
    QKV_BIAS="qv",  # "full": V-JEPA, MAE-ST; "none"
    CLASS_TOKEN=False,
    NORM="tokens",  # "pooled": of the mean, in classifiers of VideoMAE, UMT and MAE-ST; "none"
    FEATURES="map",  # "mean" or "first": one vector for the clip
    EPS=Key(1e-6, POSITIVE),  # of layer norms; Hugging Face's VideoMAE has 1e-12
    POOLED_EPS=Key(1e-6, POSITIVE),  # of NORM "pooled"; Hugging Face's has 1e-5
    LAYER_SCALE=Key(0.0, NOT_NEGATIVE),
    DROP_PATH=Key(0.0, SHARE),
    CHECKPOINTING=False,  # less memory in training: activations are computed again for the backward pass
)

# Constructor arguments of the published sizes.
VIDEO_VITS: dict[str, dict[str, Any]] = {
    "S": {"dim": 384, "depth": 12, "heads": 6},
    "B": {"dim": 768, "depth": 12, "heads": 12},
    "L": {"dim": 1024, "depth": 24, "heads": 16},
    "H": {"dim": 1280, "depth": 32, "heads": 16},
    "g": {"dim": 1408, "depth": 40, "heads": 16, "mlp_ratio": 48 / 11},  # 22 heads in V-JEPA 2
}
_NATIVE_SIDE = 14  # cells of 224 pixels with patches of 16


@BACKBONE_REGISTRY.register()
class VideoViT(Backbone):
    """A transformer on tubelets of a clip, with a feature map, or one vector, of the last block's tokens.

    Clips of any size: they are padded with zeros (the mean color) on the right and at the bottom to whole patches, and
    positions are interpolated as the family does it. A clip shorter than a tubelet is repeated. Layers are
    named as in VideoMAE: ``patch_embed.proj``, ``blocks.I.attn.qkv``, ..., ``norm`` or ``fc_norm``.

    Args:
        dim, depth, heads, mlp_ratio: of the blocks; 0 ``heads``: the published number (``dim`` / 64, but 16 for H and
            VideoMAE's g).
        patch, tubelet: pixels and frames of a token.
        positions: "sinusoid": a fixed table over one running index, resized within each step (VideoMAE, MVD);
            "learned": a parameter, resized in time, then in space (UMT); "sincos": a fixed table in the checkpoint,
            resized trilinearly (V-JEPA 1); "separable": one parameter for steps, one for places, resized trilinearly
            (MAE-ST); "rotary": queries and keys are rotated (V-JEPA 2).
        num_frames, image_size: of the clips for which the position table is made.
        qkv_bias: see :class:`~.transformer.Attention`.
        class_token: a learned token before the others.
        norm: layer norm of all tokens ("tokens"), of their mean ("pooled"), or none.
        features: "map"; "mean" of the patch tokens; "first": the class token, or else the first patch.
        eps: of the layer norms of blocks and tokens.
        pooled_eps: of the norm "pooled".
        layer_scale: see :class:`~.transformer.Block`; 0: none.
        drop_path: rate of the last block; it rises linearly from 0.
        checkpointing: see :func:`~.multiscale.run_block`.

    Raises:
        UserError: an unknown word, heads that do not divide the width, or settings that contradict each other.
    """

    untraced_keys = tuple(
        f"MODEL.VIDEO_VIT.{key}"
        for key in ("HEADS", "POSITIONS", "EPS", "POOLED_EPS", "IMAGE_SIZE", "FEATURES")
    )

    pos_table: Tensor
    pos_embed: Tensor

    def __init__(
        self,
        dim: int = 768,
        depth: int = 12,
        heads: int = 0,
        mlp_ratio: float = 4.0,
        patch: int = 16,
        tubelet: int = 2,
        positions: str = "sinusoid",
        num_frames: int = 16,
        image_size: int = 224,
        qkv_bias: str = "qv",
        class_token: bool = False,
        norm: str = "tokens",
        features: str = "map",
        eps: float = 1e-6,
        pooled_eps: float = 1e-6,
        layer_scale: float = 0.0,
        drop_path: float = 0.0,
        checkpointing: bool = False,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        _check("POSITIONS", positions, POSITIONS)
        _check("QKV_BIAS", qkv_bias, QKV_BIASES)
        _check("NORM", norm, NORMS)
        _check("FEATURES", features, FEATURES)
        if norm == "pooled" and features != "mean":
            raise UserError(
                f"MODEL.VIDEO_VIT.NORM pooled is for FEATURES mean, not {features}: set NORM tokens, or FEATURES mean"
            )
        if positions == "rotary" and class_token:
            raise UserError(
                "MODEL.VIDEO_VIT.POSITIONS rotary has no place for a class token: set CLASS_TOKEN False"
            )
        heads = heads or (16 if dim == 1280 or (dim == 1408 and positions != "rotary") else max(dim // 64, 1))
        if positions == "rotary" and dim // heads % 2:
            raise UserError(
                f"MODEL.VIDEO_VIT.POSITIONS rotary needs an even width of heads, not {dim // heads}"
            )
        self.dim = dim
        self.heads = heads
        self.patch = patch
        self.tubelet = tubelet
        self.positions = positions
        self.image_size = image_size
        self.qkv_bias = qkv_bias
        self.eps = eps
        self.pooled_eps = pooled_eps if norm == "pooled" else None
        self.features = features
        self.checkpointing = checkpointing
        side = max(image_size // patch, 1)
        self.grid: Grid = (max(num_frames // tubelet, 1), side, side)

        size = (tubelet, patch, patch)
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv3d(in_channels, dim, size, size)})
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim)) if class_token else None
        self._make_positions()
        rates = drop_rates(drop_path, depth)
        self.blocks = nn.ModuleList(
            Block(dim, heads, mlp_ratio, qkv_bias, eps, rate, layer_scale) for rate in rates
        )
        self.norm = nn.LayerNorm(dim, eps=eps) if norm == "tokens" else None
        self.fc_norm = nn.LayerNorm(dim, eps=pooled_eps) if norm == "pooled" else None
        initialize(self)

        self.out_channels = (dim,)
        self.temporal_strides = (tubelet if features == "map" else 0,)
        self.spatial_stride = patch if features == "map" else 0

    def _make_positions(self) -> None:
        steps, rows, columns = self.grid
        if self.positions == "sinusoid":
            self.register_buffer(
                "pos_table", sinusoid_table(math.prod(self.grid), self.dim), persistent=False
            )
        elif self.positions == "learned":
            self.pos_embed = nn.Parameter(umt_table(self.grid, self.dim, self.patch))
        elif self.positions == "sincos":
            self.register_buffer("pos_embed", sincos_table(self.grid, self.dim))
        elif self.positions == "separable":
            self.pos_embed_spatial = nn.Parameter(torch.zeros(1, rows * columns, self.dim))
            self.pos_embed_temporal = nn.Parameter(torch.zeros(1, steps, self.dim))
            for table in (self.pos_embed_spatial, self.pos_embed_temporal):
                nn.init.trunc_normal_(table, std=0.02)
            if self.cls_token is not None:
                self.pos_embed_class = nn.Parameter(torch.zeros(1, 1, self.dim))

    @classmethod
    def from_config(cls, cfg: CfgNode) -> VideoViT:
        """Built from ``cfg.MODEL.VIDEO_VIT``, with as many input channels as ``MODEL.PIXEL_MEAN``."""
        return cls(in_channels=len(cfg.MODEL.PIXEL_MEAN), **section_arguments(cfg.MODEL.VIDEO_VIT))

    @classmethod
    def preset(cls, size: str, **arguments: Any) -> VideoViT:
        """A published size, "S", "B", "L", "H" or "g", with other ``arguments`` of the constructor."""
        _check("preset", size, VIDEO_VITS)
        return cls(**VIDEO_VITS[size] | arguments)

    @classmethod
    def config_of(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        kernel = tensors.get("patch_embed.proj.weight")
        depth = len({name.split(".")[1] for name in tensors if name.startswith("blocks.")})
        last = f"blocks.{depth - 1}."
        qkv, hidden = tensors.get(f"{last}attn.qkv.weight"), tensors.get(f"{last}mlp.fc1.weight")
        if kernel is None or kernel.dim() != 5 or qkv is None or hidden is None or not kernel.numel():
            return {}
        dim, _, tubelet, patch, _ = kernel.shape
        if qkv.shape != (3 * dim, dim) or f"{last}attn.norm_k.weight" in tensors or patch == 7:
            return {}  # MViT or Hiera
        full = f"{last}attn.qkv.bias" in tensors
        keys: dict[str, Any] = {
            "DIM": dim,
            "DEPTH": depth,
            "MLP_RATIO": hidden.shape[0] / dim,
            "PATCH": patch,
            "TUBELET": tubelet,
            "QKV_BIAS": "full" if full else "qv" if f"{last}attn.q_bias" in tensors else "none",
            "CLASS_TOKEN": "cls_token" in tensors,
            "NORM": "tokens"
            if "norm.weight" in tensors
            else "pooled"
            if "fc_norm.weight" in tensors
            else "none",
            "POSITIONS": "rotary" if full else "sinusoid",
        }
        if keys["NORM"] == "pooled":
            keys["FEATURES"] = "mean"
        if f"{last}gamma_1" in tensors:
            keys["LAYER_SCALE"] = 1.0
        table = tensors.get("pos_embed")
        # V-JEPA 2's files may contain a table that is of no use, V-JEPA 1's one of sines and cosines.
        of_rotary = table is not None and full and not table.is_meta and bool(table.abs().max() > 1.01)
        if table is not None and not of_rotary:
            grid = _likely_grid(table.shape[1])
            keys |= {"POSITIONS": "sincos" if full else "learned"} | _table_size(grid, tubelet, patch)
        elif "pos_embed_spatial" in tensors and "pos_embed_temporal" in tensors:
            side = math.isqrt(tensors["pos_embed_spatial"].shape[1])
            grid = (tensors["pos_embed_temporal"].shape[1], side, side)
            keys |= {"POSITIONS": "separable"} | _table_size(grid, tubelet, patch)
        return {f"MODEL.VIDEO_VIT.{key}": value for key, value in keys.items()}

    @classmethod
    def describe(cls, tensors: Mapping[str, Tensor]) -> str:
        return super().describe(tensors).lower()

    def adapt(self, tensors: dict[str, Tensor]) -> list[tuple[str, str]]:
        changes = []
        table = tensors.get("pos_embed")
        if self.positions in ("rotary", "sinusoid") and table is not None:
            del tensors["pos_embed"]
            changes.append(("pos_embed", "the network computes its positions itself"))
        elif self.positions in ("learned", "sincos") and table is not None:
            changes += self._resize(tensors, "pos_embed", self.grid)
        elif self.positions == "separable":
            steps, rows, columns = self.grid
            changes += self._resize(tensors, "pos_embed_temporal", (steps, 1, 1))
            changes += self._resize(tensors, "pos_embed_spatial", (1, rows, columns))
        return changes + self._adapt_norm(tensors)

    def _resize(self, tensors: dict[str, Tensor], name: str, new: Grid) -> list[tuple[str, str]]:
        table = tensors.get(name)
        if table is None or table.dim() != 3 or not table.numel() or table.shape[1] == math.prod(new):
            return []
        count = table.shape[1]
        side = math.isqrt(count)
        if new[1:] == (1, 1):
            old: Grid = (count, 1, 1)
        elif name == "pos_embed_spatial" and side * side == count:
            old = (1, side, side)
        else:
            old = _likely_grid(count)
        resize = interpolate_positions if self.positions == "learned" else resize_volume
        tensors[name] = resize(table.float(), old, new).to(table.dtype)
        sizes = ["x".join(map(str, grid)) for grid in (old, new)]
        return [(name, f"positions resized from {sizes[0]} (steps x rows x columns) to {sizes[1]}")]

    def _adapt_norm(self, tensors: dict[str, Tensor]) -> list[tuple[str, str]]:
        """The file may have another last norm: of the tokens in detectors, of their mean in classifiers."""
        ours, theirs = ("norm", "fc_norm") if self.norm is not None else ("fc_norm", "norm")
        layer = getattr(self, ours)
        changes: list[tuple[str, str]] = []
        if layer is None or f"{ours}.weight" in tensors:
            return changes
        for kind, value in layer.state_dict().items():
            other = tensors.pop(f"{theirs}.{kind}", None)
            if other is not None and "pos_embed_spatial" in tensors:
                tensors[f"{ours}.{kind}"] = other
                changes.append((f"{ours}.{kind}", f"the file's {theirs}: MAE-ST has one name for both"))
                continue
            if other is not None:
                changes.append((f"{theirs}.{kind}", f"the model has {ours} in its place"))
            tensors[f"{ours}.{kind}"] = value
            changes.append((f"{ours}.{kind}", "not in the file: starts anew"))
        return changes

    def forward(self, clip: Tensor) -> list[Tensor]:
        """(B, C, T, H, W) -> [(B, ``dim``, T / tubelet, H', W')]; T', H' and W' are 1 for features of the whole clip.

        Raises:
            UserError: the tubelet does not divide the number of frames.
        """
        clip = self._padded(clip)
        tokens = self._encode(clip)[-1]
        if self.norm is not None:
            tokens = self.norm(tokens)
        if self.features == "first":
            return [tokens[:, 0, :, None, None, None]]
        if self.cls_token is not None:
            tokens = tokens[:, 1:]
        if self.features == "map":
            return [tokens.transpose(1, 2).unflatten(2, self.grid_of(clip))]
        mean = tokens.mean(dim=1)
        return [(mean if self.fc_norm is None else self.fc_norm(mean))[:, :, None, None, None]]

    def tokens(self, clip: Tensor, keep: Tensor | None = None, blocks: Sequence[int] = (-1,)) -> list[Tensor]:
        """The tokens after some ``blocks``, each with the last norm: (B, N, ``dim``), the class token first.

        Args:
            keep: int64 (B, N'): the patches that enter the transformer, as indices in the order time, row, column, in
                the order that the tokens shall have; they keep their positions. ``None``: all.
        """
        outputs = self._encode(self._padded(clip), keep)
        chosen = [outputs[block] for block in blocks]
        return chosen if self.norm is None else [self.norm(tokens) for tokens in chosen]

    def _padded(self, clip: Tensor) -> Tensor:
        if clip.shape[2] < self.tubelet and self.tubelet % clip.shape[2] == 0:
            clip = clip.repeat(1, 1, self.tubelet // clip.shape[2], 1, 1)
        if clip.shape[2] % self.tubelet:
            raise UserError(
                f"a clip of {clip.shape[2]} frames is not divided by the tubelets of {self.tubelet} frames; set "
                f"INPUT.NUM_FRAMES to a multiple of {self.tubelet}"
            )
        return pad_clip(clip, (self.tubelet, self.patch, self.patch))

    def grid_of(self, clip: Tensor) -> Grid:
        """Steps, rows and columns of the tokens of a clip of whole patches."""
        frames, height, width = clip.shape[2:]
        return frames // self.tubelet, height // self.patch, width // self.patch

    def _encode(self, clip: Tensor, keep: Tensor | None = None) -> list[Tensor]:
        """The output of each block, without norm."""
        grid = self.grid_of(clip)
        x = self.patch_embed["proj"](clip).flatten(2).transpose(1, 2)
        turn: Callable[[Tensor], Tensor] | None = None
        if self.positions == "rotary":
            turn = rotary(grid, self.dim // self.heads, x, keep)
        else:
            x = x + self.position_table(grid).to(x.dtype)
        if keep is not None:
            x = x.gather(1, keep[:, :, None].expand(-1, -1, self.dim))
        if self.cls_token is not None:
            first = self.cls_token + getattr(self, "pos_embed_class", 0)
            x = torch.cat([first.expand(len(x), 1, -1).to(x.dtype), x], dim=1)
        outputs = []
        for block in self.blocks:
            x = run_block(block, x, turn, checkpointing=self.checkpointing and self.training)
            outputs.append(x)
        return outputs

    def position_table(self, grid: Grid) -> Tensor:
        """The table (1, N, ``dim``) for a grid of steps, rows and columns of patches."""
        steps, *size = self.grid
        if self.positions == "separable":
            table = self.pos_embed_temporal[:, :, None] + self.pos_embed_spatial[:, None]
            return resize_volume(table.flatten(1, 2), self.grid, grid)
        if self.positions == "learned":
            return interpolate_positions(self.pos_embed, self.grid, grid)
        places = size[0] * size[1]
        if self.positions == "sincos":
            if grid[0] <= steps and grid[1:] == tuple(size):
                return self.pos_embed[:, : grid[0] * places]
            return resize_volume(self.pos_embed, self.grid, grid)
        table = self.pos_table[:, : grid[0] * places]
        if grid[0] > steps:
            table = sinusoid_table(grid[0] * places, self.dim).to(table)
        return interpolate_positions(table, (grid[0], size[0], size[1]), grid)


def _check(key: str, value: str, known: Sequence[str] | Mapping[str, Any]) -> None:
    if value not in known:
        raise UserError(f"MODEL.VIDEO_VIT.{key} is {value!r}; known: {', '.join(known)}")


def _likely_grid(count: int) -> Grid:
    """A table of ``count`` places does not say how many steps it has: the native size, or else a square."""
    native = _NATIVE_SIDE**2
    if count % native == 0:
        return count // native, _NATIVE_SIDE, _NATIVE_SIDE
    for steps in (8, 16, 32, 4, 2, 1):
        side = math.isqrt(count // steps)
        if steps * side * side == count:
            return steps, side, side
    return 1, 1, count


def _table_size(grid: Grid, tubelet: int, patch: int) -> dict[str, Any]:
    return {"NUM_FRAMES": grid[0] * tubelet, "IMAGE_SIZE": grid[1] * patch}
