"""Sheets of frames, flow and edges: which moment of a video they show."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch

from modist_det.analysis import motion_sheet
from modist_det.analysis.motion_sheet import draw_motion_sheet


def test_the_moment_with_the_median_of_edges(tiny_puppets, tmp_path, monkeypatch):
    speeds = torch.tensor([9.0, 1.0, 8.0, 2.0, 7.0, 3.0, 5.0, 4.0, 6.0])  # the median is at number 6
    flow = torch.zeros(9, 2, 16, 16)
    flow[:, 0, :, 8:] = speeds.view(-1, 1, 1)
    frames = np.arange(9, dtype=np.uint8).reshape(9, 1, 1, 1) * np.ones((1, 16, 16, 3), np.uint8)
    reader = SimpleNamespace(estimator="any", frames_and_flow=lambda video, seconds: (frames, flow))
    shown: list = []

    def keep(images, titles, **_):
        shown.extend([images, titles])
        return images[0]

    monkeypatch.setattr(motion_sheet, "contact_sheet", keep)
    path = str(tiny_puppets / "videos" / "val_0000.mp4")
    draw_motion_sheet([(path, None)], tmp_path / "sheet.png", reader)
    (frame, _, edges), titles = shown
    assert (frame == 6).all()
    assert edges.max() == 255 and edges.min() == 0  # stretched
    assert titles[:2] == ["val_0000.mp4  2.2 s", "flow, up to 5.0 pixels"]  # 6.5 ninths of 3 seconds
