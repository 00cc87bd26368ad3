"""Identity switches and ID-F1 of the tracker, on clips with annotated tubes and on Puppets with imperfect boxes.

python docs/study/tracking.py --puppets datasets/puppets/tracks_val.json
python docs/study/tracking.py --tubes ucf101_24/tubes.json --videos ucf101_24/videos --persons yolox_nano.onnx
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from modist_det.evaluation.identity import People, track_metrics
from modist_det.inference.persons import Frame, PersonDetector, build_person_detector
from modist_det.puppets.tracks import convert_tracks
from modist_det.structures.actions import PersonBoxes
from modist_det.structures.tracking import Tracker
from modist_det.video.listing import videos_in
from modist_det.video.reader import open_video

Frames = list[tuple[float, People, PersonBoxes]]  # second, annotated people, detections


def tube_clips(
    tubes: Path, folder: Path, detector: PersonDetector, every: float
) -> Iterator[tuple[str, Frames]]:
    """Detections in clips at the moments at which somebody is annotated."""
    files = {Path(path).stem: path for path in videos_in(folder)}
    for name, entry in json.loads(tubes.read_text()).items():
        if name not in files:
            continue
        frames: Frames = []
        with open_video(files[name]) as video:
            for second in np.arange(0, entry["num_frames"] / entry["fps"], every):
                image = video.frames_at_times([second])[0]
                (found,) = detector([Frame(image, name, float(second))])
                number = round(float(second) * entry["fps"])
                here = [
                    (index, tube["boxes"][number - tube["start_frame"]])
                    for index, tube in enumerate(entry["tubes"])
                    if 0 <= number - tube["start_frame"] < len(tube["boxes"])
                ]
                if here and found is not None:
                    frames.append((float(second), _people(here), found))
        yield name, frames


def puppets(tracks: Path, every: float, seed: int = 0) -> Iterator[tuple[str, Frames]]:
    """Boxes of the generated people, moved by 4 % of their size; 15 % of them missing, 10 % double, 5 % far off."""
    rng = np.random.default_rng(seed)
    content = json.loads(tracks.read_text())
    for name, video in convert_tracks(content, tracks, lambda video: video).items():
        frames: Frames = []
        size = np.array([video["width"], video["height"]] * 2)
        step = max(round(every * video["fps"]), 1)
        for number in range(0, video["num_frames"], step):
            here = [
                (index, np.array(person["boxes"][number]) / size)
                for index, person in enumerate(video["people"])
                if person["boxes"][number] is not None
            ]
            found = []
            for _, box in here:
                extent = np.tile(box[2:] - box[:2], 2)
                if rng.random() > 0.15:
                    found.append((box + rng.normal(0, 0.04, 4) * extent, rng.uniform(0.4, 1.0)))
                    if rng.random() < 0.1:
                        found.append((box + rng.normal(0, 0.1, 4) * extent, rng.uniform(0.3, 0.7)))
            if rng.random() < 0.05:
                corner = rng.uniform(0, 0.7, 2)
                found.append(
                    (np.concatenate([corner, corner + rng.uniform(0.1, 0.3, 2)]), rng.uniform(0.3, 0.6))
                )
            boxes = np.array([box for box, _ in found], np.float32).reshape(-1, 4)
            scores = np.array([score for _, score in found], np.float32)
            frames.append((number / video["fps"], _people(here), PersonBoxes(boxes, scores)))
        yield name, frames


def _people(here: list) -> People:
    return [index for index, _ in here], np.array([box for _, box in here], np.float64).reshape(-1, 4)


def tracked(frames: Frames, start_score: float, min_hits: int = 2) -> Iterator[tuple[People, People]]:
    """Tracks as the result files have them: those with ``min_hits`` boxes of at least ``start_score``."""
    tracker = Tracker(start_score)
    seen = []
    hits: dict[int, int] = {}
    for second, _, people in frames:
        tracker.update(second, people)
        seen.append([(track.id, track.boxes[-1]) for track in tracker.active if track.last == second])
        hits.update({track.id: track.strong_hits for track in tracker.active})
    for (_, truth, _), found in zip(frames, seen, strict=True):
        yield truth, _people([(number, box) for number, box in found if hits[number] >= min_hits])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--puppets", type=Path, help="tracks_*.json of a generated set")
    parser.add_argument(
        "--tubes", type=Path, help="JSON: per video num_frames, fps and tubes of boxes in [0, 1]"
    )
    parser.add_argument("--videos", type=Path, help="folder of the videos of --tubes")
    parser.add_argument("--persons", help="person detector for --videos")
    parser.add_argument("--every", type=float, default=0.2, help="seconds between detections (default: 0.2)")
    args = parser.parse_args()
    clips, rules = [], (0.5, 2)
    if args.puppets:
        clips = list(puppets(args.puppets, args.every))
    elif args.tubes and args.videos and args.persons:
        detector = build_person_detector(args.persons)
        rules = detector.start_score, detector.min_hits
        clips = list(tube_clips(args.tubes, args.videos, detector, args.every))
    else:
        parser.error("give --puppets, or --tubes, --videos and --persons")
    result = track_metrics(tracked(frames, *rules) for _, frames in clips)
    print(f"{len(clips)} videos", {name: round(value, 4) for name, value in result.items()})


if __name__ == "__main__":
    main()
