"""Drawing detections on video frames."""

from .keyframes import BoxLabels, contact_sheet, draw_people

__all__ = ["BoxLabels", "contact_sheet", "draw_people"]
