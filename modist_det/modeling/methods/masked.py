"""``VideoMAE`` and ``MAEST``: a video transformer learns to predict the pixels of hidden patches."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...core import COUNT, NOT_NEGATIVE, POSITIVE, CfgNode, Key, Limit, add_section
from ...structures.samples import Features, Losses, PretrainingBatch
from ...utils.errors import UserError
from ..backbone import Backbone, VideoViT, build_backbone
from ..backbone.base import section_arguments
from ..backbone.positions import sinusoid_table
from ..backbone.transformer import Block, initialize
from ..clip_normalizer import ClipNormalizer
from ..registry import META_ARCH_REGISTRY
from .base import PretrainingMethod, Views, mean_features

__all__ = ["MAEST", "MaskedAutoencoder", "VideoMAE", "ViTAutoencoder", "patches", "random_mask", "tube_mask"]

_KEYS = {
    "MASK_RATIO": Key(0.9, Limit(0, 1, open_low=True, open_high=True)),
    "DECODER_DIM": Key(384, COUNT),
    "DECODER_DEPTH": Key(4, COUNT),
    "DECODER_HEADS": Key(0, NOT_NEGATIVE),  # 0: DECODER_DIM / 64
    "NORMALIZE_TARGET": True,  # by patch; False: pixels in [0, 1]
    "DECODER_EPS": Key(1e-6, POSITIVE),  # of the decoder's last layer norm; Hugging Face's has 1e-5
}
# For ViT-B. DECODER_DIM is 192 for S, 512 for L and 640 for H.
add_section("MODEL.VIDEO_MAE", _KEYS)
add_section("MODEL.MAE_ST", _KEYS, DECODER_DIM=Key(512, COUNT))


def patches(clip: Tensor, tubelet: int, patch: int) -> Tensor:
    """(B, C, T, H, W) -> the pixels of each patch (B, N, ``tubelet * patch ** 2``, C), by frame, row, column."""
    cells = clip.unflatten(4, (-1, patch)).unflatten(3, (-1, patch)).unflatten(2, (-1, tubelet))
    return cells.permute(0, 2, 4, 6, 3, 5, 7, 1).flatten(4, 6).flatten(1, 3)


def tube_mask(
    batch: int, steps: int, places: int, ratio: float, device: torch.device | None = None
) -> Tensor:
    """VideoMAE's: the same ``int(ratio * places)`` random places are hidden (``True``) in each step; (B, N)."""
    return random_mask(batch, places, int(ratio * places), device).repeat(1, steps)


def random_mask(batch: int, count: int, hidden: int, device: torch.device | None = None) -> Tensor:
    """``hidden`` of ``count`` tokens are hidden (``True``) in each row (B, ``count``)."""
    order = torch.rand(batch, count, device=device).argsort(dim=1)
    return order.argsort(dim=1) < hidden


class _Decoder(nn.Module):
    """Blocks, layer norm and linear layer for tokens, to which a table of positions is added if there is one."""

    def __init__(self, blocks: list[Block], norm: nn.LayerNorm, head: nn.Linear) -> None:
        super().__init__()
        self.pos_embed: nn.Parameter | None = None
        self.blocks = nn.Sequential(*blocks)
        self.norm = norm
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.pos_embed is None else x + self.pos_embed
        return self.head(self.norm(self.blocks(x)))


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
        """``{"loss_pixels": ...}`` in training mode, features in evaluation mode."""
        if not self.training:
            features = mean_features(self.backbone, self.normalizer, batch["video"], self.clips_per_forward)
            return [{"features": row} for row in features]
        clip = self.normalizer(batch["video"].flatten(0, 1))
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
    """Base: a :class:`.VideoViT` and a plain transformer that predicts the pixels of patches.

    Args:
        backbone: without pooled norm.
        decoder_dim, decoder_depth, decoder_heads: of the decoder; 0 heads: ``decoder_dim`` / 64.
        normalize_target: predict pixels that are normalized by patch.
        decoder_eps: of the decoder's last layer norm.
        others: as in :class:`MaskedAutoencoder`.
    """

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
    ) -> None:
        super().__init__(backbone, normalizer, mask_ratio, clips_per_forward)
        name = type(self).__name__
        if not isinstance(backbone, VideoViT) or backbone.features != "map":
            raise UserError(f"{name} needs MODEL.BACKBONE.NAME VideoViT with FEATURES map")
        if (backbone.cls_token is not None) != self.class_token:
            raise UserError(f"{name} needs MODEL.VIDEO_VIT.CLASS_TOKEN {self.class_token}")
        self.backbone: VideoViT = backbone
        self.normalize_target = normalize_target
        self.mask_token = nn.Parameter(torch.zeros(1, 1, decoder_dim))
        nn.init.trunc_normal_(self.mask_token, std=0.02)
        self.encoder_to_decoder = nn.Linear(backbone.dim, decoder_dim, bias=self.section == "MAE_ST")
        heads = decoder_heads or max(decoder_dim // 64, 1)
        self.decoder = _Decoder(
            [Block(decoder_dim, heads, 4, backbone.qkv_bias, backbone.eps) for _ in range(decoder_depth)],
            nn.LayerNorm(decoder_dim, eps=decoder_eps),
            nn.Linear(decoder_dim, self.frames_predicted * backbone.patch**2 * len(normalizer.scale)),
        )
        for module in (self.decoder, self.encoder_to_decoder):
            initialize(module)

    def draw(self, clip: Tensor) -> Tensor:
        """The hidden patches, in the order time, row, column."""
        backbone = self.backbone
        steps, rows, columns = backbone.grid_of(clip)
        whole = (steps * backbone.tubelet, rows * backbone.patch, columns * backbone.patch)
        if tuple(clip.shape[2:]) != whole:
            raise UserError(
                f"{type(self).__name__} needs clips of whole patches, not of {' x '.join(map(str, clip.shape[2:]))} "
                f"(frames x height x width): set INPUT.NUM_FRAMES to a multiple of {backbone.tubelet} and "
                f"INPUT.CROP_SIZE to one of {backbone.patch}"
            )
        return self.mask(len(clip), steps, rows * columns, clip.device)

    def mask(self, batch: int, steps: int, places: int, device: torch.device) -> Tensor:
        """Random masks (B, N), ``True``: hidden; as many in each row."""
        raise NotImplementedError

    def predict(self, clip: Tensor, mask: Tensor) -> Tensor:
        """Normalized clips -> the values of the hidden patches (B, M, pixels), in the order time, row, column."""
        raise NotImplementedError

    def target(self, clip: Tensor) -> Tensor:
        """Normalized clips -> what is to be predicted of all patches (B, N, pixels)."""
        raise NotImplementedError

    def loss(self, clip: Tensor, parts: Tensor) -> Tensor:
        predicted = self.predict(clip, parts).float()
        if not predicted.numel():
            raise UserError(
                f"MODEL.{self.section}.MASK_RATIO {self.mask_ratio} hides no patch of a clip: set a larger one"
            )
        return F.mse_loss(predicted, self.target(clip)[parts].view_as(predicted))

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

    def mask(self, batch: int, steps: int, places: int, device: torch.device) -> Tensor:
        return tube_mask(batch, steps, places, self.mask_ratio, device)

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

    def mask(self, batch: int, steps: int, places: int, device: torch.device) -> Tensor:
        count = steps * places
        return random_mask(batch, count, count - int(count * (1 - self.mask_ratio)), device)

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
