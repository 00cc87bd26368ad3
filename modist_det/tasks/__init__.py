"""Tasks: which mapper, data and evaluators belong together. A new task is a new module here."""

from . import detection  # noqa: F401  (registers itself)
from .base import TASK_REGISTRY, Task, build_task

__all__ = ["TASK_REGISTRY", "Task", "build_task"]
