"""Pre-annotations for annotation tools: from result files, datasets of tubes, or a model's detections in videos."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..formats.annotations import FORMATS, TrackAnnotations, find_format, from_tubes, thinned
from ..utils.cli import number_from
from ..utils.errors import UserError
from ..utils.json_reading import read_json
from . import demo

__all__ = ["add_export_options", "annotate_videos", "export_annotations"]


def add_export_options(parser: argparse.ArgumentParser) -> None:
    """The options of the written files."""
    parser.add_argument("--format", default="cvat", help=f"{', '.join(FORMATS)} (default: %(default)s)")
    parser.add_argument(
        "--tolerance",
        type=number_from(0),
        default=1.0,
        metavar="PIXELS",
        help="keyframes are set so that interpolated boxes are at most this far off (default: %(default)s)",
    )


def export_annotations(
    paths: Iterable[Path], name: str, out: Path, tolerance: float = 1.0, min_score: float = 0.0
) -> list[Path]:
    """Write a file for each video of result files (``tools/demo.py``) or of datasets of tubes (JSON).

    Args:
        name: one of ``FORMATS``.
        out: folder of the files, ``VIDEO.xml`` or as the format has it.
        tolerance: pixels that boxes between keyframes may be off.
        min_score: of actions in result files.

    Returns:
        The files.

    Raises:
        UserError: there is no such format, or a file is of neither kind.
    """
    entry = find_format(name)
    written: list[Path] = []
    for path in paths:
        for found in _videos(path, min_score):
            (video,) = found.videos
            # Datasets may call it "Class/video".
            target = out / entry.place.format(video=Path(video).name, suffix=entry.suffix)
            if target in written:
                raise UserError(f"{path}: video {video} is in another of the files, too; export one of them")
            target.parent.mkdir(parents=True, exist_ok=True)
            tracks = [thinned(track, tolerance) for track in found.tracks]
            entry.write(target, TrackAnnotations(found.videos, tracks))
            written.append(target)
    return written


def _videos(path: Path, min_score: float) -> Iterator[TrackAnnotations]:
    """The annotations of each video."""
    from ..inference.annotations import tracks_of_result
    from ..inference.results import FORMAT, parse_result

    content = read_json(path)
    if isinstance(content, dict) and content.get("format") == FORMAT:
        annotations = tracks_of_result(parse_result(content, path), min_score)
    elif isinstance(content, dict) and all(isinstance(v, dict) and "tubes" in v for v in content.values()):
        annotations = from_tubes(content)
    else:
        raise UserError(f"{path} is neither a result of tools/demo.py nor a tubes.json (docs/ANNOTATIONS.md)")
    for video, size in annotations.videos.items():
        own = [track for track in annotations.tracks if track.video == video]
        yield TrackAnnotations({video: size}, own)


def annotate_videos(args: argparse.Namespace) -> int:
    """``modist-det annotate``: detect people and actions in videos, then :func:`export_annotations`."""
    find_format(args.format)  # before hours of work
    out, args.out, args.no_video = args.out, args.out / "results", True
    status, results = demo.predict(args, "detection")
    written = export_annotations(results, args.format, out, args.tolerance)
    print(f"wrote {len(written)} files of {args.format} to {out}")
    return status
