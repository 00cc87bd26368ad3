"""The short way in: ``load(...).predict(...)`` in Python, and the command line ``modist-det``."""

from ..utils.lazy import lazy_names

_MODULES = {
    "ClassificationResult": "results",
    "DetectionResult": "results",
    "Model": "model",
    "load": "model",
    "push": "upload",
}
__all__ = ["ClassificationResult", "DetectionResult", "Model", "load", "push"]
__getattr__, __dir__ = lazy_names(__name__, _MODULES)
