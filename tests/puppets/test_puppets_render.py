"""Boxes against an independent rendering, and what must not tell actions apart."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chi2_contingency, kruskal

from modist_det.puppets.appearance import Body, LimbSprite
from modist_det.puppets.labels import CLASS_NAMES, POSES
from modist_det.puppets.motions import GESTURE_MOTIONS, POSE_MOTIONS, Style, busy_channels
from modist_det.puppets.params import PuppetsParams
from modist_det.puppets.render import render
from modist_det.puppets.script import Person, Script, write_script
from modist_det.puppets.skeleton import LIMBS, Channel, limbs_in_space, neutral_pose

PARAMS = PuppetsParams(fps=5, seconds=3, shadow=0, min_people=2)


class Painted:
    """A body in one colour: 0 black, 255 white."""

    def __init__(self, body: Body, value: float) -> None:
        self.pixels, self._body, self._value = body.pixels, body, value

    def sprite(self, limb: str, yaw: float = 0.0) -> LimbSprite:
        sprite = self._body.sprite(limb, yaw)
        image = sprite.image.copy()
        image[..., :3] = self._value * image[..., 3:]
        return replace(sprite, image=image)


def paint(script: Script, person: Person, value: float) -> Script:
    painted = replace(person, body=Painted(person.body, value))
    return replace(script, people=tuple(painted if p is person else p for p in script.people))


def test_boxes_are_the_extent_of_what_is_seen() -> None:
    """Where a person painted white and the same person painted black differ, there the person is seen."""
    deviations, partly_hidden = [], 0
    for index in range(5):
        script = write_script(PARAMS, seed=1, split=0, index=index)
        drawn = render(script)
        for person in script.people:
            white, black = (render(paint(script, person, value)).frames.astype(int) for value in (255.0, 0.0))
            seen = (white - black).min(axis=3) > 127
            for frame, box in enumerate(drawn.boxes[person.person_id]):
                share = drawn.visible[person.person_id][frame]
                assert np.isnan(box[0]) == (share < 0.3)
                if np.isnan(box[0]):
                    partly_hidden += share > 0.02
                    # All of a person covers about 0.15 square body heights.
                    assert seen[frame].sum() < 0.06 * person.scale[frame] ** 2
                    continue
                rows, columns = np.nonzero(seen[frame])
                expected = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
                deviations.append(np.abs(expected - box).max())
    # Two soft edges on top of each other may disagree about one half.
    assert len(deviations) > 100 and partly_hidden > 0
    assert np.mean(np.array(deviations) == 0) > 0.9 and max(deviations) <= 2


def test_drawing_is_where_the_person_is() -> None:
    """Without the person nothing changes but in the box and its soft edge."""
    script = write_script(PARAMS, seed=1, split=0, index=1)
    person = script.people[0]
    script = replace(script, people=(person,), distractors=())
    whole, empty = render(script), render(script.without(person.person_id))
    assert empty.boxes == {}
    for frame, (x1, y1, x2, y2) in enumerate(whole.boxes[person.person_id]):
        changed = np.abs(whole.frames[frame].astype(int) - empty.frames[frame]).max(axis=2) > 0
        rows, columns = np.nonzero(changed)
        found = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        assert np.abs(found - (x1, y1, x2, y2)).max() <= 2


def test_hidden_and_absent_people_have_no_box() -> None:
    script = write_script(PARAMS, seed=1, split=0, index=0)
    first, other = script.people[:2]
    # Another person of the same shape stands exactly in front; a third stands far outside.
    double = replace(first, person_id=8, depth=first.depth - 0.5)
    outside = replace(other, person_id=9, points=other.points + 10_000.0)
    drawn = render(replace(script, people=(first, double, outside), distractors=()))
    assert np.isnan(drawn.boxes[1]).all() and np.all(drawn.visible[1] < 0.05)
    assert np.isnan(drawn.boxes[9]).all() and np.all(drawn.visible[9] == 0)
    assert not np.isnan(drawn.boxes[8]).any()


def test_half_a_person_at_the_edge_is_half_visible() -> None:
    scripts = (write_script(replace(PARAMS, camera_motion=0), 1, 0, index) for index in range(50))
    script, person = next((s, p) for s in scripts for p in s.people if p.segments[0].actions == ("stand",))
    x2 = render(replace(script, people=(person,), distractors=())).boxes[person.person_id][0][2]
    pelvis = round(float(person.points[0, 0, 0]))
    shifted = replace(person, points=person.points - [(pelvis, 0.0)])
    drawn = render(replace(script, people=(shifted,), distractors=()))
    assert 0.3 < drawn.visible[person.person_id][0] < 0.7
    assert drawn.boxes[person.person_id][0][0] == 0
    assert drawn.boxes[person.person_id][0][2] == pytest.approx(x2 - pelvis, abs=1)


def test_script_and_frames_are_a_function_of_seed_and_index() -> None:
    first, again = (render(write_script(PARAMS, 1, 0, 2)) for _ in range(2))
    assert np.array_equal(first.frames, again.frames)
    for seed, split, index in ((2, 0, 2), (1, 1, 2), (1, 0, 3)):
        other = render(write_script(PARAMS, seed, split, index))
        assert not np.array_equal(first.frames, other.frames)


@pytest.fixture(scope="module")
def drawn_people() -> list[dict]:
    """One line for each person of 250 videos: action of the first segment and everything that can be seen of them."""
    params = replace(PARAMS, appearances=8)
    people = []
    for index in range(250):
        script = write_script(params, seed=0, split=0, index=index)
        for person in script.people:
            people.append(
                {
                    "pose": person.segments[-1].pose,
                    "actions": person.segments[-1].actions,
                    "look": person.look,
                    "place": script.place_index,
                    "kinds": tuple(sorted(thing.kind for thing in script.distractors)),
                    "things": len(script.distractors),
                    "size": person.body.pixels,
                    "camera": float(np.abs(np.diff(script.camera[:, :, 2], axis=0)).mean()),
                }
            )
    return people


@pytest.mark.parametrize("cue", ["look", "place", "things"])
def test_action_does_not_depend_on_what_is_seen(drawn_people: list[dict], cue: str) -> None:
    values = sorted({person[cue] for person in drawn_people})
    counts = Counter((person["pose"], person[cue]) for person in drawn_people)
    table = np.array([[counts[pose, value] for value in values] for pose in POSES])
    assert table.sum() > 500
    assert chi2_contingency(table).pvalue > 0.005


@pytest.mark.parametrize("cue", ["size", "camera"])
def test_action_does_not_depend_on_size_or_camera(drawn_people: list[dict], cue: str) -> None:
    groups = [[person[cue] for person in drawn_people if person["pose"] == pose] for pose in POSES]
    assert kruskal(*groups).pvalue > 0.005


def test_every_class_is_drawn(drawn_people: list[dict]) -> None:
    counts = Counter(action for person in drawn_people for action in person["actions"])
    assert counts.keys() == set(CLASS_NAMES.values())
    assert min(counts.values()) > 0.02 * len(drawn_people)


def test_every_class_occurs_in_both_splits_of_the_default_set() -> None:
    params = PuppetsParams(appearances=1)
    for split, count in ((0, params.train_videos), (1, params.val_videos)):
        counts: Counter = Counter()
        for index in range(0, count, 1 if split else 4):
            for person in write_script(params, seed=0, split=split, index=index).people:
                counts.update(
                    {action for second in params.keyframes for action in person.segment_at(second).actions}
                )
        assert counts.keys() == set(CLASS_NAMES.values())


def test_segments_cover_the_video_and_change_between_keyframes() -> None:
    params = PuppetsParams(seconds=12, appearances=1)
    changes = 0
    for index in range(20):
        for person in write_script(params, seed=0, split=0, index=index).people:
            segments = person.segments
            assert segments[0].start == 0 and segments[-1].end == 12
            for before, after in zip(segments, segments[1:], strict=False):
                assert before.end == after.start and after.start % 1 == 0.5
                changes += 1
            assert person.segment_at(segments[0].end - 0.01) is segments[0]
            assert person.segment_at(12.0) is segments[-1]
    assert changes > 10


def test_limbs_keep_their_length() -> None:
    rng = np.random.default_rng(0)
    pose = rng.uniform(-60, 60, (50, len(Channel)))
    pose[:, [Channel.AIR, Channel.SHIFT]] = 0
    joints, frames = limbs_in_space(pose, rng.uniform(0, 360, 50))
    straight, _ = limbs_in_space(neutral_pose(1), np.zeros(1))
    for start, end in LIMBS.values():
        length = np.linalg.norm(straight[0, start] - straight[0, end])
        assert np.linalg.norm(joints[:, start] - joints[:, end], axis=1) == pytest.approx(length)
    assert np.allclose(frames @ frames.transpose(0, 1, 3, 2), np.eye(3))


def test_standing_person_is_one_high_and_faces_the_camera() -> None:
    joints, frames = limbs_in_space(neutral_pose(1), np.zeros(1))
    crown, left_hand, right_hand, toe = joints[0, [3, 6, 9, 13]]
    assert crown[1] == pytest.approx(1.0, abs=0.03)
    assert left_hand[0] > 0 > right_hand[0]  # facing us, the left hand is on our right
    assert toe[2] > 0.05
    assert np.allclose(frames[0, 0], np.eye(3))
    turned, _ = limbs_in_space(neutral_pose(1), np.array([90.0]))
    assert turned[0, 13, 0] > 0.05  # looks to the right edge


@pytest.mark.parametrize(
    ("channel", "joint", "axis", "sign"),
    [
        (Channel.L_FLEX, 6, 2, 1),  # arm forward
        (Channel.L_ABD, 6, 0, 1),  # left arm to the left
        (Channel.R_ABD, 9, 0, -1),
        (Channel.R_ELBOW, 9, 2, 1),
        (Channel.R_HIP, 16, 2, 1),
        (Channel.L_KNEE, 12, 2, -1),  # shin backward
        (Channel.LEAN, 3, 2, 1),
        (Channel.SIDE, 3, 0, 1),
    ],
)
def test_joints_bend_the_human_way(channel: Channel, joint: int, axis: int, sign: int) -> None:
    pose = neutral_pose(2)
    pose[1, channel] = 60
    joints, _ = limbs_in_space(pose, np.zeros(2))
    # The pelvis stays where it is along the ground.
    assert sign * (joints[1, joint, axis] - joints[0, joint, axis]) > 0.1


def test_motions_differ_as_their_names_say() -> None:
    t = np.arange(0, 6, 1 / 15)
    still = np.zeros(len(t))

    def joints(name: str) -> np.ndarray:
        return limbs_in_space(POSE_MOTIONS[name](t, Style()), still)[0]

    feet = {name: joints(name)[:, [12, 16], 1].min(axis=1) for name in POSE_MOTIONS}
    pelvis = {name: joints(name)[:, 0, 1] for name in POSE_MOTIONS}
    assert feet["jump"].max() > 0.15 + feet["stand"].max()
    assert pelvis["crouch"].min() < 0.35 and pelvis["stand"].min() > 0.45
    assert joints("fall")[:, 3, 1].min() < 0.25  # the head is near the ground
    assert np.ptp(pelvis["stand"]) < 0.02

    def stride(name: str) -> float:
        return float(np.ptp(joints(name)[:, 12, 2]))

    def swings(name: str) -> int:
        forward = joints(name)[:, 12, 2] - joints(name)[:, 16, 2]
        return int((np.diff(np.sign(forward)) != 0).sum())

    assert stride("run") > stride("walk") > 0.3 > stride("stand")
    assert swings("run") > 1.4 * swings("walk")
    shoulders = joints("turn")[:, 4, 0] - joints("turn")[:, 7, 0]
    assert shoulders.min() < -0.2 and shoulders.max() > 0.2

    stand = POSE_MOTIONS["stand"](t, Style())

    def gesture(name: str) -> np.ndarray:
        pose = stand.copy()
        channels = busy_channels(name, Style())
        pose[:, channels] = GESTURE_MOTIONS[name](t, Style())[:, channels]
        return limbs_in_space(pose, still)[0]

    hands = {name: gesture(name)[:, [6, 9]] for name in GESTURE_MOTIONS}
    apart = np.linalg.norm(hands["clap"][:, 0] - hands["clap"][:, 1], axis=1)
    assert apart.min() < 0.08 and apart.max() > 0.35
    assert hands["wave"][:, 0, 1].max() > 0.95 and hands["wave"][:, 1, 1].max() < 0.6
    assert hands["punch"][:, :, 2].max(axis=0).min() > 0.3  # both fists go forward
    lead, follow = hands["punch"][:, 0, 2], hands["punch"][:, 1, 2]
    assert np.corrcoef(lead, follow)[0, 1] < -0.3  # one after the other
    assert hands["point"][:, 0, 2].max() > 0.3 > hands["point"][:, 1, 2].max()
    assert gesture("kick")[:, 12, 1].max() > 0.35 > gesture("kick")[:, 16, 1].max()
