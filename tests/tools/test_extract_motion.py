"""tools/extract_motion.py as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from tests.warm import run_program


@pytest.fixture
def videos(tmp_path):
    """Two short videos of moving noise."""
    folder = tmp_path / "my videos"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (64, 200, 3), dtype=np.uint8)
    noise = cv2.GaussianBlur(noise, (0, 0), 2)
    for name in ("one.mp4", "two.mp4"):
        with av.open(str(folder / name), "w") as container:
            stream = container.add_stream("mpeg4", rate=30)
            stream.height, stream.width, stream.pix_fmt = 64, 80, "yuv420p"
            for number in range(8):
                frame = av.VideoFrame.from_ndarray(
                    noise[:, 2 * number : 2 * number + 80].copy(), format="rgb24"
                )
                frame.pts, frame.time_base = number, Fraction(1, 30)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    return folder


@pytest.fixture
def command(root, tmp_path):
    def run(*words):
        return run_program([root / "tools" / "extract_motion.py", *words], cwd=tmp_path)

    return run


def test_workers_give_the_same_files_and_failures_the_status(command, videos, tmp_path):
    done = command(
        "my videos", "--out", "out", "--workers", "0", "--option", "preset=fast", "--sheet", "sheet.png"
    )
    assert done.returncode == 0, done.stderr
    assert "out: 2 videos extracted (16 maps, " in done.stdout
    assert "wrote sheet.png" in done.stdout
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet.shape[1] == 3 * 192
    assert sheet[30:150, 192:384].std() > 1  # flow
    assert "2/2" in done.stderr  # progress

    (videos / "bad.mp4").write_bytes(b"")
    done = command("my videos", "--out", "again", "--workers", "1", "--option", "preset=fast")
    assert done.returncode == 1
    assert "again: 2 videos extracted (16 maps, " in done.stdout
    assert "0 kept, 1 failed" in done.stdout
    assert done.stderr.count("bad.mp4: the file is empty") == 1
    assert "Traceback" not in done.stderr
    for name in ("one.mp4.motion", "two.mp4.motion"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_reference_side_and_limit_are_those_of_the_maps(command, videos, tmp_path):
    done = command("my videos", "--out", "out", "--workers", "0", "--reference-side", "64", "--limit", "5")
    assert done.returncode == 0, done.stderr
    settings = json.loads((tmp_path / "out" / "extraction.json").read_text())
    assert (settings["reference_side"], settings["limit"]) == (64, 5)


def test_a_sheet_of_an_empty_share(command, videos, tmp_path):
    done = command(videos, "--sheet", tmp_path / "s.png", "--shard", "8", "--num-shards", "9")
    assert done.returncode == 1
    assert done.stderr == "error: --sheet: share 8 of 9 has no video; use fewer --num-shards\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["x"], "nothing to do: give --out"),
        (["x", "--out", "o", "--shard", "2", "--num-shards", "2"], "--shard 2 of 2"),
        (["x", "--out", "o", "--quality", "0"], "--quality is 0"),
        (["x", "--sheet", "s.png", "--sheet-videos", "0"], "--sheet-videos is 0"),
        (["x", "--out", "o", "--fps", "nan"], "--fps is nan"),
    ],
)
def test_a_mistake_is_one_line_and_status_1(command, words, message):
    done = command(*words)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_help_without_torch(root):
    code = (
        "import runpy, sys\n"
        "sys.argv = ['extract_motion.py', '--help']\n"
        "try:\n"
        f"    runpy.run_path({str(root / 'tools' / 'extract_motion.py')!r}, run_name='__main__')\n"
        "except SystemExit as stop:\n"
        "    assert not stop.code, stop.code\n"
        "heavy = {'torch', 'torchvision', 'cv2', 'av', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "python tools/extract_motion.py datasets/puppets/videos" in done.stdout
