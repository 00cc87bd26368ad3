"""torchvision's published weights, by torchvision's own names."""

from __future__ import annotations

import os
import re
from pathlib import Path

from torch import nn

from ..utils.cache import fetch
from ..utils.errors import UserError, nearest
from ..utils.paths import is_remote
from ..utils.text_files import expand_user
from .reading import read_state_dict

__all__ = ["SCHEME", "load_torchvision_weights", "torchvision_file", "torchvision_url", "weights_path"]

SCHEME = "torchvision://"  # NAME/WEIGHTS, such as torchvision://r2plus1d_18/KINETICS400_V1


def torchvision_url(path: str) -> str:
    """The URL of ``torchvision://NAME/WEIGHTS``. WEIGHTS may be omitted, which means torchvision's default.

    Raises:
        UserError: torchvision has no such weights.
    """
    from torchvision.models import get_model_weights, list_models

    name, _, version = path.removeprefix(SCHEME).partition("/")
    if name not in list_models():
        raise UserError(f"{path}: torchvision has no model {name!r}{nearest(name, list_models())}")
    published = get_model_weights(name).__members__
    if not published or version not in ("", *published):
        known = ", ".join(published) or "none"
        raise UserError(f"{path}: torchvision's weights of {name} are {known}{nearest(version, published)}")
    return published[version or "DEFAULT"].value.url


def torchvision_file(path: str) -> Path:
    """The local file of ``torchvision://NAME/WEIGHTS``, downloaded if it is not in the cache.

    It is checked against the digits of the SHA-256 in its name.

    Raises:
        UserError: torchvision has no such weights, or as for :func:`~modist_det.utils.cache.fetch`.
    """
    url = torchvision_url(path)
    digits = re.search(r"-([0-9a-f]{8,64})\.\w+$", url)
    return fetch(url, sha256=digits[1] if digits else "", name=path)


def weights_path(name: str, weights: str | os.PathLike) -> str:
    """The file, URL or ``torchvision://NAME/WEIGHTS`` that ``weights`` means for the network ``name``."""
    path = os.fspath(weights)
    if is_remote(path):
        return path
    file = expand_user(path)
    is_file = os.path.sep in path or file.suffix or file.is_file()
    return str(file) if is_file else f"{SCHEME}{name}/{path}"


def load_torchvision_weights(network: nn.Module, name: str, weights: str | os.PathLike) -> None:
    """Load weights into a torchvision network.

    Args:
        name: the network's name in torchvision.
        weights: a file with its state dict, a URL, ``zoo://NAME``, or torchvision's name for published weights
            ("DEFAULT", "COCO_V1"), which are downloaded into the cache.

    Raises:
        UserError: the weights do not exist, cannot be downloaded or read, or belong to another network.
    """
    path = weights_path(name, weights)
    state = read_state_dict(path)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(f"{path} does not fit {name}: {' '.join(str(error).split())[:200]}") from error
