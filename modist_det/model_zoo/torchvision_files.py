"""The files of torchvision's published weights, by torchvision's own names."""

from __future__ import annotations

import re
from pathlib import Path

from ..utils.cache import fetch
from ..utils.errors import UserError, nearest

__all__ = ["SCHEME", "torchvision_file"]

# torchvision://NAME/WEIGHTS, such as torchvision://r2plus1d_18/KINETICS400_V1.
SCHEME = "torchvision://"


def torchvision_file(path: str) -> Path:
    """The local file of ``torchvision://NAME/WEIGHTS`` (WEIGHTS may be left out: torchvision's default), downloaded if
    it is not in the cache and checked by the digits of its SHA-256 that its name has.

    Raises:
        UserError: torchvision has no such weights, or see :func:`~modist_det.utils.cache.fetch`.
    """
    from torchvision.models import get_model_weights, list_models

    name, _, version = path.removeprefix(SCHEME).partition("/")
    if name not in list_models():
        raise UserError(f"{path}: torchvision has no model {name!r}{nearest(name, list_models())}")
    published = get_model_weights(name).__members__
    if not published or version not in ("", *published):
        known = ", ".join(published) or "none"
        raise UserError(f"{path}: torchvision's weights of {name} are {known}{nearest(version, published)}")
    url = published[version or "DEFAULT"].value.url
    digits = re.search(r"-([0-9a-f]{8,64})\.\w+$", url)
    return fetch(url, sha256=digits[1] if digits else "", name=path)
