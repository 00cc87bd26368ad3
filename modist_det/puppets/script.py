"""Scripts: all random decisions of a video (who does what, when and where), made before any drawing.

Actions, appearances, places and the camera have separate random streams, so that they are independent.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .appearance import Body, make_body
from .distractors import Distractor, make_distractors
from .labels import CLASS_NAMES, POSES
from .motions import GESTURE_MOTIONS, GROUND_SPEED, POSE_MOTIONS, Style, busy_channels, draw_style
from .params import PuppetsParams
from .scene import Perspective, Place, camera_path, make_perspective, make_place
from .skeleton import Channel, limbs_in_space

__all__ = ["Person", "Script", "Segment", "random_stream", "single_action", "write_script"]

# Weights of the gestures that go with each pose, and the probability of any gesture.
_COMPANIONS: dict[str, dict[str, float]] = {
    "stand": {"wave": 1, "clap": 1.5, "point": 1, "punch": 2.5, "kick": 3},
    "walk": {"wave": 1, "clap": 1.5, "point": 1},
    "run": {"wave": 1, "point": 1},
    "jump": {"wave": 1, "clap": 2},
    "crouch": {"wave": 1, "clap": 1.5, "point": 1, "punch": 2.5},
    "fall": {},
    "turn": {"wave": 1, "point": 1},
}
_GESTURE_RATE: dict[str, float] = dict.fromkeys(POSES, 0.5) | {"stand": 0.8, "run": 0.3, "turn": 0.3}
_POSE_WEIGHTS: dict[str, float] = dict.fromkeys(POSES, 1.0) | {"stand": 2.0}
_SECOND_GESTURE_RATE = 0.15
_CHANGE_RATE = 0.12  # probability of a change at each half second where it is allowed
_SHORTEST_SEGMENT = 2.0  # seconds
_ENTER_RATE, _LEAVE_RATE = 0.15, 0.15
_BLEND = 0.3  # seconds of transition between actions

_LOOKS, _PLACES = 1001, 1002  # streams of the whole set, not of a video


@dataclass(frozen=True)
class Segment:
    """One pose and its gestures, from ``start`` to ``end`` seconds."""

    start: float
    end: float
    pose: str
    gestures: tuple[str, ...]
    styles: tuple[Style, ...]  # of the pose and of each gesture

    @property
    def actions(self) -> tuple[str, ...]:
        """Names of the pose and the gestures."""
        return (self.pose, *self.gestures)


@dataclass(frozen=True)
class Person:
    """One person's whole performance, in world pixels."""

    person_id: int
    look: int  # which of the set's appearances
    body: Body
    segments: tuple[Segment, ...]
    points: np.ndarray  # (T, joints, 2) world pixels
    nearness: np.ndarray  # (T, joints) body heights: larger is nearer to the camera
    yaw: np.ndarray  # (T, 2) radians: the side from which trunk and head are seen
    scale: np.ndarray  # (T,) world pixels per body height
    depth: np.ndarray  # (T,) metres from the camera
    foot: np.ndarray  # (T, 2) world pixels: the point on the ground below the hips

    def segment_at(self, second: float) -> Segment:
        """The segment at a time."""
        return next(s for s in self.segments if second < s.end or s is self.segments[-1])


@dataclass(frozen=True)
class Script:
    """A complete video before it is drawn."""

    params: PuppetsParams
    place: Place
    place_index: int
    camera: np.ndarray  # (T, 2, 3)
    people: tuple[Person, ...]
    distractors: tuple[Distractor, ...]

    def without(self, person_id: int) -> Script:
        """The same video without one person."""
        return replace(self, people=tuple(p for p in self.people if p.person_id != person_id))


def random_stream(seed: int, *key: int) -> np.random.Generator:
    """An independent random generator for each key."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def write_script(params: PuppetsParams, seed: int, split: int, index: int) -> Script:
    """The script of video ``index`` in a split (0: train, 1: val). A pure function of its arguments."""
    acting, looks, staging, filming = (random_stream(seed, split, index, stream) for stream in range(4))
    view = make_perspective(staging, params)
    place_index = int(staging.integers(params.appearances))
    floor = view.ground(staging.uniform(4.5, 9.0))
    place = make_place(random_stream(seed, _PLACES, place_index), params, float(floor))
    count = int(staging.integers(params.min_people, params.max_people + 1))
    slots = (staging.permutation(count) + 0.5 + staging.uniform(-0.3, 0.3, count)) / count
    people = []
    for number in range(count):
        look = int(looks.integers(params.appearances))
        figure = looks.uniform(params.min_figure, params.max_figure) * params.frame_height
        body = make_body(random_stream(seed, _LOOKS, look), figure, params.texture_contrast)
        slot = (0.08 + 0.84 * slots[number]) * params.frame_width
        action = single_action(index) if params.single_action else None
        people.append(_perform(acting, staging, params, view, number + 1, look, body, slot, action))
    depths = [float(p.depth.mean()) for p in people]
    # Most objects are behind the people, some pass in front of them.
    things = make_distractors(filming, params, view, (0.85 * min(depths), 2.2 * max(depths)))
    return Script(params, place, place_index, camera_path(filming, params), tuple(people), tuple(things))


def single_action(index: int) -> str:
    """The class of video ``index`` in a set of single actions."""
    return list(CLASS_NAMES.values())[index % len(CLASS_NAMES)]


def _cuts(rng: np.random.Generator, seconds: float) -> list[float]:
    """Start times of a person's segments: halfway between keyframes, and not too many."""
    cuts = [0.0]
    for time in np.arange(1.5, seconds - 1.2):
        if time - cuts[-1] >= min(_SHORTEST_SEGMENT, time) and rng.random() < _CHANGE_RATE:
            cuts.append(float(time))
    return cuts


def _choose(rng: np.random.Generator, weights: dict[str, float]) -> str:
    share = np.array(list(weights.values())) / sum(weights.values())
    return list(weights)[rng.choice(len(share), p=share)]


def _draw_gestures(rng: np.random.Generator, pose: str) -> list[tuple[str, Style]]:
    """Zero, one or two gestures that go with a pose and use different limbs."""
    companions = _COMPANIONS[pose]
    if not companions or rng.random() >= _GESTURE_RATE[pose]:
        return []
    first, style = _choose(rng, companions), draw_style(rng)
    chosen = [(first, style)]
    if len(companions) > 1 and rng.random() < _SECOND_GESTURE_RATE:
        second = _choose(rng, {name: weight for name, weight in companions.items() if name != first})
        # With the other arm, if the first gesture uses one.
        other = replace(draw_style(rng), left=not style.left, both=False)
        if not set(busy_channels(first, style)) & set(busy_channels(second, other)):
            chosen.append((second, other))
    return chosen


def _draw_segments(
    rng: np.random.Generator, seconds: float, enters: bool, leaves: bool
) -> tuple[Segment, ...]:
    cuts = _cuts(rng, seconds)
    if len(cuts) == 1 and (enters or leaves):
        crossing = min(2.5, seconds // 2 + 0.5)
        cuts.append(crossing if enters else seconds // 1 - crossing)
    segments: list[Segment] = []
    for number, (start, end) in enumerate(zip(cuts, [*cuts[1:], seconds], strict=True)):
        if (enters and number == 0) or (leaves and number == len(cuts) - 1):
            weights = dict.fromkeys(GROUND_SPEED, 1.0)
        else:
            before = segments[-1].pose if segments else None
            weights = {pose: weight for pose, weight in _POSE_WEIGHTS.items() if pose != before}
        pose = _choose(rng, weights)
        gestures = _draw_gestures(rng, pose)
        styles = (draw_style(rng), *(style for _, style in gestures))
        segments.append(Segment(start, end, pose, tuple(name for name, _ in gestures), styles))
    return tuple(segments)


def _only_segment(rng: np.random.Generator, seconds: float, action: str) -> Segment:
    """One action for the whole video. With a gesture, the person stands."""
    if action in POSES:
        return Segment(0.0, seconds, action, (), (draw_style(rng),))
    return Segment(0.0, seconds, "stand", (action,), (draw_style(rng), draw_style(rng)))


def _weights(segments: tuple[Segment, ...], t: np.ndarray) -> list[np.ndarray]:
    """Weights of each segment in each frame. Segments overlap for ``_BLEND`` seconds; the weights add up to 1."""

    def after(time: float) -> np.ndarray:
        share = np.clip((t - time) / _BLEND + 0.5, 0, 1)
        return share * share * (3 - 2 * share)

    begun = [np.ones_like(t), *(after(s.start) for s in segments[1:]), np.zeros_like(t)]
    return [first - second for first, second in zip(begun, begun[1:], strict=False)]


def _wrap(degrees: float) -> float:
    return (degrees + 180) % 360 - 180


def _perform(
    acting: np.random.Generator,
    staging: np.random.Generator,
    params: PuppetsParams,
    view: Perspective,
    person_id: int,
    look: int,
    body: Body,
    slot: float,
    action: str | None,
) -> Person:
    """One person's performance: draw the segments, blend their motions, move over the ground and project."""
    t = np.arange(params.num_frames) / params.fps
    if action is None:
        role = acting.random()
        enters, leaves = role < _ENTER_RATE, role > 1 - _LEAVE_RATE
        segments = _draw_segments(acting, params.seconds, enters, leaves)
    else:
        enters = leaves = False
        segments = (_only_segment(acting, params.seconds, action),)
    weights = _weights(segments, t)

    height = staging.uniform(1.6, 1.9)  # metres
    depth = np.full(len(t), height * view.focal / body.pixels)
    pose = np.zeros((len(t), len(Channel)))
    heading = np.zeros(len(t))
    speed = np.zeros(len(t))
    side = 1.0 if slot < params.frame_width / 2 else -1.0  # towards the middle
    for number, (segment, weight) in enumerate(zip(segments, weights, strict=True)):
        angles = _segment_pose(segment, t)
        spin = np.concatenate([[0.0], np.cumsum(np.diff(angles[:, Channel.YAW]) * weight[1:])])
        angles[:, Channel.YAW] = 0
        pose += weight[:, None] * angles
        crosses = (enters and number == 0) or (leaves and number == len(segments) - 1)
        target = _draw_heading(staging, segment, side, enters and number == 0, leaves and crosses)
        if number == 0:
            heading += target
        else:
            begun = sum(weights[number:])
            now = heading[min(len(t) - 1, int(np.searchsorted(t, segment.start)))]
            heading = heading + _wrap(target - now) * begun
        heading = heading + spin
        if segment.pose in GROUND_SPEED:
            pace = _draw_pace(staging, params, view, segment, slot, depth[0], height, crosses)
            speed += weight * GROUND_SPEED[segment.pose] * height * pace
    radians = np.deg2rad(heading)
    across = np.cumsum(speed * np.sin(radians)) / params.fps
    depth = np.maximum(depth - np.cumsum(speed * np.cos(radians)) / params.fps, 0.7 * depth[0])
    anchor = int(np.searchsorted(t, segments[0].end)) - 1 if enters else 0
    across = across - across[anchor] + (slot - params.frame_width / 2) / view.scale(depth[anchor])
    projected = _project(params, view, pose, heading, across, depth, height)
    return Person(person_id, look, body, segments, depth=depth, **projected)


def _segment_pose(segment: Segment, t: np.ndarray) -> np.ndarray:
    angles = POSE_MOTIONS[segment.pose](t, segment.styles[0])
    for gesture, style in zip(segment.gestures, segment.styles[1:], strict=True):
        channels = busy_channels(gesture, style)
        angles[:, channels] = GESTURE_MOTIONS[gesture](t, style)[:, channels]
    return angles


def _draw_heading(
    rng: np.random.Generator, segment: Segment, side: float, enters: bool, leaves: bool
) -> float:
    """A person's heading in degrees: mostly turned partly to the camera; walkers move mostly across the frame."""
    if segment.pose in GROUND_SPEED:
        inward = rng.uniform(60, 110) if enters or leaves else rng.uniform(35, 110)
        return float(inward * (-side if leaves else side))
    turned = rng.uniform(10, 55) if rng.random() < 0.85 else rng.uniform(110, 160)
    return float(turned if rng.random() < 0.5 else -turned)


def _draw_pace(
    rng: np.random.Generator,
    params: PuppetsParams,
    view: Perspective,
    segment: Segment,
    slot: float,
    depth: float,
    height: float,
    crosses: bool,
) -> float:
    """Factor for the natural speed: slow enough to stay in the frame, or fast enough to cross its edge."""
    natural = GROUND_SPEED[segment.pose] * height * (segment.end - segment.start) * float(view.scale(depth))
    to_edge = min(slot, params.frame_width - slot)
    if crosses:
        return float(np.clip((to_edge + 0.4 * params.frame_width) / natural, 0.3, 1.3))
    room = 0.9 * params.frame_width - to_edge
    return float(min(rng.uniform(0.2, 0.7), room / natural))


def _project(
    params: PuppetsParams,
    view: Perspective,
    pose: np.ndarray,
    heading: np.ndarray,
    across: np.ndarray,
    depth: np.ndarray,
    height: float,
) -> dict[str, np.ndarray]:
    """The fields of :class:`Person` in world pixels, from joint angles and a path over the ground."""
    joints, frames = limbs_in_space(pose, heading)
    scale = height * view.scale(depth)
    tilt = view.elevation(depth)[:, None]
    x, y, z = joints[..., 0], joints[..., 1], joints[..., 2]
    foot = np.stack([params.frame_width / 2 + across * view.scale(depth), view.ground(depth)], axis=1)
    image = np.stack([x, z * np.sin(tilt) - y * np.cos(tilt)], axis=2)
    toward = np.stack([0 * tilt[:, 0], np.sin(tilt[:, 0]), np.cos(tilt[:, 0])], axis=1)
    seen = np.einsum("td,tpdk->tpk", toward, frames)  # direction of the camera: left, up, forward
    return {
        "points": foot[:, None] + scale[:, None, None] * image,
        "nearness": z * np.cos(tilt) + y * np.sin(tilt),
        "yaw": np.arctan2(-seen[..., 0], seen[..., 2]),
        "scale": scale,
        "foot": foot,
    }
