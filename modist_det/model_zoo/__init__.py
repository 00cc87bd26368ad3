"""Published weights by name: what there is, where it is, and the networks that it fits.

Example::

    from modist_det import model_zoo

    model_zoo.list(task="detection")
    model = model_zoo.get("pytorchvideo/slow_8x8_r50_k400")
    cfg = model_zoo.get_config("pytorchvideo/slowfast_8x8_r50_ava22")  # MODEL.WEIGHTS is zoo://...
    path = model_zoo.get_checkpoint_path("modist/maclr")
"""

from .entry import Entry, Figure
from .zoo import get, get_checkpoint_path, get_config, get_entry
from .zoo import list_names as list

__all__ = ["Entry", "Figure", "get", "get_checkpoint_path", "get_config", "get_entry", "list"]
