"""Sphinx's settings for ``tools/build_docs.sh``: the Markdown pages and the API reference."""

from __future__ import annotations

import builtins
import importlib
import inspect
import pkgutil
import shutil
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

import modist_det

project = "modist_det"
copyright = ""
version = release = modist_det.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
# The source is the repository, so that links between the pages are those that people see there.
root_doc = "README"
include_patterns = ["*.md", "docs/*.md", "docs/study/*.md", "docs/_api/*", "datasets/README.md"]
exclude_patterns = [".*", "output", "site", "tests", "modist_det", "configs", "datasets/*/**"]

myst_heading_anchors = 3

autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_mock_imports = ["detectron2"]
napoleon_numpy_docstring = False
napoleon_use_rtype = False

nitpicky = True
suppress_warnings = ["myst.header"]  # pages that begin with a small heading
html_theme = "furo"
html_title = f"modist_det {release}"
html_copy_source = False
html_show_copyright = False


def _write_api(app: Sphinx) -> None:
    """A page for each module in ``docs/_api``; that of a package lists its names and its modules."""
    folder = Path(app.confdir) / "_api"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for info in pkgutil.walk_packages(modist_det.__path__, "modist_det."):
        if info.name.rpartition(".")[2].startswith("_"):
            continue
        lines = [info.name, "=" * len(info.name), "", f".. automodule:: {info.name}"]
        if info.ispkg:
            package = importlib.import_module(info.name)
            names = [f":py:obj:`~{info.name}.{name}`" for name in getattr(package, "__all__", [])]
            below = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
            lines += ["   :no-members:", "", ", ".join(names), "", ".. toctree::", "   :maxdepth: 1", ""]
            lines += [f"   {info.name}.{name}" for name in below if not name.startswith("_")]
        (folder / f"{info.name}.rst").write_text("\n".join(lines) + "\n")


def _find(target: str, scope: str) -> Any:
    """The object that a reference names: in full, or as seen from the module or class that it stands in."""
    target = target.lstrip(".")
    tries = [target]
    while scope:  # a class, its module, and the packages above
        tries.append(f"{scope}.{target}")
        scope = scope.rpartition(".")[0]
    for name in tries:
        parts = name.split(".")
        for count in range(len(parts), 0, -1):
            try:
                found = importlib.import_module(".".join(parts[:count]))
                for part in parts[count:]:
                    found = getattr(found, part)
            except (ImportError, AttributeError):
                continue
            return found
    return getattr(builtins, target, None)


def _resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Element
) -> nodes.Element | None:
    """References to names that are documented elsewhere (a package passes them on), or not at all (other libraries).

    What names nothing stays unresolved, which ends the build.
    """
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    # detectron2 may not be installed. A type that is no single word is a sentence in the place of a type.
    if target.startswith("detectron2.") or not target.replace(".", "").isidentifier():
        return content
    found = _find(target, ".".join(filter(None, (node.get("py:module"), node.get("py:class")))))
    if found is None:
        return None
    home = inspect.getmodule(found)
    if inspect.ismodule(found) or home is None or not hasattr(found, "__qualname__"):
        return content
    name = f"{home.__name__}.{found.__qualname__}"
    domain = env.domains.python_domain
    if name not in domain.objects:
        return content
    node["reftarget"] = name
    return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", name, node, content)


# The contents at the side, which the pages themselves do not need.
_CONTENTS = {
    "Guides": ["INSTALL", "GETTING_STARTED", "datasets/README", "docs/MODIST"],
    "Tools": ["docs/VISUALIZATION", "docs/CHECKPOINTS", "docs/RESULT_FILES"],
    "Reference": ["docs/API", "MODEL_ZOO", "docs/BACKBONES", "docs/GLOSSARY"],
    "Measurements": [
        "docs/RESULTS",
        "docs/STUDY",
        "docs/study/tables",
        "docs/BENCHMARKS",
        "docs/RELIABILITY",
    ],
    "Development": ["CONTRIBUTING", "docs/ARCHITECTURE", "docs/EXTENDING", "CHANGELOG"],
}


def _add_contents(app: Sphinx, page: str, source: list[str]) -> None:
    if page == root_doc:
        for caption, pages in _CONTENTS.items():
            listed = "\n".join(page for page in pages if page in app.env.found_docs)
            source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{listed}\n```\n"


def _skip(app: Sphinx, what: str, name: str, found: Any, skip: bool, options: Any) -> bool | None:
    """Names that a module only passes on are documented where they are defined."""
    here = app.env.current_document.autodoc_module
    home = getattr(found, "__module__", None)
    return True if what == "module" and home is not None and home != here else None


def setup(app: Sphinx) -> None:
    app.connect("builder-inited", _write_api)
    app.connect("missing-reference", _resolve)
    app.connect("autodoc-skip-member", _skip)
    app.connect("source-read", _add_contents)
