#!/usr/bin/env python3
"""Convert a checkpoint to another code base's format, or export a model as ONNX or as a torch.export program.

INPUT may be any checkpoint that MODEL.WEIGHTS takes: a file, a run's folder, zoo://NAME or a URL. Its format is
detected from its content. The config comes from the checkpoint (if made by this project), from zoo://NAME, or from
--cfg.
"""

from __future__ import annotations

import argparse
import logging
import sys

from modist_det.utils.cli import at_least, make_parser, run_cli

EXAMPLE = """\
  python tools/convert_checkpoint.py output/Puppets/Slow_R18/checkpoints/model_0002100.pth slow.pyth --to pyslowfast
  python tools/convert_checkpoint.py zoo://pytorchvideo/slow_8x8_r50_k400 slow.safetensors
  python tools/convert_checkpoint.py model.pyth detector.onnx --cfg configs/AVA/SlowFast_R50_8x8.yaml --size 256 340"""


def get_parser() -> argparse.ArgumentParser:
    parser = make_parser(__doc__, EXAMPLE)
    add = parser.add_argument
    add("input", help="file, run folder, zoo://NAME or URL")
    add("output", help="file to write")
    add(
        "--to",
        default="",
        metavar="FORMAT",
        help="modist_det, safetensors, pyslowfast, pytorchvideo, torchvision_video, caffe2, modist, videomae, "
        "hf_videomae, onnx or program (default: by OUTPUT's extension: .safetensors, .onnx, .pt2)",
    )
    add("--cfg", default="", metavar="FILE", help="config of the network")
    add(
        "--size",
        nargs=2,
        type=at_least(16),
        metavar=("HEIGHT", "WIDTH"),
        help="clip size of exported models, in pixels (default: INPUT.MIN_SIZE_TEST, square)",
    )
    add("overrides", nargs="*", metavar="KEY VALUE", help="config keys")
    return parser


def main(args: argparse.Namespace) -> None:
    from modist_det.export.convert import convert_checkpoint, find_config, target_of

    logging.basicConfig(level=logging.ERROR, format="%(levelname)s %(message)s")
    target = target_of(args.output, args.to)
    cfg = find_config(args.input, args.cfg, args.overrides)
    for remark in convert_checkpoint(
        args.input, args.output, target, cfg, tuple(args.size) if args.size else None
    ):
        print(remark)


if __name__ == "__main__":
    sys.exit(run_cli(get_parser(), main))
