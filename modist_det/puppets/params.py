"""Size and difficulty of a puppets set."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from ..utils.errors import UserError

__all__ = ["PRESETS", "PuppetsParams"]


@dataclass(frozen=True)
class PuppetsParams:
    """Size and difficulty of a generated set. Each field is an option of ``prepare_puppets.py``.

    With the defaults, a small network learns the set in minutes on a CPU: people fill most of the frame, and their
    appearances come from a small pool.
    """

    train_videos: int = 240
    val_videos: int = 60
    frame_width: int = 192  # pixels; even, as yuv420p requires
    frame_height: int = 128
    fps: int = 15
    seconds: float = 6.0  # of each video; keyframes are at the whole seconds 1 .. seconds - 1
    min_people: int = 1
    max_people: int = 3
    # One person performs one class throughout each video; the classes take turns. The set is also written in the
    # formats of UCF101 and Kinetics.
    single_action: bool = False
    # Height of a standing person relative to the frame.
    min_figure: float = 0.6
    max_figure: float = 0.85
    # Number of different people (clothes, skin, build) and of different places in the set.
    appearances: int = 60
    texture_contrast: float = 0.5  # of clothes and backgrounds: 0 is plain, 1 is garish
    max_distractors: int = 2
    distractor_speed: float = 1.0  # 0: they do not move
    camera_motion: float = 0.5  # 0: a tripod, 1: a shaking hand that pans and zooms
    shadow: float = 0.35  # darkness of the shadows on the ground

    def __post_init__(self) -> None:
        def need(ok: bool, name: str, rule: str) -> None:
            if not ok:
                raise UserError(f"puppets: {name} is {getattr(self, name)}, but must be {rule}")

        for field in fields(self):
            value = getattr(self, field.name)
            need(math.isfinite(value), field.name, "a finite number")
        need(self.train_videos >= 1, "train_videos", "at least 1")
        for name in ("val_videos", "max_distractors"):
            need(getattr(self, name) >= 0, name, "0 or more")
        for name in ("frame_width", "frame_height"):
            size = getattr(self, name)
            need(size >= 32 and size % 2 == 0, name, "even and at least 32")
        need(self.fps >= 5, "fps", "at least 5 to show the motions")
        need(self.seconds >= 2, "seconds", "at least 2: the first keyframe is at second 1")
        need(self.min_people >= 1, "min_people", "at least 1")
        need(self.max_people >= self.min_people, "max_people", f"at least min_people ({self.min_people})")
        is_single = not self.single_action or self.max_people == 1
        need(is_single, "max_people", "1 (like min_people) in a set of single actions")
        need(self.min_figure >= 0.1, "min_figure", "at least 0.1")
        need(self.min_figure <= self.max_figure <= 1.5, "max_figure", "from min_figure to 1.5")
        need(self.appearances >= 1, "appearances", "at least 1")
        for name in ("texture_contrast", "camera_motion", "shadow"):
            need(0 <= getattr(self, name) <= 1, name, "from 0 to 1")
        need(0 <= self.distractor_speed <= 5, "distractor_speed", "from 0 to 5")

    @property
    def num_frames(self) -> int:
        """Number of frames in each video."""
        return round(self.seconds * self.fps)

    @property
    def keyframes(self) -> list[int]:
        """The annotated times: whole seconds, at least one second from either end."""
        return list(range(1, math.floor(self.seconds - 1) + 1))


# "scenes": several people with several actions, for detection. "actions": one person in the middle of a small frame,
# one action per video and a thousand appearances, for pretraining and classification.
PRESETS = {
    "scenes": PuppetsParams(),
    "actions": PuppetsParams(
        train_videos=2400,
        val_videos=600,
        frame_width=96,
        frame_height=96,
        seconds=4.0,
        max_people=1,
        single_action=True,
        min_figure=0.7,
        max_figure=0.9,
        appearances=1000,
        texture_contrast=0.35,
        camera_motion=0.35,
    ),
}
