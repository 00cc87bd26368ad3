"""The body: from joint angles to limbs in space.

Body axes: x to the person's left, y up, z forward. World axes: x to the right of the image, y up, z towards the camera.
A person with heading 0 faces the camera, with heading 90 the right edge. Lengths are in body heights (the height of a
person standing upright); angles are in degrees. All functions work on T frames at once.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np

__all__ = ["LIMBS", "LIMB_LENGTHS", "Channel", "Limb", "limbs_in_space", "neutral_pose"]


class Channel(IntEnum):
    """Columns of a pose array (T, len(Channel)). All zeros is standing at attention.

    Shoulder: ``FLEX`` raises the arm forward, ``ABD`` sideways; ``ROT`` rotates it inward about its own axis. ``ELBOW``
    and ``KNEE`` bend. ``LEAN`` bends the trunk forward at the hips, ``SIDE`` to the left; ``TWIST`` turns the chest to
    the left. ``PITCH`` and ``ROLL`` tilt the whole body forward and to the left.
    """

    PITCH = 0
    ROLL = 1
    YAW = 2  # added to the heading
    AIR = 3  # height of the lowest point above the ground, in body heights
    LEAN = 4
    SIDE = 5
    TWIST = 6
    NOD = 7
    L_FLEX = 8
    L_ABD = 9
    L_ROT = 10
    L_ELBOW = 11
    R_FLEX = 12
    R_ABD = 13
    R_ROT = 14
    R_ELBOW = 15
    L_HIP = 16  # thigh forward
    L_SPREAD = 17  # thigh sideways
    L_KNEE = 18
    R_HIP = 19
    R_SPREAD = 20
    R_KNEE = 21
    SHIFT = 22  # of the hips, forward over the ground, in body heights


class Limb(NamedTuple):
    """The joint indices of a limb's two ends."""

    start: int
    end: int


_Joint = IntEnum(
    "_Joint",
    "PELVIS NECK HEAD CROWN L_SHOULDER L_ELBOW L_HAND R_SHOULDER R_ELBOW R_HAND "
    "L_HIP L_KNEE L_ANKLE L_TOE R_HIP R_KNEE R_ANKLE R_TOE",
    start=0,
)
_J = _Joint
LIMBS: dict[str, Limb] = {
    "trunk": Limb(_J.NECK, _J.PELVIS),
    "head": Limb(_J.CROWN, _J.HEAD),
    "l_upper_arm": Limb(_J.L_SHOULDER, _J.L_ELBOW),
    "l_forearm": Limb(_J.L_ELBOW, _J.L_HAND),
    "r_upper_arm": Limb(_J.R_SHOULDER, _J.R_ELBOW),
    "r_forearm": Limb(_J.R_ELBOW, _J.R_HAND),
    "l_thigh": Limb(_J.L_HIP, _J.L_KNEE),
    "l_shin": Limb(_J.L_KNEE, _J.L_ANKLE),
    "l_foot": Limb(_J.L_ANKLE, _J.L_TOE),
    "r_thigh": Limb(_J.R_HIP, _J.R_KNEE),
    "r_shin": Limb(_J.R_KNEE, _J.R_ANKLE),
    "r_foot": Limb(_J.R_ANKLE, _J.R_TOE),
}

# Radius of the body around each joint, in body heights; it touches the ground first.
_JOINT_RADII = np.array(
    [0.07, 0.06, 0.06, 0.0, 0.05, 0.035, 0.03, 0.05, 0.035, 0.03]
    + [0.06, 0.045, 0.035, 0.022, 0.06, 0.045, 0.035, 0.022]
)

LIMB_LENGTHS: dict[str, float] = {
    "trunk": 0.30,
    "head": 0.115,
    "upper_arm": 0.175,
    "forearm": 0.195,  # to the center of the hand
    "thigh": 0.235,
    "shin": 0.235,
    "foot": 0.10,
}
_NECK_TO_HEAD = 0.045
_SHOULDER_HALF, _HIP_HALF, _SHOULDER_DROP = 0.115, 0.055, 0.035


def neutral_pose(num_frames: int) -> np.ndarray:
    """Standing at attention: zeros (T, len(Channel))."""
    return np.zeros((num_frames, len(Channel)))


def _rotation(axis: int, degrees: np.ndarray) -> np.ndarray:
    """Right-handed rotations about coordinate ``axis``: (T,) -> (T, 3, 3)."""
    radians = np.deg2rad(degrees)
    cos, sin = np.cos(radians), np.sin(radians)
    out = np.zeros((len(radians), 3, 3))
    first, second = (axis + 1) % 3, (axis + 2) % 3
    out[:, axis, axis] = 1
    out[:, first, first] = out[:, second, second] = cos
    out[:, first, second], out[:, second, first] = -sin, sin
    return out


def limbs_in_space(pose: np.ndarray, heading: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Joint positions, and the axes of trunk and head.

    Args:
        pose: (T, len(Channel)) in degrees (``AIR`` and ``SHIFT``: body heights).
        heading: (T,) in degrees; 0 faces the camera.

    Returns:
        Joints (T, 18, 3) in body heights, relative to the point on the ground below the body's center; their lowest
        point touches the ground, or is ``AIR`` above it. Axes (T, 2, 3, 3): for trunk and head the directions (left,
        up, forward) as columns.
    """

    def turn(axis: int, channel: Channel, sign: float = 1.0) -> np.ndarray:
        return _rotation(axis, sign * pose[:, channel])

    c = Channel
    body = _rotation(1, heading + pose[:, c.YAW]) @ turn(0, c.PITCH) @ turn(2, c.ROLL, -1)
    hips = body
    chest = body @ turn(0, c.LEAN) @ turn(2, c.SIDE, -1) @ turn(1, c.TWIST)
    head = chest @ turn(0, c.NOD)

    joints = np.zeros((len(pose), len(_Joint), 3))
    joints[:, _J.NECK] = chest @ (0, LIMB_LENGTHS["trunk"], 0)
    joints[:, _J.HEAD] = joints[:, _J.NECK] + head @ (0, _NECK_TO_HEAD, 0.01)
    joints[:, _J.CROWN] = joints[:, _J.HEAD] + head @ (0, LIMB_LENGTHS["head"], 0.01)
    for left in (True, False):
        side = 1.0 if left else -1.0
        flex, shoulder = (c.L_FLEX, _J.L_SHOULDER) if left else (c.R_FLEX, _J.R_SHOULDER)
        # The channels and joints of one side are consecutive in both enumerations.
        upper = (
            chest @ turn(0, flex, -1) @ turn(2, Channel(flex + 1), side) @ turn(1, Channel(flex + 2), -side)
        )
        fore = upper @ turn(0, Channel(flex + 3), -1)
        joints[:, shoulder] = chest @ (side * _SHOULDER_HALF, LIMB_LENGTHS["trunk"] - _SHOULDER_DROP, 0)
        joints[:, shoulder + 1] = joints[:, shoulder] + upper @ (0, -LIMB_LENGTHS["upper_arm"], 0)
        joints[:, shoulder + 2] = joints[:, shoulder + 1] + fore @ (0, -LIMB_LENGTHS["forearm"], 0)

        thigh_flex, hip = (c.L_HIP, _J.L_HIP) if left else (c.R_HIP, _J.R_HIP)
        thigh = hips @ turn(0, thigh_flex, -1) @ turn(2, Channel(thigh_flex + 1), side)
        shin = thigh @ turn(0, Channel(thigh_flex + 2))
        joints[:, hip] = hips @ (side * _HIP_HALF, -0.01, 0)
        joints[:, hip + 1] = joints[:, hip] + thigh @ (0, -LIMB_LENGTHS["thigh"], 0)
        joints[:, hip + 2] = joints[:, hip + 1] + shin @ (0, -LIMB_LENGTHS["shin"], 0)
        joints[:, hip + 3] = joints[:, hip + 2] + shin @ (0, -0.012, LIMB_LENGTHS["foot"])

    lowest = (joints[:, :, 1] - _JOINT_RADII).min(axis=1)
    joints[:, :, 1] += (pose[:, c.AIR] - lowest)[:, None]
    forward = _rotation(1, heading + pose[:, c.YAW]) @ (0, 0, 1)
    joints += (pose[:, c.SHIFT, None] * forward)[:, None]
    return joints, np.stack([chest, head], axis=1)
