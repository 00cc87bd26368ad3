"""Optical flow, and the motion maps made from it."""

from .estimators import FLOW_REGISTRY, FlowEstimator, build_flow_estimator
from .maps import flow_edges, flow_magnitude, flow_xy, frame_difference

__all__ = [
    "FLOW_REGISTRY",
    "FlowEstimator",
    "build_flow_estimator",
    "flow_edges",
    "flow_magnitude",
    "flow_xy",
    "frame_difference",
]
