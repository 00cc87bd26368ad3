"""``BYOL``: predict a momentum encoder's output for another clip, without negatives (Grill et al. 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...core import COUNT, SHARE, CfgNode, Key, add_section
from ..clip_normalizer import ClipNormalizer
from ..heads.projection import mlp
from ..losses.cosine_regression import cosine_regression
from ..registry import META_ARCH_REGISTRY
from .pathways import PATHWAY_KEYS, Encoder, MomentumMethod, Term

__all__ = ["BYOL"]

add_section(
    "MODEL.BYOL",
    PATHWAY_KEYS,
    DIM=256,
    PROJECTION_HIDDEN=4096,
    PROJECTION_NORM="BN",  # of the predictor, too
    PREDICTOR_HIDDEN=Key(4096, COUNT),
    MOMENTUM=Key(0.996, SHARE),
    ANNEAL_MOMENTUM=True,
)


@META_ARCH_REGISTRY.register()
class BYOL(MomentumMethod):
    """BYOL (arXiv 2006.07733) with one or two pathways.

    For each term (q, k), a predictor maps the projection of modality q of one clip to the momentum encoder's output for
    modality k of the other clip, in both directions.

    Args:
        encoders: with projections that are not normalized.
        normalizers, terms, same_time, clips_per_forward: as in :class:`PathwayMethod`.
        dim: length of a projection.
        predictor_hidden: width of the predictors' hidden layer.
        predictor_norm: "BN" or "none", after the hidden layer.
        momentum, anneal: of the target encoders, as in :class:`~modist_det.modeling.contrastive.MomentumEncoders`.
        accumulation_steps: passes per update of the weights.
    """

    section = "BYOL"
    normalize_projections = False

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        normalizers: Mapping[str, ClipNormalizer],
        terms: Mapping[Term, float],
        dim: int = 256,
        predictor_hidden: int = 4096,
        predictor_norm: str = "BN",
        momentum: float = 0.996,
        anneal: bool = True,
        same_time: bool = False,
        accumulation_steps: int = 1,
        clips_per_forward: int = 32,
    ) -> None:
        super().__init__(
            encoders, normalizers, terms, same_time, momentum, anneal, accumulation_steps, clips_per_forward
        )
        self.predictor = nn.ModuleDict(
            {"_".join(term): mlp(dim, predictor_hidden, dim, predictor_norm) for term in self.terms}
        )

    @classmethod
    def arguments(cls, cfg: CfgNode) -> dict[str, Any]:
        node = cfg.MODEL.BYOL
        return super().arguments(cfg) | {
            "dim": node.DIM,
            "predictor_hidden": node.PREDICTOR_HIDDEN,
            "predictor_norm": node.PROJECTION_NORM,
        }

    def losses(self, clips: Mapping[str, Tensor], videos: Tensor) -> dict[str, Tensor]:
        """``loss_<query>_<key>`` of each term, summed over both directions. For the log, the mean cosine
        ``positive_<query>_<key>`` and ``spread_<modality>``: the standard deviation of the normalized projections times
        the square root of their length, which is about 1 if they cover the sphere and 0 after a collapse.

        Without gradients (as when computing precise BN statistics), the target encoders are not changed.
        """
        sources = {query for query, _ in self.terms}
        targets = {key for _, key in self.terms}
        if torch.is_grad_enabled():
            for modality in sorted(targets):
                self.key.follow(self.query, modality)
        projected = {m: [self.embed(m, clips[m][:, clip]) for clip in (0, 1)] for m in sorted(sources)}
        wanted = {m: [self._target(m, clips[m][:, clip]) for clip in (0, 1)] for m in sorted(targets)}
        numbers: dict[str, Tensor] = {}
        for (query, key), weight in self.terms.items():
            name = f"{query}_{key}"
            distance = torch.zeros((), device=projected[query][0].device)
            for side in (0, 1):
                predicted = self.predictor[name](projected[query][self.clip_of(query, side)])
                target = wanted[key][self.clip_of(key, 1 - side)]
                distance = distance + cosine_regression(predicted, target).mean()
            numbers[f"loss_{name}"] = weight * distance
            numbers[f"positive_{name}"] = 1 - distance.detach() / 4
        for modality, (first, _) in projected.items():
            directions = F.normalize(first.detach(), dim=1)
            numbers[f"spread_{modality}"] = (
                directions.std(dim=0, unbiased=False).mean() * directions.shape[1] ** 0.5
            )
        return numbers

    @torch.no_grad()
    def _target(self, modality: str, clip: Tensor) -> Tensor:
        return self.key[modality](self.normalized(modality, clip))
