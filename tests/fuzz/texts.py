"""Label maps, JSON and YAML: what was written is read, whatever was broken is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from modist_det.analysis.tubes import read_puppets_tracks, tubes_of_result
from modist_det.config import get_cfg
from modist_det.data.datasets.description import load_description
from modist_det.formats.ava.label_map import read_label_map
from modist_det.inference import VideoActions, VideoClasses
from modist_det.inference.persons.precomputed import Precomputed

from .kinds import accepted, expect
from .mutate import NASTY_VALUES, mutate_bytes, mutate_text, mutate_tree

__all__ = ["json_files", "label_map", "result_content", "yaml_files"]

_NAMES = (
    "walk",
    "bend/bow (at the waist)",
    "it's",
    'say "hi"',
    "back\\slash",
    "跳",
    "a # b",
    "two\nlines",
    "{",
    "7",
)


def _quoted(text: str, quote: str) -> str:
    return quote + text.replace("\\", "\\\\").replace(quote, "\\" + quote).replace("\n", "\\n") + quote


def label_map(rng: np.random.Generator, folder: Path) -> None:
    """Both syntaxes of AVA's label maps."""
    newer = rng.random() < 0.5
    ids = rng.choice(np.arange(1, 90), int(rng.integers(1, len(_NAMES))), replace=False).tolist()
    names = rng.permutation(len(_NAMES)).tolist()
    expected, blocks = {}, []
    for number, n in zip(ids, names, strict=False):
        name, quote = _NAMES[n], str(rng.choice(['"', "'"]))
        fields = [f"name: {_quoted(name, quote)}", f"{'label_id' if newer else 'id'}: {number}"]
        type_name = "PERSON_MOVEMENT" if newer else ""
        if newer:
            fields.append(f"label_type: {type_name}")
        space = str(rng.choice(["\n  ", " ", "\n\n\t", "\r\n", " # note } {\n"]))
        order = rng.permutation(len(fields)).tolist()
        blocks.append(
            f"{'label' if newer else 'item'} {{{space}" + space.join(fields[i] for i in order) + f"{space}}}"
        )
        expected[number] = (name, type_name)
    text = str(rng.choice(["\n", " ", "\n# a comment\n"])).join(blocks)
    path = folder / "map.pbtxt"
    if rng.random() < 0.4:
        path.write_text(text, encoding=str(rng.choice(["utf-8", "utf-8-sig"])), newline="")
        with accepted("a valid label map"):
            found = {number: (entry.name, entry.type) for number, entry in read_label_map(path).items()}
        expect(found == expected, f"{found} instead of {expected}")
        expect(list(found) == sorted(found), "ids are not ascending")
        return
    path.write_bytes(mutate_text(rng, text))
    for number, entry in read_label_map(path).items():
        expect(1 <= number <= 999_999 and entry.name.strip(), f"class {number} is called {entry.name!r}")


def result_content(
    rng: np.random.Generator, video: str = "clip", classes: dict[int, str] | None = None
) -> dict[str, Any]:
    """What a result file holds (docs/RESULT_FILES.md)."""
    names = classes or {1: "walk", 4: "wave"}

    def box() -> list[float]:
        low = rng.uniform(0, 0.5, 2)
        return [round(float(v), 6) for v in (*low, *(low + rng.uniform(0.1, 0.5, 2)))]

    def score() -> float:
        return round(float(rng.uniform()), 6)

    seconds = np.arange(int(rng.integers(0, 5))).tolist()
    people = [
        [
            {"track_id": k + 1, "box": box(), "person_score": score(), "scores": [score() for _ in names]}
            for k in range(int(rng.integers(0, 3)))
        ]
        for _ in seconds
    ]
    tubes = [
        {
            "track_id": k + 1,
            "start": 0.0,
            "end": 1.0,
            "actions": [{"id": 1, "name": names[min(names)], "start": 0.0, "end": 1.0, "score": score()}],
            "times": [0.0, 0.5, 1.0],
            "boxes": [box() for _ in range(3)],
        }
        for k in range(int(rng.integers(0, 3)))
    ]
    return {
        "format": "modist_det.video_actions/1",
        "video": video,
        "width": 320,
        "height": 240,
        "model": "fuzz",
        "person_detector": "none",
        "classes": [{"id": number, "name": name} for number, name in names.items()],
        "keyframes": [{"second": float(s), "people": p} for s, p in zip(seconds, people, strict=True)],
        "tubes": tubes,
        "duration": 5.0,
        "num_frames": 125,
    }


def _tracks() -> dict[str, Any]:
    person = {
        "boxes": [[1, 1, 20, 30]] * 4 + [None],
        "segments": [
            {"start": 0.0, "end": 0.3, "actions": [1]},
            {"start": 0.3, "end": 0.6, "actions": [2, 8]},
        ],
    }
    video = {"video": "v", "width": 64, "height": 48, "fps": 10, "num_frames": 5, "people": [person]}
    return {"classes": [{"id": 1, "name": "stand"}], "videos": [video]}


def _json_bytes(rng: np.random.Generator, content: object) -> bytes:
    if rng.random() < 0.05:
        depth = int(rng.choice([50, 2000, 200_000]))
        return b'{"format": ' + b"[" * depth + b"]" * depth + b"}"
    data = json.dumps(content, ensure_ascii=bool(rng.random() < 0.5)).encode("utf-8", "surrogatepass")
    if rng.random() < 0.1:
        data = data.replace(b"125", b"1" * int(rng.choice([30, 400, 5000])))
    return mutate_bytes(rng, data) if rng.random() < 0.25 else data


def json_files(rng: np.random.Generator, folder: Path) -> None:
    """Result files and tracks: as written, or refused; never numbers that mean nothing."""
    path = folder / "result.json"
    content = result_content(rng)
    kind = rng.random()
    if kind < 0.2:
        path.write_text(json.dumps(content), encoding="utf-8")
        with accepted("a valid result file"):
            found = VideoActions.from_json(path)
            Precomputed(path)
            tubes_of_result(found)
        for keyframe, entry in zip(found.keyframes, content["keyframes"], strict=True):
            boxes = [person["box"] for person in entry["people"]]
            expect(np.allclose(keyframe.boxes, np.reshape(boxes, (-1, 4))), "other boxes")
            scores = [person["scores"] for person in entry["people"]]
            expect(np.allclose(keyframe.scores, np.reshape(scores, (-1, 2))), "other scores")
        expect(len(found.tubes) == len(content["tubes"]), "other tubes")
        return
    if kind < 0.75:
        path.write_bytes(_json_bytes(rng, mutate_tree(rng, content)))
        result = VideoActions.from_json(path)
        _check_result(result)
        for tube in tubes_of_result(result):
            tube.box_at(0.5)
        return
    if kind < 0.85:
        path.write_bytes(_json_bytes(rng, mutate_tree(rng, _classes())))
        _check_classes(VideoClasses.from_json(path))
        return
    path.write_bytes(_json_bytes(rng, mutate_tree(rng, _tracks())))
    if rng.random() < 0.5:
        read_puppets_tracks(path)
    else:
        Precomputed(path)


def _classes() -> dict[str, Any]:
    """The result file of a classified video of three windows."""
    scores = np.array([[0.75, 0.25], [0.5, 0.5], [0.125, 0.875]], np.float32)
    starts = np.arange(3.0)
    return VideoClasses("film", 64, 48, {0: "run", 1: "walk"}, starts, starts + 2, scores, 4.0).to_dict()


def _check_classes(result: VideoClasses) -> None:
    expect(result.window_scores.shape == (len(result.starts), len(result.class_names)), "other scores")
    for values in (result.scores, result.scores_at(1.0), result.starts, result.ends, result.duration):
        expect(np.isfinite(values).all(), "a window has values that are not finite")
    for segment in result.segments():
        expect(segment.start <= segment.end, "a segment ends before it starts")


def _check_result(result: VideoActions) -> None:
    for keyframe in result.keyframes:
        for values in (keyframe.boxes, keyframe.person_scores, keyframe.scores, keyframe.second):
            expect(np.isfinite(values).all(), "a keyframe has values that are not finite")
        count = len(keyframe.boxes)
        expect(
            keyframe.scores.shape == (count, len(result.header.class_names)),
            "scores do not fit people and classes",
        )
        expect(
            len(keyframe.person_scores) == count == len(keyframe.track_ids), "people without score or track"
        )
    for tube in result.tubes:
        expect(
            np.isfinite(tube.boxes).all() and np.isfinite(tube.times).all(),
            "a tube has values that are not finite",
        )
        expect(len(tube.times) == len(tube.boxes) > 0, "a tube with more times than boxes, or without any")
    header = result.header
    expect(math.isfinite(result.duration), "a duration that is not finite")
    expect(header.width > 0 and header.height > 0, f"a video of {header.width}x{header.height} pixels")


# ---- YAML -------------------------------------------------------------------------------------

_BOMBS = (
    "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
    "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n"
    "SEED: [*f,*f,*f,*f,*f,*f,*f,*f,*f]\n",
    "SEED: &a [*a]\n",
    "&a {*a : 1}\n",
    "OUTPUT_DIR: " + "[" * 3000 + "]" * 3000 + "\n",
    "OUTPUT_DIR: 2020-99-99\n",
    "SEED: !!int ''\n",
    "SEED: !!float '1,2'\n",
    "OUTPUT_DIR: !!timestamp nonsense\n",
    "OUTPUT_DIR: !!binary 'é'\n",
    "? [1, 2]\n: 3\n",
    "? {a: 1}\n: 3\n",
    "MODEL: !!python/object/apply:os.system [id]\n",
    "<<: 5\n",
    "SEED: 0o9\n",
    "SEED: 0x\n",
    "SEED: 1__0\nSEED: 190:20:30\n",
    "SEED: " + "9" * 5000 + "\n",
    "%YAML 9.9\n---\na: 1\n",
    "MODEL:\n  NUM_CLASSES: .inf\n",
    "_BASE_: [a.yaml]\n",
    "_BASE_: file.yaml\n",
    "_BASE_: ''\n",
)


def _flat(tree: dict, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def yaml_files(rng: np.random.Generator, folder: Path) -> None:
    """Config files, overrides and descriptions of datasets."""
    path = folder / "file.yaml"
    kind = rng.random()
    if kind < 0.25:
        _check_overrides(rng)
    elif kind < 0.65:
        tree = yaml.safe_load(get_cfg().dump())
        text = yaml.safe_dump({key: tree[key] for key in rng.permutation(sorted(tree)).tolist()[:4]} or tree)
        if rng.random() < 0.5:
            text = yaml.safe_dump(mutate_tree(rng, yaml.safe_load(text)), allow_unicode=True)
            path.write_bytes(text.encode("utf-8", "surrogatepass"))
        elif rng.random() < 0.5:
            path.write_bytes(mutate_text(rng, text))
        else:
            path.write_text(str(rng.choice(_BOMBS)) if rng.random() < 0.7 else text + str(rng.choice(_BOMBS)))
        cfg = get_cfg()
        cfg.merge_from_file(path)
        _check_config(cfg)
    else:
        _check_description(rng, path)


def _check_config(cfg: Any) -> None:
    """Every key has still the type of its default, and the config can be written and read again."""
    before, now = _flat(yaml.safe_load(get_cfg().dump())), _flat(yaml.safe_load(cfg.dump()))
    expect(before.keys() == now.keys(), "other keys than the default config")
    for key, value in now.items():
        expect(type(value) is type(before[key]), f"{key} is a {type(value).__name__}")
        expect(not (isinstance(value, float) and math.isnan(value)), f"{key} is not a number")


def _check_overrides(rng: np.random.Generator) -> None:
    cfg = get_cfg()
    known = _flat(yaml.safe_load(cfg.dump()))
    words: list[str] = []
    for _ in range(int(rng.integers(1, 4))):
        key = str(rng.choice(sorted(known)))
        if rng.random() < 0.1:
            key = str(
                rng.choice([key[:-1], key.lower(), key.rpartition(".")[0], "", ".", "a.b.c", key + ".x"])
            )
        value = known.get(key, 1) if rng.random() < 0.3 else NASTY_VALUES[rng.integers(len(NASTY_VALUES))]
        words += [key, value if isinstance(value, str) else repr(value)]
    cfg.merge_from_list(words[: len(words) - int(rng.random() < 0.05)])
    _check_config(cfg)


def _check_description(rng: np.random.Generator, path: Path) -> None:
    """A description file of any format beside valid annotations."""
    folder = path.parent
    (folder / "videos").mkdir()
    (folder / "videos" / "a.mp4").touch()
    (folder / "map.pbtxt").write_text('item { name: "walk" id: 1 }')
    (folder / "boxes.csv").write_text("a,1,0.1,0.1,0.5,0.5,1\n")
    (folder / "list.txt").write_text("a.mp4 0\n")
    forms: list[dict[str, Any]] = [
        {"format": "ava", "annotations": "boxes.csv", "label_map": "map.pbtxt", "fps": 30, "first_second": 0},
        {"format": "video_list", "annotations": "list.txt", "columns": "path label"},
        {"format": "videos"},
        {"format": "class_folders"},
        {"format": "ucf101", "annotations": ".", "subset": "train", "split": 1},
    ]
    content: Any = forms[rng.integers(len(forms))] | {
        "videos": ["videos"] if rng.random() < 0.3 else "videos"
    }
    for _ in range(int(rng.integers(0, 3))):
        content = mutate_tree(rng, content)
    if rng.random() < 0.1:
        path.write_text(str(rng.choice(_BOMBS)) + "format: ava\n")
    else:
        data = yaml.safe_dump(content, allow_unicode=True).encode("utf-8", "surrogatepass")
        path.write_bytes(mutate_bytes(rng, data) if rng.random() < 0.2 else data)
    dataset = load_description(path)
    records = dataset.video_records() if hasattr(dataset, "video_records") else dataset.records()
    for record in records:
        expect(
            record.video.startswith(str(folder)) or ".." in data.decode(errors="replace"),
            "a video of another place",
        )
