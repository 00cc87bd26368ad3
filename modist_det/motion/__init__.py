"""Optical flow, the motion maps computed from it, and their files."""

from .build import build_motion_reader, build_motion_source
from .cached import CachedMotion
from .estimators import FLOW_REGISTRY, FlowEstimator, build_flow_estimator
from .maps import (
    MOTION_KINDS,
    MotionKind,
    flip_maps,
    flow_edges,
    flow_magnitude,
    flow_xy,
    frame_difference,
    motion_kind,
)
from .reader import MotionReader, MotionSource

__all__ = [
    "FLOW_REGISTRY",
    "MOTION_KINDS",
    "CachedMotion",
    "FlowEstimator",
    "MotionKind",
    "MotionReader",
    "MotionSource",
    "build_flow_estimator",
    "build_motion_reader",
    "build_motion_source",
    "flip_maps",
    "flow_edges",
    "flow_magnitude",
    "flow_xy",
    "frame_difference",
    "motion_kind",
]
