"""Links of the Markdown pages lead somewhere, and the API reference has all packages."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def pages() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True)
    return [name for name in listed.stdout.split() if (ROOT / name).is_file()]


def anchors(path: Path) -> set[str]:
    """What GitHub calls the headings of a page."""
    found: dict[str, int] = {}
    for heading in re.findall(r"^#+ +(.+?)\s*$", _FENCE.sub("", path.read_text()), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        found[slug] = found.get(slug, 0) + 1
    return {
        slug if number == 0 else f"{slug}-{number}"
        for slug, count in found.items()
        for number in range(count)
    }


@pytest.mark.parametrize("page", pages())
def test_links_of_a_page(page):
    path = ROOT / page
    broken = []
    for target in _LINK.findall(_CODE.sub("", _FENCE.sub("", path.read_text()))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []


def test_links_by_name_of_the_readme_are_defined_and_used():
    text = (ROOT / "README.md").read_text()
    defined = re.findall(r"^\[([\w-]+)\]: http", text, re.MULTILINE)
    assert sorted(defined) == sorted(set(re.findall(r"\]\[([\w-]+)\]", text)))


def test_the_site_lists_every_page():
    contents = re.findall(r'"([\w/]+)"', (ROOT / "docs" / "conf.py").read_text().split("_CONTENTS = {")[1])
    shown = {page.removesuffix(".md") for page in pages() if not page.startswith("tests/")}
    assert shown - {"README", *contents} == set()


def test_the_readme_lists_the_pages_of_the_site():
    """In the same groups and order."""
    contents = (ROOT / "docs" / "conf.py").read_text().split("_CONTENTS = ")[1].split("\n}\n")[0] + "\n}"
    listed = (ROOT / "README.md").read_text().split("## Documentation")[1].split("## Licence")[0]
    groups = re.findall(r"^- \*\*(.+?)\*\*: (.*?)(?=^- |^$)", listed, re.MULTILINE | re.DOTALL)
    found = {group: [page.removesuffix(".md") for page in _LINK.findall(text)] for group, text in groups}
    assert list(found.items()) == list(ast.literal_eval(contents).items())


def test_docstrings_have_whole_literals():
    """``x`` may not be followed by a letter or ^: Sphinx ends with a warning there."""
    broken = []
    for path in (ROOT / "modist_det").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                text = ast.get_docstring(node) or ""
                broken += [f"{path.name}: {m}" for m in re.findall(r"``\w[^`\n]*``[\w^]\S*", text)]
    assert broken == []


def test_modules_that_pages_name_exist():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    missing = []
    for page in pages():
        for code in _CODE.findall(_FENCE.sub("", (ROOT / page).read_text())):
            for name in re.findall(r"(?<![\w{*<./-])[\w./-]*\w\.(?:py|sh)(?![\w/])", code):
                if not any(f"/{file}".endswith(f"/{name}") for file in listed):
                    missing.append(f"{page}: {name}")
    assert missing == []


def test_names_inside_modules_that_pages_name_exist():
    """Such as ``structures/boxes.iou``."""
    files = {"csv", "html", "json", "md", "onnx", "png", "py", "pyth", "sh", "txt", "yaml"}
    named = [
        (page, *match.groups())
        for page in pages()
        for match in re.finditer(r"`([a-z_]+(?:/[a-z_]+)+)\.([A-Za-z_]+)`", (ROOT / page).read_text())
        if match[2] not in files
    ]
    assert len(named) > 5
    for page, module, name in named:
        path = ROOT / "modist_det" / f"{module}.py"
        assert path.is_file() and re.search(rf"^(def |class )?{name}\b", path.read_text(), re.MULTILINE), (
            page,
            module,
            name,
        )


def test_anchors_are_those_of_github(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A `b` (c), d-e\n```\n# no heading\n```\n## Twice\n## Twice\n### [Link](x.md) it\n")
    assert anchors(page) == {"a-b-c-d-e", "twice", "twice-1", "link-it"}


def test_every_package_is_in_the_api_reference():
    listed = re.findall(r"^_api/modist_det\.(\w+)$", (ROOT / "docs/API.md").read_text(), re.MULTILINE)
    assert listed == sorted(path.parent.name for path in ROOT.glob("modist_det/[a-z]*/__init__.py"))
