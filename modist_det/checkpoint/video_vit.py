"""Convert the parameter names of projects with plain video transformers to those of :class:`.VideoViT`.

| format | files |
| --- | --- |
| ``videomae`` | VideoMAE (v1, v2), VideoMAE-Action-Detection, MVD, UMT; ``encoder.`` in pretraining |
| ``mmaction2_vit`` | mmaction2's recognizers and AVA detectors with ``VisionTransformer`` |
| ``hf_videomae``, ``hf_vjepa2`` | Hugging Face transformers, with the names of both of its generations |
| ``vjepa`` | V-JEPA 1 and 2: ``module.backbone.`` |
| ``vjepa_probe`` | V-JEPA's attentive classifiers |
| ``mae_st`` | PySlowFast's ViT: MAE-ST |
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from .name_table import NameTable
from .weights import Weights

__all__ = ["VIT_FORMATS", "separate", "to_hf_videomae", "to_mmaction2", "to_videomae", "vit_format"]

_PRETRAINING = "pretraining only"
_COMPUTED = "the network computes its positions itself"
_Rules = tuple[tuple[str, str], ...]  # (pattern at the beginning of a name, replacement)

_VIDEOMAE: _Rules = (
    (r"head\.", "head.projection."),
    (r"(?:encoder|backbone)\.", "backbone."),
    (r"(?=decoder\.|clip_decoder\.|mask_token$|encoder_to_decoder\.)", ""),
    (r"", "backbone."),
)
_MMACTION2 = NameTable(
    [
        ("{head}.fc_cls.{rest}", "head.projection.{rest}"),
        ("backbone.patch_embed.projection.{rest}", "backbone.patch_embed.proj.{rest}"),
        ("backbone.blocks.{block}.mlp.layers.{layer}.{rest}", "backbone.blocks.{block}.mlp.{layer}.{rest}"),
        ("backbone.{rest}", "backbone.{rest}"),
    ],
    {
        "head": r"cls_head|roi_head\.bbox_head",
        "block": r"\d+",
        "layer": {"0.0": "fc1", "1": "fc2"},
        "rest": ".+",
    },
)
_HF_VIDEOMAE = NameTable(
    [
        ("{model}embeddings.patch_embeddings.projection.{rest}", "backbone.patch_embed.proj.{rest}"),
        ("{model}encoder.layer.{block}.{layer}.{rest}", "backbone.blocks.{block}.{layer}.{rest}"),
        ("decoder.decoder_layers.{block}.{layer}.{rest}", "decoder.blocks.{block}.{layer}.{rest}"),
        ("{model}layernorm.{rest}", "backbone.norm.{rest}"),
        ("fc_norm.{rest}", "backbone.fc_norm.{rest}"),
        ("classifier.{rest}", "head.projection.{rest}"),
        ("{same}", "{same}"),
    ],
    {
        "model": r"(?:videomae\.)?",  # base models have no prefix
        "block": r"\d+",
        "layer": {
            "layernorm_before": "norm1",
            "layernorm_after": "norm2",
            "attention.output.dense": "attn.proj",
            "attention.attention": "attn",
            "intermediate.dense": "mlp.fc1",
            "output.dense": "mlp.fc2",
        },
        "rest": ".+",
        "same": r"decoder\.(?:norm|head)\..+|mask_token|encoder_to_decoder\..+",
    },
)
_PROJECTIONS = {"q_proj": "query", "k_proj": "key", "v_proj": "value", "out_proj": "proj"}
_HF_VJEPA2 = NameTable(
    [
        ("{model}encoder.embeddings.patch_embeddings.proj.{rest}", "backbone.patch_embed.proj.{rest}"),
        ("{model}encoder.layer.{block}.{layer}.{rest}", "backbone.blocks.{block}.{layer}.{rest}"),
        ("{model}encoder.layernorm.{rest}", "backbone.norm.{rest}"),
        ("pooler.query_tokens", "head.query_tokens"),
        ("pooler.cross_attention_layer.{layer}.{rest}", "head.cross_attention_block.{layer}.{rest}"),
        ("pooler.self_attention_layers.{block}.{layer}.{rest}", "head.blocks.{block}.{layer}.{rest}"),
        ("classifier.{rest}", "head.projection.{rest}"),
    ],
    {
        "model": r"(?:vjepa2\.)?",
        "block": r"\d+",
        "layer": {
            "norm1": "norm1",
            "norm2": "norm2",
            "attention": "attn",
            "mlp": "mlp",
            # Of the pooler.
            "layer_norm1": "norm1",
            "layer_norm2": "norm2",
            **{f"self_attn.{theirs}": f"attn.{ours}" for theirs, ours in _PROJECTIONS.items()},
            **{f"cross_attn.{theirs}": f"xattn.{ours}" for theirs, ours in _PROJECTIONS.items()},
        },
        "rest": ".+",
    },
)
_VJEPA: _Rules = ((r"(?:module\.)*(?:backbone\.)?", "backbone."),)
_VJEPA_PROBE: _Rules = ((r"pooler\.", "head."), (r"linear\.", "head.projection."))
_MAE_ST: _Rules = (
    (r"(?=head\.|mask_token$)", ""),
    (r"pred_head\.transforms\.0\.(\d+\.(?:norm\d|attn|mlp)\.)", r"decoder.blocks.\1"),
    (r"pred_head\.transforms\.0\.\d+\.", "decoder.norm."),
    (r"pred_head\.projections\.0\.", "decoder.head."),
    (r"decoder_embed\.", "encoder_to_decoder."),
    (r"decoder_pos_embed$", "decoder.pos_embed"),
    (r"", "backbone."),
)
_SEPARATE = re.compile(r"(.+\.attn\.|.+\.xattn\.)(?:(query|key|value)\.(weight|bias)|([qv])_bias)$")


def vit_format(names: Iterable[str]) -> str:
    """The one of :data:`VIT_FORMATS` with these names; ``""``: none."""
    names = set(names)
    if any(name.endswith("patch_embeddings.projection.weight") for name in names):
        return "hf_videomae"
    if any(name.endswith("encoder.embeddings.patch_embeddings.proj.weight") for name in names):
        return "hf_vjepa2"
    if "backbone.blocks.0.mlp.layers.0.0.weight" in names:
        return "mmaction2_vit"
    if "pooler.cross_attention_block.xattn.kv.weight" in names:
        return "vjepa_probe"
    if "module.backbone.blocks.0.attn.qkv.weight" in names:
        return "vjepa"
    if {"cls_token", "pos_embed_spatial", "blocks.0.attn.qkv.weight"} <= names:
        return "" if any(".attn.pool_" in name for name in names) else "mae_st"
    blocks = {"blocks.0.attn.qkv.weight", "encoder.blocks.0.attn.qkv.weight"}
    marks = {"blocks.0.attn.q_bias", "encoder.blocks.0.attn.q_bias", "fc_norm.weight", "head.weight"}
    marks.add("encoder_to_decoder.weight")
    return "videomae" if names & blocks and names & marks else ""


def _renaming(rules: _Rules) -> Callable[[str], str]:
    compiled = [(re.compile(pattern), replacement) for pattern, replacement in rules]

    def rename(name: str) -> str:
        for pattern, replacement in compiled:
            renamed, count = re.subn(rf"\A(?:{pattern.pattern})", replacement, name, count=1)
            if count:
                return renamed
        return name

    return rename


def _converter(
    rename: Callable[[str], str | None], computed: str = "", fuse: bool = False
) -> Callable[[Mapping[str, Tensor]], Weights]:
    """A file's tensors -> :class:`Weights`.

    Args:
        rename: their name -> ours; unknown names stay.
        computed: name, in the file, of a table that is not needed.
        fuse: queries, keys and values are separate layers.
    """

    def convert(state_dict: Mapping[str, Tensor]) -> Weights:
        weights = Weights()
        for source, tensor in state_dict.items():
            if source == computed:
                weights.dropped.append((source, _COMPUTED))
                continue
            weights.add(rename(source) or source, source, tensor)
        if fuse:
            _fuse(weights)
        # What belongs neither to a backbone nor to its head is for the pretraining methods that have such a part.
        weights.optional = {
            name: _PRETRAINING for name in weights.tensors if not name.startswith(("backbone.", "head."))
        }
        return weights

    return convert


def _fuse(weights: Weights) -> None:
    """Separate queries, keys and values become one layer; of cross attention, keys and values."""
    parts: dict[str, dict[str, str]] = {}
    for name in weights.tensors:
        if match := _SEPARATE.match(name):
            which = match[2] or {"q": "query", "v": "value"}[match[4]]
            parts.setdefault(f"{match[1]}{match[3] or 'bias'}", {})[which] = name
    for target, names in parts.items():
        prefix, kind = target.rsplit(".", 1)
        cross = prefix.endswith("xattn")
        if kind == "bias" and "key" not in names:
            renamed = {f"{prefix}.{which[0]}_bias": [which] for which in names}
        elif cross:
            renamed = {f"{prefix}.q.{kind}": ["query"], f"{prefix}.kv.{kind}": ["key", "value"]}
        else:
            renamed = {f"{prefix}.qkv.{kind}": ["query", "key", "value"]}
        shapes = {weights.tensors[name].shape for name in names.values()}
        whole = all(which in names for group in renamed.values() for which in group)
        if not whole or len(shapes) > 1 or shapes == {()}:
            continue  # damaged: it is reported as unexpected
        tensors = {which: weights.tensors.pop(name) for which, name in names.items()}
        sources = {which: weights.sources.pop(name) for which, name in names.items()}
        for ours, group in renamed.items():
            joined = torch.cat([tensors[which] for which in group]) if len(group) > 1 else tensors[group[0]]
            weights.add(ours, ", ".join(sources[which] for which in group), joined)


def _from_mmaction2(state_dict: Mapping[str, Tensor]) -> Weights:
    weights = _converter(_MMACTION2.ours, "backbone.pos_embed")(state_dict)
    # Class 0 of its AVA detectors is the background.
    weights.background = any(name.startswith("roi_head.bbox_head.") for name in state_dict)
    return weights


def _from_videomae(state_dict: Mapping[str, Tensor]) -> Weights:
    weights = _converter(_renaming(_VIDEOMAE))(state_dict)
    if "encoder.patch_embed.proj.weight" in state_dict:
        # Of other methods' files, too: everything beside the encoder.
        beside = [name for name, source in weights.sources.items() if not source.startswith("encoder.")]
        weights.optional |= dict.fromkeys(beside, _PRETRAINING)
    return weights


def _from_vjepa_probe(state_dict: Mapping[str, Tensor]) -> Weights:
    weights = _converter(_renaming(_VJEPA_PROBE))(state_dict)
    weights.head_only = True
    return weights


VIT_FORMATS: dict[str, Callable[[Mapping[str, Tensor]], Weights]] = {
    "videomae": _from_videomae,
    "mmaction2_vit": _from_mmaction2,
    "hf_videomae": _converter(_HF_VIDEOMAE.ours, fuse=True),
    "hf_vjepa2": _converter(_HF_VJEPA2.ours, fuse=True),
    "vjepa": _converter(_renaming(_VJEPA)),
    "vjepa_probe": _from_vjepa_probe,
    "mae_st": _converter(_renaming(_MAE_ST)),
}


_PARTS = tuple(f"backbone.{part}" for part in ("patch_embed.", "pos_embed", "blocks.", "norm.", "fc_norm."))


def to_videomae(names: Iterable[str]) -> dict[str, str]:
    """Our name -> VideoMAE's. The encoder of a pretraining method is below ``encoder.``."""
    names = list(names)
    encoder = "encoder." if "mask_token" in names or "clip_decoder.0.head.weight" in names else ""
    theirs = {}
    for name in names:
        if name.startswith(_PARTS):
            theirs[name] = encoder + name.removeprefix("backbone.")
        elif name.startswith("head.projection."):
            theirs[name] = name.replace("projection.", "", 1)
        elif name.startswith(("decoder.", "clip_decoder.", "mask_token", "encoder_to_decoder.")):
            theirs[name] = name
    return theirs


def to_mmaction2(names: Iterable[str], detection: bool) -> dict[str, str]:
    """Our name -> that of mmaction2's ViT, in a recognizer or a detector."""
    head = "roi_head.bbox_head" if detection else "cls_head"
    return {name: theirs for name in names if (theirs := _MMACTION2.theirs(name, head=head))}


def separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The joint layer of queries, keys and values as three, as Hugging Face has it."""
    separated = {}
    for name, tensor in tensors.items():
        layer, joint, kind = name.rpartition("qkv.")
        if not joint:
            separated[name] = tensor
            continue
        for part, values in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
            separated[f"{layer}{part}.{kind}"] = values
    return separated


def to_hf_videomae(names: Iterable[str]) -> dict[str, str]:
    """Our name, after :func:`separate`, -> that of Hugging Face's VideoMAE, whose encoder is below ``videomae.``."""
    return {name: theirs for name in names if (theirs := _HF_VIDEOMAE.theirs(name, model="videomae."))}
