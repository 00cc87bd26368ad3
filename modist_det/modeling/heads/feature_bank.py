"""``FeatureBankHead``: action scores with the features of people long before and after (Wu et al., CVPR 2019)."""

from __future__ import annotations

import math
import os
import pickle
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...core import COUNT, SHARE, CfgNode, Key, add_section
from ...structures.samples import DetectionBatch
from ...utils.errors import UserError
from ...utils.paths import local_path
from ..backbone import Backbone
from ..registry import HEAD_REGISTRY
from .linear import projection_layers
from .roi_action import RoIActionHead

__all__ = ["OPERATORS", "FeatureBank", "FeatureBankHead", "NonLocalOperator"]

OPERATORS = ("nonlocal", "max", "avg")

add_section(
    "MODEL.FEATURE_BANK",
    PATH="",  # files of tools/make_feature_bank.py, joined by ":": train.pt:val.pt
    OPERATOR="nonlocal",  # or "max", "avg"
    CHANNELS=Key(2048, COUNT),  # of the features in the bank
    LATENT_DIM=Key(512, COUNT),  # of the nonlocal operator
    LAYERS=Key(2, COUNT),
    WINDOW=Key(60, COUNT),  # seconds, half of them before the keyframe
    PER_SECOND=Key(5, COUNT),  # at most so many people of a second
    DROPOUT=Key(0.2, SHARE),  # of the nonlocal operator
)


class FeatureBank:
    """Features of the people of videos, by video and second.

    Args:
        features: video id -> second -> (n, C).
    """

    def __init__(self, features: Mapping[str, Mapping[int, Tensor]]) -> None:
        self.features = features

    @classmethod
    def load(cls, paths: Sequence[str | os.PathLike[str]]) -> FeatureBank:
        """Read files of ``tools/make_feature_bank.py``, or mmaction2's, which have a list of the people of a second.

        Where files have the same second of a video, the last one counts.

        Raises:
            UserError: a file that cannot be read, or has another content.
        """
        features: dict[str, dict[int, Tensor]] = {}
        for path in paths:
            try:
                content = torch.load(local_path(os.fspath(path)), map_location="cpu", weights_only=True)
            except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
                raise UserError(f"feature bank {path} cannot be read: {str(error).splitlines()[0]}") from None
            if not isinstance(content, dict) or not all(
                isinstance(value, dict) for value in content.values()
            ):
                raise UserError(f"feature bank {path} does not map videos to seconds and features")
            for video, seconds in content.items():
                features.setdefault(video, {}).update(
                    (second, torch.stack(list(people)) if isinstance(people, (list, tuple)) else people)
                    for second, people in seconds.items()
                    if len(people)
                )
        return cls(features)

    def window(
        self, video: str, second: int, length: int, per_second: int, channels: int, draw: bool
    ) -> Tensor:
        """The features around ``second``, (``length`` * ``per_second``, ``channels``); zeros fill empty slots.

        Args:
            length: seconds; the first one is ``second - length // 2``.
            draw: take random people where there are more than ``per_second``, from torch's global generator; otherwise
                the first ones.
        """
        slots = torch.zeros(length, per_second, channels)
        seconds = self.features.get(video, {})
        for i in range(length):
            people = seconds.get(second - length // 2 + i)
            if people is not None:
                if people.shape[1:] != (channels,):
                    raise UserError(
                        f"the feature bank has features of {tuple(people.shape[1:])} for {video}, but "
                        f"MODEL.FEATURE_BANK.CHANNELS is {channels}"
                    )
                chosen = torch.randperm(len(people))[:per_second] if draw else slice(per_second)
                slots[i, : min(len(people), per_second)] = people[chosen].float()
        return slots.flatten(0, 1)


class _NonLocalLayer(nn.Module):
    """A person's latent feature attends to those of the bank; LayerNorm and ReLU come before the last layer."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.st_feat_conv, self.lt_feat_conv, self.global_conv, self.out_conv = (
            nn.Linear(channels, channels) for _ in range(4)
        )
        self.ln = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(dropout)

    def forward(self, person: Tensor, bank: Tensor) -> Tensor:
        """(N, C) and (N, slots, C) -> (N, C)."""
        query, key, value = self.st_feat_conv(person), self.lt_feat_conv(bank), self.global_conv(bank)
        weights = torch.einsum("nc,nsc->ns", query, key) / math.sqrt(query.shape[1])
        seen = torch.einsum("ns,nsc->nc", weights.softmax(dim=1), value)
        return person + self.dropout(self.out_conv(F.relu(self.ln(seen))))


class NonLocalOperator(nn.Module):
    """Layers of attention from people to the bank, in a space of ``latent`` channels. Names as in mmaction2."""

    def __init__(
        self, channels: int, bank_channels: int, latent: int, layers: int = 2, dropout: float = 0.2
    ) -> None:
        super().__init__()
        self.st_feat_conv = nn.Linear(channels, latent)
        self.lt_feat_conv = nn.Linear(bank_channels, latent)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(_NonLocalLayer(latent, dropout) for _ in range(layers))

    def forward(self, people: Tensor, slots: Tensor, clips: Tensor) -> Tensor:
        """People (N, C), of the ``clips`` int64 (N,), and the slots around each clip (B, slots, C') -> (N, ``latent``).

        Empty slots count, too.
        """
        people = self.dropout(self.st_feat_conv(people))
        bank = self.dropout(self.lt_feat_conv(slots)[clips])
        for layer in self.layers:
            people = layer(people, bank)
        return people


@HEAD_REGISTRY.register()
class FeatureBankHead(RoIActionHead):
    """The feature of :class:`~modist_det.modeling.RoIActionHead` next to what an operator makes of a feature bank.

    Args:
        bank: features of the videos that the head is used with; ``None``: none, so all slots are empty.
        operator: "nonlocal" (:class:`NonLocalOperator`), or "max" or "avg" over all slots, empty ones included.
        bank_channels: of the features in the bank.
        latent_dim, layers, bank_dropout: of the nonlocal operator.
        window: seconds.
        per_second: at most so many people of a second.
        others: as in :class:`~modist_det.modeling.RoIActionHead`.

    Raises:
        UserError: an unknown operator.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        num_classes: int,
        spatial_stride: int,
        bank: FeatureBank | None = None,
        operator: str = "nonlocal",
        bank_channels: int = 2048,
        latent_dim: int = 512,
        layers: int = 2,
        window: int = 60,
        per_second: int = 5,
        bank_dropout: float = 0.2,
        **roi: Any,
    ) -> None:
        if operator not in OPERATORS:
            raise UserError(f"MODEL.FEATURE_BANK.OPERATOR is {operator!r}; known: {', '.join(OPERATORS)}")
        super().__init__(in_channels, num_classes, spatial_stride, **roi)
        self.bank = bank or FeatureBank({})
        self.operator = operator
        self.bank_channels = bank_channels
        self.window = window
        self.per_second = per_second
        if operator == "nonlocal":
            self.fbo = NonLocalOperator(self.channels, bank_channels, latent_dim, layers, bank_dropout)
        added = latent_dim if operator == "nonlocal" else bank_channels
        self.projection = projection_layers(
            self.channels + added, num_classes, roi.get("init_std", 0.01), roi.get("mlp", False)
        )

    @classmethod
    def arguments(cls, cfg: CfgNode, backbone: Backbone) -> dict[str, Any]:
        node = cfg.MODEL.FEATURE_BANK
        if not node.PATH:
            raise UserError("MODEL.FEATURE_BANK.PATH is empty: make a bank with tools/make_feature_bank.py")
        return super().arguments(cfg, backbone) | {
            "bank": FeatureBank.load(node.PATH.split(os.pathsep)),
            "operator": node.OPERATOR,
            "bank_channels": node.CHANNELS,
            "latent_dim": node.LATENT_DIM,
            "layers": node.LAYERS,
            "window": node.WINDOW,
            "per_second": node.PER_SECOND,
            "bank_dropout": node.DROPOUT,
        }

    def context(self, batch: DetectionBatch) -> tuple[Tensor | None]:
        """The bank's slots around each clip (B, slots, C); ``None`` where a batch names no videos."""
        if "video_id" not in batch:
            return (None,)
        size = (self.window, self.per_second, self.bank_channels)
        rows = [
            self.bank.window(video, round(second), *size, draw=self.training)
            for video, second in zip(batch["video_id"], batch["second"], strict=True)
        ]
        return (torch.stack(rows),)

    def forward(self, features: Sequence[Tensor], rois: Tensor, slots: Tensor | None = None) -> Tensor:
        """Logits (N, K) for each box.

        Args:
            features, rois: as in :class:`~modist_det.modeling.RoIActionHead`.
            slots: (B, slots, C) of :meth:`context`; ``None``: all are empty.
        """
        people = self.pooled(features, rois)
        if slots is None:
            slots = people.new_zeros(features[0].shape[0], self.window * self.per_second, self.bank_channels)
        slots, clips = slots.to(people), rois[:, 0].long()
        if self.operator == "nonlocal":
            added = self.fbo(people, slots, clips)
        else:
            added = (slots.amax(dim=1) if self.operator == "max" else slots.mean(dim=1))[clips]
        return self.classify(torch.cat([people, added], dim=1))
