"""Modules that have moved can still be imported by their old names, with a ``DeprecationWarning``."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import sys
import warnings
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ["MOVED"]

# Below modist_det; a package moves with all that it holds.
MOVED = {
    "config.elsewhere": "core.elsewhere",
    "config.limits": "core.limits",
    "config.node": "core.node",
    "data.frame_cache": "video.frame_cache",
    "data.frame_folder": "video.frame_folder",
    "data.frame_list": "video.frame_list",
    "data.puppets": "puppets",
    "data.sampling": "video.sampling",
    "data.video": "video.reader",
    "data.video_container": "video.container",
    "data.video_errors": "video.errors",
    "data.video_file": "video.file",
    "data.video_index": "video.index",
    "data.video_info": "video.info",
    "data.video_orientation": "video.orientation",
    "data.video_packets": "video.packets",
    "data.video_scaling": "video.scaling",
    "data.video_timeline": "video.timeline",
    "engine.benchmark": "analysis.benchmark",
    "engine.linear_probe": "analysis.linear_probe",
    "engine.mean_results": "analysis.mean_results",
    "engine.neighbours": "analysis.neighbours",
    "evaluation.synthetic": "analysis.benchmark.synthetic",
    "inference.evaluate_tubes": "analysis.tubes",
    "inference.files": "inference.results",
    "inference.tracking": "structures.tracking",
    "inference.video_writer": "video.writer",
    "model_zoo.build": "model_zoo.zoo",
    "model_zoo.catalogue": "checkpoint.published_weights",
    "model_zoo.configs": "checkpoint.configs",
    "model_zoo.entry": "checkpoint.entry",
    "model_zoo.handler": "checkpoint.handlers",
    "model_zoo.torchvision_files": "checkpoint.torchvision_files",
    "motion.sources": "data.motion_sources",
    "modeling.losses.regression": "modeling.losses.cosine_regression",
    "utils.ava_classes": "formats.ava.classes",
    "utils.ava_columns": "formats.ava.fast_parser",
    "utils.ava_files": "formats.ava.files",
    "utils.ava_parsers": "formats.ava.exact_parser",
    "utils.ava_reading": "formats.ava.reading",
    "utils.ava_tables": "formats.ava.tables",
    "utils.class_facts": "structures.class_facts",
    "utils.label_map": "formats.ava.label_map",
    "utils.listing": "video.listing",
    "visualization.attention": "analysis.attention",
    "visualization.gradcam": "analysis.gradcam",
    "visualization.motion_sheet": "analysis.motion_sheet",
    "visualization.neighbours": "analysis.neighbours",
    "visualization.plots": "analysis.plots",
    "visualization.report": "analysis.report",
    "visualization.sheets": "analysis.detection_sheets",
}
_PACKAGE = __name__.rpartition(".")[0]


def _new_name(name: str) -> str | None:
    package, _, old = name.partition(".")
    parts = old.split(".")
    for count in range(len(parts), 0, -1):
        new = MOVED.get(".".join(parts[:count]))
        if package == _PACKAGE and new is not None:
            return ".".join([package, new, *parts[count:]])
    return None


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Comes before the ordinary finders: they would find a module of a moved package again, as another module."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        return importlib.util.spec_from_loader(fullname, self) if _new_name(fullname) else None

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        old = module.__name__
        new = _new_name(old)
        assert new is not None
        warnings.warn(f"{old} is now {new}", DeprecationWarning, stacklevel=2)
        real = importlib.import_module(new)
        if hasattr(real, "__path__"):
            module.__class__ = _MovedPackage
        else:
            sys.modules[old] = real  # what the import statement then returns


class _MovedPackage(ModuleType):
    """Forwards to the real package. Were it the real one, the import of a submodule by its old name would put the
    submodule in the place of a function of the same name."""

    def __getattr__(self, name: str) -> object:
        new = _new_name(self.__name__)
        assert new is not None
        return getattr(sys.modules[new], name)

    def __setattr__(self, name: str, value: object) -> None:
        pass


sys.meta_path.insert(0, _Finder())
