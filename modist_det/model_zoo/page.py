"""``MODEL_ZOO.md`` and the table of ``tools/model_zoo.py list``, from the catalogue."""

from __future__ import annotations

from collections.abc import Iterable

from tabulate import tabulate

from ..checkpoint.catalogue import ENTRIES
from ..checkpoint.entry import Entry
from ..utils.cache import cached_path

__all__ = ["figures_text", "markdown_page", "table"]

_TITLES = {
    "detection": "Action detection",
    "classification": "Classification",
    "pretraining": "Pretrained backbones",
    "person_detection": "Person detectors",
}

_HEAD = """\
# Model zoo

Public weights that load into this project's models under a name. Made from `modist_det/checkpoint/catalogue.py` by
`python tools/model_zoo.py list --markdown`: edit the catalogue, not this page.

```bash
python tools/model_zoo.py list --task detection                          # names and figures
python tools/model_zoo.py info pytorchvideo/slowfast_8x8_r50_ava22       # everything known of one, its file's place
python tools/model_zoo.py download pytorchvideo/slowfast_8x8_r50_ava22   # into the cache
python tools/model_zoo.py verify                                         # hashes, and that the files load
```

`MODEL.WEIGHTS zoo://NAME` works in every config with that network. In Python:

```python
from modist_det import model_zoo

model = model_zoo.get("pytorchvideo/slow_8x8_r50_k400")
cfg = model_zoo.get_config("pytorchvideo/slowfast_8x8_r50_ava22")
```

Figures are those that the sources publish, with their own evaluation; this project measured none of them. Input is
frames x distance between them, at 30 frames a second. All networks take RGB. *Seen*: the file's bytes were checked by
this project; the hash of any other is recorded at its first download and must stay the same.
"""


def figures_text(entry: Entry) -> str:
    """Such as ``top1 74.8, top5 91.6 (Kinetics-400)``."""
    by_dataset: dict[str, list[str]] = {}
    for figure in entry.figures:
        by_dataset.setdefault(figure.dataset, []).append(f"{figure.metric} {figure.value}")
    return "; ".join(f"{', '.join(values)} ({dataset})" for dataset, values in by_dataset.items())


def table(entries: Iterable[Entry]) -> str:
    """For the terminal."""
    rows = [
        (e.name, e.task, e.input, figures_text(e), "yes" if cached_path(e.url).is_file() else "")
        for e in entries
    ]
    return tabulate(rows, headers=("name", "task", "input", "published", "in the cache"))


def markdown_page() -> str:
    """The whole of ``MODEL_ZOO.md``."""
    parts = [_HEAD]
    for task, title in _TITLES.items():
        parts.append(f"\n## {title}\n")
        parts.append("| name | trained on | input | published | config | file | licence | seen |")
        parts.append("| --- | --- | --- | --- | --- | --- | --- | --- |")
        parts += [_row(entry) for entry in ENTRIES.values() if entry.task == task]
    return "\n".join(parts) + "\n"


def _row(entry: Entry) -> str:
    name = f"`{entry.name}`" + (f": {entry.note}" if entry.note else "")
    config = f"[{entry.config}](configs/{entry.config})" if entry.config else ""
    figures = f"[{figures_text(entry) or 'none'}]({entry.source})"
    cells = (
        name,
        entry.data,
        entry.input,
        figures,
        config,
        f"[{entry.format}]({entry.url})",
        entry.licence,
        "yes" if entry.verified else "",
    )
    return f"| {' | '.join(cells)} |"
