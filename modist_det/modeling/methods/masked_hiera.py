"""``HieraMAE``: a Hiera learns to predict the pixels of hidden mask units."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...core import COUNT, Key, Limit, add_section
from ...utils.errors import UserError
from ..backbone import Backbone, Hiera
from ..backbone.hiera import HieraBlock
from ..clip_normalizer import ClipNormalizer
from ..registry import META_ARCH_REGISTRY
from .masked import MaskedAutoencoder, patches, random_mask

__all__ = ["HieraMAE"]

add_section(
    "MODEL.HIERA_MAE",
    MASK_RATIO=Key(0.9, Limit(0, 1, open_low=True, open_high=True)),  # 0.6 for images
    DECODER_DIM=Key(512, COUNT),
    DECODER_DEPTH=Key(8, COUNT),
    DECODER_HEADS=Key(16, COUNT),
)


@META_ARCH_REGISTRY.register()
class HieraMAE(MaskedAutoencoder):
    """Masked autoencoding of Hiera (Ryali et al., ICML 2023), with the names of the layers of its own files.

    The encoder sees some mask units of a clip; the maps of its stages are added at the resolution of the last one, and
    a small transformer predicts the first frame of each temporal stride in the hidden units. The encoder's last norm
    (``encoder_norm`` in files) is the backbone's.

    Args:
        backbone: a Hiera with ``features="map"``, all stages and two pooling steps (``q_pool=2``).
        normalizer: uint8 -> clip.
        mask_ratio: share of hidden units.
        decoder_dim, decoder_depth, decoder_heads: of the decoder.
        clips_per_forward: number of clips that go through the backbone at once, in evaluation.

    Raises:
        UserError: another backbone, or one whose mask units are not those of its pooling.
    """

    section = "HIERA_MAE"

    def __init__(
        self,
        backbone: Backbone,
        normalizer: ClipNormalizer,
        mask_ratio: float = 0.9,
        decoder_dim: int = 512,
        decoder_depth: int = 8,
        decoder_heads: int = 16,
        clips_per_forward: int = 32,
    ) -> None:
        super().__init__(backbone, normalizer, mask_ratio, clips_per_forward)
        if not isinstance(backbone, Hiera) or backbone.features != "map":
            raise UserError("HieraMAE needs MODEL.BACKBONE.NAME Hiera with FEATURES map")
        unit = tuple(stride**backbone.levels for stride in backbone.q_stride)
        if backbone.mask_unit_size != unit or len(backbone.stage_ends) != backbone.levels + 1:
            raise UserError(
                f"HieraMAE needs all stages of a Hiera (MODEL.HIERA.MAP_STAGE) and mask units of {list(unit)} tokens"
            )
        self.backbone: Hiera = backbone
        pools = backbone.q_pool
        # Tokens of a unit at the end, of the clip at the end, and pixels of a token there.
        self.last_unit = tuple(n // s**pools for n, s in zip(unit, backbone.q_stride, strict=True))
        self.last_grid = tuple(n // s**pools for n, s in zip(backbone.grid, backbone.q_stride, strict=True))
        self.patch = backbone.patch_stride[-1] * backbone.q_stride[-1] ** pools
        width = backbone.out_channels[0]
        heads: list[nn.Module] = []
        for stage in range(pools):
            kernel = [s ** (pools - stage) for s in backbone.q_stride]
            channels = width // 2 ** (backbone.levels - stage)
            heads.append(nn.Conv3d(channels, width, (kernel[0], kernel[1], kernel[2]), stride=tuple(kernel)))
        self.multi_scale_fusion_heads = nn.ModuleList([*heads, nn.Identity()])
        self.decoder_embed = nn.Linear(width, decoder_dim)
        self.mask_token = nn.Parameter(torch.empty(1, 1, decoder_dim))
        self.decoder_pos_embed = nn.Parameter(torch.empty(1, math.prod(self.last_grid), decoder_dim))
        self.decoder_blocks = nn.ModuleList(
            HieraBlock(decoder_dim, decoder_dim, decoder_heads) for _ in range(decoder_depth)
        )
        self.decoder_norm = nn.LayerNorm(decoder_dim, eps=1e-6)
        self.decoder_pred = nn.Linear(decoder_dim, self.patch**2 * len(normalizer.scale))
        for table in (self.mask_token, self.decoder_pos_embed):
            nn.init.trunc_normal_(table, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
            if isinstance(module, (nn.Linear, nn.LayerNorm)) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def draw(self, clip: Tensor) -> Tensor:
        """The units that are seen."""
        backbone = self.backbone
        size = [n * s for n, s in zip(backbone.grid, backbone.patch_stride, strict=True)]
        if list(clip.shape[2:]) != size:
            raise UserError(
                f"HieraMAE needs clips of {' x '.join(map(str, size))} (frames x height x width), as in "
                f"MODEL.HIERA.INPUT_SIZE, not of {' x '.join(map(str, clip.shape[2:]))}: set INPUT.NUM_FRAMES and "
                "CROP_SIZE to these"
            )
        units = math.prod(self._units())
        hidden = units - int(units * (1 - self.mask_ratio))
        return ~random_mask(len(clip), units, hidden, clip.device)

    def encode(self, clip: Tensor, kept: Tensor) -> Tensor:
        """The fused maps of the kept units (B, K, t, h, w, C), normalized.

        Args:
            clip: normalized, of the size of the backbone's positions.
            kept: (B, U), ``True`` for the units that are seen, as many in each row.
        """
        backbone = self.backbone
        batch, units = kept.shape
        shown = F.interpolate(kept.view(batch, 1, *self._units()).to(clip.dtype), size=clip.shape[2:])
        tokens, _ = backbone.embed(clip * shown)
        of_units = (
            tokens.unflatten(1, (-1, units))
            .transpose(1, 2)[kept]
            .view(batch, -1, *_unit_shape(tokens, units))
        )
        count = of_units.shape[1]
        ends = backbone.run_blocks(of_units.transpose(1, 2).flatten(1, 2), count)
        # The kept units follow each other in time: each is a short clip.
        grid = [count * backbone.mask_unit_size[0], *backbone.mask_unit_size[1:]]
        fused: Tensor | float = 0.0
        stages = [*range(backbone.q_pool), backbone.levels]
        for head, stage in zip(self.multi_scale_fusion_heads, stages, strict=True):
            fused = fused + head(backbone.in_space(ends[stage], stage, grid))
        assert isinstance(fused, Tensor)
        return backbone.norm(fused.movedim(1, -1)).unflatten(1, (count, -1))

    def predict(self, clip: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Predicted pixels of all patches (B, N, pixels), by time, row and column; and which are hidden (B, N)."""
        seen = self.decoder_embed(self.encode(clip, kept))
        tokens = self.mask_token.view(1, 1, 1, 1, 1, -1).to(seen.dtype)
        tokens = tokens.repeat(*kept.shape, *self.last_unit, 1)
        tokens[kept] = seen.flatten(0, 1)
        hidden = ~kept[:, :, None, None, None, None].expand(-1, -1, *self.last_unit, 1)
        x = self._in_space(tokens) + self.decoder_pos_embed
        for block in self.decoder_blocks:
            x = block(x, 1)
        return self.decoder_pred(self.decoder_norm(x)), self._in_space(hidden)[..., 0]

    def target(self, clip: Tensor) -> Tensor:
        """What is to be predicted of all patches (B, N, pixels): each patch normalized over all of its values."""
        values = patches(clip[:, :, :: self.backbone.patch_stride[0]], 1, self.patch)
        if self.backbone.patch_stride[0] == 1:  # Hiera's networks for images have colors first
            values = values.transpose(2, 3)
        values = values.flatten(2)
        variance, mean = torch.var_mean(values, dim=2, keepdim=True)
        return (values - mean) / (variance + 1e-6).sqrt()

    def loss(self, clip: Tensor, parts: Tensor) -> Tensor:
        """Mean squared error over the patches of units that are not seen."""
        predicted, hidden = self.predict(clip, parts)
        return F.mse_loss(predicted[hidden].float(), self.target(clip)[hidden].float())

    def _units(self) -> list[int]:
        """Number of mask units of a clip in time and space."""
        return [n // m for n, m in zip(self.backbone.grid, self.backbone.mask_unit_size, strict=True)]

    def _in_space(self, of_units: Tensor) -> Tensor:
        """(B, U, t, h, w, C) -> (B, N, C) by time, row and column of the clip."""
        apart = of_units.unflatten(1, self._units())
        return apart.permute(0, 1, 4, 2, 5, 3, 6, 7).flatten(1, 6)


def _unit_shape(tokens: Tensor, units: int) -> tuple[int, int]:
    """Tokens of a unit, channels."""
    return tokens.shape[1] // units, tokens.shape[2]
