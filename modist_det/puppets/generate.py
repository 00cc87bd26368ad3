"""Generate a complete set: videos (in several processes), annotations, and the manifest that marks it as complete."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from ..utils.errors import UserError
from ..utils.files import inside, remove_leftovers
from ..utils.json_reading import read_json
from ..utils.processes import map_in_processes
from .action_files import ACTION_FILES, action_video_name, groups, write_action_files
from .labels import CLASS_IDS
from .params import PuppetsParams
from .render import Rendering, render
from .script import Script, random_stream, single_action, write_script
from .writers import write_annotations, write_json, write_video

__all__ = ["MANIFEST", "SPLITS", "generate", "video_truth"]

MANIFEST = "dataset.json"
SPLITS = ("train", "val")
# Increase it when the same parameters and seed no longer give the same files.
_GENERATOR_VERSION = 1
_DETECTIONS = 4  # random stream, in addition to the four of write_script


@dataclass(frozen=True)
class _Job:
    out: Path
    parts: Path
    params: PuppetsParams
    seed: int
    split: int
    index: int

    @property
    def name(self) -> str:
        """Name of the video below ``videos``; for single actions as in UCF101: ``Walk/v_Walk_g05_c01``."""
        if not self.params.single_action:
            return f"{SPLITS[self.split]}_{self.index:04d}"
        groups_before = groups(self.params.train_videos) if self.split else 0  # no group is in both splits
        return action_video_name(single_action(self.index), self.index, groups_before)

    @property
    def video(self) -> Path:
        return self.out / "videos" / f"{self.name}.mp4"

    @property
    def part(self) -> Path:
        """The video's ground truth, kept until the set is complete. If it exists, the video is done."""
        return self.parts / f"{SPLITS[self.split]}_{self.index:04d}.json"


def generate(
    out: str | os.PathLike,
    params: PuppetsParams | None = None,
    seed: int = 0,
    workers: int | None = None,
    overwrite: bool = False,
) -> bool:
    """Write a set to the folder ``out``, unless it already exists there.

    The files depend only on ``params`` and ``seed``, not on ``workers``. If it is killed and called again, it
    continues.

    Args:
        workers: number of processes (default: one per core); 0 draws in this process.
        overwrite: replace a different puppets set in ``out``.

    Returns:
        False if the complete set already existed.

    Raises:
        UserError: ``seed`` or ``workers`` is negative; ``out`` contains other files, or a different set and
            ``overwrite`` is False.
    """
    if seed < 0 or (workers is not None and workers < 0):
        raise UserError(f"puppets: seed and workers must be 0 or more, but are {seed} and {workers}")
    out, params = Path(out), params or PuppetsParams()
    identity = {"generator": _GENERATOR_VERSION, "seed": seed, "params": asdict(params)}
    fingerprint = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    parts = out / f".parts-{fingerprint[:16]}"
    if _is_complete(out, fingerprint):
        return False
    _make_room(out, fingerprint, parts, overwrite)

    counts = (params.train_videos, params.val_videos)
    jobs = [
        _Job(out, parts, params, seed, split, i) for split in range(len(SPLITS)) for i in range(counts[split])
    ]
    missing = [job for job in jobs if not _is_done(job)]
    workers = (os.cpu_count() or 1) if workers is None else workers
    with tqdm(total=len(jobs), initial=len(jobs) - len(missing), desc="puppets", unit="video") as progress:
        for _ in map_in_processes(_make, missing, workers, partial(cv2.setNumThreads, 1)):
            progress.update()

    for split, name in enumerate(SPLITS):
        own = [job for job in jobs if job.split == split]
        truths = [json.loads(job.part.read_text(encoding="utf-8"))["truth"] for job in own]
        rngs = [random_stream(seed, split, job.index, _DETECTIONS) for job in own]
        write_annotations(out, name, truths, params.keyframes, rngs)
    if params.single_action:
        names = {name: [job.name for job in jobs if job.split == split] for split, name in enumerate(SPLITS)}
        write_action_files(out, names)
    for folder in {out, *(job.video.parent for job in jobs)}:
        remove_leftovers(folder)
    files = {path.relative_to(out).as_posix(): _sha256(path) for path in _set_files(out, jobs)}
    write_json(out / MANIFEST, {**identity, "fingerprint": fingerprint, "files": files})
    shutil.rmtree(parts)
    return True


def video_truth(name: str, script: Script, rendering: Rendering) -> dict:
    """The entry of a video in ``tracks_<split>.json``: plain lists and numbers; per frame a box in pixels or None."""
    params = script.params
    people = []
    for person in script.people:
        boxes = rendering.boxes[person.person_id]
        people.append(
            {
                "person_id": person.person_id,
                "appearance": person.look,
                "segments": [
                    {"start": s.start, "end": s.end, "actions": [CLASS_IDS[name] for name in s.actions]}
                    for s in person.segments
                ],
                "boxes": [None if np.isnan(box[0]) else [int(v) for v in box] for box in boxes],
                "visible": [round(float(share), 3) for share in rendering.visible[person.person_id]],
            }
        )
    return {
        "video": name,
        "width": params.frame_width,
        "height": params.frame_height,
        "fps": params.fps,
        "num_frames": params.num_frames,
        "place": script.place_index,
        "distractors": [thing.kind for thing in script.distractors],
        "people": people,
    }


def _make(job: _Job) -> str:
    script = write_script(job.params, job.seed, job.split, job.index)
    rendering = render(script)
    write_video(job.video, rendering.frames, job.params.fps)
    truth = video_truth(job.name, script, rendering)
    write_json(job.part, {"sha256": _sha256(job.video), "truth": truth})
    return job.name


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _is_done(job: _Job) -> bool:
    """Whether a video and its ground truth exist and the video is unchanged."""
    part = _read_json(job.part)
    return job.video.is_file() and part.get("sha256") == _sha256(job.video)


def _set_files(out: Path, jobs: list[_Job]) -> list[Path]:
    names = ["label_map.pbtxt"]
    for split in SPLITS:
        names += [f"{split}.csv", f"person_boxes_{split}.csv", f"tracks_{split}.json", f"{split}.yaml"]
    if jobs[0].params.single_action:
        names += ACTION_FILES
    return [*(out / name for name in names), *(job.video for job in jobs)]


def _manifest(out: Path) -> dict | None:
    """The manifest of the set in ``out``; None if there is none or it is another file."""
    manifest = _read_json(out / MANIFEST)
    if {"fingerprint", "seed", "files"} <= manifest.keys() and isinstance(manifest["files"], dict):
        return manifest
    return None


def _read_json(path: Path) -> dict:
    """The object in a JSON file; empty if the file is missing or contains something else."""
    try:
        content = read_json(path)
    except UserError:
        return {}
    return content if isinstance(content, dict) else {}


def _is_complete(out: Path, fingerprint: str) -> bool:
    manifest = _manifest(out)
    if manifest is None or manifest["fingerprint"] != fingerprint:
        return False
    files = {inside(out, name, out / MANIFEST): digest for name, digest in manifest["files"].items()}
    return all(path.is_file() and _sha256(path) == digest for path, digest in files.items())


def _make_room(out: Path, fingerprint: str, parts: Path, overwrite: bool) -> None:
    """Remove an older or unfinished set from ``out``; refuse to touch other files."""
    manifest = _manifest(out)
    unfinished = list(out.glob(".parts-*"))
    if manifest is None and not unfinished and out.is_dir() and any(out.iterdir()):
        raise UserError(
            f"{out} contains files, but no puppets set (no {MANIFEST} of one); choose another folder"
        )
    if manifest is not None:
        if manifest["fingerprint"] != fingerprint and not overwrite:
            raise UserError(
                f"{out} contains a puppets set with other parameters, another seed ({manifest['seed']}) or another "
                "version; choose another folder or replace it with --overwrite"
            )
        files = [inside(out, name, out / MANIFEST) for name in manifest["files"]]
        # The manifest first: from here on the set does not count as complete.
        parts.mkdir(exist_ok=True)
        (out / MANIFEST).unlink()
        for file in files:
            file.unlink(missing_ok=True)
    for folder in unfinished:
        if folder != parts:
            for part in folder.glob("*.json"):
                truth = _read_json(part).get("truth")
                video = truth.get("video", part.stem) if isinstance(truth, dict) else part.stem
                inside(out / "videos", f"{video}.mp4", part).unlink(missing_ok=True)
            shutil.rmtree(folder)
    parts.mkdir(parents=True, exist_ok=True)
