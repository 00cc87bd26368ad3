"""``modist-det``: train, use and measure models without writing a config."""

from __future__ import annotations

import argparse
import logging
import shlex
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ..engine.arguments import run_net_parser
from ..utils.cli import at_least, make_parser, number_from, run_cli
from ..utils.errors import UserError
from ..utils.files import check_is_folder
from . import demo, run_net
from .annotate import add_export_options, annotate_videos

__all__ = ["get_parser", "main"]

logger = logging.getLogger(__name__)

_EXAMPLE = """\
  modist-det train --data fights
  modist-det predict clip.mp4 --model output/fights
  modist-det annotate clip.mp4 --model output/people --format cvat --out pre
  modist-det evaluate output/fights
  modist-det check fights
  modist-det doctor"""
_TASKS = ("detection", "classification", "pretraining")


def get_parser() -> argparse.ArgumentParser:
    """The command line, with a sub-command for each thing to do."""
    parser = make_parser(
        "Find people's actions in videos, and classify videos: train, predict, evaluate, export.", _EXAMPLE
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, work: object, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(
            name, help=text, description=text, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        added.set_defaults(work=work)
        return added

    train = command("train", _train, "train on a folder of data, a description file or a config")
    train.add_argument(
        "--data",
        required=True,
        metavar="FOLDER_OR_YAML",
        help="a folder per class; train and val of such folders; videos with a csv of boxes or a file of tubes; "
        "videos; a description file or dataset name (or two: TRAIN,VAL); a config",
    )
    train.add_argument("--task", choices=_TASKS, help="what to train (default: what the data is for)")
    train.add_argument(
        "--from",
        dest="start",
        metavar="NAME",
        help="weights to start from: a run folder, a checkpoint, an entry of the model zoo, hf://ORG/NAME, or scratch "
        "(default: a pretrained network of the zoo where it can be had, otherwise scratch)",
    )
    train.add_argument("--out", type=Path, metavar="FOLDER", help="(default: output/NAME of the data)")
    train.add_argument("--epochs", type=number_from(0, above=True), help="(default: by the amount of data)")
    train.add_argument("--seed", type=at_least(0), help="(default: 0)")
    train.add_argument(
        "--resume",
        action="store_true",
        help="continue the run in --out; what was chosen when it began stays, apart from config keys",
    )
    _add_run_options(train)

    demo.add_arguments(command("predict", demo.main, demo.DESCRIPTION))

    annotate = command(
        "annotate",
        annotate_videos,
        "detect actions in videos, and write them for correction in an annotation tool (docs/ANNOTATIONS.md)",
    )
    add_export_options(demo.add_arguments(annotate))

    evaluate = command("evaluate", _evaluate, "evaluate a run on its own test data, or on other data")
    evaluate.add_argument(
        "run", metavar="RUN", help="run folder, a checkpoint of this project, or hf://ORG/NAME"
    )
    evaluate.add_argument(
        "--data", metavar="YAML", help="description file or dataset name (default: the run's)"
    )
    _add_run_options(evaluate)

    export = command(
        "export", _export, "write a model as ONNX, as a program of torch.export, or for other code bases"
    )
    export.add_argument("run", metavar="RUN", help="run folder, checkpoint, zoo://NAME or hf://ORG/NAME")
    export.add_argument("output", metavar="FILE", help="file to write: .onnx, .pt2, .safetensors")
    export.add_argument("--to", default="", metavar="FORMAT", help="(default: by the name's end)")
    export.add_argument(
        "--size", nargs=2, type=at_least(16), metavar=("HEIGHT", "WIDTH"), help="size of the clips in pixels"
    )

    push = command("push", _push, "upload a trained model to the Hugging Face Hub, with a model card")
    push.add_argument("run", metavar="RUN", help="run folder, or a checkpoint of this project")
    push.add_argument("to", metavar="hf://ORG/NAME", help="repository; created if there is none")
    push.add_argument("--private", action="store_true", help="create the repository as private")
    push.add_argument("--message", default="Upload model", help="of the commit (default: %(default)s)")

    compare = command(
        "compare", _compare, "compare runs: results, differences of their configs, significance"
    )
    compare.add_argument(
        "runs", nargs="+", metavar="RUN", help="run folders; the first is compared with each other"
    )

    check = command(
        "check", _check, "check data before training: rows, classes, and whether each video opens"
    )
    check.add_argument("data", metavar="FOLDER_OR_YAML", help="as of train --data")

    command("doctor", _doctor, "show versions, processor, GPU, decoders, caches and shared memory")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The program; returns the exit status."""
    return run_cli(get_parser(), lambda args: args.work(args), argv)


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--num-gpus", type=at_least(0), metavar="N", help="as of tools/run_net.py")
    parser.add_argument("overrides", nargs="*", metavar="KEY VALUE", help="config keys to set")


def _run_net(words: Sequence[str], args: argparse.Namespace) -> int:
    """Run ``tools/run_net.py`` with these arguments in this process, and print the command."""
    words = [*words, *([] if args.num_gpus is None else ["--num-gpus", str(args.num_gpus)]), *args.overrides]
    print(f"this is: python tools/run_net.py {shlex.join(words)}", flush=True)
    return run_net.main(run_net_parser().parse_intermixed_args(words))


def _train(args: argparse.Namespace) -> int:
    from ..checkpoint.run_folder import BEST
    from ..engine.setup import setup_logger
    from .find_data import find_data
    from .recipe import choose_start, is_config, make_recipe, this_machine, write_recipe

    if is_config(args.data):
        keys = {
            "task": "TASK",
            "start": "MODEL.WEIGHTS",
            "out": "OUTPUT_DIR",
            "epochs": "SOLVER.MAX_EPOCH",
            "seed": "SEED",
        }
        for name, key in keys.items():
            if getattr(args, name) is not None:
                raise UserError(
                    f"--{'from' if name == 'start' else name} is for data, and {args.data} is a config; set its key "
                    f"at the end of the line: {key} VALUE"
                )
        return _run_net(["--cfg", args.data, *(["--resume"] if args.resume else [])], args)
    data = Path(args.data.split(",")[0]).resolve()
    out = args.out or Path("output", data.name if data.is_dir() else data.stem)
    recipe = out / "recipe.yaml"
    if args.resume:
        if not recipe.is_file():
            raise UserError(f"there is no run in {out} to resume; --out names another folder")
        return _run_net(["--cfg", str(recipe), "--resume"], args)
    if recipe.exists():
        raise UserError(f"{out} has a run already; --resume continues it, --out names another folder")
    setup_logger(None)
    check_is_folder(out)
    found = find_data(args.data, out / "data", args.task, args.seed or 0)
    machine = this_machine()
    print(
        f"data: {found.kind}, for {found.task}; {found.size} {'keyframes' if found.task == 'detection' else 'videos'} "
        f"to train on; {machine.cores} cores, {'a GPU' if machine.gpu else 'no GPU'}"
    )
    start = choose_start(found.task, machine, args.start)
    write_recipe(make_recipe(found, machine, start, out, args.epochs), recipe, found)
    print(f"wrote {recipe} and {out / 'data'}; the config can be edited and used again")
    if found.val and found.task != "pretraining":
        print(f"the best checkpoint on {Path(found.val).stem} is kept: {out / 'checkpoints' / BEST}")
    status = _run_net(["--cfg", str(recipe), *(["SEED", str(args.seed)] if args.seed else [])], args)
    if status == 0 and found.task != "pretraining":
        print(f"next: modist-det predict VIDEO --model {out}")
    return status


def _evaluate(args: argparse.Namespace) -> int:
    from ..checkpoint.run_folder import checkpoint_in
    from ..engine.setup import write_config
    from ..inference.trained import stored_config
    from ..utils.paths import local_path

    checkpoint = checkpoint_in(Path(local_path(args.run)))
    cfg = stored_config(checkpoint)
    words = ["MODEL.WEIGHTS", str(checkpoint)]
    # The run may have been moved or renamed since its config was written, and its old place may be another run's.
    config = checkpoint.parent.parent / "config.yaml"
    output = config.parent if config.is_file() else Path(cfg.OUTPUT_DIR)
    if args.data:
        words += ["DATASETS.TEST", str([args.data]), "OUTPUT_DIR", f"{output}/on_{Path(args.data).stem}"]
    elif output.resolve() != Path(cfg.OUTPUT_DIR).resolve():
        words += ["OUTPUT_DIR", str(output)]
    with tempfile.TemporaryDirectory() as folder:
        if not config.is_file():  # a checkpoint alone; its config is inside it
            config = Path(folder) / "config.yaml"
            write_config(cfg, folder)
        return _run_net(["--cfg", str(config), "--eval-only", *words], args)


def _export(args: argparse.Namespace) -> None:
    from ..export.convert import convert_checkpoint, find_config, target_of

    logging.basicConfig(level=logging.ERROR, format="%(levelname)s %(message)s")
    target = target_of(args.output, args.to)
    size = tuple(args.size) if args.size else None
    for remark in convert_checkpoint(args.run, args.output, target, find_config(args.run), size):
        print(remark)


def _push(args: argparse.Namespace) -> None:
    from .upload import push

    print(f"uploaded to {push(args.run, args.to, private=args.private, message=args.message)}")
    print(f"next: modist-det predict VIDEO --model {args.to}")


def _compare(args: argparse.Namespace) -> None:
    from ..analysis.compare_folders import compare_folders

    print(compare_folders(args.runs))


def _check(args: argparse.Namespace) -> int:
    from .check import check_data

    return check_data(args.data)


def _doctor(args: argparse.Namespace) -> None:
    from .doctor import report

    print(report())


if __name__ == "__main__":
    sys.exit(main())
