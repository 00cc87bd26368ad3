"""An entry of the zoo from a server to actions in a video."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import json
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch

from modist_det.checkpoint import published_weights
from modist_det.inference import ActionPredictor, PipelineSettings, predict_video
from modist_det.utils.cli import run_cli
from modist_det.utils.errors import UserError
from modist_det.video.reader import open_video
from tests.checkpoint.foreign import pytorchvideo_resnet, randomize

NAME = "pytorchvideo/slow_4x16_r50_ava22"


@pytest.fixture
def published(root, tmp_path, monkeypatch):
    """A narrow network of PyTorchVideo's, whose file a local server has in the place of the published one."""
    monkeypatch.setenv("MODIST_DET_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MODIST_DET_OFFLINE", raising=False)
    network = randomize(pytorchvideo_resnet("slow", 8, 80, detection=True))
    (tmp_path / "shelf").mkdir()
    torch.save({"model_state": network.state_dict()}, tmp_path / "shelf" / "SLOW_4x16_R50_DETECTION.pyth")
    config = tmp_path / "narrow.yaml"
    config.write_text(
        f"_BASE_: {root / 'configs/Zoo/AVA/Slow_4x16_R50.yaml'}\n"
        "MODEL: {RESNET3D: {WIDTH: 8}}\nINPUT: {MIN_SIZE_TEST: 64}\n"
    )

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path / "shelf"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/SLOW_4x16_R50_DETECTION.pyth"
        entry = dataclasses.replace(published_weights.ENTRIES[NAME], url=url, config=str(config))
        monkeypatch.setitem(published_weights.ENTRIES, NAME, entry)
        yield network
        server.shutdown()


@torch.no_grad()
def test_scores_in_a_video_are_those_of_the_published_network(
    published, square_detector, film, tmp_path, monkeypatch
):
    path = film(tmp_path / "a.mp4", np.arange(75) / 25, height=64, width=80)
    predictor = ActionPredictor.from_zoo(NAME)
    # The server's work is done.
    monkeypatch.setenv("MODIST_DET_OFFLINE", "1")
    predictor = ActionPredictor.from_checkpoint(f"zoo://{NAME}")
    assert predictor.class_names[80] == "watch (a person)" and len(predictor.class_names) == 60
    settings = PipelineSettings(keyframe_every=1.0, detect_every=0.5, smoothing=0.0)
    found = predict_video(path, predictor, square_detector, settings)
    assert [k.second for k in found.keyframes] == [0.0, 1.0, 2.0]
    channels = [number - 1 for number in predictor.class_names]
    with open_video(path) as video:
        for keyframe in found.keyframes:
            # 4 frames, 16 apart at 30 a second, the third of them the keyframe.
            clip = video.frames_at_times(keyframe.second + np.array([-32, -16, 0, 16]) / 30)
            clip = (torch.from_numpy(clip).permute(3, 0, 1, 2)[None] / 255 - 0.45) / 0.225
            boxes = torch.from_numpy(keyframe.boxes * np.array([80, 64, 80, 64], np.float32))
            rois = torch.cat([torch.zeros(len(boxes), 1), boxes], dim=1)
            assert len(rois) == 1
            expected = published(clip, rois)[:, channels]
            assert expected.std() > 0.01
            np.testing.assert_allclose(keyframe.scores, expected, rtol=1e-3, atol=1e-4)


def test_demo_with_a_name(published, root, film, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    film(tmp_path / "a.mp4", np.arange(50) / 25, height=64, width=80)
    (tmp_path / "boxes.csv").write_text("a,0000,0.1,0.2,0.5,0.9,,0.9\na,0001,0.2,0.2,0.6,0.9,,0.9\n")
    spec = importlib.util.spec_from_file_location("demo", root / "tools" / "demo.py")
    demo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(demo)
    words = ["a.mp4", "--zoo", NAME, "--persons", "boxes.csv", "--no-video", "--device", "cpu"]
    status = run_cli(demo.get_parser(), demo.main, words)
    printed = capsys.readouterr()
    assert status == 0, printed.err
    assert NAME in printed.out
    result = json.loads((tmp_path / "output" / "demo" / "a.json").read_text())
    assert "watch (a person)" in json.dumps(result)


def test_what_is_no_action_detector(monkeypatch, tmp_path):
    monkeypatch.setenv("MODIST_DET_CACHE", str(tmp_path))
    monkeypatch.setenv("MODIST_DET_OFFLINE", "1")
    with pytest.raises(UserError, match="no 'pytorchvideo/slow_4x16_r50_ava'; did you mean"):
        ActionPredictor.from_zoo("pytorchvideo/slow_4x16_r50_ava")
    for name in ("pytorchvideo/slow_8x8_r50_k400", "modist/maclr"):
        with pytest.raises(UserError, match="need a model of TASK detection"):
            ActionPredictor.from_zoo(name)
    with pytest.raises(UserError, match="without a config here"):
        ActionPredictor.from_zoo("torchvision/fasterrcnn_resnet50_fpn")
