"""Draw frames, their optical flow and their flow edges side by side."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torchvision.utils import flow_to_image

from ..motion.maps import flow_edges
from ..motion.reader import MotionReader
from ..utils.errors import UserError
from ..utils.spread import middles
from ..video.reader import open_video
from ..visualization.keyframes import contact_sheet, write_png
from ..visualization.training import image_of, motion_image

__all__ = ["draw_motion_sheet"]

_MOMENTS = 9  # looked at in each video
_CELL_WIDTH = 192  # pixels


def draw_motion_sheet(
    videos: Sequence[tuple[str, float | None]], out: str | os.PathLike, reader: MotionReader
) -> None:
    """Write a PNG with a row for each video: a frame, the flow to an earlier one, and its edges.

    Of nine moments spread over a video the one with the median amount of edges is shown: neither a still
    nor a cut. Hue is the flow's direction, saturation its length relative to the longest in the image. White is
    the strongest edge of the image.

    Args:
        videos: (path, frames per second of folders of images).
        reader: its estimator, gap and resolution are used.

    Raises:
        UserError: a video cannot be read, or the reader has no flow estimator.
    """
    if reader.estimator is None:
        raise UserError("a sheet of flow needs a flow estimator; the motion input 'difference' has none")
    images, titles = [], []
    for path, fps in videos:
        with open_video(path, fps) as video:
            seconds = middles(video.info.duration, _MOMENTS)
            frames, flow = reader.frames_and_flow(video, seconds)
        edges = flow_edges(flow)
        typical = int(edges.float().mean(dim=(1, 2, 3)).median(dim=0).indices)
        fastest = float(torch.linalg.vector_norm(flow[typical], dim=0).max())
        strongest = int(edges[typical].max())
        images += [
            frames[typical],
            image_of(flow_to_image(flow[typical])),
            motion_image(edges[typical], strongest),
        ]
        titles += [
            f"{Path(path).name}  {seconds[typical]:.1f} s",
            f"flow, up to {fastest:.1f} pixels",
            f"edges, up to {strongest} of 255",
        ]
    sheet = contact_sheet(images, titles, columns=3, cell_width=_CELL_WIDTH)
    write_png(out, sheet)
