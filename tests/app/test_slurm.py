"""``run_net.py --slurm``: jobs that submitit runs on this machine, and what it hands to Slurm."""

from __future__ import annotations

import builtins
import os
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from modist_det.app.run_net import main
from modist_det.app.slurm import SlurmRun, submit_run
from modist_det.engine.arguments import run_net_parser
from modist_det.utils.cli import run_cli
from modist_det.utils.errors import UserError
from tests.engine.test_run import (
    assert_equal_states,
    in_processes,
    last_checkpoint,
    newest_checkpoint,
)

submitit = pytest.importorskip("submitit", reason="needs submitit (the extra slurm)")


def parsed(*words):
    return run_net_parser().parse_intermixed_args([str(word) for word in words])


def children(process: int) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(process)], capture_output=True, text=True)
    return [int(number) for number in found.stdout.split()]


@pytest.mark.parametrize(
    ("tasks", "signals"),
    [(1, [signal.SIGTERM, signal.SIGUSR2]), (2, [signal.SIGUSR2])],
    ids=["preempted", "timed_out_in_two_processes"],
)
def test_a_job_queued_again_gives_the_same_weights(write_config, tmp_path, root, monkeypatch, tasks, signals):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    config, output, straight = write_config(), tmp_path / "job", tmp_path / "straight"
    common = ("--cfg", config, "--num-gpus", 0, "SOLVER.MAX_EPOCH", 5)
    job = submit_run(
        parsed(*common, "OUTPUT_DIR", output, "--slurm", "cluster=local", "time=5", f"tasks={tasks}"),
        main,
    )
    try:
        while not newest_checkpoint(output) and not job.done():
            time.sleep(0.02)
        ranks = children(int(job.job_id))
        assert len(ranks) == tasks
        for number in signals:
            for rank in ranks:
                os.kill(rank, number)
            time.sleep(0.2)
        assert job.results() == [0] * tasks
    finally:
        job.cancel()
    log = (output / "log.txt").read_text()
    assert "continue with --resume" in log and log.count("resumed ") == 1
    assert "Requeued job" in job.stdout()
    for done in in_processes(tasks, root, *common, "OUTPUT_DIR", straight):
        assert done.returncode == 0, done.stderr
    assert_equal_states(last_checkpoint(output), last_checkpoint(straight))


def test_a_cancelled_job_is_not_queued_again(write_config, tmp_path, monkeypatch):
    """Slurm cancels by SIGTERM alone."""
    monkeypatch.setattr("modist_det.app.slurm._SECOND_SIGNAL", 0.1)
    for name, value in (("EXECUTOR", "local"), ("LOCAL_NTASKS", "1"), ("LOCAL_JOB_ID", "7")):
        monkeypatch.setenv(f"SUBMITIT_{name}", value)
    before = signal.getsignal(signal.SIGUSR2)
    try:
        with pytest.raises(SystemExit) as ended:
            SlurmRun(lambda args: os.kill(os.getpid(), signal.SIGTERM), ("--cfg", str(write_config())))()
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert ended.value.code == 128 + signal.SIGTERM


@pytest.mark.parametrize(("nodes", "address"), [(1, "127.0.0.1"), (2, "one")])
def test_ranks_find_each_other(write_config, monkeypatch, nodes, address):
    """Over several nodes at the first of them."""
    job = SimpleNamespace(
        num_nodes=nodes,
        num_tasks=8,
        global_rank=5,
        local_rank=1,
        raw_job_id="15041",
        hostnames=["one", "two"],
    )
    job.USR_SIG = "USR2"
    monkeypatch.setattr(submitit, "JobEnvironment", lambda: job)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    before, found = signal.getsignal(signal.SIGUSR2), {}
    try:
        SlurmRun(lambda args: found.update(os.environ) or 0, ("--cfg", str(write_config())))()
    finally:
        signal.signal(signal.SIGUSR2, before)
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    assert [found[name] for name in names] == ["5", "1", "8", address, "15041"]


@pytest.fixture
def sbatch(tmp_path, monkeypatch):
    """``sbatch`` and ``srun`` as far as submitit calls them: one keeps the script that it gets."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in (("srun", ""), ("sbatch", f'cp "$1" {tmp_path}/script; echo Submitted batch job 41')):
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return folder / "sbatch"


def test_what_slurm_gets(sbatch, write_config, tmp_path, capsys):
    output = tmp_path / "job"
    words = ["--cfg", str(write_config()), "--slurm", "partition=gpu", "time=60", "nodes=2", "gpus=8"]
    words += ["mem=1.5", "signal_delay_s=300", "SEED", "3", "--debug", "OUTPUT_DIR", str(output)]
    words += ["--import", "json", "--import", "csv", "--num-gpus", "0"]
    assert run_cli(run_net_parser(), main, words) == 0
    assert capsys.readouterr().out == f"submitted job 41; its log: {output}/slurm/41_0_log.out\n"
    script = Path(tmp_path / "script").read_text()
    asked = {line.removeprefix("#SBATCH --") for line in script.splitlines() if line.startswith("#SBATCH")}
    wanted = "partition=gpu time=60 nodes=2 gpus-per-node=8 ntasks-per-node=8 job-name=job requeue mem=1536MB"
    assert asked >= {*wanted.split(), "signal=USR2@300"}
    assert not any(option.startswith("error=") for option in asked)  # one log for both streams
    job = submitit.core.utils.DelayedSubmission.load(output / "slurm/41_submitted.pkl")
    args = parsed(*job.function.words)
    assert (args.resume, args.debug, args.slurm) == (True, True, None)
    assert (args.imports, args.num_gpus, args.eval_only) == (["json", "csv"], 0, False)
    assert args.overrides == ["SEED", "3", "OUTPUT_DIR", str(output)]
    assert job.function.checkpoint().function == job.function

    # To evaluate the run's checkpoint is no second start.
    (output / "checkpoints").mkdir()
    (output / "checkpoints/model_0000001.pth").touch()
    submit_run(parsed("--eval-only", *(word for word in words if word != "gpus=8")), main)
    assert "#SBATCH --ntasks-per-node=1\n" in Path(tmp_path / "script").read_text()
    job = submitit.core.utils.DelayedSubmission.load(output / "slurm/41_submitted.pkl")
    args = parsed(*job.function.words)
    assert (args.eval_only, args.resume) == (True, False)

    sbatch.write_text("#!/bin/sh\necho invalid partition: gpu >&2; exit 1\n")
    with pytest.raises(UserError, match="--slurm: .*invalid partition: gpu"):
        submit_run(parsed("--eval-only", *words), main)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["partition=gpu"], "--slurm needs time=MINUTES"),
        (["time=soon"], "--slurm time=soon is not a whole number"),
        (["time=60", "colour=red"], "--slurm: Unknown argument 'colour' for executor 'slurm'"),
        (["time=60", "cluster=moon"], "--slurm: .*no.* executor named moon"),
        (["cluster=local", "time=60", "nodes=2"], "--slurm: .* only one node"),
    ],
)
def test_wrong_parameters(sbatch, write_config, tmp_path, words, message):
    with pytest.raises(UserError, match=message):
        submit_run(parsed("--cfg", write_config(), "OUTPUT_DIR", tmp_path / "job", "--slurm", *words), main)


def test_without_slurm_or_submitit(write_config, tmp_path, monkeypatch):
    args = parsed("--cfg", write_config(), "OUTPUT_DIR", tmp_path / "job", "--slurm", "time=60")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UserError, match="--slurm: Could not detect .srun."):
        submit_run(args, main)
    usual = builtins.__import__

    def without(name, *rest, **named):
        if name == "submitit":
            raise ImportError(name)
        return usual(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match="needs submitit, which is not installed: pip install submitit$"):
        submit_run(args, main)


def test_a_run_is_not_started_over(detector_run, write_config):
    words = ("--cfg", write_config(), "OUTPUT_DIR", detector_run, "--slurm", "time=60")
    with pytest.raises(UserError, match="already holds checkpoints; continue with --resume"):
        submit_run(parsed(*words), main)
