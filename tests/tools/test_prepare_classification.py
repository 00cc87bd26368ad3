"""``datasets/prepare_classification.py check`` on generated trees."""

from __future__ import annotations

import pytest

from tests.warm import run_program


@pytest.fixture
def check(root, tiny_actions, tmp_path):
    def run(*arguments):
        command = [root / "datasets/prepare_classification.py", "check", *arguments]
        return run_program(command, env={"MODIST_DATASETS": str(tiny_actions), "PATH": ""})

    return run


@pytest.fixture
def description(tiny_actions, tmp_path):
    """``description(subset, **changes)`` -> a description file of the generated set."""

    def write(**changes):
        folder = tiny_actions / "puppets_actions"
        settings = {
            "format": "ucf101",
            "videos": folder / "videos",
            "annotations": folder / "ucfTrainTestlist",
        }
        settings |= {"subset": "test", **changes}
        path = tmp_path / "mine.yaml"
        path.write_text("".join(f"{key}: {value}\n" for key, value in settings.items()))
        return path

    return write


def test_a_set_without_faults(check):
    done = check("puppets_actions_test")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "12 annotated, 12 found, 12 readable" in done.stdout
    assert "nothing is wrong" in done.stdout
    rows = [line.split() for line in done.stdout.splitlines() if line.split()[1:2] == ["Walk"]]
    assert [row[-1] for row in rows] == ["1"]


def test_missing_and_unreadable_videos(check, description, tmp_path, tiny_actions):
    videos = tmp_path / "videos"
    for path in sorted((tiny_actions / "puppets_actions/videos").rglob("*.mp4")):
        target = videos / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(path)
    broken = next(iter(sorted((videos / "Walk").iterdir(), reverse=True)))
    broken.unlink()
    broken.write_bytes(b"not a video")
    gone = next(iter(sorted((videos / "Run").iterdir(), reverse=True)))
    gone.unlink()
    done = check(description(videos=videos))
    assert done.returncode == 0 + 1
    assert "12 annotated, 11 found, 10 readable" in done.stdout
    assert "1 problem\n" in done.stdout and f"{broken}" in done.stdout
    assert "1 warning\n" in done.stdout and f"Run/{gone.name} is missing from {videos}" in done.stdout
    done = check(description(videos=videos), "--names-only")
    assert done.returncode == 0 and "12 annotated, 11 found\n" in done.stdout
    done = check(description(videos=videos, max_missing=0.05), "--names-only")
    assert done.returncode == 1 and "testlist01.txt:3: Run/" in done.stdout


def test_bad_input(check, description, tiny_puppets, tmp_path):
    done = check("ucf101_split9_train")
    assert done.returncode == 1 and "did you mean 'ucf101_split" in done.stderr
    done = check(tiny_puppets / "train.yaml")
    assert done.returncode == 1 and "prepare_ava.py check" in done.stderr
    done = check(description(subset="val"))
    assert done.returncode == 1 and "subset is 'val'" in done.stderr and "Traceback" not in done.stderr
    (tmp_path / "empty/run").mkdir(parents=True)
    (tmp_path / "empty.yaml").write_text("format: class_folders\nvideos: empty\n")
    done = check(tmp_path / "empty.yaml")
    assert done.returncode == 1 and "dataset empty: its annotations list no video" in done.stdout
