"""tools/demo.py stopped while it works: what is kept is whole, and nothing is left half-written."""

from __future__ import annotations

import http.server
import json
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from modist_det.config import get_cfg
from modist_det.formats.ava.files import read_detections
from modist_det.inference import VideoActions
from modist_det.modeling import build_model

RATE = 10


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A tiny random model, a film of 100 s, and boxes of one person for it."""
    folder = tmp_path_factory.mktemp("home")
    cfg = get_cfg()
    cfg.merge_from_list(
        ["MODEL.RESNET3D.DEPTH", 18, "MODEL.RESNET3D.WIDTH", 4, "MODEL.NUM_CLASSES", 3, "MODEL.DEVICE", "cpu"]
        + ["INPUT.NUM_FRAMES", 4, "INPUT.SAMPLING_RATE", 6, "INPUT.MIN_SIZE_TEST", 32]
    )
    torch.save({"model": build_model(cfg).state_dict(), "config": cfg.dump()}, folder / "model.pth")
    with av.open(str(folder / "film.ts"), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"g": "5", "tune": "zerolatency"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        rng = np.random.default_rng(0)
        for number in range(100 * RATE):
            picture = rng.integers(0, 255, (48, 64, 3), dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    for name in ("film", "film.ts"):  # a stream's name is the last part of its address
        rows = [f"{name},{number / 5:g},0.2,0.2,0.6,0.9,,0.9" for number in range(500)]
        (folder / f"{name}.csv").write_text("\n".join(rows) + "\n")
    return folder


@contextmanager
def camera(film: Path):
    """A network camera: the film over HTTP, at the speed at which it is to be shown; yields its address."""
    data = film.read_bytes()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            for start in range(0, len(data), len(data) // 1000):
                try:
                    self.wfile.write(data[start : start + len(data) // 1000])
                except OSError:
                    return
                time.sleep(0.1)

        def log_message(self, *_): ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/{film.name}"
    finally:
        server.shutdown()
        server.server_close()


def stop_demo(root, home, out, number, *words) -> tuple[int, str]:
    """Run it, send the signal once it has encoded something, and wait; exit status and what it said."""
    line = [sys.executable, str(root / "tools" / "demo.py"), "--checkpoint", "model.pth", "--realtime"]
    line += ["--out", str(out), *words]
    # Tests that run in a shell's background inherit that Ctrl-C is ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(line, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    signal.signal(signal.SIGINT, before)
    try:
        deadline = time.monotonic() + 120
        while not any(path.stat().st_size for path in out.glob(".*.mp4.tmp-*")):
            assert process.poll() is None, process.stdout.read()
            assert time.monotonic() < deadline, "it does not begin"
            time.sleep(0.1)
        process.send_signal(number)
        said, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, said


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_of_a_file_nothing_is_left(root, home, tmp_path, number, status):
    out = tmp_path / "out"
    out.mkdir()
    (out / "film.json").write_text("from before")
    found = stop_demo(root, home, out, number, "film.ts", "--persons", "film.csv")
    assert found[0] == status, found[1]
    assert "Traceback" not in found[1]
    assert [path.name for path in out.iterdir()] == ["film.json"]
    assert (out / "film.json").read_text() == "from before"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_of_a_camera_everything_so_far_is_kept(root, home, tmp_path, number):
    out = tmp_path / "out"
    with camera(home / "film.ts") as address:
        status, said = stop_demo(root, home, out, number, address, "--persons", "film.ts.csv")
    assert status == 0, said
    assert "Traceback" not in said
    names = {f"film.ts{suffix}" for suffix in (".mp4", ".json", ".csv", ".coco.json", ".png")}
    assert {path.name for path in out.iterdir()} == names
    found = VideoActions.from_json(out / "film.ts.json")
    with av.open(str(out / "film.ts.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == found.num_frames > 0
    assert len(read_detections(out / "film.ts.csv")) == 3 * sum(len(k) for k in found.keyframes) > 0
    json.loads((out / "film.ts.coco.json").read_text())
