"""Draw boxes, actions and results on video frames."""

from .keyframes import BoxLabels, contact_sheet, draw_people, write_png

__all__ = ["BoxLabels", "contact_sheet", "draw_people", "write_png"]
