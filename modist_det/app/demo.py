"""What ``tools/demo.py`` and ``modist-det predict`` do."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import logging
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..utils.cli import at_least, make_parser, number_from, parse_options
from ..utils.errors import UserError
from ..utils.files import check_is_folder
from ..utils.signals import heard, stop_signals

if TYPE_CHECKING:
    from ..inference import ActionPredictor, ClassPredictor, Outputs
    from ..inference.persons import PersonDetector
    from ..inference.pipeline import PipelineSettings
    from ..inference.stream import Source

__all__ = ["DESCRIPTION", "add_arguments", "get_parser", "main"]

logger = logging.getLogger(__name__)

DESCRIPTION = """\
Detect people's actions in videos: annotated mp4 (with sound), JSON, AVA csv, COCO-style JSON, contact sheet.

With the checkpoint of a classifier, the videos are classified, long ones in windows: mp4, JSON, csv, timeline.

Takes video files, folders of videos, frame folders, cameras (0, /dev/video0) and stream URLs (rtsp://...). Without
--checkpoint or --zoo it uses the latest detection run below output/, or an AVA model of the zoo if there is none.
Results are written while the video is read, so memory use does not depend on its length. Ctrl-C, SIGTERM and SIGHUP
end a live stream and keep its results so far; the results of a file are written completely or not at all.
"""
_PIPELINE = (
    "keyframe_every",
    "detect_every",
    "smoothing",
    "min_score",
    "keep_share",
    "batch_size",
    "realtime",
)
# Task of a model -> options that have no effect on it.
_WITHOUT_EFFECT = {
    "classification": (*_PIPELINE, "persons", "person_option", "first_second", "max_seconds"),
    "detection": ("window", "every"),
}
EXAMPLE = """\
  python tools/demo.py clip.mp4
  python tools/demo.py datasets/puppets/videos --checkpoint output/Puppets/Slow_R18 --out puppets_demo
  python tools/demo.py video.mkv --zoo pyslowfast/slow_4x16_r50_ava22 \\
      --persons FasterRCNN --person-option model=resnet50_v2
  python tools/demo.py long.mp4 --checkpoint output/Puppets/Classification_R18 --window 4 --every 1
  python tools/demo.py 0 --realtime --max-seconds 60"""


def get_parser() -> argparse.ArgumentParser:
    """The command line of ``tools/demo.py``."""
    return add_arguments(make_parser(DESCRIPTION, EXAMPLE))


def add_arguments(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Add all arguments to ``parser``, and return it."""
    add = parser.add_argument
    add(
        "inputs",
        nargs="+",
        metavar="VIDEO",
        help="video file, folder of videos, frame folder, camera or stream URL",
    )
    add("--out", type=Path, default=Path("output/demo"), metavar="FOLDER", help="(default: %(default)s)")
    model = parser.add_argument_group("action model")
    model.add_argument(
        "--checkpoint", metavar="FILE", help="checkpoint or output folder of a run, or hf://ORG/NAME"
    )
    model.add_argument(
        "--model",
        dest="checkpoint",
        default=argparse.SUPPRESS,
        metavar="NAME",
        help="the same, or an entry of the model zoo",
    )
    model.add_argument(
        "--zoo", metavar="NAME", help="entry of the model zoo (python tools/model_zoo.py list)"
    )
    model.add_argument("--cfg", metavar="FILE", help="config, for a checkpoint without one")
    model.add_argument(
        "--label-map", metavar="FILE", help="class names (default: those of the model's dataset)"
    )
    model.add_argument("--device", default="auto", help="auto, cpu, cuda (default: %(default)s)")
    model.add_argument(
        "--batch-size", type=at_least(1), default=1, help="keyframes per forward pass (default: 1)"
    )
    model.add_argument(
        "--keyframe-every", type=float, default=0.5, metavar="SECONDS", help="(default: %(default)s)"
    )
    model.add_argument(
        "--smoothing",
        type=float,
        default=0.5,
        metavar="SECONDS",
        help="half-life in the temporal smoothing of scores; 0: no smoothing (default: %(default)s)",
    )
    windows = parser.add_argument_group("classification")
    windows.add_argument(
        "--window",
        type=number_from(0, above=True),
        metavar="SECONDS",
        help="length of the windows of a video (default: two clips, at least 2 s; videos up to 10 s are one window)",
    )
    windows.add_argument(
        "--every",
        type=number_from(0, above=True),
        metavar="SECONDS",
        help="from one window to the next (default: half a window)",
    )
    people = parser.add_argument_group("people")
    people.add_argument(
        "--persons",
        metavar="DETECTOR",
        help="FastestDet, YOLOX, FasterRCNN, Detectron2, an .onnx file, or boxes in a .csv or .json file "
        "(default: FastestDet where its file is found, otherwise FasterRCNN)",
    )
    people.add_argument(
        "--person-option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="option of the person detector",
    )
    people.add_argument(
        "--detect-every", type=float, default=0.2, metavar="SECONDS", help="(default: %(default)s)"
    )
    what = parser.add_argument_group("output")
    what.add_argument(
        "--top", type=at_least(0), default=3, help="actions drawn per person (default: %(default)s)"
    )
    what.add_argument(
        "--draw-score",
        type=number_from(0, 1),
        help="minimum score of drawn actions (default: that of each class with the highest F1 in the last "
        "evaluation of the model's run, otherwise 0.1)",
    )
    what.add_argument(
        "--min-score",
        type=number_from(0, 1),
        default=0.4,
        help="peak score that an action must reach in a tube (default: %(default)s)",
    )
    what.add_argument(
        "--keep-share",
        type=number_from(0, 1),
        default=0.5,
        help="fraction of --min-score below which an action ends (default: %(default)s)",
    )
    what.add_argument(
        "--short-side",
        type=at_least(2),
        help="short side of the mp4 (default: the video's, limited to 480 to 720)",
    )
    what.add_argument("--no-video", action="store_true", help="write only result files and contact sheet")
    what.add_argument(
        "--first-second",
        type=number_from(0),
        default=0.0,
        help="the csv's second at the first frame (900 for AVA's cut clips)",
    )
    reading = parser.add_argument_group("reading")
    reading.add_argument(
        "--fps",
        type=number_from(0, above=True),
        default=25.0,
        help="frame rate of frame folders (default: %(default)s)",
    )
    reading.add_argument(
        "--max-seconds",
        type=number_from(0, above=True),
        default=float("inf"),
        help="stop after this many seconds of video",
    )
    reading.add_argument(
        "--realtime",
        action="store_true",
        help="keep up with a live source by dropping frames and keyframes",
    )
    return parser


def main(args: argparse.Namespace) -> int:
    return predict(args)[0]


def predict(args: argparse.Namespace, task: str | None = None) -> tuple[int, list[Path]]:
    """Write the results of all inputs; one of several that fails does not stop the others.

    Args:
        task: which the model must be for; None: any.

    Returns:
        The exit status, and the JSON files of the inputs that did not fail.
    """
    from ..engine.setup import setup_logger
    from ..inference import ActionPredictor, PipelineSettings
    from ..inference.choose import (
        check_available,
        choose_config,
        choose_detector,
        find_inputs,
        predictor_for,
    )
    from ..inference.class_names import read_names

    setup_logger(None)
    # What takes no time comes before what loads or downloads something.
    settings = PipelineSettings(**{name: getattr(args, name) for name in _PIPELINE})
    inputs = find_inputs(args.inputs)
    check_is_folder(args.out)
    class_names = read_names(args.label_map) if args.label_map else None
    options = parse_options("--person-option", args.person_option)
    cfg = choose_config(args.checkpoint, args.zoo, args.cfg, ["MODEL.DEVICE", args.device])
    if task not in (None, cfg.TASK):
        raise UserError(f"{cfg.MODEL.WEIGHTS} is for TASK {cfg.TASK}; name a model for TASK {task}")
    if (names := _WITHOUT_EFFECT.get(cfg.TASK)) is not None:
        refuse_options(args, names, f"{cfg.MODEL.WEIGHTS}, which is for {cfg.TASK}")
    check_available(cfg, args.persons, options)
    predictor = predictor_for(cfg, class_names, args.checkpoint or "")
    warn_of_doubts(predictor, inputs.values())
    if isinstance(predictor, ActionPredictor):
        detector = choose_detector(args.persons, options)
        print(f"actions: {predictor.source} on {predictor.device}; people: {type(detector).__name__}")
        work = functools.partial(
            run_one, predictor=predictor, detector=detector, settings=settings, args=args
        )
    else:
        print(f"classes: {predictor.source} on {predictor.device}")
        work = functools.partial(classify_one, predictor=predictor, args=args)
    written = []
    for name, place in inputs.items():
        try:
            work(name, place)
            written.append(args.out / f"{name}.json")
        except UserError as error:
            if len(inputs) == 1:
                raise
            print(f"failed: {error}", file=sys.stderr)
    return 1 if len(written) < len(inputs) else 0, written


def refuse_options(args: argparse.Namespace, names: Sequence[str], model: str) -> None:
    """Raise ``UserError`` if an option is given that has no effect on this model."""
    default = get_parser().get_default
    given = [f"--{name.replace('_', '-')}" for name in names if getattr(args, name) != default(name)]
    if given:
        raise UserError(f"leave out {', '.join(given)}, without effect on {model}")


def warn_of_doubts(predictor: ActionPredictor | ClassPredictor, places: Iterable[str]) -> None:
    """Warn if the model is not what its user may believe: half trained, or on generated people."""
    if steps := predictor.unfinished():
        logger.warning(
            "%s was saved after %s of its training; finish it with --resume", predictor.source, steps
        )
    if not predictor.knows_puppets:
        return
    from ..puppets.tracks import is_generated  # loads OpenCV

    if other := [place for place in places if not is_generated(place)]:
        logger.warning(
            "%s was trained on generated people (Puppets), so what it says about %s is worth little; name another "
            "model, or train on your data: modist-det train --data DATA",
            predictor.source,
            other[0],
        )


def run_one(
    name: str,
    place: str,
    predictor: ActionPredictor,
    detector: PersonDetector,
    settings: PipelineSettings,
    args: argparse.Namespace,
) -> None:
    from ..inference import annotate, open_source

    outputs = outputs_for(name, place, args)
    source = open_source(place, args.fps)
    with ended_by_signals(source) if source.live else contextlib.nullcontext():
        report = annotate(source, predictor, detector, settings, outputs, args.max_seconds)
    print(f"{name}: {report}")
    print(f"wrote {', '.join(map(str, outputs.files()))}")


def classify_one(name: str, place: str, predictor: ClassPredictor, args: argparse.Namespace) -> None:
    from ..inference.class_run import write_class_outputs
    from ..inference.stream import is_camera

    if is_camera(place) or "://" in place:
        raise UserError(
            f"{place} is a camera or stream; a classifier takes video files and folders of frames"
        )
    outputs = dataclasses.replace(outputs_for(name, place, args), coco=None)
    result = predictor.predict_video(place, args.window, args.every, fps=args.fps, show_progress=True)
    write_class_outputs(result, place, outputs, fps=args.fps)
    best = ", ".join(f"{label} {score:.2f}" for label, score in result.top(args.top))
    print(f"{name}: {best} ({result.duration:.1f} s, {len(result.starts)} windows)")
    print(f"wrote {', '.join(map(str, outputs.files()))}")


@contextlib.contextmanager
def ended_by_signals(source: Source) -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and SIGHUP end a live stream and keep its results; a second signal stops the program."""
    usual = {number: signal.getsignal(number) for number in stop_signals()}

    def restore() -> None:
        for number, handler in usual.items():
            signal.signal(number, handler)

    def stop(*_: object) -> None:
        heard()
        source.stop()
        restore()

    for number in usual:
        signal.signal(number, stop)
    try:
        yield
    finally:
        restore()


def outputs_for(name: str, place: str, args: argparse.Namespace) -> Outputs:
    from ..inference import Outputs

    video = None if args.no_video else args.out / f"{name}.mp4"
    if video is not None and video.resolve() == Path(place).resolve():
        raise UserError(f"{place} would be replaced by its annotated copy; give another folder with --out")
    return Outputs(
        video=video,
        json=args.out / f"{name}.json",
        csv=args.out / f"{name}.csv",
        coco=args.out / f"{name}.coco.json",
        sheet=args.out / f"{name}.png",
        first_second=args.first_second,
        short_side=args.short_side,
        top=args.top,
        min_score=args.draw_score,
    )
