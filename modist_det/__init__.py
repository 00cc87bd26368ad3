"""Action-detection-first video understanding in PyTorch.

Importing the package is cheap: torch and the other large libraries are loaded by the
subpackages that need them. The short way in::

    import modist_det as md

    print(md.load("output/fights").predict("clip.mp4"))
"""

__version__ = "0.1.0"

from typing import TYPE_CHECKING

from . import _moved as _moved
from .utils.lazy import lazy_names

if TYPE_CHECKING:
    from .app.model import Model as Model
    from .app.model import load as load
    from .app.upload import push as push

__getattr__, __dir__ = lazy_names(__name__, {"Model": "app.model", "load": "app.model", "push": "app.upload"})
