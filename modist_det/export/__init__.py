"""Export models as ``torch.export`` programs and ONNX files, which run without this package."""

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
