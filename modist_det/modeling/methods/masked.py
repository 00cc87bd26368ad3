"""``VideoMAE`` and ``MAEST``: a video transformer learns to predict the pixels or the motion of hidden patches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...core import COUNT, NOT_NEGATIVE, POSITIVE, CfgNode, Key, Limit, ListOf, add_section
from ...structures.samples import Features, Losses, PretrainingBatch
from ...utils.errors import UserError
from ..backbone import Backbone, VideoViT, build_backbone
from ..backbone.base import section_arguments
from ..backbone.positions import sinusoid_table
from ..backbone.transformer import Block, initialize
from ..clip_normalizer import ClipNormalizer
from ..registry import META_ARCH_REGISTRY
from .base import PretrainingMethod, Views, mean_features
from .motion_regression import motion_pyramid, standardized

__all__ = ["MAEST", "MaskedAutoencoder", "VideoMAE", "ViTAutoencoder", "patches", "random_mask", "tube_mask"]

_KEYS = {
    "MASK_RATIO": Key(0.9, Limit(0, 1, open_low=True, open_high=True)),
    "DECODER_DIM": Key(384, COUNT),
    "DECODER_DEPTH": Key(4, COUNT),
    "DECODER_HEADS": Key(0, NOT_NEGATIVE),  # 0: DECODER_DIM / 64
    "NORMALIZE_TARGET": True,  # by patch; False: pixels in [0, 1]
    "DECODER_EPS": Key(1e-6, POSITIVE),  # of the decoder's last layer norm; Hugging Face's has 1e-5
    # What is predicted of hidden patches; 0 leaves it out.
    "PIXEL_WEIGHT": Key(1.0, NOT_NEGATIVE),
    "MOTION_WEIGHT": Key(0.0, NOT_NEGATIVE),  # MOTION.KIND, such as flow edges
    "MOTION_CELLS": Key(2, COUNT),  # of a patch, in height and in width
    # Places are hidden in proportion to 1 + MOTION_FOCUS x (their motion / the mean motion of the clip's places).
    "MOTION_FOCUS": Key(0.0, NOT_NEGATIVE),
    # Of the motion maps after division by 255, one entry a channel, where nothing moves. The task sets it.
    "MOTION_MEAN": Key([0.0], ListOf(float)),
}
# For ViT-B. DECODER_DIM is 192 for S, 512 for L and 640 for H.
add_section("MODEL.VIDEO_MAE", _KEYS)
add_section("MODEL.MAE_ST", _KEYS, DECODER_DIM=Key(512, COUNT))


def patches(clip: Tensor, tubelet: int, patch: int) -> Tensor:
    """(B, C, T, H, W) -> the pixels of each patch (B, N, ``tubelet * patch ** 2``, C), by frame, row, column."""
    cells = clip.unflatten(4, (-1, patch)).unflatten(3, (-1, patch)).unflatten(2, (-1, tubelet))
    return cells.permute(0, 2, 4, 6, 3, 5, 7, 1).flatten(4, 6).flatten(1, 3)


def tube_mask(
    batch: int,
    steps: int,
    places: int,
    ratio: float,
    device: torch.device | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """VideoMAE's: the same ``int(ratio * places)`` random places are hidden (``True``) in each step; (B, N).

    Args:
        weights: as in :func:`random_mask`, of the places.
    """
    return random_mask(batch, places, int(ratio * places), device, weights).repeat(1, steps)


def random_mask(
    batch: int, count: int, hidden: int, device: torch.device | None = None, weights: Tensor | None = None
) -> Tensor:
    """``hidden`` of ``count`` tokens are hidden (``True``) in each row (B, ``count``).

    Args:
        weights: (B, ``count``), above 0: tokens are drawn one after the other without replacement, each with a
            probability proportional to its weight among those that are left. None: all are equal.
    """
    times = torch.rand(batch, count, device=device)
    if weights is not None:
        # The first ones to come, if each comes after an exponential time with its weight as the rate.
        times = -torch.log1p(-times) / weights
    return times.argsort(dim=1).argsort(dim=1) < hidden


class _Decoder(nn.Module):
    """Blocks, layer norm and linear layers for tokens, to which a table of positions is added if there is one.

    Args:
        head: predicts pixels.
        motion_head: predicts motion; its outputs follow those of ``head``.
    """

    def __init__(
        self, blocks: list[Block], norm: nn.LayerNorm, head: nn.Linear, motion_head: nn.Linear | None
    ) -> None:
        super().__init__()
        self.pos_embed: nn.Parameter | None = None
        self.blocks = nn.Sequential(*blocks)
        self.norm = norm
        self.head = head
        self.motion_head = motion_head

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.pos_embed is None else x + self.pos_embed
        x = self.norm(self.blocks(x))
        heads = [self.head] if self.motion_head is None else [self.head, self.motion_head]
        return torch.cat([head(x) for head in heads], dim=2)


class MaskedAutoencoder(PretrainingMethod):
    """Base: the backbone sees some parts of a clip, a small transformer predicts the pixels of the others.

    Args:
        backbone: encoder; its map are the features in evaluation.
        normalizer: uint8 -> clip.
        mask_ratio: share of hidden parts.
        clips_per_forward: number of clips that go through the backbone at once, in evaluation.

    Attributes:
        section: section of ``cfg.MODEL`` whose keys are the other arguments of the constructor.
    """

    section: ClassVar[str]

    def __init__(
        self, backbone: Backbone, normalizer: ClipNormalizer, mask_ratio: float, clips_per_forward: int
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.normalizer = normalizer
        self.mask_ratio = mask_ratio
        self.clips_per_forward = clips_per_forward

    @classmethod
    def from_config(cls, cfg: CfgNode) -> MaskedAutoencoder:
        """Built from ``cfg.MODEL``."""
        model = cfg.MODEL
        arguments: dict[str, Any] = {
            "backbone": build_backbone(cfg),
            "normalizer": ClipNormalizer(
                model.PIXEL_MEAN, model.PIXEL_STD, model.INPUT_FORMAT, model.CHANNELS_LAST
            ),
            "clips_per_forward": cfg.TEST.CLIPS_PER_FORWARD,
        }
        return cls(**arguments, **section_arguments(model[cls.section]))

    @classmethod
    def views(cls, cfg: CfgNode) -> Views:
        return Views(clips=1)

    def forward(self, batch: PretrainingBatch) -> Losses | list[Features]:
        """:meth:`losses` in training mode, features in evaluation mode."""
        if not self.training:
            features = mean_features(self.backbone, self.normalizer, batch["video"], self.clips_per_forward)
            return [{"features": row} for row in features]
        return self.losses(self.normalizer(batch["video"].flatten(0, 1)), batch)

    def losses(self, clip: Tensor, batch: PretrainingBatch) -> Losses:
        """``loss_pixels`` of normalized clips."""
        return {"loss_pixels": self.loss(clip, self.draw(clip))}

    def draw(self, clip: Tensor) -> Tensor:
        """A random choice of parts of normalized clips, bool (B, parts), as many in each row, for :meth:`loss`.

        Raises:
            UserError: clips of a size without such parts.
        """
        raise NotImplementedError

    def loss(self, clip: Tensor, parts: Tensor) -> Tensor:
        """Mean squared error over the hidden parts of normalized clips."""
        raise NotImplementedError


class ViTAutoencoder(MaskedAutoencoder):
    """Base: a :class:`.VideoViT` and a plain transformer that predicts the pixels of patches, their motion, or both.

    The motion of a patch is that of :func:`~.motion_regression.motion_pyramid` in its cells, from the motion maps of
    the clip, as deviations from the mean over all cells, clips and processes in units of the standard deviation.

    Args:
        backbone: without pooled norm.
        decoder_dim, decoder_depth, decoder_heads: of the decoder; 0 heads: ``decoder_dim`` / 64.
        normalize_target: predict pixels that are normalized by patch.
        decoder_eps: of the decoder's last layer norm.
        pixel_weight, motion_weight: of the two losses; 0 leaves one out.
        motion_cells: cells of a patch in height and in width.
        motion_focus: places are hidden in proportion to ``1 + motion_focus * motion / mean motion``, so that those with
            more motion than others of the clip are hidden more often. 0: all alike.
        motion_mean: (C,), value of the motion maps in [0, 1] where nothing moves.
        others: as in :class:`MaskedAutoencoder`.

    Raises:
        UserError: another backbone, or both weights are 0.
    """

    still: Tensor
    frames_predicted: int  # of each tubelet
    class_token: ClassVar[bool]  # of the backbone

    def __init__(
        self,
        backbone: VideoViT,
        normalizer: ClipNormalizer,
        mask_ratio: float = 0.9,
        decoder_dim: int = 384,
        decoder_depth: int = 4,
        decoder_heads: int = 0,
        normalize_target: bool = True,
        decoder_eps: float = 1e-6,
        clips_per_forward: int = 32,
        pixel_weight: float = 1.0,
        motion_weight: float = 0.0,
        motion_cells: int = 2,
        motion_focus: float = 0.0,
        motion_mean: Sequence[float] = (0.0,),
    ) -> None:
        super().__init__(backbone, normalizer, mask_ratio, clips_per_forward)
        name = type(self).__name__
        if not isinstance(backbone, VideoViT) or backbone.features != "map":
            raise UserError(f"{name} needs MODEL.BACKBONE.NAME VideoViT with FEATURES map")
        if (backbone.cls_token is not None) != self.class_token:
            raise UserError(f"{name} needs MODEL.VIDEO_VIT.CLASS_TOKEN {self.class_token}")
        self.backbone: VideoViT = backbone
        if not pixel_weight > 0 and not motion_weight > 0:
            raise UserError(
                f"MODEL.{self.section}.PIXEL_WEIGHT and MOTION_WEIGHT are both 0, so there is nothing to predict; "
                "set one above 0"
            )
        self.normalize_target = normalize_target
        self.pixel_weight, self.motion_weight = pixel_weight, motion_weight
        self.motion_cells, self.motion_focus = motion_cells, motion_focus
        self.register_buffer("still", torch.tensor(list(motion_mean)), persistent=False)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, decoder_dim))
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        self.encoder_to_decoder = nn.Linear(backbone.dim, decoder_dim, bias=self.section == "MAE_ST")
        heads = decoder_heads or max(decoder_dim // 64, 1)
        cells = motion_cells**2 * len(motion_mean)
        self.decoder = _Decoder(
            [Block(decoder_dim, heads, 4, backbone.qkv_bias, backbone.eps) for _ in range(decoder_depth)],
            nn.LayerNorm(decoder_dim, eps=decoder_eps),
            nn.Linear(decoder_dim, self.frames_predicted * backbone.patch**2 * len(normalizer.scale)),
            nn.Linear(decoder_dim, cells) if motion_weight > 0 else None,
        )
        for module in (self.decoder, self.encoder_to_decoder):
            initialize(module)
        if not pixel_weight > 0:
            self.decoder.head.requires_grad_(False)

    @classmethod
    def views(cls, cfg: CfgNode) -> Views:
        node = cfg.MODEL[cls.section]
        uses_motion = node.MOTION_WEIGHT > 0 or node.MOTION_FOCUS > 0
        if uses_motion and not cfg.MOTION.ENABLED:
            raise UserError(
                f"MOTION.ENABLED is False, but MODEL.{cls.section}.MOTION_WEIGHT or MOTION_FOCUS is above 0; to use "
                "only RGB, set both to 0"
            )
        return Views(clips=1, motion=uses_motion)

    @classmethod
    def complete_config(cls, cfg: CfgNode, motion_mean: Sequence[float]) -> None:
        cfg.MODEL[cls.section].MOTION_MEAN = list(motion_mean)

    def losses(self, clip: Tensor, batch: PretrainingBatch) -> Losses:
        """``loss_pixels`` and ``loss_motion``, mean squared errors over the hidden patches; and for the log
        ``explained``, 1 minus the motion's error in units of its variance over all patches, hidden or not."""
        maps = None
        if self.motion_weight > 0 or self.motion_focus > 0:
            maps = batch["motion"].to(clip.device, non_blocking=True).flatten(0, 1)
        parts = self.draw(clip, maps)
        pixels, motion = self._predict_parts(clip, parts)
        numbers = {}
        if self.pixel_weight > 0:
            wanted = self.target(clip)[parts].view_as(pixels)
            numbers["loss_pixels"] = self.pixel_weight * F.mse_loss(pixels, wanted)
        if self.motion_weight > 0 and maps is not None:
            error = F.mse_loss(motion, self.motion_target(clip, maps)[parts].view_as(motion))
            numbers["loss_motion"] = self.motion_weight * error
            numbers["explained"] = 1 - error.detach()
        return numbers

    def draw(self, clip: Tensor, maps: Tensor | None = None) -> Tensor:
        """The hidden patches, in the order time, row, column.

        Args:
            maps: motion maps uint8 (B, C, T', H, W) that the masks follow, if ``motion_focus`` is above 0.
        """
        backbone = self.backbone
        steps, rows, columns = backbone.grid_of(clip)
        whole = (steps * backbone.tubelet, rows * backbone.patch, columns * backbone.patch)
        if tuple(clip.shape[2:]) != whole:
            raise UserError(
                f"{type(self).__name__} needs clips of whole patches, not of {' x '.join(map(str, clip.shape[2:]))} "
                f"(frames x height x width): set INPUT.NUM_FRAMES to a multiple of {backbone.tubelet} and "
                f"INPUT.CROP_SIZE to one of {backbone.patch}"
            )
        weights = None
        if self.motion_focus > 0 and maps is not None:
            motion = motion_pyramid(maps, (steps, rows, columns), self.still)
            motion = motion.view(len(clip), -1, steps, rows * columns).mean(dim=1)
            mean = motion.mean(dim=(1, 2), keepdim=True).clamp(min=torch.finfo(motion.dtype).tiny)
            weights = 1 + self.motion_focus * motion / mean
        return self.mask(len(clip), steps, rows * columns, clip.device, weights)

    def mask(
        self, batch: int, steps: int, places: int, device: torch.device, weights: Tensor | None = None
    ) -> Tensor:
        """Random masks (B, N), ``True``: hidden; as many in each row.

        Args:
            weights: (B, steps, places), how often a patch is hidden in comparison with others; None: all alike.
        """
        raise NotImplementedError

    def predict(self, clip: Tensor, mask: Tensor) -> Tensor:
        """Normalized clips -> the values of the hidden patches (B, M, pixels and then motion cells), in the order time,
        row, column."""
        raise NotImplementedError

    def target(self, clip: Tensor) -> Tensor:
        """Normalized clips -> what is to be predicted of all patches (B, N, pixels)."""
        raise NotImplementedError

    def motion_target(self, clip: Tensor, maps: Tensor) -> Tensor:
        """What is to be predicted of the motion of all patches (B, N, cells).

        Args:
            clip: normalized.
            maps: its motion maps, uint8 (B, C, T', H, W).
        """
        steps, rows, columns = self.backbone.grid_of(clip)
        cells = self.motion_cells
        with torch.autocast(clip.device.type, enabled=False):
            grid = (steps, rows * cells, columns * cells)
            values = motion_pyramid(maps, grid, self.still).view(len(clip), -1, *grid)
            return patches(standardized(values, dims=(0, 1, 2, 3, 4)), 1, cells).flatten(2)

    def loss(self, clip: Tensor, parts: Tensor) -> Tensor:
        """Mean squared error over the pixels of the hidden patches of normalized clips."""
        predicted, _ = self._predict_parts(clip, parts)
        return F.mse_loss(predicted, self.target(clip)[parts].view_as(predicted))

    def _predict_parts(self, clip: Tensor, parts: Tensor) -> tuple[Tensor, Tensor]:
        """:meth:`predict`, pixels and motion apart, float32."""
        predicted = self.predict(clip, parts).float()
        if not predicted.numel():
            raise UserError(
                f"MODEL.{self.section}.MASK_RATIO {self.mask_ratio} hides no patch of a clip: set a larger one"
            )
        pixels = self.decoder.head.out_features
        return predicted[..., :pixels], predicted[..., pixels:]

    def pixels(self, clip: Tensor) -> Tensor:
        """Normalized clip -> pixels in [0, 1]."""
        return (clip.float() - self.normalizer.shift) / (255 * self.normalizer.scale)


@META_ARCH_REGISTRY.register()
class VideoMAE(ViTAutoencoder):
    """VideoMAE (Tong et al., NeurIPS 2022): tubes of patches are hidden; each color of a patch is normalized by itself.

    The layers are named as in VideoMAE's files, which ``load_weights`` fills completely.
    """

    section = "VIDEO_MAE"
    class_token = False

    @property
    def frames_predicted(self) -> int:  # type: ignore[override]
        return self.backbone.tubelet

    def mask(
        self, batch: int, steps: int, places: int, device: torch.device, weights: Tensor | None = None
    ) -> Tensor:
        of_places = None if weights is None else weights.mean(dim=1)
        return tube_mask(batch, steps, places, self.mask_ratio, device, of_places)

    def predict(self, clip: Tensor, mask: Tensor) -> Tensor:
        """The decoder sees the visible patches first, then those to be predicted."""
        visible, hidden = _indices(~mask), _indices(mask)
        x = self.encoder_to_decoder(self.backbone.tokens(clip, visible)[0])
        table = sinusoid_table(mask.shape[1], x.shape[2]).to(x)[0]
        x = torch.cat([x + table[visible], self.mask_token.to(x.dtype) + table[hidden]], dim=1)
        return self.decoder(x)[:, visible.shape[1] :]

    def target(self, clip: Tensor) -> Tensor:
        values = patches(self.pixels(clip), self.backbone.tubelet, self.backbone.patch)
        if self.normalize_target:
            deviation, mean = torch.std_mean(values, dim=2, keepdim=True)
            values = (values - mean) / (deviation + 1e-6)
        return values.flatten(2)


@META_ARCH_REGISTRY.register()
class MAEST(ViTAutoencoder):
    """MAE-ST (Feichtenhofer et al., NeurIPS 2022): any patches are hidden; a tubelet's first frame is predicted.

    Args:
        others: as in :class:`ViTAutoencoder`. The backbone has a class token.
    """

    section = "MAE_ST"
    frames_predicted = 1
    class_token = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        shape = (1, 1 + math.prod(self.backbone.grid), self.mask_token.shape[2])
        self.decoder.pos_embed = nn.Parameter(nn.init.trunc_normal_(torch.empty(shape), std=0.02))

    def mask(
        self, batch: int, steps: int, places: int, device: torch.device, weights: Tensor | None = None
    ) -> Tensor:
        count = steps * places
        of_patches = None if weights is None else weights.flatten(1)
        return random_mask(batch, count, count - int(count * (1 - self.mask_ratio)), device, of_patches)

    def predict(self, clip: Tensor, mask: Tensor) -> Tensor:
        visible, hidden = _indices(~mask), _indices(mask)
        x = self.encoder_to_decoder(self.backbone.tokens(clip, visible)[0])
        tokens = self.mask_token.to(x.dtype).expand(*mask.shape, -1)
        tokens = tokens.scatter(1, visible[:, :, None].expand(-1, -1, x.shape[2]), x[:, 1:])
        count = math.prod(self.backbone.grid)
        if count != mask.shape[1]:
            raise UserError(
                f"the decoder of MAEST has positions for {count} patches, but a clip has {mask.shape[1]}: set "
                "MODEL.VIDEO_VIT.NUM_FRAMES and IMAGE_SIZE to those of the clips"
            )
        predicted = self.decoder(torch.cat([x[:, :1], tokens], dim=1))[:, 1:]
        return predicted.gather(1, hidden[:, :, None].expand(-1, -1, predicted.shape[2]))

    def target(self, clip: Tensor) -> Tensor:
        values = patches(self.pixels(clip)[:, :, :: self.backbone.tubelet], 1, self.backbone.patch).flatten(2)
        if self.normalize_target:
            variance, mean = torch.var_mean(values, dim=2, keepdim=True)
            values = (values - mean) / (variance + 1e-6).sqrt()
        return values


def _indices(mask: Tensor) -> Tensor:
    """The places (B, M) that are ``True`` in each row, in order; as many in each row."""
    return mask.nonzero()[:, 1].view(len(mask), -1)
