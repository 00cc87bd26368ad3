"""What the benchmarks measure is what they say, on tiny input; no test looks at how long it took."""

from __future__ import annotations

import mmap
import shutil
import statistics
import time

import pytest
import torch

from modist_det.analysis.benchmark.arguments import benchmark_parser
from modist_det.analysis.benchmark.data import (
    benchmark_data,
    clips_of_videos,
    decode_everything,
    run_data,
    time_calls,
    training_clips,
    video_files,
)
from modist_det.analysis.benchmark.evaluator import benchmark_evaluator, csv_pass
from modist_det.analysis.benchmark.large_list import benchmark_large_list
from modist_det.analysis.benchmark.model import PeakMemory, benchmark_model, random_batch
from modist_det.analysis.benchmark.report import Series
from modist_det.config import get_cfg
from modist_det.modeling import META_ARCH_REGISTRY, build_model
from modist_det.utils.errors import UserError
from modist_det.video.reader import VideoError, probe


@pytest.fixture
def cfg(write_config):
    made = get_cfg()
    made.merge_from_file(write_config())
    made.MODEL.DEVICE = "cpu"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield made
    torch.set_num_threads(threads)


def rows(report):
    return {series.name: series for series in report.series}


# ---- data


def test_the_baseline_decodes_every_frame(tiny_puppets, tmp_path):
    video = sorted((tiny_puppets / "videos").iterdir())[0]
    assert decode_everything(str(video)) == probe(video).num_frames == 30
    (tmp_path / "text.mp4").write_text("no video")
    for path in (tmp_path, tmp_path / "text.mp4", tmp_path / "missing.mp4"):
        with pytest.raises(VideoError):
            decode_everything(str(path))


def test_videos_of_a_folder_or_one_file(tiny_puppets, tmp_path):
    videos = tiny_puppets / "videos"
    first = sorted(videos.iterdir())[0]
    shutil.copy(first, tmp_path / "b.mp4")
    shutil.copy(first, tmp_path / "a.MP4")
    (tmp_path / "notes.txt").write_text("")
    assert [path.name for path in video_files(str(tmp_path))] == ["a.MP4", "b.mp4"]
    assert video_files(str(first)) == [first]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no video in"):
        video_files(str(tmp_path / "empty"))


def test_random_clips_lie_inside_their_videos(tiny_puppets, cfg):
    cfg.INPUT.NUM_FRAMES, cfg.INPUT.SAMPLING_RATE = 4, 15  # 2 of 3 seconds
    folder = tiny_puppets / "videos"
    records, mapper = clips_of_videos(cfg, str(folder), 25)
    assert len(records) == 25
    assert len({record.video for record in records}) == len(list(folder.iterdir())) == 11
    assert all(1.0 <= record.time <= 2.0 for record in records)
    assert len({record.time for record in records}) == 25
    cfg.INPUT.SAMPLING_RATE = 60  # longer than the video: around its middle
    records, mapper = clips_of_videos(cfg, str(folder), 3)
    assert [record.time for record in records] == pytest.approx([1.5, 1.5, 1.5])


def test_data_report_of_a_config(cfg):
    cfg.DATASETS.TEST = ["absent"]
    records, mapper = training_clips(cfg)
    torch.set_num_threads(2)
    report = benchmark_data(records, mapper, num_clips=5, num_workers=1, batch_size=3, repeat=2)
    assert torch.get_num_threads() == 2
    decode, transform, sample, baseline, loader = (
        rows(report)[name]
        for name in (
            "decode",
            "transform",
            "decode + transform",
            "baseline: every frame decoded, each to RGB",
            "loader, 1 workers",
        )
    )
    assert len(decode.wall) == len(transform.wall) == len(sample.wall) == len(baseline.wall) == 5
    assert sample.wall == [a + b for a, b in zip(decode.wall, transform.wall, strict=True)]
    assert sample.facts["x baseline"] == statistics.median(
        a / b for a, b in zip(sample.wall, baseline.wall, strict=True)
    )
    assert decode.facts["x baseline (CPU)"] < sample.facts["x baseline (CPU)"]
    scale, resize, joined = (
        rows(report)[name] for name in ("... of it scaling, to RGB", "... of it crop, resize", "collate")
    )
    assert all(0 < part < whole for part, whole in zip(scale.wall, decode.wall, strict=True))
    assert all(0 < part < whole for part, whole in zip(resize.wall, transform.wall, strict=True))
    assert scale.facts["share of a clip (CPU)"] == statistics.median(
        a / b for a, b in zip(scale.cpu, sample.cpu, strict=True)
    )
    assert sample.facts["clips/CPU s"] == 1 / statistics.median(sample.cpu)
    assert (joined.items, len(joined.wall)) == (3, 1)  # of five clips
    # Passes of two batches a worker.
    assert (loader.items, len(loader.wall), loader.cpu) == (2 * 3, 2, [])
    assert loader.facts["clips/s a worker"] == 6 / statistics.median(loader.wall)
    assert sample.facts["clips/s a worker"] == 1 / statistics.median(sample.wall)


def test_calls_are_timed_and_then_left_alone():
    class Owner:
        @staticmethod
        def wait(seconds):
            time.sleep(seconds)
            return seconds

    original = Owner.wait
    series = Series("waiting", wall=[9.0], cpu=[9.0])
    with pytest.raises(ZeroDivisionError), time_calls(series, (Owner, "wait")):
        raise ZeroDivisionError
    assert Owner.wait is original and series.wall == [9.0]
    with time_calls(series, (Owner, "wait")):
        assert [Owner.wait(0.02), Owner.wait(0.03)] == [0.02, 0.03]
        time.sleep(0.2)
    assert Owner.wait is original
    assert series.wall[1] >= 0.05 and len(series.wall) == 2
    assert series.cpu[1] < 0.05


def test_clips_of_videos_for_classification(cfg, tiny_puppets):
    cfg.TASK = "classification"
    records, mapper = clips_of_videos(cfg, str(tiny_puppets / "videos"), 15)
    assert [record.number for record in records] == list(range(15))
    assert len({record.video for record in records}) == 11
    report = benchmark_data(
        records, mapper, num_clips=2, num_workers=0, batch_size=2, repeat=1, baseline=False
    )
    assert len(rows(report)["transform"].wall) == 2 and rows(report)["collate"].items == 2


def test_two_workers_share_the_rate(cfg, tiny_puppets):
    records, mapper = clips_of_videos(cfg, str(tiny_puppets / "videos"), 4)
    report = benchmark_data(
        records, mapper, num_clips=1, num_workers=2, batch_size=1, repeat=1, baseline=False
    )
    loader = rows(report)["loader, 2 workers"]
    assert loader.items == 4
    assert loader.facts["clips/s a worker"] == loader.rate / 2


def test_a_mapper_in_one_piece_and_no_baseline(cfg, tiny_puppets):
    records, mapper = clips_of_videos(cfg, str(tiny_puppets / "videos"), 4)
    calls = []

    def whole(record, rng):
        calls.append(record)
        return mapper(record, rng)

    report = benchmark_data(
        records, whole, num_clips=6, num_workers=0, batch_size=2, repeat=1, baseline=False
    )
    assert list(rows(report)) == ["decode + transform", "collate", "loader, 0 workers"]
    assert len(rows(report)["decode + transform"].wall) == 6
    # One before the first, six, the first batch of the loader, a pass of two batches.
    assert len(calls) == 1 + 6 + 2 + 4
    assert rows(report)["loader, 0 workers"].cpu


def test_no_videos_and_no_config_is_a_mistake():
    with pytest.raises(UserError, match="give --videos PATH, or --cfg FILE"):
        run_data(benchmark_parser().parse_args(["data"]))


def test_an_unreadable_video_stops_the_benchmark(cfg, tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(UserError, match=r"text\.mp4"):
        clips_of_videos(cfg, str(tmp_path), 3)


# ---- model


def test_random_batches_are_what_models_take(cfg):
    cfg.MODEL.NUM_CLASSES = 5
    cfg.MODEL.RESNET3D.WIDTH = 4
    batch = random_batch(cfg, 3, 2, torch.device("cpu"))
    assert batch["video"].shape == (3, 3, 4, 32, 32)
    assert batch["video"].dtype == torch.uint8
    boxes, labels = torch.stack(batch["boxes"]), torch.stack(batch["labels"])
    assert labels.shape == (3, 2, 5)
    sides = boxes[..., 2:] - boxes[..., :2]
    assert 0 <= boxes.min() < boxes.max() <= 32
    assert 8 <= sides.min() < sides.max() <= 32
    assert list(build_model(cfg)(batch)) == ["loss_action"]

    cfg.MODEL.META_ARCHITECTURE = "VideoClassifier"
    cfg.MODEL.HEAD.NAME = "ClassificationHead"
    for loss in ("bce_with_logits", "cross_entropy"):
        cfg.MODEL.LOSS.NAME = loss
        assert list(build_model(cfg)(random_batch(cfg, 3, 2, torch.device("cpu")))) == ["loss_class"]


@pytest.mark.parametrize("method", ["MoDist", "BYOL", "SimCLR"])
def test_a_pretraining_method_is_given_its_clips_and_motion(cfg, method):
    cfg.merge_from_list(
        [
            "MODEL.META_ARCHITECTURE",
            method,
            "MODEL.RESNET3D.WIDTH",
            4,
            f"MODEL.{method}.CROSS_WEIGHT".upper(),
            1,
        ]
    )
    cfg.merge_from_list(["MOTION.ENABLED", True, "MOTION.NUM_FRAMES", 4])
    batch = random_batch(cfg, 2, 0, torch.device("cpu"))
    assert batch["video"].shape == (2, 2, 3, 4, 32, 32)
    assert batch["motion"].shape == (2, 2, 1, 4, 32, 32)
    assert any(name.startswith("loss") for name in build_model(cfg)(batch))
    assert torch.equal(batch["motion"], random_batch(cfg, 2, 0, torch.device("cpu"))["motion"])


def test_a_meta_architecture_that_makes_no_batches_is_told_how(cfg, monkeypatch):
    class Mine(torch.nn.Module):
        task = "detection"

    monkeypatch.setitem(META_ARCH_REGISTRY._obj_map, "Mine", Mine)
    cfg.MODEL.META_ARCHITECTURE = "Mine"
    with pytest.raises(UserError, match=r"Mine cannot be timed.*random_batch\(cfg, batch_size, num_boxes\)"):
        random_batch(cfg, 1, 1, torch.device("cpu"))


@pytest.mark.parametrize(("faster", "precision"), [(True, "bf16"), (False, "off")])
def test_model_report(cfg, monkeypatch, faster, precision):
    """On any processor, one that computes in bf16 or one that does not."""
    monkeypatch.setattr("modist_det.engine.precision.cpu_is_faster_in", lambda *_: faster)
    cfg.SOLVER.AMP.ENABLED = True
    report = benchmark_model(cfg, batch_size=2, num_boxes=1, warmup=1, repeat=3)
    table = rows(report)
    assert all(len(series.wall) == len(series.cpu) == 3 for series in report.series)
    assert all(series.items == 2 for series in report.series)
    parts = [table[f"training: {part}"] for part in ("forward", "backward", "optimizer")]
    assert table["training step"].wall == [
        sum(times) for times in zip(*(part.wall for part in parts), strict=True)
    ]
    assert table["training step"].facts["peak MiB"] >= 0
    assert report.settings["clips"] == "2x3x4x32x32"
    assert report.settings["amp"] == precision
    assert cfg.MODEL.NUM_CLASSES == 80  # where neither config nor data say
    expected = sum(p.numel() for p in build_model(cfg).parameters())
    assert report.settings["parameters"] == expected


def test_an_unknown_meta_architecture_is_a_mistake(cfg):
    cfg.MODEL.META_ARCHITECTURE = "VideoClasifier"
    with pytest.raises(UserError, match="did you mean 'VideoClassifier'"):
        benchmark_model(cfg, batch_size=1, num_boxes=1, warmup=0, repeat=1)


def test_peak_memory_is_a_peak():
    memory = PeakMemory(torch.device("cpu"))
    # Straight from the system: an allocator may have as much left over from earlier tests.
    with mmap.mmap(-1, 64 * 2**20) as block:
        for page in range(0, len(block), mmap.PAGESIZE):
            block[page] = 1
    assert 60 < memory.peak() < 90
    memory.reset()
    assert memory.peak() < 30


# ---- evaluator


def test_csv_pass_counts_rows(tmp_path):
    (tmp_path / "a.csv").write_text('x,1\n"y\nz",2\n')
    (tmp_path / "b.csv").write_text("x,1\n")
    assert csv_pass([tmp_path / "a.csv", tmp_path / "b.csv"]) == 3


def test_evaluator_report():
    report = benchmark_evaluator(500, 120, 60, repeat=3)
    reader, evaluation = report.series
    assert reader.items == evaluation.items == 500
    assert len(reader.wall) == len(evaluation.wall) == 3
    assert evaluation.facts["x csv pass"] == statistics.median(
        a / b for a, b in zip(evaluation.wall, reader.wall, strict=True)
    )
    assert report.settings["keyframes"] == 60
    assert 0 < report.settings["mAP"] < 1


@pytest.mark.parametrize("packed", [False, True])
def test_a_long_list(packed):
    report = benchmark_large_list(150, 1, packed=packed)
    assert [series.items for series in report.series] == [150, 150]
    assert all(series.wall[0] > 0 for series in report.series)
    memory = report.settings["private memory of a worker"]
    assert 1 < int(memory.split()[0]) < 1000
    assert "with 100 rows" in memory
