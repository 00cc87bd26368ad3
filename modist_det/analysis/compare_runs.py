"""Is one result better than another? Result files on one ground truth, compared with confidence intervals."""

from __future__ import annotations

import html
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from ..evaluation.ava import match_ava
from ..evaluation.bootstrap import RankedHits, ava_hits, compare_hits, tube_hits
from ..evaluation.linking import link_detections
from ..evaluation.tube_ap import compare_frames, compare_tubes
from ..utils.errors import UserError
from .tube_files import is_tubes, read_tube_file

__all__ = ["compare_results", "comparison_page", "comparison_text", "hits_of_ava_files", "hits_of_tube_files"]

_SIGNIFICANT = 0.05
_PAGE = """\
<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Comparison of results</title>
<style>
body {{ font: 15px sans-serif; max-width: 70em; margin: 2em auto; }}
td, th {{ padding: 0.2em 0.8em; border-bottom: 1px solid #ddd; }}
</style></head><body>
<h1>Comparison of results</h1>
{parts}
</body></html>
"""


def hits_of_ava_files(
    results: Sequence[str | os.PathLike],
    groundtruth: str | os.PathLike,
    labelmap: str | os.PathLike,
    exclusions: str | os.PathLike | None = None,
    mode: str = "official",
    max_detections: int = 50,
) -> dict[str, RankedHits]:
    """Match detections in AVA's format; by name of the result (:func:`_names`)."""
    files = zip(_names(results), results, strict=True)
    settings = (labelmap, exclusions, mode, max_detections)
    return {name: ava_hits(match_ava(groundtruth, path, *settings)) for name, path in files}


def hits_of_tube_files(
    results: Sequence[str | os.PathLike],
    groundtruth: str | os.PathLike,
    protocol: str = "recommended",
    threshold: float = 0.5,
    *,
    frames: bool = False,
) -> dict[str, RankedHits]:
    """Match files of tubes or frame detections; frame detections are linked unless ``frames``."""
    truth = read_tube_file(groundtruth, truth=True)
    (real,) = truth.parts
    hits = {}
    for name, path in zip(_names(results), results, strict=True):
        found = read_tube_file(path, truth=False)
        classes = found.classes or truth.classes
        part = next((part for part in found.parts if is_tubes(part) != frames), found.parts[0])
        if frames:
            compared = compare_frames(real, part, protocol, classes)
        else:
            if not is_tubes(part):
                part = link_detections(part, protocol, found.num_frames or truth.num_frames, classes)
            compared = compare_tubes(real, part, protocol, classes)
        hits[name] = tube_hits(compared, threshold)
    return hits


def _names(paths: Sequence[str | os.PathLike]) -> list[str]:
    """File names without extension, or the whole paths if these are not distinct."""
    names = [Path(path).stem for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]


def compare_results(hits: Mapping[str, RankedHits], resamples: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Compare each result with the first one; by name, as :func:`~modist_det.evaluation.bootstrap.compare_hits`."""
    if len(hits) < 2:
        raise UserError("a comparison needs two or more different result files")
    first, *others = hits
    return {other: compare_hits(hits[first], hits[other], resamples, seed=seed) for other in others}


def comparison_text(first: str, comparisons: Mapping[str, Mapping[str, Any]]) -> str:
    """Tables of :func:`compare_results`."""
    return "\n\n".join(
        f"{tabulate(rows, headers, disable_numparse=True, colalign=['left'])}\n{verdict}"
        for headers, rows, verdict in _tables(first, comparisons)
    )


def comparison_page(first: str, comparisons: Mapping[str, Mapping[str, Any]]) -> str:
    """The same tables as an HTML page of one file, which may be opened beside the reports of the results."""
    parts = [
        f"<h2>{html.escape(headers[1])} and {html.escape(headers[2])}</h2>\n"
        f"{tabulate(rows, headers, tablefmt='html', disable_numparse=True, colalign=['left'])}\n"
        f"<p>{html.escape(verdict)}</p>"
        for headers, rows, verdict in _tables(first, comparisons)
    ]
    return _PAGE.format(parts="\n".join(parts))


def _tables(
    first: str, comparisons: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[list[str], list[list[str]], str]]:
    """Headers, rows and verdict of each comparison."""
    for name, result in comparisons.items():
        rows = [_row("mAP", result, "")]
        rows += [
            _row(str(label), entry, f"{entry['p_corrected']:.3f}")
            for label, entry in sorted(result["classes"].items(), key=lambda item: item[1]["p"])
        ]
        better = f"{name} is {'better' if result['difference'] > 0 else 'worse'} than {first}"
        verdict = better if result["p"] < _SIGNIFICANT else "no significant difference"
        yield (
            ["", first, name, "difference", "95 % interval", "p", "p, corrected"],
            rows,
            f"{verdict} (p = {result['p']:.3f}, {result['videos']} videos)",
        )


def _row(label: str, entry: Mapping[str, Any], corrected: str) -> list[str]:
    interval = f"{entry['low']:+.4f} to {entry['high']:+.4f}"
    values = [f"{entry['a']:.4f}", f"{entry['b']:.4f}", f"{entry['difference']:+.4f}"]
    return [label, *values, interval, f"{entry['p']:.3f}", corrected]
