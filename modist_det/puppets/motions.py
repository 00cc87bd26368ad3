"""Actions as joint angles over time.

A motion is a function ``(seconds (T,), style) -> pose (T, channels)``. ``Style`` is everything that may differ between
two people performing the same action: tempo, amplitude, phase, side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .labels import GESTURES, POSES
from .skeleton import Channel as C
from .skeleton import neutral_pose

__all__ = ["busy_channels", "GESTURE_MOTIONS", "GROUND_SPEED", "POSE_MOTIONS", "Style", "draw_style"]


@dataclass(frozen=True)
class Style:
    """How one person performs one action."""

    tempo: float = 1.0
    amplitude: float = 1.0
    phase: float = 0.0  # in periods
    left: bool = True  # which arm or leg leads; the direction of a fall to the side or of a turn
    both: bool = False  # both arms, for gestures of one or two arms
    elbow: float = 15.0  # degrees by which idle arms are bent
    spread: float = 8.0  # degrees between idle arms and the body
    direction: float = 0.0  # 0 to 1: the way of falling, or the height to point at


def draw_style(rng: np.random.Generator) -> Style:
    """A random style."""
    return Style(
        tempo=rng.uniform(0.88, 1.15),
        amplitude=rng.uniform(0.88, 1.12),
        phase=rng.uniform(0, 1),
        left=bool(rng.random() < 0.5),
        both=bool(rng.random() < 0.3),
        elbow=rng.uniform(5, 60),
        spread=rng.uniform(5, 16),
        direction=rng.uniform(0, 1),
    )


def _keyed(phase: np.ndarray, *keys: tuple[float, float]) -> np.ndarray:
    """A periodic curve through ``(phase, value)`` keys, with slope 0 at each key (cosine easing)."""
    times = np.array([time for time, _ in keys] + [keys[0][0] + 1])
    values = np.array([value for _, value in keys] + [keys[0][1]])
    position = keys[0][0] + (phase - keys[0][0]) % 1.0
    index = np.clip(np.searchsorted(times, position, side="right") - 1, 0, len(keys) - 1)
    share = (position - times[index]) / (times[index + 1] - times[index])
    return values[index] + (values[index + 1] - values[index]) * (1 - np.cos(np.pi * share)) / 2


def _idle_arms(pose: np.ndarray, style: Style) -> None:
    for flex in (C.L_FLEX, C.R_FLEX):
        pose[:, flex] = 4
        pose[:, flex + 1] = style.spread
        pose[:, flex + 3] = style.elbow


def _stand(t: np.ndarray, style: Style) -> np.ndarray:
    pose = neutral_pose(len(t))
    _idle_arms(pose, style)
    sway = np.sin(2 * np.pi * (0.3 * style.tempo * t + style.phase))
    pose[:, C.LEAN] = 2 + 1.5 * sway
    pose[:, C.SIDE] = 2 * np.sin(2 * np.pi * (0.22 * style.tempo * t + 2 * style.phase))
    pose[:, C.NOD] = 3 * sway
    pose[:, [C.L_SPREAD, C.R_SPREAD]] = 5
    pose[:, [C.L_KNEE, C.R_KNEE]] = 4
    pose[:, [C.L_HIP, C.R_HIP]] = 2
    return pose


def _gait(
    t: np.ndarray, style: Style, rate: float, stride: float, reach: float, knee: float, knee_rest: float
) -> tuple[np.ndarray, np.ndarray]:
    """Legs of a walk or run: thighs swing by ``stride`` degrees around ``reach``; knees bend while moving forward."""
    pose = neutral_pose(len(t))
    angle = 2 * np.pi * (rate * style.tempo * t + style.phase)
    for hip, offset in ((C.L_HIP, 0.0), (C.R_HIP, np.pi)):
        pose[:, hip] = reach + stride * style.amplitude * np.sin(angle + offset)
        pose[:, hip + 2] = knee_rest + knee * style.amplitude * np.maximum(0, np.cos(angle + offset + 0.5))
    return pose, angle


def _walk(t: np.ndarray, style: Style) -> np.ndarray:
    pose, angle = _gait(t, style, rate=0.85, stride=27, reach=5, knee=48, knee_rest=6)
    _idle_arms(pose, style)
    for flex, offset in ((C.L_FLEX, np.pi), (C.R_FLEX, 0.0)):
        pose[:, flex] += 24 * style.amplitude * np.sin(angle + offset)
    pose[:, C.LEAN] = 3
    pose[:, C.TWIST] = 6 * np.sin(angle)
    return pose


def _run(t: np.ndarray, style: Style) -> np.ndarray:
    pose, angle = _gait(t, style, rate=1.4, stride=44, reach=18, knee=88, knee_rest=18)
    for flex, offset in ((C.L_FLEX, np.pi), (C.R_FLEX, 0.0)):
        pose[:, flex] = 5 + 45 * style.amplitude * np.sin(angle + offset)
        pose[:, flex + 1] = 10
        pose[:, flex + 3] = 88
    pose[:, C.LEAN] = 13 * style.amplitude
    pose[:, C.TWIST] = 9 * np.sin(angle)
    pose[:, C.AIR] = 0.035 * np.maximum(0, np.sin(2 * angle + 0.6))
    return pose


def _jump(t: np.ndarray, style: Style) -> np.ndarray:
    phase = 0.95 * style.tempo * t + style.phase
    pose = neutral_pose(len(t))
    bend = style.amplitude * _keyed(phase, (0.0, 0.25), (0.22, 1.0), (0.38, 0.0), (0.72, 0.0), (0.86, 0.8))
    pose[:, [C.L_HIP, C.R_HIP]] = (62 * bend + 2)[:, None]
    pose[:, [C.L_KNEE, C.R_KNEE]] = (84 * bend + 4)[:, None]
    pose[:, [C.L_SPREAD, C.R_SPREAD]] = 5
    pose[:, C.LEAN] = 30 * bend
    flight = np.clip((phase % 1.0 - 0.34) / 0.42, 0, 1)
    pose[:, C.AIR] = 4 * 0.23 * style.amplitude * flight * (1 - flight)
    swing = _keyed(phase, (0.0, 0.0), (0.2, -35.0), (0.5, 105.0), (0.85, 20.0))
    pose[:, [C.L_FLEX, C.R_FLEX]] = (swing * style.amplitude)[:, None]
    pose[:, [C.L_ABD, C.R_ABD]] = style.spread + 6
    pose[:, [C.L_ELBOW, C.R_ELBOW]] = style.elbow
    return pose


def _crouch(t: np.ndarray, style: Style) -> np.ndarray:
    phase = 0.44 * style.tempo * t + style.phase
    pose = neutral_pose(len(t))
    _idle_arms(pose, style)
    bend = style.amplitude * _keyed(phase, (0.0, 0.12), (0.3, 1.0), (0.45, 0.86), (0.6, 1.0), (0.88, 0.12))
    pose[:, [C.L_HIP, C.R_HIP]] = (98 * bend)[:, None]
    pose[:, [C.L_KNEE, C.R_KNEE]] = (122 * bend)[:, None]
    pose[:, [C.L_SPREAD, C.R_SPREAD]] = (6 + 8 * bend)[:, None]
    pose[:, C.LEAN] = 30 * bend
    pose[:, [C.L_FLEX, C.R_FLEX]] = (4 + 38 * bend)[:, None]
    return pose


def _fall(t: np.ndarray, style: Style) -> np.ndarray:
    phase = 0.36 * style.tempo * t + style.phase
    pose = neutral_pose(len(t))
    _idle_arms(pose, style)
    down = _keyed(phase, (0.0, 0.0), (0.06, 0.0), (0.3, 1.0), (0.52, 0.96), (0.9, 0.0))
    folded = _keyed(phase, (0.0, 0.0), (0.16, 0.55), (0.32, 0.1), (0.52, 0.15), (0.7, 1.0), (0.94, 0.0))
    angle = 86 * down
    reach = 60.0  # of the arms
    if style.direction < 0.35:  # on the face, with the arms stretched out beyond the head
        reach = 165.0
        pose[:, C.PITCH] = angle
        pose[:, C.SHIFT] = 0.5 * np.sin(np.deg2rad(angle))
    elif style.direction < 0.6:  # on the back
        pose[:, C.PITCH] = -angle
        pose[:, C.SHIFT] = -0.5 * np.sin(np.deg2rad(angle))
    else:  # on the side
        pose[:, C.ROLL] = angle if style.left else -angle
    pose[:, C.LEAN] = 28 * folded
    pose[:, [C.L_HIP, C.R_HIP]] = (62 * folded)[:, None] * [1.0, 0.8]
    pose[:, [C.L_KNEE, C.R_KNEE]] = (84 * folded)[:, None] * [0.85, 1.0]
    pose[:, [C.L_FLEX, C.R_FLEX]] += (reach * down)[:, None] * [1.0, 0.85]
    pose[:, [C.L_ABD, C.R_ABD]] += (15 * down)[:, None]
    return pose


def _turn(t: np.ndarray, style: Style) -> np.ndarray:
    pose, angle = _gait(t, style, rate=1.3, stride=8, reach=4, knee=26, knee_rest=6)
    _idle_arms(pose, style)
    pose[:, [C.L_ABD, C.R_ABD]] += 8
    pose[:, [C.L_SPREAD, C.R_SPREAD]] = (6 + 4 * np.sin(angle))[:, None] * [1.0, -1.0] + 4
    pose[:, C.YAW] = (1 if style.left else -1) * 215 * style.tempo * t
    return pose


def _arms(style: Style, both: bool) -> list[C]:
    """The first channel of each active arm: both arms, or the leading one."""
    if both:
        return [C.L_FLEX, C.R_FLEX]
    return [C.L_FLEX if style.left else C.R_FLEX]


def _wave(t: np.ndarray, style: Style) -> np.ndarray:
    pose = neutral_pose(len(t))
    swing = np.sin(2 * np.pi * (1.2 * style.tempo * t + style.phase))
    for flex in _arms(style, style.both):
        pose[:, flex] = 8
        pose[:, flex + 1] = 92 + 8 * swing
        pose[:, flex + 2] = -82
        pose[:, flex + 3] = 72 + 46 * style.amplitude * swing
    return pose


def _clap(t: np.ndarray, style: Style) -> np.ndarray:
    pose = neutral_pose(len(t))
    # 1 when the hands meet; the arms are open for longer than they are closed.
    meet = (0.5 + 0.5 * np.cos(2 * np.pi * (1.2 * style.tempo * t + style.phase))) ** 1.3
    open_ = style.amplitude * (1 - meet)
    for flex in _arms(style, both=True):
        pose[:, flex] = 62 - 22 * open_
        pose[:, flex + 1] = 46 * open_
        pose[:, flex + 2] = 32 - 54 * open_
        pose[:, flex + 3] = 76 - 38 * open_
    return pose


def _point(t: np.ndarray, style: Style) -> np.ndarray:
    pose = neutral_pose(len(t))
    phase = 0.55 * style.tempo * t + style.phase
    raised = _keyed(phase, (0.0, 0.0), (0.25, 1.0), (0.65, 1.0), (0.92, 0.0))
    sweep = np.sin(2 * np.pi * (0.55 * style.tempo * t + style.phase))
    for flex in _arms(style, both=False):
        pose[:, flex] = (76 + 26 * style.direction) * raised
        pose[:, flex + 1] = 14 + 10 * sweep
        pose[:, flex + 3] = 6 + 30 * (1 - raised)
    return pose


def _punch(t: np.ndarray, style: Style) -> np.ndarray:
    pose = neutral_pose(len(t))
    phase = 0.9 * style.tempo * t + style.phase
    hits = {}
    for number, flex in enumerate(_arms(style, both=True)):
        hit = _keyed(phase + 0.5 * number, (0.0, 0.0), (0.1, -0.08), (0.25, 1.0), (0.34, 1.0), (0.52, 0.0))
        pose[:, flex] = 28 + 62 * hit
        pose[:, flex + 1] = 8
        pose[:, flex + 2] = 22 * (1 - hit)
        pose[:, flex + 3] = 128 - 122 * np.clip(hit * style.amplitude, -0.1, 1)
        hits[flex] = hit
    pose[:, C.TWIST] = 24 * (hits[C.R_FLEX] - hits[C.L_FLEX])
    return pose


def _kick(t: np.ndarray, style: Style) -> np.ndarray:
    pose = neutral_pose(len(t))
    phase = 0.8 * style.tempo * t + style.phase
    kicking, standing = (C.L_HIP, C.R_HIP) if style.left else (C.R_HIP, C.L_HIP)
    pose[:, kicking] = style.amplitude * _keyed(phase, (0.0, 0.0), (0.2, -30.0), (0.46, 88.0), (0.75, 0.0))
    pose[:, kicking + 2] = _keyed(phase, (0.0, 6.0), (0.24, 80.0), (0.46, 6.0), (0.6, 45.0), (0.8, 6.0))
    pose[:, kicking + 1] = 6
    pose[:, standing] = 4
    pose[:, standing + 2] = 8
    pose[:, C.LEAN] = _keyed(phase, (0.0, 2.0), (0.2, 8.0), (0.46, -14.0), (0.8, 2.0))
    return pose


Motion = Callable[[np.ndarray, Style], np.ndarray]

# In the order of the labels.
POSE_MOTIONS = dict[str, Motion](zip(POSES, (_stand, _walk, _run, _jump, _crouch, _fall, _turn), strict=True))
GESTURE_MOTIONS = dict[str, Motion](zip(GESTURES, (_wave, _clap, _point, _punch, _kick), strict=True))

# Speed of the actions that move over the ground, in body heights per second.
GROUND_SPEED: dict[str, float] = {"walk": 0.7, "run": 1.6}


def busy_channels(gesture: str, style: Style) -> list[int]:
    """The channels that a gesture overrides in the pose."""
    if gesture == "kick":
        return [*range(C.L_HIP, C.R_KNEE + 1), C.LEAN]
    both = gesture in ("clap", "punch") or (gesture == "wave" and style.both)
    channels = [flex + offset for flex in _arms(style, both) for offset in range(4)]
    return [*channels, C.TWIST] if gesture == "punch" else channels
