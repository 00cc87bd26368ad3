"""``PathwayMethod``: base of the methods that compare RGB clips with each other and with motion."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, cast

from torch import Tensor, nn

from ...core import COUNT, NOT_NEGATIVE, CfgNode, Key, ListOf, add_section
from ...structures.samples import Features, Losses, PretrainingBatch
from ...utils.errors import UserError
from ..backbone import Backbone, build_backbone
from ..backbone.resnet3d import RESNET3D_KEYS
from ..clip_normalizer import ClipNormalizer
from ..contrastive import MomentumEncoders
from ..heads.projection import ProjectionHead
from .base import PretrainingMethod, Views, mean_features

__all__ = ["MOTION", "PATHWAY_KEYS", "VISUAL", "Encoder", "MomentumMethod", "PathwayMethod", "Term"]

# Of each method's own section.
PATHWAY_KEYS = {
    "VISUAL_WEIGHT": Key(1.0, NOT_NEGATIVE),  # of the RGB-RGB term; 0 leaves a term out
    # Of RGB-motion and motion-RGB; 0: no motion unless MOTION_WEIGHT asks for it.
    "CROSS_WEIGHT": Key(0.0, NOT_NEGATIVE),
    # Factors of CROSS_WEIGHT for (RGB query, motion key) and for (motion query, RGB key); 0 leaves a term out.
    "CROSS_DIRECTIONS": Key([1.0, 1.0], ListOf(float, 2, NOT_NEGATIVE)),
    "MOTION_WEIGHT": Key(0.0, NOT_NEGATIVE),  # of motion-motion
    "SAME_TIME": False,  # cross-modal terms within one clip instead of between two
    "DIM": Key(128, COUNT),  # length of a projection
    "PROJECTION_HIDDEN": Key(2048, COUNT),
    "PROJECTION_LAYERS": Key(2, COUNT),
    "PROJECTION_NORM": "none",  # or "BN"
    # Of the motion pathway's input after division by 255, one entry a channel; its std is 1. The task sets it to what
    # MOTION.KIND has where nothing moves.
    "MOTION_MEAN": Key([0.0, 0.0, 0.0], ListOf(float)),
}

# The motion pathway, a ResNet3D with these keys.
add_section(
    "MODEL.MOTION_PATHWAY",
    RESNET3D_KEYS,
    WIDTH=8,
    STEM_KERNEL=[5, 7, 7],
    STEM_STRIDE=[2, 2, 2],
    TEMPORAL_KERNELS=[1, 1, 1, 1],  # [3, 3, 3, 3]: the 3D variant
    WEIGHTS="",  # to start from: a run or checkpoint of pretraining with motion (its motion pathway), or any network
    FREEZE=False,  # no gradients, always in evaluation mode; the projection head still learns
)

VISUAL, MOTION = "visual", "motion"

# (modality of the query, modality of the key)
Term = tuple[str, str]


class Encoder(nn.Module):
    """A backbone and its projection head."""

    def __init__(self, backbone: Backbone, projection: ProjectionHead) -> None:
        super().__init__()
        self.backbone = backbone
        self.projection = projection

    def forward(self, clip: Tensor) -> Tensor:
        """Clip (B, C, T, H, W) -> float32 (B, D)."""
        return self.projection(self.backbone(clip))


class PathwayMethod(PretrainingMethod):
    """Two clips of a video, a visual pathway and, where a term uses it, a motion pathway.

    A term (q, k) compares modality q of one clip with modality k of the other. If no term uses motion, the motion
    pathway is not built, and the method learns from RGB alone. Subclasses define the comparison in :meth:`losses`.
    Encoders that no term trains have no gradients.

    Args:
        encoders: by modality (``visual``, ``motion``), for all modalities that terms use.
        normalizers: by modality.
        terms: weight of each term; terms with weight 0 are left out.
        same_time: cross-modal terms compare RGB and motion of one clip instead of two.
        clips_per_forward: number of clips that go through the backbone at once, in evaluation.

    Attributes:
        section: section of ``cfg.MODEL`` with the keys for :meth:`arguments`.
        normalize_projections: scale projections to length 1.
        trains_keys: a term trains the encoder of its key, too.
    """

    backbone_prefix = "query.visual.backbone."
    section: ClassVar[str]
    normalize_projections: ClassVar[bool] = True
    trains_keys: ClassVar[bool] = True

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        normalizers: Mapping[str, ClipNormalizer],
        terms: Mapping[Term, float],
        same_time: bool = False,
        clips_per_forward: int = 32,
    ) -> None:
        super().__init__()
        self.terms = {term: weight for term, weight in terms.items() if weight > 0}
        used = sorted({modality for term in self.terms for modality in term})
        if not self.terms or not set(used) <= set(encoders):
            raise UserError(f"terms {dict(terms)} need encoders for {used}; there are {sorted(encoders)}")
        self.query = nn.ModuleDict({modality: encoders[modality] for modality in used})
        for modality in set(used) - self._trained(self.terms):
            self.query[modality].requires_grad_(False)
        self.normalizer = nn.ModuleDict({modality: normalizers[modality] for modality in used})
        self.same_time = same_time
        self.clips_per_forward = clips_per_forward

    @classmethod
    def from_config(cls, cfg: CfgNode) -> PathwayMethod:
        """Built from ``cfg.MODEL``; the visual backbone is MODEL.BACKBONE."""
        return cls(**cls.arguments(cfg))

    @classmethod
    def arguments(cls, cfg: CfgNode) -> dict[str, Any]:
        """The constructor's arguments from a config. Subclasses add their own."""
        node = cfg.MODEL[cls.section]
        terms = cls._terms(node)
        if VISUAL not in cls._trained(terms):
            raise UserError(
                f"MODEL.{cls.section}.VISUAL_WEIGHT and CROSS_WEIGHT are both 0, or CROSS_DIRECTIONS leaves out the "
                "terms that train RGB, so no visual backbone would be trained; set one above 0"
            )
        backbones = {VISUAL: build_backbone(cfg)}
        if cls._uses_motion(terms):
            backbones[MOTION] = _build_motion_pathway(cfg, len(node.MOTION_MEAN))
        channels_last = cfg.MODEL.CHANNELS_LAST
        return {
            "encoders": {
                modality: Encoder(
                    backbone,
                    ProjectionHead(
                        backbone.out_channels,
                        node.PROJECTION_HIDDEN,
                        node.DIM,
                        norm=node.PROJECTION_NORM,
                        num_layers=node.PROJECTION_LAYERS,
                        normalize=cls.normalize_projections,
                    ),
                )
                for modality, backbone in backbones.items()
            },
            "normalizers": {
                VISUAL: ClipNormalizer(
                    cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD, cfg.MODEL.INPUT_FORMAT, channels_last
                ),
                MOTION: ClipNormalizer(
                    node.MOTION_MEAN, [1.0] * len(node.MOTION_MEAN), channels_last=channels_last
                ),
            },
            "terms": terms,
            "same_time": node.SAME_TIME,
            "clips_per_forward": cfg.TEST.CLIPS_PER_FORWARD,
        }

    @classmethod
    def views(cls, cfg: CfgNode) -> Views:
        uses_motion = cls._uses_motion(cls._terms(cfg.MODEL[cls.section]))
        if uses_motion and not cfg.MOTION.ENABLED:
            raise UserError(
                f"MOTION.ENABLED is False, but MODEL.{cls.section} has terms with motion; to use only RGB, set "
                f"MODEL.{cls.section}.CROSS_WEIGHT and MOTION_WEIGHT to 0"
            )
        return Views(clips=2, motion=uses_motion)

    @classmethod
    def complete_config(cls, cfg: CfgNode, motion_mean: Sequence[float]) -> None:
        # A single channel is repeated three times, as in the code of MoDist's authors.
        mean = list(motion_mean)
        cfg.MODEL[cls.section].MOTION_MEAN = mean * 3 if len(mean) == 1 else mean

    def further_weights(self, cfg: CfgNode) -> dict[str, str]:
        path = cfg.MODEL.MOTION_PATHWAY.WEIGHTS
        return {"query.motion.backbone.": path} if path and MOTION in self.query else {}

    @staticmethod
    def _terms(node: CfgNode) -> dict[Term, float]:
        """Terms with a weight above 0."""
        to_motion, to_visual = (node.CROSS_WEIGHT * share for share in node.CROSS_DIRECTIONS)
        weights = {
            (VISUAL, VISUAL): node.VISUAL_WEIGHT,
            (VISUAL, MOTION): to_motion,
            (MOTION, VISUAL): to_visual,
            (MOTION, MOTION): node.MOTION_WEIGHT,
        }
        return {term: weight for term, weight in weights.items() if weight > 0}

    @staticmethod
    def _uses_motion(terms: Iterable[Term]) -> bool:
        return any(MOTION in term for term in terms)

    @classmethod
    def _trained(cls, terms: Iterable[Term]) -> set[str]:
        """The modalities whose encoders get gradients from these terms."""
        return {
            modality for query, key in terms for modality in ((query, key) if cls.trains_keys else (query,))
        }

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """``torch.compile`` for the encoders, in place."""
        for encoder in self.query.values():
            encoder.compile(*args, **kwargs)

    def forward(self, batch: PretrainingBatch) -> Losses | list[Features]:
        """Losses in training mode, features in evaluation mode; see :class:`PretrainingMethod`.

        Returns:
            The result of :meth:`losses`; or B dicts with ``features``, float32 (D,): the pooled map of the visual
            backbone, averaged over a video's clips.
        """
        if not self.training:
            normalizer = cast(ClipNormalizer, self.normalizer[VISUAL])
            features = mean_features(
                self.pretrained_backbone, normalizer, batch["video"], self.clips_per_forward
            )
            return [{"features": row} for row in features]
        # Each entry in one transfer, as the loader made it (pinned): slices would be copied first, and wait.
        device = cast(ClipNormalizer, self.normalizer[next(iter(self.query))]).scale.device
        clips = {VISUAL: batch["video"].to(device, non_blocking=True)}
        if MOTION in self.query:
            clips[MOTION] = batch["motion"].to(device, non_blocking=True)
        return self.losses(clips, batch["video_number"].to(device, non_blocking=True))

    def losses(self, clips: Mapping[str, Tensor], videos: Tensor) -> dict[str, Tensor]:
        """Losses and numbers to log for a training step.

        Args:
            clips: uint8 (B, 2, C, T, H, W) by modality, on the model's device.
            videos: int64 (B,), equal for clips of the same video.
        """
        raise NotImplementedError

    def clip_of(self, modality: str, side: int) -> int:
        """The index of the clip that a modality uses as the query (``side`` 0) or as the key (1).

        Motion and RGB come from different clips, unless ``same_time`` is set.
        """
        return 1 - side if modality == MOTION and self.same_time else side

    def embed(self, modality: str, clips: Tensor) -> Tensor:
        """uint8 (B, C, T, H, W) -> the query encoder's projection (B, D)."""
        return self.query[modality](self.normalized(modality, clips))

    def normalized(self, modality: str, clips: Tensor) -> Tensor:
        """uint8 (B, C, T, H, W) -> an encoder's input. A single channel of motion is repeated."""
        normalizer = cast(ClipNormalizer, self.normalizer[modality])
        if modality == MOTION:
            clips = clips.expand(-1, len(normalizer.scale), -1, -1, -1)
        return normalizer(clips)


class MomentumMethod(PathwayMethod):
    """A :class:`PathwayMethod` whose keys come from momentum copies of the encoders, ``self.key``.

    Args:
        momentum, anneal, accumulation_steps: of the copies; see
            :class:`~modist_det.modeling.contrastive.MomentumEncoders`.
    """

    trains_keys = False

    def __init__(
        self,
        encoders: Mapping[str, Encoder],
        normalizers: Mapping[str, ClipNormalizer],
        terms: Mapping[Term, float],
        same_time: bool = False,
        momentum: float = 0.999,
        anneal: bool = True,
        accumulation_steps: int = 1,
        clips_per_forward: int = 32,
    ) -> None:
        super().__init__(encoders, normalizers, terms, same_time, clips_per_forward)
        self.key = MomentumEncoders(self.query, momentum, anneal, accumulation_steps)

    @classmethod
    def arguments(cls, cfg: CfgNode) -> dict[str, Any]:
        node = cfg.MODEL[cls.section]
        return super().arguments(cfg) | {
            "momentum": node.MOMENTUM,
            "anneal": node.ANNEAL_MOMENTUM,
            "accumulation_steps": cfg.SOLVER.ACCUMULATION_STEPS,
        }

    def compile(self, *args: Any, **kwargs: Any) -> None:
        super().compile(*args, **kwargs)
        for encoder in self.key.values():
            encoder.compile(*args, **kwargs)

    def weights_loaded(self) -> None:
        self.key.restart(self.query)

    def set_progress(self, progress: float) -> None:
        self.key.set_progress(progress)


def _build_motion_pathway(cfg: CfgNode, channels: int) -> Backbone:
    """A :class:`~modist_det.modeling.backbone.ResNet3D` as MODEL.MOTION_PATHWAY says."""
    own = cfg.clone()
    own.defrost()
    own.MODEL.BACKBONE.NAME = "ResNet3D"
    own.MODEL.BACKBONE.FREEZE |= own.MODEL.MOTION_PATHWAY.FREEZE
    for key in own.MODEL.RESNET3D:
        own.MODEL.RESNET3D[key] = own.MODEL.MOTION_PATHWAY[key]
    own.MODEL.PIXEL_MEAN = [0.0] * channels
    return build_backbone(own)
