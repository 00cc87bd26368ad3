"""Whole runs: the files they leave, resuming, stopping, several processes."""

from __future__ import annotations

import functools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from modist_det.checkpoint.hashes import HASHES
from modist_det.checkpoint.reading import read_checkpoint
from modist_det.config import get_cfg
from modist_det.engine import precision as precision_module
from modist_det.engine.metrics import read_metrics
from modist_det.engine.run import run
from modist_det.engine.setup import hold_output_dir
from modist_det.evaluation import evaluate_ava
from modist_det.utils.errors import UserError
from tests.warm import run_program, run_programs, start


def configured(path: Path, output: Path, *overrides):
    cfg = get_cfg()
    cfg.merge_from_file(path)
    cfg.merge_from_list(["OUTPUT_DIR", str(output), "MODEL.DEVICE", "cpu", *map(str, overrides)])
    return cfg


def command(root: Path, *arguments) -> list[str]:
    return [sys.executable, str(root / "tools/run_net.py"), *map(str, arguments)]


def under_torchrun(root: Path, *arguments) -> subprocess.CompletedProcess:
    """``run_net.py`` in two processes, on a port that is free."""
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    return subprocess.run(
        [*launcher, *command(root, *arguments)[1:]], capture_output=True, text=True, timeout=240
    )


def in_processes(count: int, root: Path, *arguments) -> list[subprocess.CompletedProcess[str]]:
    """The same in warm processes, with the variables that torchrun sets."""
    with socket.create_server(("localhost", 0)) as free:
        port = free.getsockname()[1]
    common = os.environ | {"WORLD_SIZE": str(count), "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    ranks = [common | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]
    return run_programs(command(root, *arguments)[1:], envs=ranks)


def last_checkpoint(output: Path) -> dict:
    folder = output / "checkpoints"
    return torch.load(folder / (folder / "last_checkpoint").read_text().strip(), weights_only=True)


def assert_equal_states(first: dict, second: dict) -> None:
    assert first["iteration"] == second["iteration"]
    for part in ("model", "ema"):
        assert (part in first) == (part in second)
        for name, tensor in first.get(part, {}).items():
            assert torch.equal(tensor, second[part][name]), f"{part} {name}"
    for key, state in first["optimizer"]["state"].items():
        for name, value in state.items():
            assert torch.equal(
                torch.as_tensor(value), torch.as_tensor(second["optimizer"]["state"][key][name])
            )


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """Here and in the processes that tests start: sums of another number of threads are rounded otherwise."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_a_run_leaves_its_files_and_evaluates_again_the_same(write_config, tmp_path):
    output = tmp_path / "out"
    assert run(configured(write_config(), output, "SOLVER.MAX_EPOCH", 1)) == 0
    for name in ("config.yaml", "log.txt", "metrics.json", "checkpoints/last_checkpoint"):
        assert (output / name).is_file(), name
    assert list((output / "tensorboard").iterdir())
    csv = output / "inference/puppets_val_detections.csv"
    trained = csv.read_bytes()
    result = json.loads((output / "inference/puppets_val_ava_result.json").read_text())
    assert result["max_detections"] == 0  # AVA's limit is for AVA's classes
    assert trained
    first_line = (output / "log.txt").read_text().splitlines()[0]
    assert (
        torch.__version__ in first_line and "cpu" in first_line and str(output / "config.yaml") in first_line
    )
    rows = read_metrics(output / "metrics.json")
    logged = [row for row in rows if "loss" in row]
    assert logged[0].keys() >= {
        "epoch",
        "lr",
        "loss",
        "loss_action",
        "time",
        "data_time",
        "eta_seconds",
        "memory_mb",
    }
    evaluated = [row for row in rows if any(key.endswith("/mAP") for key in row)]
    assert len(evaluated) == 1

    # The written config is complete: it runs again without the one that it came from.
    csv.unlink()
    written = (output / "config.yaml").read_bytes()
    assert (output / "inference/config.yaml").read_bytes() == written
    evaluated = configured(output / "config.yaml", output, "SOLVER.BASE_LR", 9.0)
    assert run(evaluated, eval_only=True) == 0
    assert csv.read_bytes() == trained
    # Training's own config is not that of a later evaluation: with it one resumes.
    assert (output / "config.yaml").read_bytes() == written
    assert "BASE_LR: 9.0" in (output / "inference/config.yaml").read_text()


def test_stopping_and_resuming_changes_nothing(write_config, tmp_path):
    switches = ("MODEL.EMA.ENABLED", True, "MODEL.EMA.DECAY", 0.9, "SOLVER.ACCUMULATION_STEPS", 2)
    config = write_config()
    through, halves = tmp_path / "through", tmp_path / "halves"
    run(configured(config, through, *switches))
    run(configured(config, halves, *switches, "SOLVER.CHECKPOINTS_KEPT", 0))
    checkpoints = sorted((halves / "checkpoints").glob("*.pth"))
    assert len(checkpoints) > 3
    for checkpoint in checkpoints[2:]:
        checkpoint.unlink()
    metrics = [row for row in read_metrics(halves / "metrics.json") if "loss" in row]
    run(configured(config, halves, *switches), resume=True)
    assert_equal_states(last_checkpoint(halves), last_checkpoint(through))
    again = [row for row in read_metrics(halves / "metrics.json") if "loss" in row]
    assert [(row["iteration"], row["lr"]) for row in again] == [
        (row["iteration"], row["lr"]) for row in metrics
    ]


def test_killed_and_resumed_it_keeps_the_same_best_checkpoint(write_config, tmp_path, root):
    switches = ("TEST.EVAL_PERIOD", 0.5, "SOLVER.BEST_METRIC", "mAP", "SOLVER.CHECKPOINT_PERIOD", 0.25)
    config = write_config()
    through, killed = tmp_path / "through", tmp_path / "killed"
    run(configured(config, through, *switches))
    process = subprocess.Popen(
        command(root, "--cfg", config, "--num-gpus", 0, "OUTPUT_DIR", killed, *switches),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while process.poll() is None and not (killed / "checkpoints/model_best.pth").exists():
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    assert (killed / "checkpoints/model_best.pth").exists()
    run(configured(config, killed, *switches), resume=True)
    assert_equal_states(last_checkpoint(killed), last_checkpoint(through))
    first, second = (read_checkpoint(folder / "checkpoints/model_best.pth") for folder in (through, killed))
    assert_equal_states(first, second)
    assert first["best"] == second["best"]
    name = first["best"]["metric"]
    evaluations = [row for row in read_metrics(through / "metrics.json") if name in row]
    best = max(evaluations, key=lambda row: row[name])
    assert len(evaluations) == 6
    assert (best["iteration"], best[name]) == (first["iteration"], first["best"]["value"])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ("SOLVER.PATIENCE", 2),
            "SOLVER.PATIENCE counts evaluations during training: set SOLVER.BEST_METRIC",
        ),
        (
            ("SOLVER.BEST_METRIC", "mAP", "DATASETS.TEST", "[]"),
            "SOLVER.BEST_METRIC is mAP, but DATASETS.TEST is empty",
        ),
    ],
)
def test_a_best_metric_that_no_evaluation_gives(write_config, tmp_path, overrides, message):
    with pytest.raises(UserError, match=message):
        run(configured(write_config(), tmp_path / "out", *overrides))


def test_any_number_of_workers_trains_the_same_weights(write_config, tmp_path):
    config = write_config()
    for workers in (0, 2):
        run(
            configured(
                config, tmp_path / str(workers), "SOLVER.MAX_EPOCH", 1, "DATALOADER.NUM_WORKERS", workers
            )
        )
    assert_equal_states(last_checkpoint(tmp_path / "0"), last_checkpoint(tmp_path / "2"))


def test_killed_at_any_moment_it_resumes_to_the_same_weights(write_config, tmp_path):
    """kill -9 twenty times at random moments, with a checkpoint written at every step."""
    config, output = write_config(), tmp_path / "killed"
    overrides = ("SOLVER.MAX_EPOCH", 30)
    often = (*overrides, "SOLVER.CHECKPOINT_PERIOD", 0.01, "SOLVER.CHECKPOINTS_KEPT", 1)
    moments = random.Random(0)
    reached = 0
    for _ in range(20):
        process = start(run, configured(config, output, *often), resume=True)
        deadline = time.monotonic() + 120
        while newest_checkpoint(output) <= reached and process.is_alive():
            assert time.monotonic() < deadline, "no step was made"
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.05))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert newest_checkpoint(output) > reached
        reached = newest_checkpoint(output)
    at_the_end = (*overrides, "SOLVER.CHECKPOINT_PERIOD", 0)
    assert run(configured(config, output, *at_the_end), resume=True) == 0
    run(configured(config, tmp_path / "straight", *at_the_end))
    assert_equal_states(last_checkpoint(output), last_checkpoint(tmp_path / "straight"))


def newest_checkpoint(output: Path) -> int:
    """Steps of the newest checkpoint file; 0 where there is none."""
    return max((int(path.stem[-7:]) for path in output.glob("checkpoints/model_*.pth")), default=0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_polite_signal_saves_and_says_so_in_the_exit_status(write_config, tmp_path, root, number):
    output = tmp_path / "out"
    process = subprocess.Popen(
        command(
            root, "--cfg", write_config(), "--num-gpus", 0, "OUTPUT_DIR", output, "SOLVER.MAX_EPOCH", 1000
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while not read_log(output, "step 2/"):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    process.send_signal(number)
    printed = process.communicate(timeout=60)[0]
    assert process.returncode == 128 + number, printed
    assert "continue with --resume" in printed
    assert last_checkpoint(output)["iteration"] >= 2


def read_log(output: Path, text: str) -> bool:
    log = output / "log.txt"
    return log.is_file() and text in log.read_text()


def scores_by_detection(path: Path) -> dict[str, float]:
    """The score of each row of a csv of detections, by the rest of the row."""
    rows = [line.rsplit(",", 1) for line in path.read_text().splitlines()]
    assert len({key for key, _ in rows}) == len(rows)
    return {key: float(score) for key, score in rows}


def test_two_processes_train_and_evaluate_as_one(write_config, tiny_puppets, tmp_path, root):
    config = write_config("none")
    common = ("--num-gpus", 0, "SOLVER.MAX_EPOCH", 1, "MODEL.HEAD.DROPOUT", 0)
    run(configured(config, tmp_path / "one", *common[2:]))
    done = under_torchrun(root, "--cfg", config, *common, "OUTPUT_DIR", tmp_path / "two")
    assert done.returncode == 0, done.stderr
    one, two = last_checkpoint(tmp_path / "one"), last_checkpoint(tmp_path / "two")
    for name, tensor in one["model"].items():
        torch.testing.assert_close(two["model"][name], tensor, rtol=1e-5, atol=1e-5)

    # The same weights give the same detections, up to what other batches change in the last bits.
    weights = sorted((tmp_path / "one/checkpoints").glob("*.pth"))[-1]
    evaluate = ("--cfg", config, "--eval-only", "--num-gpus", 0, "MODEL.WEIGHTS", weights, "OUTPUT_DIR")
    run_program(command(root, *evaluate, tmp_path / "eval1")[1:]).check_returncode()
    for done in in_processes(2, root, *evaluate, tmp_path / "eval2"):
        assert done.returncode == 0, done.stderr
    inference = [tmp_path / name / "inference" for name in ("eval1", "eval2")]
    first, second = (scores_by_detection(folder / "puppets_val_detections.csv") for folder in inference)
    assert first.keys() == second.keys()
    assert list(first.values()) == pytest.approx([second[key] for key in first], rel=0, abs=1e-5)
    # Nearly equal scores may change places, and the mAP with them: each is that of the file beside it.
    for folder in inference:
        found = json.loads((folder / "puppets_val_ava_result.json").read_text())["mAP"]
        files = (
            tiny_puppets / "val.csv",
            folder / "puppets_val_detections.csv",
            tiny_puppets / "label_map.pbtxt",
        )
        assert found == evaluate_ava(*files)["mAP"]


def test_synchronized_statistics_without_cuda_are_refused(write_config, tmp_path, root):
    arguments = (
        "--cfg",
        write_config(),
        "--num-gpus",
        0,
        "MODEL.SYNC_BN",
        True,
        "OUTPUT_DIR",
        tmp_path / "out",
    )
    for done in in_processes(2, root, *arguments):
        assert done.returncode == 1
        assert "error: MODEL.SYNC_BN needs CUDA" in done.stderr


def test_a_run_refuses_what_it_cannot_use(write_config, tmp_path):
    config = write_config()
    output = tmp_path / "out"
    with pytest.raises(UserError, match="--eval-only needs weights"):
        run(configured(config, output), eval_only=True)
    with pytest.raises(UserError, match="MODEL.NUM_CLASSES is 3"):
        run(configured(config, output, "MODEL.NUM_CLASSES", 3))
    with pytest.raises(UserError, match="did you mean 'detection'"):
        run(configured(config, output, "TASK", "detections"))
    with pytest.raises(
        UserError, match="there is no dataset named 'puppets_trian'; did you mean 'puppets_train'"
    ):
        run(configured(config, output, "DATASETS.TRAIN", "['puppets_trian']"))
    with pytest.raises(UserError, match="MoDist is for TASK pretraining, but TASK is detection"):
        run(configured(config, output, "MODEL.META_ARCHITECTURE", "MoDist"))
    run(configured(config, output, "SOLVER.MAX_EPOCH", 0.5))
    kept = (output / "config.yaml").read_bytes()
    with pytest.raises(UserError, match="already holds checkpoints"):
        run(configured(config, output, "SOLVER.BASE_LR", 5.0))
    assert (output / "config.yaml").read_bytes() == kept
    with pytest.raises(UserError, match=r"does not fit this config.*OUTPUT_DIR/config\.yaml"):
        run(configured(config, output, "MODEL.RESNET3D.WIDTH", 16), resume=True)
    assert (output / "config.yaml").read_bytes() == kept


def test_a_resumed_run_says_what_was_changed(write_config, tmp_path):
    config, output = write_config("none"), tmp_path / "out"
    run(configured(config, output, "SOLVER.MAX_EPOCH", 0.5))
    log = output / "log.txt"
    log.write_text("")
    run(configured(config, output, "SOLVER.MAX_EPOCH", 0.5), resume=True)
    assert "settings changed" not in log.read_text()
    run(configured(config, output, "SOLVER.MAX_EPOCH", 1, "INPUT.CROP_AREA", [0.5, 1]), resume=True)
    line = "INPUT.CROP_AREA [0.5, 1], before [0.3, 1.0]; SOLVER.MAX_EPOCH 1.0, before 0.5"
    assert log.read_text().count(f"WARNING settings changed since the checkpoint: {line}") == 1


def test_two_runs_do_not_share_a_folder(write_config, tmp_path, monkeypatch):
    output = tmp_path / "out"
    with hold_output_dir(output, patience=0):
        script = (
            "import sys; from modist_det.engine.setup import hold_output_dir\n"
            "with hold_output_dir(sys.argv[1], patience=0): print('held')"
        )
        other = subprocess.run([sys.executable, "-c", script, output], capture_output=True, text=True)
        assert other.returncode == 1
        assert "another run is training in" in other.stderr
        monkeypatch.setattr(
            "modist_det.engine.run.hold_output_dir", functools.partial(hold_output_dir, patience=0)
        )
        with pytest.raises(UserError, match="another run is training in .*choose another OUTPUT_DIR"):
            run(configured(write_config("none"), output))
        assert not (output / "log.txt").exists()
    again = subprocess.run([sys.executable, "-c", script, output], capture_output=True, text=True)
    assert again.stdout == "held\n"


def test_a_checkpoint_of_something_else_is_refused(write_config, tmp_path):
    config, output = write_config("none"), tmp_path / "out"
    run(configured(config, output, "SOLVER.MAX_EPOCH", 0.5))
    (path,) = (output / "checkpoints").glob("*.pth")
    with pytest.raises(UserError, match=r"another SOLVER.OPTIMIZER"):
        run(configured(config, output, "SOLVER.OPTIMIZER", "adamw"), resume=True)
    # Of another program, or an older version: without hashes of its content.
    whole = {name: part for name, part in torch.load(path, weights_only=True).items() if name != HASHES}
    for damage in ({"model": {}}, {"optimizer": [1]}, {"run": None}, {"iteration": None}):
        torch.save({**whole, **damage}, path)
        with pytest.raises(UserError, match="does not fit this config"):
            run(configured(config, output), resume=True)
    del whole["run"]
    torch.save(whole, path)
    with pytest.raises(UserError, match="it lacks 'run'"):
        run(configured(config, output), resume=True)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("TEST.AVA.MODE", "foo", "TEST.AVA.MODE is 'foo'; known: 'official', 'pyslowfast'"),
        ("MODEL.DEVICE", "mps", "MODEL.DEVICE is 'mps'"),
        ("MODEL.DEVICE", "cuda:x", "MODEL.DEVICE is 'cuda:x'"),
    ],
)
def test_a_mistake_in_the_test_settings_is_found_before_training(write_config, tmp_path, key, value, message):
    with pytest.raises(UserError, match=message):
        run(configured(write_config("none"), tmp_path / "out", key, value))
    assert not (tmp_path / "out/checkpoints").exists()


def test_a_failing_evaluation_does_not_lose_the_training(write_config, tmp_path):
    config, output = write_config("none"), tmp_path / "out"
    output.mkdir()
    (output / "inference").touch()  # where a folder belongs
    with pytest.raises(UserError, match="inference.* cannot be written"):
        run(configured(config, output, "SOLVER.MAX_EPOCH", 0.5, "SOLVER.CHECKPOINT_PERIOD", 0))
    (output / "inference").unlink()
    (saved,) = (output / "checkpoints").glob("*.pth")
    steps = torch.load(saved, weights_only=True)["iteration"]
    assert steps > 0
    assert run(configured(config, output, "SOLVER.MAX_EPOCH", 0.5), resume=True) == 0


def test_a_crash_in_an_evaluation_costs_the_evaluation_alone(write_config, tmp_path, monkeypatch):
    """Between checkpoints, too, and with statistics that are made for it: the resumed run is the uninterrupted one."""
    config = write_config()
    overrides = ("SOLVER.MAX_EPOCH", 1.5, "SOLVER.CHECKPOINT_PERIOD", 0, "TEST.EVAL_PERIOD", 0.5)
    overrides += ("TEST.PRECISE_BN.ENABLED", True, "TEST.PRECISE_BN.NUM_ITER", 2)
    output, straight = tmp_path / "out", tmp_path / "straight"
    run(configured(config, straight, *overrides))
    module = sys.modules["modist_det.engine.train"]
    whole = module.evaluate

    def crash(cfg, test_sets, model, device, iteration):
        if iteration == 2:
            raise ZeroDivisionError
        return whole(cfg, test_sets, model, device, iteration)

    monkeypatch.setattr(module, "evaluate", crash)
    with pytest.raises(ZeroDivisionError):
        run(configured(config, output, *overrides))
    assert last_checkpoint(output)["iteration"] == 2
    monkeypatch.setattr(module, "evaluate", whole)
    assert run(configured(config, output, *overrides), resume=True) == 0
    assert_equal_states(last_checkpoint(output), last_checkpoint(straight))
    first, second = (
        [row for row in read_metrics(folder / "metrics.json") if "lr" not in row]
        for folder in (output, straight)
    )
    assert [row["iteration"] for row in first] == [2, 4, 6]
    assert first == second
    run(configured(config, output, *overrides), resume=True)
    assert [row for row in read_metrics(output / "metrics.json") if "lr" not in row] == second


def test_a_loss_that_explodes_names_the_last_good_checkpoint(write_config, tmp_path):
    overrides = ("SOLVER.BASE_LR", 1e30, "SOLVER.CHECKPOINT_PERIOD", 0)
    with pytest.raises(UserError, match=r"not finite.*last good checkpoint: none yet"):
        run(configured(write_config("none"), tmp_path / "out", *overrides))
    assert not list((tmp_path / "out/checkpoints").glob("*.pth"))


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_trains(write_config, tmp_path, monkeypatch, precision):
    """On any processor: to one without these formats they are only slow."""
    monkeypatch.setattr("modist_det.engine.precision.cpu_is_faster_in", lambda *_: True)
    overrides = ("SOLVER.AMP.ENABLED", True, "SOLVER.AMP.PRECISION", precision, "MODEL.CHANNELS_LAST", True)
    assert run(configured(write_config(), tmp_path / "out", "SOLVER.MAX_EPOCH", 1, *overrides)) == 0
    losses = [row["loss"] for row in read_metrics(tmp_path / "out/metrics.json") if "loss" in row]
    assert all(0 < loss < 2 for loss in losses)

    # On a processor that is slower in it, the run goes on in float32, with one line in the log each.
    monkeypatch.setattr("modist_det.engine.precision.cpu_is_faster_in", lambda *_: False)
    precision_module._say_once.cache_clear()
    (tmp_path / "out/log.txt").write_text("")
    assert (
        run(configured(write_config(), tmp_path / "out", "SOLVER.MAX_EPOCH", 2, *overrides), resume=True) == 0
    )
    log = (tmp_path / "out/log.txt").read_text()
    assert log.count(f"is not faster in {precision} (SOLVER.AMP)") == 1
    assert log.count(f"precision: fp32, before {precision}") == 1
    assert last_checkpoint(tmp_path / "out")["run"]["precision"] == "fp32"

    # And back: a checkpoint of a float32 run holds no state of a gradient scaler.
    monkeypatch.setattr("modist_det.engine.precision.cpu_is_faster_in", lambda *_: True)
    assert (
        run(configured(write_config(), tmp_path / "out", "SOLVER.MAX_EPOCH", 3, *overrides), resume=True) == 0
    )
    assert bool(last_checkpoint(tmp_path / "out")["scaler"]) == (precision == "fp16")


def test_precise_bn_replaces_the_running_statistics(write_config, tmp_path):
    switches = ("SOLVER.MAX_EPOCH", 1, "TEST.PRECISE_BN.ENABLED")
    for enabled in (False, True):
        run(configured(write_config(), tmp_path / str(enabled), *switches, enabled))
    plain, precise = (last_checkpoint(tmp_path / str(enabled))["model"] for enabled in (False, True))
    changed = {name for name in plain if not torch.equal(plain[name], precise[name])}
    assert changed and all(name.endswith(("_mean", "_var", "_tracked")) for name in changed)


def test_freezing_the_backbone_trains_the_head_only(write_config, tmp_path):
    config = write_config()
    run(configured(config, tmp_path / "first", "SOLVER.MAX_EPOCH", 0.5))
    weights = sorted((tmp_path / "first/checkpoints").glob("*.pth"))[-1]
    overrides = ("MODEL.WEIGHTS", weights, "MODEL.BACKBONE.FREEZE", True, "SOLVER.MAX_EPOCH", 1)
    run(configured(config, tmp_path / "second", *overrides))
    first, second = (
        last_checkpoint(tmp_path / "first")["model"],
        last_checkpoint(tmp_path / "second")["model"],
    )
    changed = {name for name in first if not torch.equal(first[name], second[name])}
    assert changed and all(name.startswith("head.") for name in changed)


def test_ava_without_its_files_is_one_clear_line(root, tmp_path, monkeypatch):
    words = ("--cfg", root / "configs/AVA/MoDist_R50.yaml", "--num-gpus", 0, "OUTPUT_DIR", tmp_path / "out")
    done = run_program(command(root, *words)[1:], env={"MODIST_DATASETS": str(tmp_path), "PATH": ""})
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    for needed in (
        "ava_train_v2.2.csv",
        str(tmp_path / "ava"),
        "datasets/README.md",
        "configs/Puppets/Slow_R18.yaml",
    ):
        assert needed in done.stderr
    assert not (tmp_path / "out").exists()
