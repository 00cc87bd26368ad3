"""Record what the rest of the world may rely on, as it was at commit f2892db.

The tests of this folder compare the code of today with what is in ``recorded/``. It was written by

    git worktree add --detach /tmp/before f2892db
    cp -r tests/compatibility /tmp/before/tests/
    cd /tmp/before && PYTHONPATH=$PWD python -W ignore -m tests.compatibility.record OUT

Run it again only to add a network or a list, on that commit: what was published before stays as it is.

``NAME.yaml`` and ``NAME.json``: the ``config.yaml`` of a run of a tiny network; names, types and shapes in its last
checkpoint, and the numbers that the network gives with the weights of ``seeded.py``. ``interface.json``: config keys
with their defaults, the arguments of every command line, and the public names of every module.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import pkgutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import yaml

from modist_det.checkpoint.checkpointer import Checkpointer
from modist_det.checkpoint.hashes import content_hashes
from modist_det.config import get_cfg
from modist_det.modeling import build_model
from modist_det.solver import build_optimizer

from .command_lines import COMMANDS, describe_command
from .seeded import checkpoint, describe, outputs, pixels

ROOT = Path(__file__).resolve().parents[2]

_RESNET = {"DEPTH": 18, "WIDTH": 4, "STEM_KERNEL": [1, 3, 3]}
_INPUT = {
    "NUM_FRAMES": 4,
    "SAMPLING_RATE": 6,
    "MIN_SIZE_TRAIN": [36, 48],
    "CROP_SIZE": 32,
    "MIN_SIZE_TEST": 32,
}
_ADAMW = {"OPTIMIZER": "adamw", "BASE_LR": 0.001, "WEIGHT_DECAY": 0.05, "WEIGHT_DECAY_BIAS": 0.0}


def _detection(model: dict[str, Any], clip: dict[str, Any] | None = None, **solver: Any) -> dict[str, Any]:
    return {
        "TASK": "detection",
        "MODEL": model,
        "INPUT": _INPUT | (clip or {}),
        "DATASETS": {"TRAIN": ["scenes/train.yaml"], "TEST": ["scenes/val.yaml"]},
        "SOLVER": {"IMS_PER_BATCH": 8, "MAX_EPOCH": 1.0, **solver},
    }


def _classification(model: dict[str, Any]) -> dict[str, Any]:
    return {
        "TASK": "classification",
        "MODEL": {
            "META_ARCHITECTURE": "VideoClassifier",
            "HEAD": {"NAME": "ClassificationHead", "ACTIVATION": "softmax"},
            "LOSS": {"NAME": "cross_entropy"},
            **model,
        },
        "INPUT": _INPUT,
        "DATASETS": {"TRAIN": ["puppets_actions_train"], "TEST": []},
        "SOLVER": {"IMS_PER_BATCH": 12, "MAX_EPOCH": 1.0, **_ADAMW},
    }


def _pretraining(name: str, section: dict[str, Any], **solver: Any) -> dict[str, Any]:
    common = {"DIM": 6, "PROJECTION_HIDDEN": 10, "PROJECTION_NORM": "BN", "CROSS_WEIGHT": 1.0}
    return {
        "TASK": "pretraining",
        "MODEL": {
            "META_ARCHITECTURE": name,
            "RESNET3D": _RESNET,
            "MOTION_PATHWAY": {"DEPTH": 18, "WIDTH": 2, "STEM_KERNEL": [1, 3, 3]},
            name.upper(): common | section,
        },
        "INPUT": _INPUT,
        "MOTION": {"NUM_FRAMES": 4, "SHORT_SIDE": 32},
        "DATASETS": {"TRAIN": ["puppets_actions_train"], "TEST": []},
        "SOLVER": {"IMS_PER_BATCH": 12, "MAX_EPOCH": 1.0, **solver},
    }


NETWORKS = {
    "slow_detector": _detection({"RESNET3D": _RESNET | {"DILATE_RES5": True}}, BASE_LR=0.02),
    "slowfast_detector": _detection(
        {"BACKBONE": {"NAME": "SlowFast"}, "SLOWFAST": {"DEPTH": 18, "WIDTH": 4, "BETA_INV": 2}},
        {"NUM_FRAMES": 8, "SAMPLING_RATE": 3},
        **_ADAMW,
    ),
    "nonlocal_detector": _detection(
        {
            "RESNET3D": _RESNET | {"NONLOCAL_BLOCKS": [[], [1], [0], []]},
            "EMA": {"ENABLED": True, "DECAY": 0.9},
        }
    ),
    "classifier": _classification({"RESNET3D": _RESNET}),
    "modist": _pretraining("MoDist", {"QUEUE_SIZE": 16, "MASK_SAME_VIDEO": True}),
    "byol": _pretraining("BYOL", {"PREDICTOR_HIDDEN": 10}, OPTIMIZER="lars"),
    "simclr": _pretraining("SimCLR", {"PROJECTION_LAYERS": 3}),
}


def generate_data() -> None:
    """``scenes``, and ``puppets_actions`` for the catalogue, in the current folder."""
    from modist_det.data.puppets import PuppetsParams, generate

    small = {"frame_width": 64, "frame_height": 48, "fps": 10}
    scenes = PuppetsParams(train_videos=8, val_videos=3, seconds=3.0, max_people=2, **small)
    generate("scenes", scenes, seed=1, workers=0)
    actions = PuppetsParams(
        train_videos=24, val_videos=12, seconds=2.5, max_people=1, single_action=True, **small
    )
    generate("puppets_actions", actions, seed=2, workers=0)


def record_network(name: str, out: Path) -> None:
    Path(f"{name}.yaml").write_text(yaml.safe_dump(NETWORKS[name]))
    command = [sys.executable, str(ROOT / "tools/run_net.py"), "--cfg", f"{name}.yaml", "--num-gpus", "0"]
    settings = ["OUTPUT_DIR", f"output/{name}", "DATALOADER.NUM_WORKERS", "0"]
    environment = os.environ | {"MODIST_DATASETS": ".", "PYTHONPATH": str(ROOT)}
    subprocess.run([*command, *settings], check=True, env=environment)
    text = Path(f"output/{name}/config.yaml").read_text()
    loaded = Checkpointer(f"output/{name}/checkpoints").load_last()
    assert loaded is not None
    content = loaded[1]
    optimizer = content["optimizer"]
    keys = list(next(iter(optimizer["state"].values())))
    assert all(list(state) == keys for state in optimizer["state"].values())
    cfg = get_cfg()
    cfg.merge_from_file(f"output/{name}/config.yaml")
    model = build_model(cfg)
    names = {id(parameter): key for key, parameter in model.named_parameters()}
    order = [
        names[id(parameter)]
        for group in build_optimizer(cfg, model).param_groups
        for parameter in group["params"]
    ]
    assert list(range(len(order))) == [
        index for group in optimizer["param_groups"] for index in group["params"]
    ]
    recorded = {
        "model": describe(content["model"]),
        "parameters": [list(content["model"]).index(key) for key in order],
        "optimizer_keys": keys,
        "param_groups": [group | {"params": len(group["params"])} for group in optimizer["param_groups"]],
        "scaler": content["scaler"],
        "iteration": content["iteration"],
        "run": content["run"],
        "class_facts": content.get("class_facts", {}),
        "ema_updates": content.get("ema_updates", 0),
    }
    recorded = json.loads(json.dumps(recorded))
    seeded = checkpoint(recorded, text)
    assert list(seeded["model"]) == list(content["model"])
    assert seeded.keys() == content.keys(), (seeded.keys(), content.keys())
    hashes = json.dumps(content_hashes(seeded), sort_keys=True)
    recorded["hash_of_hashes"] = hashlib.sha256(hashes.encode()).hexdigest()
    Checkpointer("filled").save(1, seeded)
    model.load_state_dict(seeded["model"])
    recorded["outputs"] = outputs(cfg, model)
    if cfg.TASK == "detection":
        recorded["predictor"] = _predict(Path("filled/model_0000001.pth"))
    (out / f"{name}.yaml").write_text(text)
    rows = [f" {json.dumps(key)}: {_json(value)}" for key, value in recorded.items()]
    (out / f"{name}.json").write_text("{\n" + ",\n".join(rows) + "\n}\n")


def _predict(path: Path) -> list[float]:
    from modist_det.inference import ActionPredictor

    predictor = ActionPredictor.from_checkpoint(path)
    clip = pixels("predicted", len(predictor.offsets), 40, 60, 3).numpy()
    actions = predictor(clip, [[3, 5, 40, 35], [20, 0, 59, 39]])
    return [float(f"{value:.9g}") for value in actions.scores.reshape(-1)]


def _json(value: Any) -> str:
    """One line, but a line for each entry of a long dict."""
    if isinstance(value, dict) and len(value) > 20:
        return "{\n" + ",\n".join(f"  {json.dumps(key)}: {json.dumps(value[key])}" for key in value) + "\n }"
    return json.dumps(value)


def record_interface(out: Path) -> None:
    import modist_det

    keys = dict(_flatten(get_cfg()))
    names = {}
    for module in pkgutil.walk_packages(modist_det.__path__, "modist_det."):
        if "detectron2" not in module.name:
            names[module.name] = " ".join(getattr(importlib.import_module(module.name), "__all__", []))
    commands = {path: describe_command(ROOT / path) for path in COMMANDS}
    sections = {
        "config": keys,
        "commands": commands,
        "names": {name: found for name, found in sorted(names.items()) if found},
    }
    text = ",\n".join(f" {json.dumps(name)}: {_json(section)}" for name, section in sections.items())
    (out / "interface.json").write_text("{\n" + text + "\n}\n")


def _flatten(node: Any, prefix: str = ""):
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out.resolve()
    assert str(ROOT) in sys.path, "PYTHONPATH has to name this checkout: the current folder changes"
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    record_interface(out)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        generate_data()
        for name in NETWORKS:
            record_network(name, out)
        os.chdir(out)


if __name__ == "__main__":
    main()
