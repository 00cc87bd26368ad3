"""``MoDist``: distillation of motion into a visual backbone (arXiv 2106.09703); MoCo is its RGB-only case."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from ...core import COUNT, POSITIVE, SHARE, CfgNode, Key, add_section
from ...utils.comm import machine_group
from ...utils.errors import UserError
from ..clip_normalizer import ClipNormalizer
from ..contrastive import KeyQueue, gather_keys, shuffle_batch, unshuffle_batch
from ..losses.infonce import info_nce
from ..registry import META_ARCH_REGISTRY
from .pathways import PATHWAY_KEYS, Encoder, MomentumMethod, Term

__all__ = ["MoDist"]

logger = logging.getLogger(__name__)

add_section(
    "MODEL.MODIST",
    PATHWAY_KEYS,
    CROSS_WEIGHT=1.0,
    QUEUE_SIZE=Key(65536, COUNT),  # keys of all processes
    TEMPERATURE=Key(0.1, POSITIVE),
    MOMENTUM=Key(0.999, SHARE),
    ANNEAL_MOMENTUM=False,  # from MOMENTUM to 1 along a cosine
    SHUFFLE_BN=True,  # keys are computed for clips shuffled across the processes of a machine
    SHUFFLE_ALL=False,  # across those of all machines, as MoCo does; every clip then goes to every process
    MASK_SAME_VIDEO=False,  # keys of the query's own video are no negatives
    CROSS_NEGATIVES="key",  # of cross-modal terms: from the queue of the "key"'s modality, or of the "query"'s
)


@META_ARCH_REGISTRY.register()
class MoDist(MomentumMethod):
    """Contrastive learning between two clips of a video, within RGB and between RGB and motion.

    A term (q, k) attracts the query of modality q of one clip to the key of modality k of the other, and repels it from
    the queue of modality k (or q). With only the visual term, this is MoCo.

    Args:
        encoders, normalizers, terms, same_time, clips_per_forward: as in :class:`PathwayMethod`.
        queue_size: keys per queue, of all processes.
        dim: length of a key.
        temperature: of InfoNCE.
        momentum, anneal: of the key encoders, as in :class:`~modist_det.modeling.contrastive.MomentumEncoders`.
        shuffle_bn: compute keys for clips shuffled across processes.
        shuffle_all: across those of all machines instead of each machine's own.
        mask_same_video: exclude keys of the query's own video from the negatives. Important if the queue is large
            relative to the number of videos.
        cross_negatives: "key" or "query", the modality of the negatives in cross-modal terms.
        accumulation_steps: passes per update of the weights.
    """

    section = "MODIST"

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        normalizers: Mapping[str, ClipNormalizer],
        terms: Mapping[Term, float],
        queue_size: int = 65536,
        dim: int = 128,
        temperature: float = 0.1,
        momentum: float = 0.999,
        anneal: bool = True,
        same_time: bool = False,
        shuffle_bn: bool = True,
        mask_same_video: bool = False,
        accumulation_steps: int = 1,
        clips_per_forward: int = 32,
        shuffle_all: bool = False,
        cross_negatives: str = "key",
    ) -> None:
        super().__init__(
            encoders, normalizers, terms, same_time, momentum, anneal, accumulation_steps, clips_per_forward
        )
        self.queue = nn.ModuleDict({modality: KeyQueue(queue_size, dim) for modality in self.query})
        self.temperature = temperature
        self.shuffle_bn = shuffle_bn
        self.shuffle_all = shuffle_all
        self.mask_same_video = mask_same_video
        if cross_negatives not in ("key", "query"):
            raise UserError(f"MODEL.MODIST.CROSS_NEGATIVES is {cross_negatives!r}; known: 'key', 'query'")
        # Term -> modality of its negatives.
        self.negatives_of = {term: term[cross_negatives == "key"] for term in self.terms}

    @classmethod
    def arguments(cls, cfg: CfgNode) -> dict[str, Any]:
        node = cfg.MODEL.MODIST
        return super().arguments(cfg) | {
            "queue_size": node.QUEUE_SIZE,
            "dim": node.DIM,
            "temperature": node.TEMPERATURE,
            "shuffle_bn": node.SHUFFLE_BN,
            "shuffle_all": node.SHUFFLE_ALL,
            "mask_same_video": node.MASK_SAME_VIDEO,
            "cross_negatives": node.CROSS_NEGATIVES,
        }

    @classmethod
    def check_data(cls, cfg: CfgNode, videos: int, samples: int) -> None:
        node = cfg.MODEL.MODIST
        if node.MASK_SAME_VIDEO and videos == 1:
            raise UserError(
                "DATASETS.TRAIN is a single video, and with MODEL.MODIST.MASK_SAME_VIDEO its own clips are no "
                "negatives: the loss would be 0; set it to False, or add videos"
            )
        if samples < node.QUEUE_SIZE:
            logger.warning(
                "MODEL.MODIST.QUEUE_SIZE %d is more than the %d samples of an epoch, so a query meets older keys of "
                "its own sample%s; set it to %d or less",
                node.QUEUE_SIZE,
                samples,
                ", which MASK_SAME_VIDEO leaves out" if node.MASK_SAME_VIDEO else " as negatives",
                max(samples // 2, 1),
            )

    def losses(self, clips: Mapping[str, Tensor], videos: Tensor) -> dict[str, Tensor]:
        """``loss_<query>_<key>`` of each term and, for the log, its ``accuracy_``, ``positive_`` and ``negative_`` (see
        :class:`~modist_det.modeling.losses.infonce.InfoNCE`).

        Without gradients (as when computing precise BN statistics), key encoders and queues are not changed.
        """
        queries = {
            modality: self.embed(modality, clips[modality][:, self.clip_of(modality, 0)])
            for modality in sorted({query for query, _ in self.terms})
        }
        learns = torch.is_grad_enabled()
        keys = {}
        for modality in sorted({key for _, key in self.terms} | set(self.negatives_of.values())):
            if learns:
                self.key.follow(self.query, modality)
            keys[modality] = self._keys(modality, clips[modality][:, self.clip_of(modality, 1)])

        # Copies, because the queues are changed below, before the backward pass.
        negatives = {modality: self._queue(modality).keys.clone() for modality in keys}
        numbers: dict[str, Tensor] = {}
        for (query, key), weight in self.terms.items():
            other = self.negatives_of[query, key]
            excluded = self._queue(other).videos == videos.unsqueeze(1) if self.mask_same_video else None
            term = info_nce(queries[query], keys[key], negatives[other], self.temperature, excluded)
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

    def _queue(self, modality: str) -> KeyQueue:
        return cast(KeyQueue, self.queue[modality])

    @torch.no_grad()
    def _keys(self, modality: str, clip: Tensor) -> Tensor:
        encoder = self.key[modality]
        if not self.shuffle_bn:
            return encoder(self.normalized(modality, clip))
        group = None if self.shuffle_all else machine_group()
        shuffled, order = shuffle_batch(clip, group)
        return unshuffle_batch(encoder(self.normalized(modality, shuffled)), order, group)
