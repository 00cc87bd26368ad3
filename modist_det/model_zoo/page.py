"""Render the catalogue as ``MODEL_ZOO.md`` and as the table of ``tools/model_zoo.py list``."""

from __future__ import annotations

from collections.abc import Iterable

from tabulate import tabulate

from ..checkpoint.entry import Entry
from ..checkpoint.published_weights import ENTRIES
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

Published weights that load into this project's models by name. This page is generated from
`modist_det/checkpoint/published_weights.py` by `python tools/model_zoo.py list --markdown`; edit the catalogue instead.

```bash
python tools/model_zoo.py list --task detection                          # names and metrics
python tools/model_zoo.py info pytorchvideo/slowfast_8x8_r50_ava22       # all facts about one entry
python tools/model_zoo.py download pytorchvideo/slowfast_8x8_r50_ava22   # into the cache
python tools/model_zoo.py verify                                         # check hashes and load the files
```

`MODEL.WEIGHTS zoo://NAME` works in every config with that network. In Python:

```python
from modist_det import model_zoo

model = model_zoo.get("pytorchvideo/slow_8x8_r50_k400")
cfg = model_zoo.get_config("pytorchvideo/slowfast_8x8_r50_ava22")
```

The metrics are published by the sources and were not measured by this project. *Input* is the number of frames x the
distance between them, at 30 frames per second ("uniform": spread over the whole video). All networks
take RGB. *Verified*: this project has checked the file. The hash of any other file is recorded at its first download
and must not change afterwards.
"""


def figures_text(entry: Entry) -> str:
    """Published metrics, such as ``top1 74.8, top5 91.6 (Kinetics-400)``."""
    by_dataset: dict[str, list[str]] = {}
    for figure in entry.figures:
        by_dataset.setdefault(figure.dataset, []).append(f"{figure.metric} {figure.value}")
    return "; ".join(f"{', '.join(values)} ({dataset})" for dataset, values in by_dataset.items())


def table(entries: Iterable[Entry]) -> str:
    """The entries as a table for the terminal."""
    rows = [
        (e.name, e.task, e.input, figures_text(e), "yes" if cached_path(e.url).is_file() else "")
        for e in entries
    ]
    return tabulate(rows, headers=("name", "task", "input", "published", "in the cache"))


def markdown_page() -> str:
    """The content of ``MODEL_ZOO.md``."""
    parts = [_HEAD]
    for task, title in _TITLES.items():
        parts.append(f"\n## {title}\n")
        parts.append("| name | trained on | input | published | config | file | licence | verified |")
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
