"""Published weights by name: list them, download them and build the networks that they fit.

Example::

    from modist_det import model_zoo

    model_zoo.list(task="detection")
    model = model_zoo.get("pytorchvideo/slow_8x8_r50_k400")
    cfg = model_zoo.get_config("pytorchvideo/slowfast_8x8_r50_ava22")  # MODEL.WEIGHTS is zoo://...
    path = model_zoo.get_checkpoint_path("modist/maclr")
    model = model_zoo.from_file("vit_b_k400.pth")  # a file of another project: docs/TRANSFORMERS.md
"""

from typing import TYPE_CHECKING

from ..checkpoint.entry import Entry, Figure
from ..checkpoint.handlers import get_checkpoint_path, get_entry
from ..checkpoint.handlers import list_names as list
from ..utils.lazy import lazy_names

if TYPE_CHECKING:
    from .foreign import config_of_file, from_file
    from .zoo import get, get_config

__all__ = [
    "Entry",
    "Figure",
    "config_of_file",
    "from_file",
    "get",
    "get_checkpoint_path",
    "get_config",
    "get_entry",
    "list",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {"config_of_file": "foreign", "from_file": "foreign", "get": "zoo", "get_config": "zoo"},
)
