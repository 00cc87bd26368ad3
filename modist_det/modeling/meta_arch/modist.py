"""``MoDist``: motion distilled into a visual backbone (arXiv 2106.09703), and MoCo as its RGB-only case."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from ...config import CfgNode
from ...utils.errors import UserError
from ..backbone import Backbone, build_backbone
from ..contrastive import (
    KeyQueue,
    annealed_momentum,
    gather_keys,
    momentum_copy,
    shuffle_batch,
    unshuffle_batch,
    update_momentum_copy,
)
from ..heads.projection import ProjectionHead, pool
from ..losses.infonce import info_nce
from ..registry import META_ARCH_REGISTRY
from .clip_normalizer import ClipNormalizer

__all__ = ["Encoder", "MoDist"]

VISUAL, MOTION = "visual", "motion"


class Encoder(nn.Module):
    """A backbone and its projection head."""

    def __init__(self, backbone: Backbone, projection: ProjectionHead) -> None:
        super().__init__()
        self.backbone = backbone
        self.projection = projection

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (B, C, T, H, W) -> (B, D), rows of length 1."""
        return self.projection(self.backbone(clip))


@META_ARCH_REGISTRY.register()
class MoDist(nn.Module):
    """Contrastive learning between two clips of a video, within RGB and between RGB and motion.

    A term (q, k) pulls the query of modality q of one clip to the key of modality k of the other, and pushes
    it from the queue of modality k. With the visual term alone this is MoCo; the motion pathway is then not built.

    Args:
        encoders: query encoder of each modality that a term uses: ``visual``, ``motion``.
        normalizers: of each modality's clips.
        terms: weight of each term (query modality, key modality); terms of weight 0 are left out.
        queue_size: keys per queue, of all processes.
        temperature: of InfoNCE.
        momentum: of the key encoders; at the start of training if ``anneal``.
        anneal: let the momentum rise to 1 along a cosine; see :meth:`set_progress`.
        same_time: cross-modal terms compare RGB and motion of one clip instead of two.
        shuffle_bn: compute keys on clips shuffled across processes.
        mask_same_video: keys of the query's own video are no negatives. Matters where a queue is large against
            the number of videos.
        accumulation_steps: passes between two updates of the weights; the key encoders move in all of them together
            as far as in one.
    """

    task = "pretraining"

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        normalizers: Mapping[str, ClipNormalizer],
        terms: Mapping[tuple[str, str], float],
        queue_size: int = 65536,
        dim: int = 128,
        temperature: float = 0.1,
        momentum: float = 0.999,
        anneal: bool = True,
        same_time: bool = False,
        shuffle_bn: bool = True,
        mask_same_video: bool = False,
        accumulation_steps: int = 1,
    ) -> None:
        super().__init__()
        self.terms = {pair: weight for pair, weight in terms.items() if weight > 0}
        used = sorted({modality for pair in self.terms for modality in pair})
        if not self.terms or not set(used) <= set(encoders):
            raise UserError(f"terms {dict(terms)} need encoders for {used}; there are {sorted(encoders)}")
        self.query = nn.ModuleDict({modality: encoders[modality] for modality in used})
        self.key = nn.ModuleDict({modality: momentum_copy(encoders[modality]) for modality in used})
        self.queue = nn.ModuleDict({modality: KeyQueue(queue_size, dim) for modality in used})
        self.normalizer = nn.ModuleDict({modality: normalizers[modality] for modality in used})
        self.temperature = temperature
        self.start_momentum = self.momentum = momentum
        self.anneal = anneal
        self.same_time = same_time
        self.shuffle_bn = shuffle_bn
        self.mask_same_video = mask_same_video
        self.accumulation_steps = accumulation_steps

    @classmethod
    def from_config(cls, cfg: CfgNode) -> MoDist:
        """Built from ``cfg.MODEL``: the visual backbone is MODEL.BACKBONE."""
        node = cfg.MODEL.MODIST
        terms = {
            (VISUAL, VISUAL): node.VISUAL_WEIGHT,
            (VISUAL, MOTION): node.CROSS_WEIGHT,
            (MOTION, VISUAL): node.CROSS_WEIGHT,
            (MOTION, MOTION): node.MOTION_WEIGHT,
        }
        backbones = {VISUAL: build_backbone(cfg)}
        if not node.VISUAL_WEIGHT > 0 and not node.CROSS_WEIGHT > 0:
            raise UserError(
                "MODEL.MODIST.VISUAL_WEIGHT and CROSS_WEIGHT are both 0: no visual backbone would be trained; "
                "set one above 0"
            )
        if any(weight > 0 and MOTION in pair for pair, weight in terms.items()):
            backbones[MOTION] = _build_motion_pathway(cfg)
        mean, std = cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD
        channels_last = cfg.MODEL.CHANNELS_LAST
        return cls(
            encoders={
                modality: Encoder(
                    backbone,
                    ProjectionHead(
                        backbone.out_channels, node.PROJECTION_HIDDEN, node.DIM, node.PROJECTION_NORM
                    ),
                )
                for modality, backbone in backbones.items()
            },
            normalizers={
                VISUAL: ClipNormalizer(mean, std, cfg.MODEL.INPUT_FORMAT, channels_last),
                MOTION: ClipNormalizer(
                    node.MOTION_MEAN, [1.0] * len(node.MOTION_MEAN), channels_last=channels_last
                ),
            },
            terms=terms,
            queue_size=node.QUEUE_SIZE,
            dim=node.DIM,
            temperature=node.TEMPERATURE,
            momentum=node.MOMENTUM,
            anneal=node.ANNEAL_MOMENTUM,
            same_time=node.SAME_TIME,
            shuffle_bn=node.SHUFFLE_BN,
            mask_same_video=node.MASK_SAME_VIDEO,
            accumulation_steps=cfg.SOLVER.ACCUMULATION_STEPS,
        )

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """``torch.compile`` for the encoders, in place."""
        for encoder in [*self.query.values(), *self.key.values()]:
            encoder.compile(*args, **kwargs)

    @property
    def pretrained_backbone(self) -> Backbone:
        """What pretraining is for: the visual query encoder's backbone. Evaluation uses nothing else."""
        return cast(Encoder, self.query[VISUAL]).backbone

    def restart_keys(self) -> None:
        """Make the key encoders equal to the query encoders again, after weights were put into these."""
        self.key.load_state_dict(self.query.state_dict())

    def set_progress(self, progress: float) -> None:
        """Tell the model how far training is, in [0, 1]; moves the momentum if it is annealed."""
        if self.anneal:
            self.momentum = annealed_momentum(self.start_momentum, progress)

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor] | list[dict[str, Tensor]]:
        """Losses in training mode, features in evaluation mode.

        Training mode without gradients, in which precise BN statistics are made, leaves key encoders and queues as
        they are.

        Args:
            batch: in training ``video`` uint8 (B, 2, 3, T, H, W), two clips of each video, with ``motion``
                uint8 (B, 2, C, T', H', W') where a term uses motion, C the motion pathway's channels or 1, which is
                repeated, and ``video_number`` int64 (B,), equal for clips of one video. In evaluation ``video``
                (B, 3, T, H, W) or, several clips of each video, (B, V, 3, T, H, W).

        Returns:
            ``loss_<query>_<key>`` of each term and, only to be logged, its ``accuracy_``, ``positive_`` and
            ``negative_`` (see :class:`~modist_det.modeling.losses.infonce.InfoNCE`); or B dicts with ``features``,
            the visual backbone's pooled map, float32 (D,), the mean over a video's clips.
        """
        if not self.training:
            return [{"features": row} for row in self._features(batch["video"])]

        clips = {VISUAL: batch["video"]}
        if MOTION in self.query:
            channels = len(cast(ClipNormalizer, self.normalizer[MOTION]).scale)
            clips[MOTION] = batch["motion"].expand(-1, -1, channels, -1, -1, -1)
        videos = batch["video_number"].to(self._queue(next(iter(self.queue))).keys.device, non_blocking=True)
        # Motion at the query's time meets RGB at the key's time, unless the two are to be of one clip.
        query_view = {VISUAL: 0, MOTION: 1 if self.same_time else 0}
        queries = {}
        for modality in sorted({query for query, _ in self.terms}):
            clip = self.normalizer[modality](clips[modality][:, query_view[modality]])
            queries[modality] = self.query[modality](clip)
        learns = torch.is_grad_enabled()
        keys = {}
        for modality in sorted({key for _, key in self.terms}):
            if learns:
                momentum = self.momentum ** (1 / self.accumulation_steps)
                update_momentum_copy(self.key[modality], self.query[modality], momentum)
            keys[modality] = self._keys(modality, clips[modality][:, 1 - query_view[modality]])

        # Copies: the queues are written below, before the backward pass needs their keys.
        negatives = {modality: self._queue(modality).keys.clone() for modality in keys}
        numbers: dict[str, Tensor] = {}
        for (query, key), weight in self.terms.items():
            excluded = self._queue(key).videos == videos.unsqueeze(1) if self.mask_same_video else None
            term = info_nce(queries[query], keys[key], negatives[key], self.temperature, excluded)
            name = f"{query}_{key}"
            numbers[f"loss_{name}"] = weight * term.loss
            numbers[f"accuracy_{name}"] = term.accuracy
            numbers[f"positive_{name}"] = term.positive_similarity
            numbers[f"negative_{name}"] = term.negative_similarity
        if learns:
            all_videos = gather_keys(videos)
            for modality, own_keys in keys.items():
                self._queue(modality).append(gather_keys(own_keys), all_videos)
        return numbers

    def _features(self, video: Tensor) -> Tensor:
        clips = video if video.dim() == 5 else video.flatten(0, 1)
        features = pool(self.pretrained_backbone(self.normalizer[VISUAL](clips))).float()
        return features.view(len(video), -1, features.shape[1]).mean(dim=1)

    def _queue(self, modality: str) -> KeyQueue:
        return cast(KeyQueue, self.queue[modality])

    @torch.no_grad()
    def _keys(self, modality: str, clip: Tensor) -> Tensor:
        encoder = self.key[modality]
        if not self.shuffle_bn:
            return encoder(self.normalizer[modality](clip))
        shuffled, order = shuffle_batch(clip.to(self._queue(modality).keys.device, non_blocking=True))
        return unshuffle_batch(encoder(self.normalizer[modality](shuffled)), order)


def _build_motion_pathway(cfg: CfgNode) -> Backbone:
    """A :class:`~modist_det.modeling.backbone.ResNet3D` as MODEL.MOTION_PATHWAY says."""
    own = cfg.clone()
    own.defrost()
    own.MODEL.BACKBONE.NAME = "ResNet3D"
    own.MODEL.RESNET3D = own.MODEL.MOTION_PATHWAY
    own.MODEL.PIXEL_MEAN = own.MODEL.MODIST.MOTION_MEAN
    return build_backbone(own)
