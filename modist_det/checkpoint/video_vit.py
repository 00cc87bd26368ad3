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
_MMACTION2: _Rules = (
    (r"(?:cls_head|roi_head\.bbox_head)\.fc_cls\.", "head.projection."),
    (r"backbone\.patch_embed\.projection\.", "backbone.patch_embed.proj."),
    (r"(backbone\.blocks\.\d+\.mlp\.)layers\.0\.0\.", r"\1fc1."),
    (r"(backbone\.blocks\.\d+\.mlp\.)layers\.1\.", r"\1fc2."),
)
_HF_VIDEOMAE: _Rules = (
    (r"(?:videomae\.)?embeddings\.patch_embeddings\.projection\.", "backbone.patch_embed.proj."),
    (r"(?:videomae\.)?encoder\.layer\.", "backbone.blocks."),
    (r"decoder\.decoder_layers\.", "decoder.blocks."),
    (r"(?:videomae\.)?layernorm\.", "backbone.norm."),
    (r"fc_norm\.", "backbone.fc_norm."),
    (r"classifier\.", "head.projection."),
)
_HF_VJEPA2: _Rules = (
    (r"(?:vjepa2\.)?encoder\.embeddings\.patch_embeddings\.proj\.", "backbone.patch_embed.proj."),
    (r"(?:vjepa2\.)?encoder\.layer\.", "backbone.blocks."),
    (r"(?:vjepa2\.)?encoder\.layernorm\.", "backbone.norm."),
    (r"pooler\.query_tokens", "head.query_tokens"),
    (r"pooler\.cross_attention_layer\.", "head.cross_attention_block."),
    (r"pooler\.self_attention_layers\.", "head.blocks."),
    (r"classifier\.", "head.projection."),
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
# Of a block, after its number.
_HF_BLOCK = (
    ("layernorm_before.", "norm1."),
    ("layernorm_after.", "norm2."),
    ("layer_norm1.", "norm1."),
    ("layer_norm2.", "norm2."),
    ("attention.output.dense.", "attn.proj."),
    ("intermediate.dense.", "mlp.fc1."),
    ("output.dense.", "mlp.fc2."),
    ("attention.attention.", "attn."),
    ("attention.", "attn."),
    ("self_attn.", "attn."),
    ("cross_attn.", "xattn."),
    ("out_proj.", "proj."),
    ("q_proj.", "query."),
    ("k_proj.", "key."),
    ("v_proj.", "value."),
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
    rules: _Rules, computed: str = "", block: bool = False
) -> Callable[[Mapping[str, Tensor]], Weights]:
    """A file's tensors -> :class:`Weights`.

    Args:
        computed: name, in the file, of a table that is not needed.
        block: the layers of blocks have Hugging Face's names.
    """
    rename = _renaming(rules)

    def convert(state_dict: Mapping[str, Tensor]) -> Weights:
        weights = Weights()
        for source, tensor in state_dict.items():
            name = rename(source)
            if source == computed:
                weights.dropped.append((source, _COMPUTED))
                continue
            if block:
                name = _hf_layer(name)
            weights.add(name, source, tensor)
        if block:
            _fuse(weights)
        # What belongs neither to a backbone nor to its head is for the pretraining methods that have such a part.
        weights.optional = {
            name: _PRETRAINING for name in weights.tensors if not name.startswith(("backbone.", "head."))
        }
        return weights

    return convert


def _hf_layer(name: str) -> str:
    match = re.match(r"((?:backbone|decoder|head)\.(?:blocks\.\d+|cross_attention_block)\.)(.+)", name)
    if not match:
        return name
    layer = match[2]
    for theirs, ours in _HF_BLOCK:
        layer = layer.replace(theirs, ours, 1)
    return match[1] + layer


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
    weights = _converter(_MMACTION2, "backbone.pos_embed")(state_dict)
    # Class 0 of its AVA detectors is the background.
    weights.background = any(name.startswith("roi_head.bbox_head.") for name in state_dict)
    return weights


def _from_videomae(state_dict: Mapping[str, Tensor]) -> Weights:
    weights = _converter(_VIDEOMAE)(state_dict)
    if "encoder.patch_embed.proj.weight" in state_dict:
        # Of other methods' files, too: everything beside the encoder.
        beside = [name for name, source in weights.sources.items() if not source.startswith("encoder.")]
        weights.optional |= dict.fromkeys(beside, _PRETRAINING)
    return weights


def _from_vjepa_probe(state_dict: Mapping[str, Tensor]) -> Weights:
    weights = _converter(_VJEPA_PROBE)(state_dict)
    weights.head_only = True
    return weights


VIT_FORMATS: dict[str, Callable[[Mapping[str, Tensor]], Weights]] = {
    "videomae": _from_videomae,
    "mmaction2_vit": _from_mmaction2,
    "hf_videomae": _converter(_HF_VIDEOMAE, block=True),
    "hf_vjepa2": _converter(_HF_VJEPA2, block=True),
    "vjepa": _converter(_VJEPA),
    "vjepa_probe": _from_vjepa_probe,
    "mae_st": _converter(_MAE_ST),
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


_TO_MMACTION2 = {
    "patch_embed.proj.": "patch_embed.projection.",
    "mlp.fc1.": "mlp.layers.0.0.",
    "mlp.fc2.": "mlp.layers.1.",
}


def to_mmaction2(names: Iterable[str], detection: bool) -> dict[str, str]:
    """Our name -> that of mmaction2's ViT, in a recognizer or a detector."""
    head = "roi_head.bbox_head.fc_cls." if detection else "cls_head.fc_cls."
    theirs = {}
    for name in names:
        renamed = name.replace("head.projection.", head)
        for ours, layer in _TO_MMACTION2.items():
            renamed = renamed.replace(ours, layer)
        theirs[name] = renamed
    return theirs


# Of Hugging Face's VideoMAE; the encoder is below ``videomae.``.
_TO_HF_BLOCK = {
    "norm1.": "layernorm_before.",
    "norm2.": "layernorm_after.",
    "attn.proj.": "attention.output.dense.",
    "attn.": "attention.attention.",
    "mlp.fc1.": "intermediate.dense.",
    "mlp.fc2.": "output.dense.",
}
_TO_HF = {
    "backbone.patch_embed.proj.": "videomae.embeddings.patch_embeddings.projection.",
    "backbone.norm.": "videomae.layernorm.",
    "backbone.fc_norm.": "fc_norm.",
    "head.projection.": "classifier.",
    **{name: name for name in ("decoder.norm.", "decoder.head.", "mask_token", "encoder_to_decoder.")},
}


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
    """Our name, after :func:`separate`, -> that of Hugging Face's VideoMAE."""
    theirs = {}
    for name in names:
        if match := re.match(r"(backbone|decoder)\.blocks\.(\d+\.)(.+)", name):
            start = "videomae.encoder.layer." if match[1] == "backbone" else "decoder.decoder_layers."
            layer = next((p for p in _TO_HF_BLOCK if match[3].startswith(p)), "")
            if layer:
                theirs[name] = start + match[2] + _TO_HF_BLOCK[layer] + match[3].removeprefix(layer)
        elif start := next((prefix for prefix in _TO_HF if name.startswith(prefix)), ""):
            theirs[name] = _TO_HF[start] + name.removeprefix(start)
    return theirs
