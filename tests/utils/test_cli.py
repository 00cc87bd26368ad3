"""What all command lines share."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time

import pytest

from modist_det.engine.arguments import run_net_parser
from modist_det.utils.cli import at_least, make_parser, number_from, run_cli
from modist_det.utils.errors import UserError, nearest
from modist_det.utils.files import atomic_path


def call(main, *argv):
    return run_cli(make_parser("Does a thing.", "  thing"), main, argv)


def test_exit_status_and_the_one_line_of_a_mistake(capsys):
    def mistake(args):
        raise UserError("boxes.csv:3: no")

    def interrupted(args):
        raise KeyboardInterrupt

    assert call(lambda args: None) == 0
    assert call(lambda args: 143) == 143
    assert call(mistake) == 1
    assert capsys.readouterr().err == "error: boxes.csv:3: no\n"
    assert call(interrupted) == 130
    with pytest.raises(UserError):
        call(mistake, "--debug")


def test_an_error_of_the_system_is_one_line_too(capsys, tmp_path):
    (tmp_path / "file").touch()

    def below_a_file(args):
        (tmp_path / "file" / "folder").mkdir()

    assert call(below_a_file) == 1
    assert capsys.readouterr().err == f"error: {tmp_path / 'file' / 'folder'}: Not a directory\n"
    with pytest.raises(NotADirectoryError):
        call(below_a_file, "--debug")


@pytest.mark.parametrize("output", ["--out", "--json"])
def test_an_output_that_is_an_input_is_refused(capsys, tmp_path, monkeypatch, output):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.csv").write_text("data")
    (tmp_path / "link.csv").symlink_to("in.csv")
    parser = make_parser("does things", "x")
    parser.add_argument("inputs", nargs="*")
    parser.add_argument(output)
    assert run_cli(parser, lambda args: None, ["in.csv", output, "link.csv"]) == 1
    assert "link.csv is the input, too" in capsys.readouterr().err
    assert run_cli(parser, lambda args: None, ["in.csv", output, "other.csv"]) == 0
    assert run_cli(parser, lambda args: None, ["x\0y", "x" * 5000, output, "in.csv"]) == 0


def test_options_between_other_arguments():
    seen = []
    parser = run_net_parser()
    argv = ["--cfg", "a.yaml", "SEED", "1", "--eval-only", "OUTPUT_DIR", "x y", "--num-gpus", "0"]
    assert run_cli(parser, seen.append, argv) == 0
    assert seen[0].overrides == ["SEED", "1", "OUTPUT_DIR", "x y"]
    assert (seen[0].cfg, seen[0].eval_only, seen[0].num_gpus) == ("a.yaml", True, 0)


def test_sub_commands(capsys):
    parser = make_parser("Does things.", "  thing check a")
    parser.add_subparsers(dest="command", required=True).add_parser("check").add_argument("names", nargs="+")
    seen = []
    assert run_cli(parser, seen.append, ["check", "a", "b"]) == 0
    assert seen[0].names == ["a", "b"]
    with pytest.raises(SystemExit):
        run_cli(parser, seen.append, ["check"])
    assert "the following arguments are required: names" in capsys.readouterr().err


def test_at_least_is_a_type_of_arguments(capsys):
    parser = make_parser("Does a thing.", "  thing")
    parser.add_argument("--n", type=at_least(1))
    assert parser.parse_args(["--n", "1"]).n == 1
    for wrong in ("0", "-1", "x", "1.5"):
        with pytest.raises(SystemExit):
            parser.parse_args(["--n", wrong])
    assert "0 is less than 1" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_command_and_removes_what_it_began(capsys, tmp_path, number):
    def work(args):
        with atomic_path(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            os.kill(os.getpid(), number)
            time.sleep(10)

    before = signal.getsignal(number)
    assert call(work) == 128 + number
    assert capsys.readouterr().err == f"stopped by {signal.Signals(number).name}\n"
    assert not list(tmp_path.iterdir())
    assert signal.getsignal(number) is before


def test_under_nohup_the_end_of_the_terminal_ends_nothing():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert call(lambda args: os.kill(os.getpid(), signal.SIGHUP)) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("busy", "said"),
    [
        # One call into C, as a collective operation is: no handler runs in it.
        (
            "lock = ctypes.CDLL(None).pthread_mutex_lock; lock(mutex); lock(mutex)",
            "stopped by SIGTERM; the main thread did not react for 0.3 s",
        ),
        # What is raised in a finalizer is lost.
        ("X().__del__(); time.sleep(20)", "stopped by SIGTERM, 0.5 s after being asked"),
    ],
)
def test_what_does_not_end_by_itself_is_ended(tmp_path, busy, said):
    script = f"""
import ctypes, time
lock, mutex = ctypes.CDLL(None).pthread_mutex_lock, ctypes.create_string_buffer(64)
from modist_det.utils.files import atomic_path
from modist_det.utils.signals import stop_on_signals
class X:
    def __del__(self):
        try: time.sleep(20)
        except KeyboardInterrupt: pass
with stop_on_signals(patience=0.3, grace=0.5), atomic_path("a.txt") as temporary:
    print("ready", flush=True)
    {busy}
"""
    line = [sys.executable, "-c", script]
    process = subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.1)
    process.terminate()
    _, printed = process.communicate(timeout=10)
    assert (process.returncode, printed) == (128 + signal.SIGTERM, f"\n{said}\n")
    assert not list(tmp_path.iterdir())


def test_a_signal_during_the_exit_ends_it_without_a_traceback():
    script = """
import atexit, os, signal
from modist_det.utils.cli import make_parser, run_cli
def main(args):
    atexit.register(os.kill, os.getpid(), signal.SIGINT)  # like a second Ctrl-C, while torch is taken down
atexit.register(print, "not reached")
run_cli(make_parser("Does a thing.", "  thing"), main)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "\nstopped by SIGINT\n")


def test_other_errors_keep_their_traceback():
    def bug(args):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        call(bug)


def test_help_ends_with_the_example(capsys):
    with pytest.raises(SystemExit) as exited:
        call(lambda args: None, "--help")
    assert exited.value.code == 0
    assert capsys.readouterr().out.endswith("example:\n  thing\n")


def test_nearest_names_a_close_word_or_nothing():
    assert nearest("Slow_R5O", ["Slow_R50", "C2D"]) == "; did you mean 'Slow_R50'?"
    assert nearest("xyz", ["Slow_R50"]) == ""


@pytest.mark.parametrize(
    ("word", "choices", "expected"),
    [
        # LRS has more letters of it in common, BASE_LR all of its words.
        ("SOLVER.LR", ["SOLVER.LRS", "SOLVER.LR_POLICY", "SOLVER.BASE_LR"], ["SOLVER.BASE_LR"]),
        ("slow_r50", ["x/slowfast_r50", "x/slow_r101", "x/slow_4x16_r50_ava22"], ["x/slow_4x16_r50_ava22"]),
        ("X3D", ["a/i3d_r50_k400", "a/x3d_m_k400_long_name"], ["a/x3d_m_k400_long_name"]),
        ("solver.base_lrr", ["SOLVER.BETAS", "SOLVER.BASE_LR"], ["SOLVER.BASE_LR"]),
        ("b a", ["a c d", "c", "a b c"], ["a b c", "a c d"]),  # better ones first
        ("a b", ["a x", "a z", "a y"], ["a z", "a y"]),  # of equally near ones the last by name
    ],
)
def test_nearest_names_what_has_the_same_words(word, choices, expected):
    text = " or ".join(map(repr, expected))
    assert nearest(word, choices, len(expected)) == f"; did you mean {text}?"


def test_an_atomic_file_is_whole_or_absent(tmp_path):
    path = tmp_path / "sub" / "a.txt"
    with atomic_path(path) as temporary:
        temporary.write_text("first")
        assert not path.exists()
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "first"
    assert list(path.parent.iterdir()) == [path]


LIVING = """
import sys, time
from modist_det.utils.files import atomic_path
with atomic_path(sys.argv[1]) as temporary:
    temporary.write_text("half")
    print(temporary.name, flush=True)
    time.sleep(60)
"""


def writer(path) -> tuple[subprocess.Popen, str]:
    """Another process that is writing ``path``; its temporary file."""
    process = subprocess.Popen([sys.executable, "-c", LIVING, str(path)], stdout=subprocess.PIPE, text=True)
    return process, process.stdout.readline().strip()


def test_what_a_killed_process_left_goes_and_what_a_living_one_writes_stays(tmp_path):
    path = tmp_path / "a.txt"
    (killed, left), (living, kept) = writer(path), writer(path)
    try:
        killed.kill()
        killed.wait()
        assert {file.name for file in tmp_path.iterdir()} == {left, kept}
        old, young, other = (tmp_path / name for name in (".b.tmp-12", ".b.tmp-13", ".b.tmp-x"))
        for file in (old, young, other):  # an earlier version's, which locked nothing, and somebody else's
            file.touch()
        os.utime(old, (0, 0))
        with atomic_path(path) as temporary:
            temporary.write_text("whole")
        assert {file.name for file in tmp_path.iterdir()} == {"a.txt", kept, young.name, other.name}
        assert (tmp_path / kept).read_text() == "half"
    finally:
        living.kill()
        living.wait()


def test_a_temporary_file_is_nobody_elses(tmp_path, monkeypatch):
    """Neither that of a process with the same number in another container nor a link that somebody put there."""
    path, victim = tmp_path / "a.txt", tmp_path / "victim"
    victim.write_text("untouched")
    monkeypatch.setattr(os, "getpid", lambda: 7)
    with atomic_path(path) as first, atomic_path(path) as second:
        assert first != second
        first.write_text("1")
        second.write_text("2")
    assert path.read_text() == "1"
    (tmp_path / ".a.txt.tmp-7").symlink_to(victim)
    draws = iter(["0" * 16, "1" * 16])
    monkeypatch.setattr("secrets.token_hex", lambda count: next(draws))
    (tmp_path / f".a.txt.tmp-{'0' * 16}").symlink_to(victim)
    with pytest.raises(UserError, match=r"a\.txt cannot be written: File exists"), atomic_path(path):
        pass
    with atomic_path(path) as temporary:
        temporary.write_text("3")
    assert victim.read_text() == "untouched"


def test_a_link_is_replaced_and_its_target_stays(tmp_path):
    (tmp_path / "target").write_text("untouched")
    path = tmp_path / "a.txt"
    path.symlink_to("target")
    with atomic_path(path) as temporary:
        temporary.write_text("new")
    assert not path.is_symlink() and path.read_text() == "new"
    assert (tmp_path / "target").read_text() == "untouched"


@pytest.mark.parametrize("name", ["a" * 255, "é" * 127])
def test_the_longest_name_has_room_for_a_temporary_file(tmp_path, name):
    with atomic_path(tmp_path / name) as temporary:
        temporary.write_text("x")
    assert [file.name for file in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    "script",
    ["tools/run_net.py", "tools/evaluate_ava.py", "tools/draw_detections.py", "tools/benchmark.py"]
    + ["datasets/prepare_ava.py", "datasets/prepare_puppets.py"],
)
def test_help_is_shown_without_torch(root, script):
    probe = (
        "import runpy, sys\n"
        "sys.argv = [sys.argv[1], '--help']\n"
        "try:\n    runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "except SystemExit as error:\n    print('status', error.code, 'torch' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe, str(root / script)], capture_output=True, text=True, cwd=root
    )
    assert done.stdout.splitlines()[-1] == "status 0 False", done.stderr
    assert "example:" in done.stdout


def test_a_path_that_takes_no_file_is_a_clear_error(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name, reason in (
        ("file/a", "file is not a folder"),
        ("folder", "a folder"),
        ("pipe", "not an ordinary file"),
    ):
        with (
            pytest.raises(UserError, match=f"{name} cannot be written: .*({reason})"),
            atomic_path(tmp_path / name) as temporary,
        ):
            temporary.write_text("x")
    # Above all, a device or pipe must not be replaced by a file.
    assert (tmp_path / "pipe").is_fifo() and sorted(p.name for p in tmp_path.iterdir()) == [
        "file",
        "folder",
        "pipe",
    ]


def test_a_full_disk_leaves_nothing(tmp_path):
    path = tmp_path / "a.txt"
    with (
        pytest.raises(UserError, match=r"a\.txt cannot be written: No space left"),
        atomic_path(path) as temporary,
    ):
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("kind", "good", "bad", "reason"),
    [
        (number_from(0, 1), ["0", "1", "0.25"], ["-0.1", "1.5", "nan"], "is not from 0 to 1"),
        (number_from(0, above=True), ["1e-9", "inf"], ["0", "-1", "nan"], "is not above 0"),
    ],
)
def test_numbers_in_a_range(capsys, kind, good, bad, reason):
    parser = make_parser("Does a thing.", "  thing")
    parser.add_argument("--share", type=kind)
    for text in good:
        assert parser.parse_args(["--share", text]).share == float(text)
    for text in bad:
        with pytest.raises(SystemExit):
            parser.parse_args([f"--share={text}"])
        assert f"argument --share: {text} {reason}" in capsys.readouterr().err
