"""Write a model's tensors in the formats of other code bases."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ..structures.class_facts import ClassFacts
from ..utils.errors import UserError, nearest
from ..utils.files import atomic_path
from .archive import save_archive
from .formats import names_in_format
from .hashes import HASHES, content_hashes
from .safetensors_file import write_safetensors
from .video_vit import separate

__all__ = ["WRITTEN_FORMATS", "write_weights"]

WRITTEN_FORMATS = (
    "modist_det",
    "safetensors",
    "pyslowfast",
    "pytorchvideo",
    "torchvision_video",
    "caffe2",
    "modist",
    "videomae",
    "hf_videomae",
)
# BN counters: a format may lack them without loss.
_COUNTER = "num_batches_tracked"


def write_weights(
    path: str | os.PathLike,
    tensors: Mapping[str, Tensor],
    format: str,
    *,
    config: str = "",
    classes: ClassFacts | None = None,
    pool_after_res2: bool = False,
    detection: bool = False,
) -> list[str]:
    """Write ``tensors`` (our names, ``backbone. ...`` and ``head. ...``) as ``format``.

    Args:
        format: one of :data:`WRITTEN_FORMATS`. "pyslowfast" is a ``.pyth`` file that PySlowFast can test and fine-tune
            (``TRAIN.CHECKPOINT_EPOCH_RESET True``). "safetensors" has our names, with the config as metadata.
            "torchvision_video" is the state dict of a :class:`.TorchvisionVideo` network with its classifier.
            "videomae" and "hf_videomae", for a :class:`.VideoViT`, are safetensors if ``path`` ends so.
        config: YAML, stored in the formats "modist_det" and "safetensors".
        classes: the classes of the outputs, stored in the same formats.
        pool_after_res2, detection: see :func:`~modist_det.checkpoint.pytorchvideo.to_pytorchvideo`.

    Returns:
        Names of tensors that the format lacks and does not need: BN counters.

    Raises:
        UserError: an unknown format, a tensor that the format has no name for, or the file cannot be written.
    """
    if format not in WRITTEN_FORMATS:
        raise UserError(
            f"there is no format {format!r} to write{nearest(format, WRITTEN_FORMATS)} "
            f"(known: {', '.join(WRITTEN_FORMATS)})"
        )
    layout = "modist_det" if format == "safetensors" else format
    if format == "hf_videomae":
        tensors = separate(tensors)
    names = names_in_format(tensors, layout, pool_after_res2=pool_after_res2, detection=detection)
    left_out = [name for name in tensors if name not in names]
    nameless = [name for name in left_out if not name.endswith(_COUNTER)]
    if nameless:
        raise UserError(f"the format {format} cannot store {nameless[0]}; nothing was written")
    renamed = {theirs: tensors[name].detach().cpu().contiguous() for name, theirs in names.items()}
    if format == "torchvision_video" and "classifier.1.weight" in renamed:  # S3D's, a convolution of size 1
        renamed["classifier.1.weight"] = renamed["classifier.1.weight"][..., None, None, None]
    if format in ("videomae", "hf_videomae") and Path(path).suffix == ".safetensors":
        write_safetensors(path, renamed, {"format": "pt"})
    elif format == "safetensors":
        metadata = {"format": "modist_det", "config": config}
        write_safetensors(path, renamed, metadata | ({"class_facts": classes.to_json()} if classes else {}))
    elif format == "caffe2":
        blobs = {name: tensor.numpy() for name, tensor in renamed.items()}
        with atomic_path(path) as temporary:
            temporary.write_bytes(pickle.dumps({"blobs": blobs}, protocol=2))
    else:
        save_archive(_content(format, renamed, config, classes), path)
    return left_out


def _content(
    format: str, tensors: dict[str, Tensor], config: str, classes: ClassFacts | None
) -> Mapping[str, Any]:
    if format == "modist_det":
        facts = {"class_facts": classes.to_dict()} if classes else {}
        content = {"model": tensors, "config": config} | facts
        return {**content, HASHES: content_hashes(content)}
    if format in ("torchvision_video", "hf_videomae"):
        return tensors
    if format == "videomae":
        return {"model": tensors}
    # PySlowFast's configs differ from ours; it does not read this entry.
    return {"epoch": 0, "model_state": tensors, "optimizer_state": {}, "cfg": ""}
