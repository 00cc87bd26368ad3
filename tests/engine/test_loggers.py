"""Experiment trackers, each with its real package and without a network."""

from __future__ import annotations

import sqlite3
import struct
import sys
import time
from pathlib import Path

import pytest

from modist_det.config import get_cfg
from modist_det.engine.loggers import LOGGER_REGISTRY, build_loggers, project_of, run_name
from modist_det.utils.errors import UserError

FIRST = {"loss": 0.5, "lr": 0.1}
SECOND = {"val/mAP": 0.25, "val/AP/carry/hold (an object)": 0.5, "val/about": "12 keyframes"}


def log_twice(folder: Path, name: str) -> None:
    """A run of 3 steps, resumed to 5."""
    cfg = get_cfg()
    cfg.merge_from_list(["LOGGERS", [name], "OUTPUT_DIR", str(folder / "fights"), "SEED", 7])
    (folder / "fights").mkdir()
    for iteration, values in ((3, FIRST), (5, SECOND)):
        (logger,) = build_loggers(cfg)
        logger.write(iteration, values)
        logger.close()
        if name == "WandB":
            time.sleep(1.1)  # an offline run's folder is named by the second


def test_mlflow(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="needs mlflow (the extra loggers)")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    log_twice(tmp_path, "MLflow")
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name(tmp_path.name)
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status, run.data.params["SEED"]) == ("fights", "FINISHED", "7")
    assert run.data.tags["val/about"] == "12 keyframes"
    assert run.data.metrics["val/AP/carry/hold _an object_"] == 0.5
    for name, step, value in (("loss", 3, 0.5), ("val/mAP", 5, 0.25)):
        (point,) = client.get_metric_history(run.info.run_id, name)
        assert (point.step, point.value) == (step, value)
    # The run goes on, and another one in the same experiment begins.
    for name in ("fights", "falls"):
        cfg = get_cfg(
            None, ["LOGGERS", ["MLflow"], "OUTPUT_DIR", str(tmp_path / name), "DATASETS.TRAIN", ["x" * 600]]
        )
        Path(cfg.OUTPUT_DIR).mkdir(exist_ok=True)
        build_loggers(cfg)
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    assert {name: run.info.status for name, run in runs.items()} == dict.fromkeys(
        ("fights", "falls"), "RUNNING"
    )
    assert len(runs["falls"].data.params["DATASETS.TRAIN"]) == 500


def test_names_of_runs_and_projects(tmp_path, monkeypatch):
    (tmp_path / "study/fights").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "study/fights")
    cfg = get_cfg()
    cfg.OUTPUT_DIR = "."
    assert (project_of(cfg), run_name(cfg)) == ("study", "fights")
    cfg.LOGGER_PROJECT = "actions"
    assert project_of(cfg) == "actions"
    cfg.LOGGER_PROJECT, cfg.OUTPUT_DIR = "", "/out"
    assert project_of(cfg) == "modist_det"


def test_trackio(tmp_path, monkeypatch):
    trackio = pytest.importorskip("trackio", reason="needs trackio (the extra loggers)")
    for module in [module for name, module in sys.modules.items() if name.startswith("trackio")]:
        if hasattr(module, "TRACKIO_DIR"):
            monkeypatch.setattr(module, "TRACKIO_DIR", tmp_path / "trackio")
    log_twice(tmp_path, "Trackio")
    rows = trackio.Api().runs(tmp_path.name)
    assert [run.name for run in rows] == ["fights"]
    with sqlite3.connect(next((tmp_path / "trackio").glob("*.db"))) as database:
        logged = database.execute("select step, cast(metrics as text) from metrics order by step").fetchall()
    assert [step for step, _ in logged] == [3, 5]
    assert "0.25" in logged[1][1] and "12 keyframes" in logged[1][1]


def records(path: Path) -> list[bytes]:
    """Those of a file of W&B: after 7 bytes, blocks of 32 KiB of parts with CRC, length and kind (whole, first, middle,
    last), as in LevelDB's logs."""
    data, place, found, parts = path.read_bytes(), 7, [], b""
    while place + 7 <= len(data):
        length, kind = struct.unpack("<HB", data[place + 4 : place + 7])
        parts += data[place + 7 : place + 7 + length]
        if kind in (1, 4):
            found.append(parts)
            parts = b""
        place += 7 + length
        left = 32768 - place % 32768
        place += left if left < 7 else 0
    return found


def test_wandb(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="needs wandb (the extra loggers)")
    from wandb.proto.wandb_internal_pb2 import Record

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    log_twice(tmp_path, "WandB")
    files = sorted((tmp_path / "fights" / "wandb").glob("offline-run-*/*.wandb"))
    assert files and len({file.name for file in files}) == 1  # one id
    written = {}
    for file in files:
        for record in map(Record.FromString, records(file)):
            items = [*record.history.item, *record.summary.update]
            written |= {item.key or "/".join(item.nested_key): item.value_json for item in items}
            for change in record.run.config.update:
                written[change.key] = change.value_json
    assert (written["loss"], written["val/mAP"], written["val/about"]) == ("0.5", "0.25", '"12 keyframes"')
    assert written["SEED"] == "7" and written["iteration"] == "5"


def test_mistakes(monkeypatch):
    cfg = get_cfg()
    cfg.LOGGERS = ["Wandb"]
    with pytest.raises(UserError, match="LOGGERS: there is no logger 'Wandb'; did you mean 'WandB'.*MLflow"):
        build_loggers(cfg)
    for name, package in (("WandB", "wandb"), ("MLflow", "mlflow"), ("Trackio", "trackio")):
        monkeypatch.setitem(sys.modules, package, None)
        cfg.LOGGERS = [name]
        with pytest.raises(UserError, match=f"{name} needs {package}.*pip install {package}"):
            build_loggers(cfg)


def test_one_of_somebody_else(write_config, tmp_path):
    """Registered outside the package, it gets what metrics.json gets."""
    from modist_det.engine.metrics import read_metrics
    from modist_det.engine.run import run

    written, closed = [], []

    class Mine:
        @classmethod
        def from_config(cls, cfg):
            return cls()

        def write(self, iteration, values):
            written.append({"iteration": iteration, **values})

        def close(self):
            closed.append(self)

    LOGGER_REGISTRY._do_register("Mine", Mine)
    try:
        cfg = get_cfg(write_config(), ["LOGGERS", '["Mine"]', "SOLVER.MAX_EPOCH", "0.5"])
        cfg.merge_from_list(["OUTPUT_DIR", str(tmp_path / "out"), "MODEL.DEVICE", "cpu"])
        assert run(cfg) == 0
    finally:
        del LOGGER_REGISTRY._obj_map["Mine"]
    rows = read_metrics(tmp_path / "out/metrics.json")
    assert written == rows and len(rows) >= 2 and len(closed) == 1
    assert any(key.endswith("/about") for key in rows[-1])
