"""Command lines in whole: exit status 0, 1 or 2, and of an error one line on stderr."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np

from modist_det.formats.ava.files import DETECTIONS, GROUND_TRUTH, PERSON_BOXES
from modist_det.utils.cli import run_cli
from modist_det.utils.errors import UserError

from .kinds import expect
from .mutate import NASTY_TEXTS, mutate_bytes, mutate_text, mutate_tree
from .networks import red_finder
from .originals import NUM_ORIGINALS, original
from .tables import make_table
from .texts import result_content

__all__ = ["command"]

_ROOT = Path(__file__).resolve().parents[2]
_ALWAYS_DONE = ("tools/evaluate_ava.py", "tools/extract_motion.py", "tools/detect_persons.py")
# What a shell cannot pass on is no argument.
_ARGUMENTS = [text for text in NASTY_TEXTS if "\0" not in text and text.isprintable() | ("\n" in text)]
_VIDEOS = ("clip", "b", "c")


@cache
def _module(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzzed_" + Path(path).stem, _ROOT / path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _run(path: str, words: list[str]) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of a tool that is run in this process."""
    module = _module(path)
    parser: Callable = getattr(module, "get_parser", None) or module.parser
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = run_cli(parser(), module.main, words)
        except SystemExit as error:  # argparse
            status = int(error.code or 0) if isinstance(error.code, (int, type(None))) else 1
    return status, out.getvalue(), err.getvalue()


def command(rng: np.random.Generator, folder: Path) -> None:
    """A tool on files of which some are damaged; now and then an argument is nonsense."""
    files = _Files(rng, folder, damage=rng.random() < 0.6)
    tools = (
        _evaluate_ava,
        _evaluate_persons,
        _evaluate_tubes,
        _check_ava,
        _extract_motion,
        _detect_persons,
        _draw,
    )
    path, words = tools[rng.integers(len(tools))](files)
    if rng.random() < 0.15:
        words[int(rng.integers(len(words)))] = str(_ARGUMENTS[rng.integers(len(_ARGUMENTS))])
        files.damage = True
    status, out, err = _run(path, words)
    expect(status in (0, 1, 2), f"{path}: exit status {status}")
    expect("Traceback" not in err + out, f"{path}: a traceback is shown")
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    if status == 0:
        expect(not errors, f"{path}: status 0 with an error")
        return
    # Of files that are valid by themselves some do not belong together (no keyframe in common, a missing video).
    if not files.damage and path in _ALWAYS_DONE:
        expect(False, f"{path}: valid files are refused: {errors[:1]}")
    if status == 1 and not (out.strip() or err.strip()):
        expect(False, f"{path}: status 1 without a word")
    if errors:
        expect(len(errors) == 1, f"{path}: {len(errors)} errors")
        raise UserError(errors[0])


class _Files:
    """Files of a small dataset, made when asked for; with ``damage`` each of them may be damaged."""

    def __init__(self, rng: np.random.Generator, folder: Path, damage: bool) -> None:
        self.rng = rng
        self.folder = folder
        self.damage = damage

    def write(self, name: str, data: bytes) -> str:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        if self.damage and self.rng.random() < 0.5:
            binary = path.suffix in (
                ".onnx",
                ".mp4",
                ".mkv",
                ".avi",
                ".ts",
                ".webm",
                ".flv",
                ".mov",
                ".mpg",
                ".wmv",
            )
            data = mutate_bytes(self.rng, data) if binary else mutate_text(self.rng, data.decode("utf-8-sig"))
        path.write_bytes(data)
        return str(path)

    def truth(self) -> str:
        return self.write("truth.csv", make_table(self.rng, GROUND_TRUTH, _VIDEOS, 30))

    def labels(self) -> str:
        text = "\n".join(f'item {{ name: "class {number}" id: {number} }}' for number in range(1, 13))
        return self.write("map.pbtxt", text.encode())

    def videos(self) -> str:
        for name in _VIDEOS[: int(self.rng.integers(1, 4))]:
            video = original(int(self.rng.integers(NUM_ORIGINALS)))
            self.write(f"videos/{name}.{video.suffix}", video.data)
        return str(self.folder / "videos")

    def description(self) -> str:
        self.videos()
        self.truth()
        self.labels()
        content = {"format": "ava", "videos": "videos", "annotations": "truth.csv", "label_map": "map.pbtxt"}
        return self.write("set.yaml", json.dumps(content).encode())


Words = tuple[str, list[str]]


def _evaluate_ava(files: _Files) -> Words:
    detections = files.write("found.csv", make_table(files.rng, DETECTIONS, _VIDEOS, 60))
    words = [
        "-l",
        files.labels(),
        "-g",
        files.truth(),
        "-d",
        detections,
        "--json",
        str(files.folder / "out.json"),
    ]
    return "tools/evaluate_ava.py", words + (["--mode", "pyslowfast"] if files.rng.random() < 0.3 else [])


def _evaluate_persons(files: _Files) -> Words:
    boxes = files.write("persons.csv", make_table(files.rng, PERSON_BOXES, _VIDEOS, 40))
    return "tools/evaluate_person_boxes.py", ["-g", files.truth(), "-d", boxes]


def _evaluate_tubes(files: _Files) -> Words:
    from modist_det.puppets.labels import CLASS_NAMES

    person = {"boxes": [[1, 1, 20, 30]] * 30, "segments": [{"start": 0.0, "end": 3.0, "actions": [1, 8]}]}
    video = {"video": "clip", "width": 64, "height": 48, "fps": 10, "num_frames": 30, "people": [person]}
    tracks: object = {"classes": [], "videos": [video]}
    result: object = result_content(files.rng, "clip", dict(CLASS_NAMES))
    if files.damage:
        tracks, result = mutate_tree(files.rng, tracks), mutate_tree(files.rng, result)
    truth = files.write("tracks.json", json.dumps(tracks).encode("utf-8", "replace"))
    files.write("results/clip.json", json.dumps(result).encode("utf-8", "replace"))
    return "tools/evaluate_tubes.py", ["--truth", truth, "--results", str(files.folder / "results")]


def _check_ava(files: _Files) -> Words:
    return "datasets/prepare_ava.py", ["check", files.description(), "--threads", "1"]


def _extract_motion(files: _Files) -> Words:
    words = [files.videos(), "--out", str(files.folder / "motion"), "--workers", "0", "--short-side", "32"]
    return "tools/extract_motion.py", words


def _detect_persons(files: _Files) -> Words:
    network = files.write("yolox_red.onnx", red_finder())
    out = str(files.folder / "persons.csv")
    words = [files.videos(), "--out", out, "--persons", network, "--person-option", "min_score=0.9"]
    return "tools/detect_persons.py", [*words, "--every", "1"]


def _draw(files: _Files) -> Words:
    found = files.write("found.csv", make_table(files.rng, DETECTIONS, _VIDEOS, 60))
    data, out = files.description(), str(files.folder / "sheet.png")
    return "tools/draw_detections.py", [
        "--data",
        data,
        "--detections",
        found,
        "--out",
        out,
        "--keyframes",
        "3",
    ]
