"""AVA's csv files and lists of videos against slow readings of the same bytes: Python's csv module and ``float``."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from modist_det.data.datasets.hmdb51 import HMDB51Dataset
from modist_det.data.datasets.kinetics import KineticsDataset
from modist_det.data.datasets.ssv2 import SSv2Dataset
from modist_det.data.datasets.ucf101 import UCF101Dataset
from modist_det.data.datasets.video_list import VideoListDataset
from modist_det.formats.ava.files import (
    DETECTIONS,
    EXCLUSIONS,
    GROUND_TRUTH,
    PERSON_BOXES,
    BoxTable,
    KeyTable,
    Layout,
    find_problems,
    read_ava_boxes,
    read_detections,
    read_exclusions,
    read_frame_list,
    read_person_boxes,
)

from .kinds import accepted, expect
from .mutate import mutate_text, mutate_tree

__all__ = ["damaged_table", "make_table", "valid_table", "video_lists"]

Row = tuple[str, float, tuple[float, ...], int, float, int]  # video, second, box, action, score, person

READERS = {
    "ground truth": (GROUND_TRUTH, read_ava_boxes),
    "detection": (DETECTIONS, read_detections),
    "person box": (PERSON_BOXES, read_person_boxes),
    "exclusion": (EXCLUSIONS, read_exclusions),
}
_NAMES = (
    "1j20qq1JyX4",
    "-5KQ66BBWC4",
    "clip 07",
    "a,b",
    'say "hi"',
    "jump",
    "视频",
    "Ünïcödé",
    "v.mp4",
    "a/b",
    "0012",
    "nan",
)
_HEADER = "video_id,timestamp,x1,y1,x2,y2,action_id,last"


def _number(rng: np.random.Generator, value: float) -> str:
    """One of the ways in which programs write a number; the text's value is what counts."""
    way = rng.choice(["%.3f", "%.6f", "%g", "%.17g", "%.3e", "%.2E", "%+.4f"])
    text = str(way) % value
    if rng.random() < 0.03 and text.startswith("0."):
        text = text[1:]
    return text


def make_table(
    rng: np.random.Generator, layout: Layout, videos: Sequence[str] = _NAMES, rows: int = 0
) -> bytes:
    """A valid file, written as any of several programs might write it."""
    quote_all = rng.random() < 0.15
    spaces = rng.random() < 0.1
    lines = []
    names = rng.choice(len(videos), min(len(videos), int(rng.integers(1, 5))), replace=False).tolist()
    for _ in range(rows or int(rng.choice([1, 3, 40, 400]))):
        cells = [videos[names[rng.integers(len(names))]]]
        second = int(rng.integers(0, 30)) + (900 if rng.random() < 0.5 else 0)
        cells.append(str(rng.choice([f"{second:04d}", str(second), f"{second}.0", f"{second}.5"])))
        if 2 not in layout.widths or (max(layout.widths) > 2 and rng.random() < 0.95):
            corners = np.sort(rng.integers(0, 1001, (2, 2)), axis=0) / 1000
            cells += [_number(rng, value) for value in corners.ravel()]
            for i, low in ((-2, -4), (-1, -3)):  # rounding must not turn a box inside out
                if float(cells[i]) < float(cells[low]):
                    cells[i] = cells[low]
            cells.append(
                "" if layout.action_optional and rng.random() < 0.5 else str(int(rng.integers(1, 13)))
            )
            if layout.last == "score":
                cells.append(_number(rng, rng.uniform(0, 1)))
            elif rng.random() < 0.5:
                cells.append(str(int(rng.integers(0, 9))))
        if spaces:
            cells = cells[:1] + [f" {cell} " if rng.random() < 0.3 else cell for cell in cells[1:]]
        lines.append(cells)
    out = io.StringIO()
    csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL if quote_all else csv.QUOTE_MINIMAL).writerows(
        lines
    )
    text = out.getvalue()
    if rng.random() < 0.15:
        text = ",".join(_HEADER.split(",")[: max(layout.widths)]) + "\n" + text
    if rng.random() < 0.15:
        text = text.replace("\n", "\n\n", int(rng.integers(1, 3)))
    if rng.random() < 0.1:
        text = text.rstrip("\n")
    if rng.random() < 0.2:
        text = text.replace("\n", "\r\n")
    return (b"\xef\xbb\xbf" if rng.random() < 0.15 else b"") + text.encode()


def slow_rows(data: bytes, layout: Layout) -> tuple[list[Row], list[tuple[str, float]]]:
    """Boxes and keyframes of a file, row by row.

    Raises:
        ValueError: a row is not of the layout.
    """
    boxes: list[Row] = []
    keyframes: list[tuple[str, float]] = []
    first = True
    for cells in csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True):
        if not cells or (len(cells) == 1 and not cells[0].strip()):
            continue
        is_header = first and len(cells) > 1 and all(re.match(r"\s*[^\W\d_]", cell) for cell in cells[1:])
        first = False
        if is_header and not any(cell.strip().lower() in ("nan", "inf", "infinity") for cell in cells[1:]):
            continue
        if len(cells) > 2 and not any(cell.strip() for cell in cells[2:]):
            cells = cells[:2]
        if len(cells) not in layout.widths or not cells[0]:
            raise ValueError(cells)
        second = _float(cells[1])
        if len(cells) == 2:
            keyframes.append((cells[0], second))
            continue
        action = -1 if layout.action_optional and not cells[6].strip() else _float(cells[6])
        last = cells[7].strip() if len(cells) == 8 else ""
        score = _float(last) if layout.last == "score" else 1.0
        person = _float(last) if layout.last == "person" and last else -1
        if action != int(action) or person != int(person):
            raise ValueError(cells)
        boxes.append((cells[0], second, tuple(map(_float, cells[2:6])), int(action), score, int(person)))
    return boxes, keyframes


def _float(text: str) -> float:
    if not re.fullmatch(r"[0-9.eE+\-]+", text.strip()):
        raise ValueError(text)
    return float(text)


def _check_table(table: BoxTable | KeyTable, data: bytes, layout: Layout) -> None:
    try:
        boxes, keyframes = slow_rows(data, layout)
    except (ValueError, csv.Error) as error:
        expect(False, f"a file was read in which a row is wrong: {error}")
        return
    bare = table if isinstance(table, KeyTable) else table.keyframes
    found = [(table.videos[v], s) for v, s in zip(bare.video.tolist(), bare.second.tolist(), strict=True)]
    expect(
        found == keyframes, f"{len(found)} keyframes without boxes instead of {len(keyframes)}, or other ones"
    )
    if isinstance(table, BoxTable):
        columns = (table.video, table.second, table.boxes, table.action, table.score, table.person)
        rows = [
            (table.videos[video], second, tuple(box), action, score, person)
            for video, second, box, action, score, person in zip(*(c.tolist() for c in columns), strict=True)
        ]
        expect(rows == boxes, f"{len(rows)} rows instead of {len(boxes)}, or other numbers in them")


def valid_table(rng: np.random.Generator, folder: Path) -> None:
    """Every value as ``float`` reads it."""
    layout, read = READERS[str(rng.choice(list(READERS)))]
    path = folder / "table.csv"
    path.write_bytes(make_table(rng, layout))
    with accepted(f"a valid file of {layout.name}s"):
        _check_table(read(path), path.read_bytes(), layout)
        problems = find_problems(path, layout)
    wrong = [str(p) for p in problems if "no area" not in str(p) and "the same" not in str(p)]
    expect(not wrong, f"a valid file has problems: {wrong[:1]}")


def damaged_table(rng: np.random.Generator, folder: Path) -> None:
    """What is read from a damaged file is what the slow parser reads, too."""
    layout, read = READERS[str(rng.choice(list(READERS)))]
    path = folder / "table.csv"
    path.write_bytes(
        mutate_text(rng, make_table(rng, layout, rows=int(rng.integers(1, 20))).decode("utf-8-sig"))
    )
    find_problems(path, layout)
    _check_table(read(path), path.read_bytes(), layout)


# ---- lists of videos --------------------------------------------------------------------------

_CLASSES = ("walk", "run", "push up", "high five", "tai chi")


def video_lists(rng: np.random.Generator, folder: Path) -> None:
    """Lists of Kinetics, PySlowFast, mmaction2, UCF101, HMDB51 and Something-Something, whole and damaged."""
    format = str(rng.choice(["kinetics", "video_list", "frame_list", "ucf101", "hmdb51", "ssv2"]))
    labels = rng.integers(0, len(_CLASSES), int(rng.integers(1, 30))).tolist()
    labels = [*range(len(_CLASSES)), *labels]
    ids = [f"v_{i:03d}" for i in range(len(labels))]
    damage = rng.random() < 0.7
    damaged_file = int(rng.integers(2))

    def write(name: str, text: str, number: int = 0) -> Path:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(
            mutate_text(rng, text) if damage and number == damaged_file else text.encode()
        )
        return folder / name

    if format == "frame_list":
        damaged_file = 0
        rows = [f'{i} {n} {k} {i}/{k:06d}.jpg ""' for n, i in enumerate(ids) for k in range(3)]
        path = write("list.csv", "original_vido_id video_id frame_id path labels\n" + "\n".join(rows) + "\n")
        frames = read_frame_list(path)
        if not damage:
            expect(
                {k: (f.folder, f.names) for k, f in frames.items()}
                == {i: (i, tuple(f"{k:06d}.jpg" for k in range(3))) for i in ids},
                "another frame list",
            )
        return
    indices = dict(zip(ids, labels, strict=True))
    if format == "kinetics":
        damaged_file = 0
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["label", "youtube_id", "time_start", "time_end", "split"])
        writer.writerows([_CLASSES[label], i, 3, 13, "train"] for i, label in indices.items())
        dataset = KineticsDataset("fuzz", folder, write("k.csv", out.getvalue()))
        order = sorted(_CLASSES)
        indices = {f"{i}_000003_000013": order.index(_CLASSES[label]) for i, label in indices.items()}
    elif format == "video_list":
        separator = str(rng.choice([" ", "\t", ",", ";"]))
        path = write("list.txt", "".join(f"{i}.mp4{separator}{label}\n" for i, label in indices.items()))
        classes = write("classes.txt", "\n".join(_CLASSES), 1) if damaged_file or rng.random() < 0.5 else None
        dataset = VideoListDataset("fuzz", folder, path, classes=classes)
        indices = {f"{i}.mp4": label for i, label in indices.items()}
    elif format == "ucf101":
        write(
            "classInd.txt", "".join(f"{n} {name.replace(' ', '')}\n" for n, name in enumerate(_CLASSES, 1)), 1
        )
        names = [name.replace(" ", "") for name in _CLASSES]
        write(
            "trainlist01.txt",
            "".join(f"{names[label]}/{i}.avi {label + 1}\n" for i, label in indices.items()),
        )
        dataset = UCF101Dataset("fuzz", folder, folder, "train")
    elif format == "hmdb51":
        for number, name in enumerate(_CLASSES):
            rows = [f"{i}.avi 1 \n" for i, label in indices.items() if label == number]
            write(f"{name.replace(' ', '_')}_test_split1.txt", "".join(rows), number and 1)
        order = sorted(name.replace(" ", "_") for name in _CLASSES)
        names = [_CLASSES[label].replace(" ", "_") for label in labels]
        indices = {f"{name}/{i}": order.index(name) for name, i in zip(names, indices, strict=True)}
        dataset = HMDB51Dataset("fuzz", folder, folder, "train")
    else:
        names_json: object = {name: n for n, name in enumerate(_CLASSES)}
        rows_json: object = [{"id": i, "template": f"[{_CLASSES[label]}]"} for i, label in indices.items()]
        texts = [names_json, rows_json]
        if damage and rng.random() < 0.5:
            texts[damaged_file] = mutate_tree(rng, texts[damaged_file])
            damaged_file = 2
        dataset = SSv2Dataset(
            "fuzz", folder, write("rows.json", _dump(texts[1]), 1), write("labels.json", _dump(texts[0]))
        )
    entries = dataset.entries()
    count = dataset.metadata.num_classes
    expect(
        all(0 <= label < count for entry in entries for label in entry.labels), "a label beyond the classes"
    )
    if damage:
        try:
            dataset.find(entries)  # names out of files become paths
        except OSError as error:
            expect(False, f"{type(error).__name__} for a name in a list")
        return
    expect(
        {e.video_id: e.labels for e in entries} == {i: (label,) for i, label in indices.items()},
        "other entries",
    )


def _dump(content: object) -> str:
    return json.dumps(content, default=str)
