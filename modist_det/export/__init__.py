"""Models as files that run without this package: ``torch.export`` programs and ONNX."""

from .export import TOLERANCE, check_onnx, check_program, export_onnx, export_program
from .networks import ClassifierFunction, DetectorFunction, as_function

__all__ = [
    "TOLERANCE",
    "ClassifierFunction",
    "DetectorFunction",
    "as_function",
    "check_onnx",
    "check_program",
    "export_onnx",
    "export_program",
]
