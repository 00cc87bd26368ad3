"""Action-detection-first video understanding in PyTorch.

Importing the package is cheap: torch and the other large libraries are loaded by the
subpackages that need them.
"""

__version__ = "0.1.0"

from . import _moved as _moved
