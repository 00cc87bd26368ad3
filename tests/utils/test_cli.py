"""What all command lines share."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

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
        ("file/a", "file is no folder"),
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
