"""AVA's csv files: what rows each kind may have."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ...structures.keyframes import MAX_SECOND
from ...structures.tables import BoxTable, KeyTable

__all__ = [
    "DETECTIONS",
    "EXCLUSIONS",
    "GROUND_TRUTH",
    "INVERTED",
    "MAX_SECOND",
    "PERSON_BOXES",
    "BoxTable",
    "KeyTable",
    "Layout",
    "Problem",
    "box_text",
    "doubt_of_scores",
]


_TOLERANCE = 1e-6  # arithmetic that ends at 1 may end at 1.0000000002


@dataclass(frozen=True)
class Layout:
    """What the rows of one kind of file hold.

    Attributes:
        name: of the kind, for messages.
        usage: the columns, for messages.
        widths: numbers of columns that a row may have.
        last: what column 8 holds: ``"person"``, ``"score"`` or ``""``.
        action_optional: the action may be empty or -1.
        box_limits: the least and the greatest coordinate.
        ordered: x1 <= x2 and y1 <= y2 is required.
    """

    name: str
    usage: str
    widths: tuple[int, ...]
    last: str = ""
    action_optional: bool = False
    box_limits: tuple[float, float] = (-_TOLERANCE, 1 + _TOLERANCE)
    ordered: bool = True


GROUND_TRUTH = Layout(
    "ground truth", "video,second[,x1,y1,x2,y2,action[,person]]", widths=(2, 7, 8), last="person"
)
# A model may well draw a box over the edge, or turn one inside out: the metric knows what that is worth. What is far
# outside was written in pixels.
DETECTIONS = Layout(
    "detection",
    "video,second,x1,y1,x2,y2,action,score",
    widths=(2, 8),
    last="score",
    box_limits=(-1 - _TOLERANCE, 2 + _TOLERANCE),
    ordered=False,
)
PERSON_BOXES = Layout(
    "person box",
    "video,second,x1,y1,x2,y2,action or empty,score",
    widths=(2, 8),
    last="score",
    action_optional=True,
)
EXCLUSIONS = Layout("exclusion", "video,second", widths=(2,))


@dataclass(frozen=True)
class Problem:
    """Something wrong with a row; as text, one line that begins with file and line."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


INVERTED = "inverted; the order is x1,y1,x2,y2 with x1 <= x2 and y1 <= y2"


def box_text(box: Iterable[float]) -> str:
    """A box for messages."""
    return "(" + ", ".join(f"{value:g}" for value in box) + ")"


def doubt_of_scores(table: BoxTable) -> str:
    """What is odd where all scores are whole numbers other than 1: they may be the person ids of a file of ground
    truth, which has as many columns. "" otherwise.
    """
    score = table.score
    some = score[:1000]  # most files are known by these
    if (some % 1).any() or (score % 1).any() or (score == 1).all():
        return ""
    return (
        f"{table.path}: every score is a whole number, such as {score[score != 1][0]:g}; this may be a file of ground "
        "truth, whose last column holds person ids"
    )
