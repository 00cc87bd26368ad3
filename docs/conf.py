"""Sphinx's settings for ``tools/build_docs.sh``: the Markdown pages and the API reference."""

from __future__ import annotations

import contextlib
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
autodoc_inherit_docstrings = False
autodoc_mock_imports = ["detectron2"]
napoleon_numpy_docstring = False
napoleon_use_rtype = False

nitpicky = True
suppress_warnings = ["myst.header"]  # tables whose headings are smaller than the next
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


def _find(target: str, scope: str) -> str:
    """Full name of what a reference in a class or module ``scope`` means; "" if there is no such thing."""
    tries = [target]
    while scope:
        tries.append(f"{scope}.{target}")
        scope = scope.rpartition(".")[0]
    for name in [*reversed(tries), f"torch.{target}", f"builtins.{target}"]:
        parts = name.split(".")
        for count in range(len(parts), 0, -1):
            with contextlib.suppress(ImportError, AttributeError):
                found = importlib.import_module(".".join(parts[:count]))
                for part in parts[count:]:
                    declared = getattr(found, "__annotations__", {})  # attributes without a value
                    found = getattr(found, part, declared[part]) if part in declared else getattr(found, part)
                if inspect.isroutine(found) or inspect.isclass(found):
                    return f"{found.__module__}.{found.__qualname__}"
                return name
    return ""


def _name_in_full(app: Sphinx, page: nodes.document) -> None:
    """Give references the full names of what they mean, so that a name which a package passes on leads to its page.

    What names nothing stays as it is, and ends the build.
    """
    for node in page.findall(pending_xref):
        target = node.get("reftarget", "").lstrip(".")
        if node.get("refdomain") != "py":
            continue
        # detectron2 may not be installed. A type that is no single word is a sentence in the place of a type.
        known = target.startswith("detectron2.") or not target.replace(".", "").isidentifier()
        scope = ".".join(filter(None, (node.get("py:module"), node.get("py:class"))))
        if name := target if known else _find(target, scope):
            node.attributes |= {"reftarget": name, "refspecific": False, "found": True}


def _undocumented(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Element
) -> nodes.Element | None:
    """What is there, but has no page: of other libraries, or private."""
    return content if node.get("found") else None


# The contents at the side, by a page's job, as in the README.
_CONTENTS = {
    "Tutorials": ["docs/FIRST_STEPS", "GETTING_STARTED", "docs/ANNOTATIONS"],
    "How-to guides": [
        "INSTALL",
        "datasets/README",
        "docs/CHECKPOINTS",
        "docs/VISUALIZATION",
        "docs/LARGE_SETS",
        "docs/CLUSTERS",
        "docs/EXTENDING",
        "CONTRIBUTING",
    ],
    "Reference": [
        "docs/API",
        "MODEL_ZOO",
        "docs/BACKBONES",
        "docs/TRANSFORMERS",
        "docs/METRICS",
        "docs/RESULT_FILES",
        "docs/GLOSSARY",
        "docs/RESULTS",
        "docs/BENCHMARKS",
        "CHANGELOG",
    ],
    "Explanation": [
        "docs/ARCHITECTURE",
        "docs/MODIST",
        "docs/RELIABILITY",
        "docs/STUDY",
        "docs/study/tables",
        "docs/STUDY_LOG",
    ],
}


def _add_contents(app: Sphinx, page: str, source: list[str]) -> None:
    if page == root_doc:
        for caption, pages in _CONTENTS.items():
            listed = "\n".join(page for page in pages if page in app.env.found_docs)
            source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{listed}\n```\n"


def _skip(app: Sphinx, what: str, name: str, found: Any, skip: bool, options: Any) -> bool | None:
    """Names that a module passes on, and functions that are a class's default, are documented where they are defined;
    fields of named tuples, in a docstring.
    """
    if type(found).__name__ == "_tuplegetter":
        return True
    here = app.env.current_document.autodoc_module
    home = getattr(found, "__module__", None)
    taken = what == "module" or inspect.isroutine(found)
    return True if taken and home is not None and home != here else None


def setup(app: Sphinx) -> None:
    app.connect("builder-inited", _write_api)
    app.connect("doctree-read", _name_in_full)
    app.connect("missing-reference", _undocumented)
    app.connect("autodoc-skip-member", _skip)
    app.connect("source-read", _add_contents)
