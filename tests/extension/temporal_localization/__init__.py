"""A task without videos: which action happens from when to when, by features that were computed before."""

from . import model, task  # noqa: F401  (they register themselves)
