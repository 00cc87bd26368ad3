"""Build motion readers from the names and numbers of configs and command lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .cached import CachedMotion
from .estimators import build_flow_estimator
from .maps import motion_kind
from .reader import DEFAULT_GAP, MotionReader

__all__ = ["build_motion_reader", "build_motion_source"]


def build_motion_reader(
    kind: str = "edges",
    *,
    estimator: str = "DIS",
    options: Mapping[str, Any] | None = None,
    gap_seconds: float = DEFAULT_GAP,
    short_side: int | None = 128,
    max_frame_side: int = 320,
    reference_side: int = 0,
    limit: float = 0.0,
) -> MotionReader:
    """A :class:`MotionReader` with the named flow estimator, if ``kind`` needs one.

    Raises:
        UserError: there is no such kind, estimator or option, or a value is invalid.
    """
    needs_flow = motion_kind(kind).from_flow is not None
    return MotionReader(
        kind,
        build_flow_estimator(estimator, **(options or {})) if needs_flow else None,
        gap_seconds=gap_seconds,
        short_side=short_side,
        max_frame_side=max_frame_side,
        reference_side=reference_side,
        limit=limit,
    )


def build_motion_source(
    kind: str = "edges",
    *,
    cache: str = "",
    gap_seconds: float = DEFAULT_GAP,
    max_frame_side: int = 320,
    reference_side: int = 0,
    limit: float = 0.0,
    **computed: Any,
) -> MotionReader | CachedMotion:
    """Motion maps from the folder ``cache`` if one is given, otherwise computed on demand.

    ``computed`` are further arguments of :func:`build_motion_reader`; a cache has its own estimator and resolution.

    Raises:
        UserError: as for :func:`build_motion_reader`, or the folder does not exist.
    """
    shared: dict[str, Any] = {
        "gap_seconds": gap_seconds,
        "max_frame_side": max_frame_side,
        "reference_side": reference_side,
        "limit": limit,
    }
    if cache:
        return CachedMotion(cache, kind, **shared)
    return build_motion_reader(kind, **shared, **computed)
