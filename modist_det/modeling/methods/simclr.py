"""``SimCLR``: two views of a video against all other videos of the batch (Chen et al. 2020, arXiv 2002.05709)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ...core import POSITIVE, CfgNode, Key, add_section
from ..clip_normalizer import ClipNormalizer
from ..losses.nt_xent import nt_xent
from ..registry import META_ARCH_REGISTRY
from .pathways import PATHWAY_KEYS, Encoder, PathwayMethod, Term

__all__ = ["SimCLR"]

add_section("MODEL.SIMCLR", PATHWAY_KEYS, PROJECTION_LAYERS=3, TEMPERATURE=Key(0.1, POSITIVE))


@META_ARCH_REGISTRY.register()
class SimCLR(PathwayMethod):
    """SimCLR with one or two pathways.

    For each term (q, k), the two views of a video are modality q of one clip and modality k of the other. There is no
    queue and no momentum encoder: the negatives are the other samples in the batches of all processes.

    Args:
        encoders, normalizers, terms, same_time, clips_per_forward: as in :class:`PathwayMethod`.
        temperature: of NT-Xent.
    """

    section = "SIMCLR"

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        normalizers: Mapping[str, ClipNormalizer],
        terms: Mapping[Term, float],
        temperature: float = 0.1,
        same_time: bool = False,
        clips_per_forward: int = 32,
    ) -> None:
        super().__init__(encoders, normalizers, terms, same_time, clips_per_forward)
        self.temperature = temperature

    @classmethod
    def arguments(cls, cfg: CfgNode) -> dict[str, Any]:
        return super().arguments(cfg) | {"temperature": cfg.MODEL.SIMCLR.TEMPERATURE}

    def losses(self, clips: Mapping[str, Tensor], videos: Tensor) -> dict[str, Tensor]:
        """``loss_<first>_<second>`` of each term and, for the log, its ``accuracy_`` and ``positive_`` (see
        :class:`~modist_det.modeling.losses.nt_xent.NTXent`)."""
        views: dict[tuple[str, int], Tensor] = {}

        def view(modality: str, side: int) -> Tensor:
            clip = self.clip_of(modality, side)
            if (modality, clip) not in views:  # terms share them
                views[modality, clip] = self.embed(modality, clips[modality][:, clip])
            return views[modality, clip]

        numbers: dict[str, Tensor] = {}
        for (first, second), weight in self.terms.items():
            term = nt_xent(view(first, 0), view(second, 1), self.temperature)
            name = f"{first}_{second}"
            numbers[f"loss_{name}"] = weight * term.loss
            numbers[f"accuracy_{name}"] = term.accuracy
            numbers[f"positive_{name}"] = term.positive_similarity
        return numbers
