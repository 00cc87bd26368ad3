"""Operations on columns of persons against plain loops."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from modist_det.data.datasets.persons import group_persons, join, match_persons, pairwise_iou


def test_grouping_equals_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    keys = rng.integers(0, 40, 600)
    boxes = rng.integers(0, 3, (600, 4)).astype(np.float32) / 4
    actions = rng.integers(-1, 5, 600)
    scores = rng.random(600).astype(np.float32)
    expected: dict[tuple, tuple[set, float]] = defaultdict(lambda: (set(), 0.0))
    for key, box, action, score in zip(
        keys.tolist(), boxes.tolist(), actions.tolist(), scores.tolist(), strict=True
    ):
        known, best = expected[(key, *box)]
        expected[(key, *box)] = (known | ({action} if action > 0 else set()), max(best, score))
    persons = group_persons(keys, boxes, scores, actions)
    found = {
        (key, *box): (set(persons.actions[a:b].tolist()), score)
        for key, box, score, a, b in zip(
            persons.keys.tolist(),
            persons.boxes.tolist(),
            persons.scores.tolist(),
            persons.action_starts[:-1],
            persons.action_starts[1:],
            strict=True,
        )
    }
    assert found == dict(expected) and len(persons) == len(expected)
    assert (np.diff(persons.keys) >= 0).all()
    assert persons.action_counts.sum() == sum(len(known) for known, _ in expected.values())


def test_iou_by_hand() -> None:
    a = np.array([[0, 0, 2, 2], [0, 0, 1, 1], [0, 0, 4, 4]], dtype=np.float32)
    b = np.array([[1, 1, 3, 3], [1, 0, 2, 1], [1, 1, 3, 3]], dtype=np.float32)
    np.testing.assert_allclose(pairwise_iou(a, b), [1 / 7, 0, 0.25])


def test_matching_equals_a_plain_loop() -> None:
    rng = np.random.default_rng(1)

    def some(count: int):
        corner = rng.random((count, 2)) * 0.5
        boxes = np.concatenate([corner, corner + 0.2 + rng.random((count, 2)) * 0.3], axis=1).astype(
            np.float32
        )
        ones = np.ones(count)
        return group_persons(
            np.sort(rng.integers(0, 30, count)), boxes, ones.astype(np.float32), ones.astype(int)
        )

    persons, others = some(150), some(120)
    expected = []
    for key, box in zip(persons.keys, persons.boxes, strict=True):
        best = max(
            (
                (float(pairwise_iou(box[None], others.boxes[j : j + 1])[0]), j)
                for j in range(len(others))
                if others.keys[j] == key
            ),
            default=(0.0, -1),
        )
        expected.append(best[1] if best[0] >= 0.4 else -1)
    found = match_persons(persons, others, 0.4)
    assert found.tolist() == expected and 20 < (found >= 0).sum() < 140


def test_join_keeps_actions_with_their_persons() -> None:
    def persons(keys, value):
        boxes = np.full((len(keys), 4), value, dtype=np.float32)
        return group_persons(
            np.array(keys), boxes, np.full(len(keys), value, np.float32), np.array(keys) + value
        )

    joined = join(persons([1, 5], 10), persons([0, 1, 9], 20))
    assert joined.keys.tolist() == [0, 1, 1, 5, 9]
    assert joined.actions.tolist() == [20, 11, 21, 15, 29] and joined.scores.tolist() == [20, 10, 20, 10, 20]
