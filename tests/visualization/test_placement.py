"""Where labels are put, checked by geometry of its own: pixels that are covered, points along lines."""

from __future__ import annotations

import numpy as np
import pytest

from modist_det.visualization.placement import HEAD_SHARE, Label, Place, Placer

HEIGHT, WIDTH = 480, 640
SIZES = [(20, 16), (90, 16), (90, 32), (90, 48)]


def label(key, box, **more) -> Label:
    return Label(key, box, SIZES, **more)


def crowd(rng: np.random.Generator, count: int) -> list[Label]:
    """Random people, near and far, who overlap each other and reach over the borders."""
    labels = []
    for key in range(count):
        height = rng.uniform(0.06, 0.9) * HEIGHT
        width = height * rng.uniform(0.25, 0.9)
        x, y = rng.uniform(-0.1, 0.95) * WIDTH, rng.uniform(-0.1, 0.9) * HEIGHT
        rows = rng.integers(1, len(SIZES) + 1)
        wide = int(rng.integers(0, 60))
        sizes = [(w + wide * (w > 20), h) for w, h in SIZES[:rows]]
        labels.append(Label(key, (x, y, x + width, y + height), sizes))
    return labels


def painted(box) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    x1, y1, x2, y2 = (max(round(v), 0) for v in box)
    mask[y1:y2, x1:x2] = True
    return mask


def head(box) -> tuple[float, ...]:
    x1, y1, x2, y2 = box
    return x1, y1, x2, y1 + HEAD_SHARE * (y2 - y1)


def strictly_inside(point, box) -> bool:
    x, y = point
    return box[0] + 1 < x < box[2] - 1 and box[1] + 1 < y < box[3] - 1


def check(labels, places, reserved=()) -> None:
    taken = np.zeros((HEIGHT, WIDTH), int)
    heads = np.zeros((HEIGHT, WIDTH), bool)
    for one in labels:
        x1, y1, x2, y2 = head(one.box)
        # Whole pixels that lie inside; half a pixel may be rounded away.
        heads |= painted((np.ceil(x1), np.ceil(y1), np.floor(x2), np.floor(y2)))
    for box in reserved:
        heads |= painted(box)
    for one, place in zip(labels, places, strict=True):
        if place is None:
            continue
        x1, y1, x2, y2 = place.box
        assert 0 <= x1 < x2 <= WIDTH and 0 <= y1 < y2 <= HEIGHT
        assert (x2 - x1, y2 - y1) == one.sizes[place.size]
        taken += painted(place.box)
    assert taken.max(initial=0) <= 1  # no label on another one
    assert not (heads & (taken > 0)).any()
    for i, place in enumerate(places):
        if place is None or place.leader is None:
            continue
        points = np.linspace(*place.leader, 200)
        others = [p.box for j, p in enumerate(places) if p is not None and j != i]
        for box in [*others, *(head(one.box) for one in labels), *reserved]:
            assert not any(strictly_inside(point, box) for point in points)
        x1, y1, x2, y2 = labels[i].box
        end = points[-1]  # on the edge of the box
        assert (
            x1 - 1 <= end[0] <= x2 + 1
            and y1 - 1 <= end[1] <= y2 + 1
            and not strictly_inside(end, labels[i].box)
        )


@pytest.mark.parametrize("count", [1, 2, 5, 12, 25, 60])
def test_nothing_is_covered_in_random_crowds(count):
    rng = np.random.default_rng(count)
    reserved = [(0, HEIGHT - 20, 60, HEIGHT)]
    for _ in range(4):
        labels = crowd(rng, count)
        places = Placer()(labels, HEIGHT, WIDTH, reserved)
        check(labels, places, reserved)
        assert places == Placer()(labels, HEIGHT, WIDTH, reserved)  # deterministic


def test_everybody_has_a_label_where_there_is_room():
    """Eight people beside each other whose labels are wider than they are."""
    labels = [label(i, (80 * i + 5, 150, 80 * i + 65, 400)) for i in range(8)]
    places = Placer()(labels, HEIGHT, WIDTH)
    check(labels, places)
    assert all(place is not None and place.size == 3 for place in places)


def test_one_person_has_the_whole_label_above_the_box_at_its_left():
    box = (100, 200, 200, 400)
    (place,) = Placer()([label(1, box)], HEIGHT, WIDTH)
    assert place.box == (100, 152, 190, 200) and place.size == 3 and place.leader is None
    (whole,) = Placer()([label(1, (100.7, 200, 200, 400))], HEIGHT, WIDTH)
    assert whole.box == (101, 152, 191, 200)
    (below,) = Placer()([label(1, box, below=True)], HEIGHT, WIDTH)
    assert below.box == (100, 400, 190, 448)


def test_who_fills_the_frame_has_the_label_below_the_head():
    labels = [label(1, (0, 0, WIDTH, HEIGHT))]
    places = Placer()(labels, HEIGHT, WIDTH)
    check(labels, places)
    assert places[0].box[1] >= HEAD_SHARE * HEIGHT and places[0].size == 3


def body(box) -> Label:
    """Somebody without a label whose lower part is the box, and whose head is far above the image."""
    x1, y1, x2, y2 = box
    assert y1 <= 0
    return Label(box, (x1, -2000, x2, y2), [])


@pytest.mark.parametrize(("covered", "corner"), [(0.5, (275, 184)), (2.0, (365, 200))])
def test_the_first_position_unless_it_covers_somebody(covered, corner):
    """Half a pixel of 16 is no reason for another position, but two are: right of the box is the next."""
    person = Label(1, (275, 200, 365, 400), [(90, 16)])
    places = Placer()([body((0, 0, WIDTH, 184 + covered)), person], HEIGHT, WIDTH)
    assert places[1] == Place(0, (*corner, corner[0] + 90, corner[1] + 16))


def test_inside_their_own_box_is_worse_than_on_half_of_somebody_else():
    person = Label(1, (0, 100, WIDTH, 400), [(90, 16)])
    others = [body((0, 0, WIDTH, 93)), whose_head_is((0, 400, WIDTH, HEIGHT))]  # 9 of 16 pixels above the box
    places = Placer()([*others, person], HEIGHT, WIDTH)
    assert places[2].box == (0, 84, 90, 100)
    above = [body((0, 0, WIDTH, 97)), others[1]]  # 13 of 16
    assert Placer()([*above, person], HEIGHT, WIDTH)[2].box[1] >= 190


def test_a_line_is_worse_than_on_most_of_somebody_else():
    """The next free place is 10 rows away, below somebody else; 12 of 16 pixels above the box are on a third."""
    person, other = Label(1, (0, 100, WIDTH, 300), [(90, 16)]), Label(2, (0, 231, WIDTH, 460), [])
    inside = [person.box]
    places = Placer()([body((0, 0, WIDTH, 96)), other, person], HEIGHT, WIDTH, inside)
    assert places[2] == Place(0, (0, 84, 90, 100))
    (*_, far) = Placer()([body((0, 0, WIDTH, 99)), other, person], HEIGHT, WIDTH, inside)  # 15 of 16
    assert far.box[1] >= 460 and far.leader is not None
    low = Label(
        1, person.box, [(90, 8)]
    )  # of lower rows the line has twice as many, and two people are as bad as one
    crowded = [body((0, 0, WIDTH, 100)), body((0, 0, WIDTH, 100)), other, low]
    assert Placer()(crowded, HEIGHT, WIDTH, inside)[3] == Place(0, (0, 92, 90, 100))


def whose_head_is(box) -> Label:
    """Somebody without a label."""
    x1, y1, x2, y2 = box
    return Label(box, (x1, y1, x2, y1 + (y2 - y1) / HEAD_SHARE), [])


def test_a_line_leads_to_a_label_that_is_not_at_its_box():
    """The person is in a lane between heads that is too narrow for the label; below it the image is free."""
    lane = [whose_head_is(box) for box in ((0, 0, 280, 330), (340, 0, WIDTH, 330), (280, 0, 340, 180))]
    person = Label(9, (300, 180, 320, 240), SIZES[1:])
    placer, reserved = Placer(), [(0, 420, WIDTH, HEIGHT)]  # beyond the label
    places = placer([*lane, person], HEIGHT, WIDTH, reserved)
    check([*lane, person], places, reserved)
    assert places[3].leader is not None and places[3].box[1] >= 330 and places[3].size == 2
    assert (
        places[3].box[0] <= 310 <= places[3].box[2] and places[3].box[1] < 330 + 16
    )  # the nearest free place
    x1, y1, x2, y2 = places[3].box
    walked = Label(9, (303, 180, 323, 240), SIZES[1:])
    assert placer([*lane, walked], HEIGHT, WIDTH, reserved)[3].box == (
        x1 + 3,
        y1,
        x2 + 3,
        y2,
    )  # the label walks along
    closed = [*lane, whose_head_is((280, 260, 340, 300)), person]
    assert Placer()(closed, HEIGHT, WIDTH) == [None] * 5


def test_small_people_lose_their_labels_first():
    """Three rows of free image below everybody's heads."""
    people = [Label(i, (0, 0, WIDTH, 416 / HEAD_SHARE + i), [(WIDTH, 16)]) for i in range(6)]
    places = Placer()(people, HEIGHT, WIDTH)
    check(people, places)
    assert [place is not None for place in places] == [False] * 3 + [True] * 3


def test_a_second_row_costs_nobody_the_first():
    """Room for two rows: the larger person has not both."""
    people = [Label(i, (0, 0, WIDTH, 446 / HEAD_SHARE + i), [(WIDTH, 16), (WIDTH, 32)]) for i in range(2)]
    places = Placer()(people, HEIGHT, WIDTH)
    check(people, places)
    assert [place.size for place in places] == [0, 0]
    assert Placer()(people[1:], HEIGHT, WIDTH)[0].size == 1


def test_a_position_is_kept_until_another_is_much_better():
    """Somebody walks over the label, which stays while they cover at most a third of it, and stays away afterwards."""
    placer, corners = Placer(), []
    for covered, right in (
        (0, 365),
        (5, 365),
        (6, 365),
        (16, 365),
        (0, 385),
    ):  # pixels of 16; edge of the box
        person = Label(1, (275, 200, right, 400), [(90, 16)])
        place = placer([body((0, 0, WIDTH, 184 + covered)), person], HEIGHT, WIDTH)[1]
        corners.append(place.box[:2])
    assert corners == [(275, 184), (275, 184), (365, 200), (365, 200), (385, 200)]


@pytest.mark.parametrize(("free", "size"), [(16, 0), (24, 1)])
def test_a_second_row_does_not_cover_half_of_somebody(free, size):
    """Above the box; below it is a head."""
    person = Label(1, (0, 100, WIDTH, 400), [(90, 16), (90, 32)])
    others = [body((0, 0, WIDTH, 100 - free)), whose_head_is((0, 400, WIDTH, HEIGHT))]
    place = Placer()([*others, person], HEIGHT, WIDTH)[2]
    assert (place.size, place.box[3]) == (size, 100)


def test_a_version_that_is_taller_than_the_image_is_not_taken():
    (place,) = Placer()([label(1, (100, 0, 200, 0))], 40, WIDTH)
    assert (place.size, place.box[1], place.box[3]) == (2, 0, 32)


def test_labels_are_calm():
    """People who walk: a label keeps its position at the box, although others pass by."""
    placer, moves = Placer(), 0
    before: dict[int, tuple[int, int]] = {}
    for frame in range(60):
        boxes = [(40 + 4 * frame, 150, 100 + 4 * frame, 350), (500 - 4 * frame, 160, 570 - 4 * frame, 380)]
        labels = [label(i, box) for i, box in enumerate(boxes)]
        places = placer(labels, HEIGHT, WIDTH)
        check(labels, places)
        offsets = {
            i: (place.box[0] - round(box[0]), place.box[1] - box[1])
            for i, (place, box) in enumerate(zip(places, boxes, strict=True))
        }
        moves += sum(before.get(i, offset) != offset for i, offset in offsets.items())
        before = offsets
    assert moves <= 6 and Placer()([], HEIGHT, WIDTH) == []
