"""Pictures of samples: what is drawn where."""

from __future__ import annotations

import numpy as np
import torch

from modist_det.visualization import training
from modist_det.visualization.training import draw_classified, draw_predictions, draw_views

BAR = 22  # the title above a cell


def test_predictions_are_on_the_middle_frame():
    video = torch.zeros(3, 4, 40, 80, dtype=torch.uint8)
    video[:, 2] = 100
    sample = {
        "video": video,
        "boxes": torch.tensor([[20.0, 10.0, 60.0, 30.0]]),
        "labels": torch.tensor([[0.0, 1.0]]),
        "id": "a,1",
    }
    scores = torch.tensor([[0.9, 0.2]])
    picture = draw_predictions([sample], [scores], {1: "walk"})
    assert picture.shape == (BAR + 180, 3 * 360, 3)
    frame = picture[BAR:, :360].astype(int)
    assert (frame[90, 180] == 100).all()
    # The box in orange at 20 / 80 of 360 and 10 / 40 of 180, inside the frame grey.
    assert frame[90, 90, 0] - frame[90, 90, 2] > 100 and (frame[90, 40] == 100).all()
    two, one = (
        draw_predictions([sample], [scores], {1: "walk"}, top=2),
        draw_predictions([sample], [scores], {1: "walk"}, top=1),
    )
    assert (two != one).any() and (one != draw_predictions([sample], [1 - scores], {1: "walk"}, top=1)).any()


def test_classified_videos_have_borders_that_tell_right_from_wrong():
    """Of three views the middle one, at frames 0, 2, 5 and 7 of eight."""
    video = torch.zeros(3, 3, 8, 30, 30, dtype=torch.uint8)
    video[1, :, 5] = 200
    samples = [
        {"video": video, "labels": torch.tensor([0.0, 1.0, 0.0]), "video_id": name} for name in ("a", "b")
    ]
    scores = [torch.tensor([0.1, 0.7, 0.2]), torch.tensor([0.5, 0.3, 0.2])]
    picture = draw_classified(samples, scores, {1: "walk", 2: "run"}, cell_width=60)
    assert picture.shape == (2 * (BAR + 60), 4 * 60, 3)
    for row, channel in ((0, 1), (1, 0)):
        middle = picture[row * (BAR + 60) + BAR + 30]
        assert middle[30::60, 0].tolist() == [0, 0, 200, 0]
        assert middle[::60].argmax(axis=1).tolist() == [channel] * 4  # green where right, red where wrong
    other = draw_classified(samples, [scores[0], scores[1] * 0.9], {1: "walk", 2: "run"}, cell_width=60)
    assert (other[BAR + 60 :] != picture[BAR + 60 :]).any()  # scores are written


def test_clips_and_their_motion_in_rows():
    video = torch.zeros(2, 3, 8, 30, 30, dtype=torch.uint8)
    video[:, :, -1] = 200
    motion = torch.zeros(2, 1, 16, 30, 30, dtype=torch.uint8)
    motion[1, :, 5] = 8  # the largest value of clip 2: white
    motion[1, :, 10] = 4
    sample = {"video": video, "motion": motion, "video_id": "a"}
    picture = draw_views([sample], cell_width=60)
    assert picture.shape == (4 * (BAR + 60), 4 * 60, 3)
    rows = [picture[BAR + 30 + row * (BAR + 60), 30::60, 0].tolist() for row in range(4)]
    # Frames 0, 2, 5, 7 of eight and maps 0, 5, 10, 15 of sixteen.
    assert rows == [[0, 0, 0, 200], [0, 0, 0, 0], [0, 0, 0, 200], [0, 255, 127, 0]]


def test_flow_has_two_colours_and_there_may_be_no_motion():
    flow = torch.full((2, 2, 4, 30, 30), 50, dtype=torch.uint8)
    flow[:, 1] = 210
    sample = {"video": torch.zeros(2, 3, 4, 30, 30, dtype=torch.uint8), "video_id": "a"}
    picture = draw_views([{**sample, "motion": flow}], cell_width=60)
    assert picture[BAR + 60 + BAR + 30, 30].tolist() == [50, 210, 128]
    assert draw_views([sample], cell_width=60).shape == (2 * (BAR + 60), 240, 3)
    assert np.array_equal(draw_views([sample, sample], 60)[: 2 * (BAR + 60)], draw_views([sample], 60))


def test_names_of_labels_and_scores(monkeypatch):
    """Class ids begin at 1, channels at 0; a class without a name has its id."""
    drawn: list = []
    monkeypatch.setattr(training, "draw_people", lambda image, people: drawn.append(people) or image)
    monkeypatch.setattr(training, "contact_sheet", lambda images, titles, **_: drawn.append(titles))
    labels, scores = torch.tensor([1.0, 0.0, 1.0]), torch.tensor([0.1, 0.7, 0.2])
    video = torch.zeros(3, 4, 30, 30, dtype=torch.uint8)
    person = {"video": video, "boxes": torch.rand(1, 4), "labels": labels[None], "id": "a,1"}
    draw_predictions([person], [scores[None]], {1: "walk", 2: "run"})
    assert [p.lines for p in drawn[0]] == [("walk", "class 3"), ("run 0.70", "class 3 0.20")]
    draw_classified(
        [{"video": video[None], "labels": labels, "video_id": "a"}], [scores], {1: "walk", 2: "run"}
    )
    assert drawn[2] == ["a", "walk, class 3", "run 0.70", "class 3 0.20"]
