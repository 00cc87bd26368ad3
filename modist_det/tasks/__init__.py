"""Tasks connect data, mappers and evaluators. A new task is a new module here."""

from . import classification, detection, pretraining  # noqa: F401  (they register themselves)
from .base import TASK_REGISTRY, Task, build_task

__all__ = ["TASK_REGISTRY", "Task", "build_task"]
