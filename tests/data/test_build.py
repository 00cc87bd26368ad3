"""Loaders: records in, batches out."""

from __future__ import annotations

import logging
import subprocess
import sys
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from modist_det.data.augmentation import Augmentation, Crop, Sometimes, color_jitter, flip
from modist_det.data.bad_videos import BadVideoMonitor, num_samples
from modist_det.data.build import (
    Item,
    MappedDataset,
    build_test_loader,
    build_train_loader,
    collate,
    collate_by_size,
)
from modist_det.data.datasets import AVADataset, DetectionRecords
from modist_det.data.mappers import DetectionMapper
from modist_det.motion.map_file import MapFileError
from modist_det.puppets.writers import write_video
from modist_det.utils.errors import UserError

SIZES = {"a": (48, 64), "b": (48, 64), "c": (48, 80), "d": (64, 48)}  # height, width


def write_set(folder: Path, videos: list[str], seconds: int = 3) -> AVADataset:
    """A dataset with one person in each keyframe, whose class is 1 or 2."""
    rows = [
        f"{video},{second},0.2,0.2,0.7,0.8,{1 + (second + i) % 2}"
        for i, video in enumerate(videos)
        for second in range(seconds)
    ]
    (folder / "gt.csv").write_text("\n".join(rows) + "\n")
    (folder / "labels.pbtxt").write_text('item { name: "x" id: 1 }\nitem { name: "y" id: 2 }\n')
    return AVADataset("mine", folder / "videos", folder / "labels.pbtxt", annotations=folder / "gt.csv")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Four videos of three sizes and two files that are not videos."""
    folder = tmp_path_factory.mktemp("set")
    (folder / "videos").mkdir()
    rng = np.random.default_rng(0)
    for name, (height, width) in SIZES.items():
        noise = (
            rng.integers(0, 256, (1, height // 8, width // 8, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
        )
        frames = np.concatenate([np.roll(noise, shift, axis=2) for shift in range(16)])
        write_video(folder / "videos" / f"{name}.mp4", frames, fps=5)
    (folder / "videos" / "text.mp4").write_text("this is not a video")
    (folder / "videos" / "zero.mp4").touch()
    return folder


@pytest.fixture
def good(folder) -> DetectionRecords:
    return write_set(folder, list(SIZES)).records()


@pytest.fixture
def mixed(folder) -> DetectionRecords:
    """12 keyframes that can be read, 6 that cannot."""
    return write_set(folder, ["a", "text", "b", "c", "zero", "d"]).records()


@pytest.fixture
def bad(folder) -> DetectionRecords:
    return write_set(folder, ["text", "zero"]).records()


def train_mapper() -> DetectionMapper:
    jitter = partial(color_jitter, ranges=(0.4, 0.4, 0.4))
    steps = (Sometimes(0.5, flip), Sometimes(0.5, jitter))
    augmentation = Augmentation(Crop(32, 32, 40), steps)
    return DetectionMapper(2, num_frames=2, sampling_rate=2, target_fps=5, augmentation=augmentation)


def eval_mapper() -> DetectionMapper:
    return DetectionMapper(2, num_frames=2, sampling_rate=2, target_fps=5, min_size_test=32)


def assert_equal(first, second) -> None:
    """The same keys and the same values, tensors bit for bit."""
    assert type(first) is type(second)
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_equal(first[key], second[key])
    elif isinstance(first, (list, tuple)):
        assert len(first) == len(second)
        for a, b in zip(first, second, strict=True):
            assert_equal(a, b)
    elif isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    else:
        assert first == second


# ---- training ---------------------------------------------------------------------------------


def train_batches(records, count: int, **settings) -> list[dict]:
    settings = {"batch_size": 4, "seed": 3} | settings
    return list(islice(build_train_loader(records, train_mapper(), **settings), count))


def test_a_training_batch(good) -> None:
    (batch,) = train_batches(good, 1)
    assert batch["video"].shape == (4, 3, 2, 32, 32) and batch["video"].dtype == torch.uint8
    assert batch["bad_videos"] == []
    for key in ("boxes", "labels", "id", "video_id", "second", "original_boxes", "original_size"):
        assert isinstance(batch[key], list) and len(batch[key]) == 4
    assert all(
        boxes.shape == (1, 4) and labels.sum() == 1
        for boxes, labels in zip(batch["boxes"], batch["labels"], strict=True)
    )


def test_workers_change_nothing(mixed) -> None:
    """Bad videos and what replaces them included."""
    alone, together = train_batches(mixed, 5), train_batches(mixed, 5, num_workers=2)
    assert_equal(alone, together)
    assert any(batch["bad_videos"] for batch in alone)


def test_processes_share_the_batches_of_one(good) -> None:
    whole = train_batches(good, 3)
    ranks = [train_batches(good, 3, rank=r, world_size=2) for r in range(2)]
    for expected, first, second in zip(whole, *ranks, strict=True):
        assert_equal(expected["video"], torch.cat([first["video"], second["video"]]))
        assert_equal(expected["boxes"], first["boxes"] + second["boxes"])
        assert expected["id"] == first["id"] + second["id"]


def test_a_resumed_stream_goes_on_exactly(good) -> None:
    # 12 records make 3 iterations an epoch: iteration 4 is in the second.
    assert_equal(train_batches(good, 7)[4:], train_batches(good, 3, start_iteration=4))
    parts = train_batches(good, 14, accumulation_steps=2)
    assert_equal(parts[8:], train_batches(good, 6, accumulation_steps=2, start_iteration=4))
    assert parts[0]["video"].shape[0] == 2


def test_augmentation_differs_between_epochs_and_seeds(good) -> None:
    def clips(seed: int) -> dict[tuple[int, str], torch.Tensor]:
        batches = train_batches(good, 6, seed=seed)
        return {
            (i // 3, name): clip
            for i, b in enumerate(batches)
            for name, clip in zip(b["id"], b["video"], strict=True)
        }

    first, other = clips(0), clips(1)
    assert not any(torch.equal(first[0, name], first[1, name]) for epoch, name in first if epoch == 0)
    assert not any(torch.equal(first[key], other[key]) for key in first)


def test_batch_of_one_and_fewer_records_than_a_batch(good, folder) -> None:
    assert train_batches(good, 1, batch_size=1)[0]["video"].shape[0] == 1
    two = write_set(folder, ["a"], seconds=2).records()
    (batch,) = train_batches(two, 1, batch_size=5)
    assert batch["video"].shape[0] == 5 and set(batch["id"]) == {"a,0000", "a,0001"}


def test_an_unreadable_video_is_replaced(mixed, folder) -> None:
    batches = train_batches(mixed, 8)
    bad = [entry for batch in batches for entry in batch["bad_videos"]]
    assert {path for path, _ in bad} == {str(folder / "videos" / f"{name}.mp4") for name in ("text", "zero")}
    assert all(reason for _, reason in bad)
    assert all(
        batch["video"].shape[0] == 4 and {"text", "zero"}.isdisjoint(batch["video_id"]) for batch in batches
    )


def test_no_video_can_be_read_in_training(bad) -> None:
    with pytest.raises(
        UserError, match=r"11 videos drawn one after the other could not be read: .*(text|zero)\.mp4: "
    ) as caught:
        train_batches(bad, 1)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"could not be read") as caught:
        train_batches(bad, 1, num_workers=1)
    assert "\n" not in str(caught.value)


def no_maps(record, rng):
    raise MapFileError("maps/a.motion", "there are none")


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize("build", [build_train_loader, build_test_loader])
def test_a_mistake_that_a_worker_meets_is_one_line(good, build, num_workers) -> None:
    with pytest.raises(MapFileError) as caught:
        next(iter(build(good, no_maps, batch_size=2, num_workers=num_workers)))
    assert str(caught.value) == str(MapFileError("maps/a.motion", "there are none"))


def test_an_iterator_that_is_left_open_does_not_keep_the_program_from_ending() -> None:
    program = """
import torch
from modist_det.data.build import build_train_loader

def mapper(record, rng):
    return {"video": torch.zeros(3, 1, 2, 2, dtype=torch.uint8)}

batches = build_train_loader(range(8), mapper, batch_size=2, num_workers=1)
next(batches)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "Traceback" not in done.stderr


def test_no_records() -> None:
    with pytest.raises(UserError, match="nothing to train on"):
        build_train_loader([], train_mapper(), batch_size=4)


def test_loaders_leave_the_global_generator_alone(good) -> None:
    before = torch.get_rng_state()
    train_batches(good, 2), list(build_test_loader(good, eval_mapper(), batch_size=4))
    assert torch.equal(torch.get_rng_state(), before)


# ---- evaluation -------------------------------------------------------------------------------


def test_evaluation_sees_every_clip_once_in_batches_of_one_size(good) -> None:
    loader = build_test_loader(good, eval_mapper(), batch_size=4)
    batches = list(loader)
    assert loader.num_clips == 12
    assert sorted(name for batch in batches for name in batch["id"]) == sorted(record.id for record in good)
    # a, a, a, b | b, b, c, c | c, d, d, d; d is 48 wide.
    assert [tuple(batch["video"].shape) for batch in batches] == [
        (4, 3, 2, 32, 42),
        (2, 3, 2, 32, 42),
        (2, 3, 2, 32, 53),
        (1, 3, 2, 32, 53),
        (3, 3, 2, 42, 32),
    ]
    for batch in batches:
        assert len(batch["boxes"]) == len(batch["id"]) == len(batch["video"])


def test_a_second_pass_equals_the_first_with_any_number_of_workers(mixed) -> None:
    loader = build_test_loader(mixed, eval_mapper(), batch_size=5)
    first = list(loader)
    assert_equal(first, list(loader))
    assert_equal(first, list(build_test_loader(mixed, eval_mapper(), batch_size=5, num_workers=2)))


def test_spawned_workers(mixed) -> None:
    loader = build_test_loader(mixed, eval_mapper(), batch_size=9, num_workers=1)
    loader.loader.multiprocessing_context = "spawn"
    assert_equal(list(loader), list(build_test_loader(mixed, eval_mapper(), batch_size=9)))


@pytest.mark.parametrize("world_size", [2, 5, 20])
def test_shards_of_evaluation(good, world_size) -> None:
    loaders = [
        build_test_loader(good, eval_mapper(), batch_size=3, rank=r, world_size=world_size)
        for r in range(world_size)
    ]
    names = [name for loader in loaders for batch in loader for name in batch["id"]]
    assert sorted(names) == sorted(record.id for record in good)
    assert sum(loader.num_clips for loader in loaders) == 12


def test_unreadable_videos_are_left_out_of_evaluation(mixed, folder) -> None:
    batches = list(build_test_loader(mixed, eval_mapper(), batch_size=3))
    # Of each video there are three clips: the second and the fifth batch have no clip that can be read.
    assert ["video" in batch for batch in batches] == [True, False, True, True, False, True]
    assert sorted({video for batch in batches for video in batch.get("video_id", [])}) == ["a", "b", "c", "d"]
    assert [Path(path).stem for batch in batches for path, _ in batch["bad_videos"]] == ["text"] * 3 + [
        "zero"
    ] * 3


def test_collate_by_hand() -> None:
    def item(width: int, name: str, *bad: tuple[str, str]) -> Item:
        return Item({"video": torch.zeros(3, 1, 2, width, dtype=torch.uint8), "id": name}, list(bad))

    items = [item(4, "p"), item(6, "q", ("x.mp4", "broken")), Item(None, [("y.mp4", "empty")]), item(4, "r")]
    first, second = collate_by_size(items)
    assert first["id"] == ["p", "r"] and first["video"].shape == (2, 3, 1, 2, 4)
    assert second["id"] == ["q"] and second["bad_videos"] == []
    assert first["bad_videos"] == [("x.mp4", "broken"), ("y.mp4", "empty")]
    assert collate_by_size([items[2]]) == [{"bad_videos": [("y.mp4", "empty")]}]
    whole = collate([items[0], items[2], items[3]])
    assert whole["id"] == ["p", "r"] and whole["bad_videos"] == [("y.mp4", "empty")]


def test_samples_are_counted_by_their_ids() -> None:
    """A task's own collate function may add entries that are not per sample, in any order."""

    def stack(samples: list) -> dict:
        return {"longest": 7, "scale": (0.5, 2.0), "id": [sample["id"] for sample in samples]}

    records = ["a", "b", "c"]
    batches = build_train_loader(records, lambda record, rng: {"id": record}, stack=stack, batch_size=3)
    batch = next(BadVideoMonitor(min_samples=1).watch(batches))
    assert sorted(batch["id"]) == records and batch["longest"] == 7
    assert num_samples({"bad_videos": [], "scale": (0.5, 2.0), "video": records}) == 3
    assert (
        num_samples({"bad_videos": [], "frames": records, "labels": [1]}) == 3
    )  # the first of what there is
    assert num_samples({"bad_videos": [("a.mp4", "empty")]}) == 0


def test_items_follow_from_their_key(good) -> None:
    dataset = MappedDataset(good, train_mapper(), seed=1)
    assert len(dataset) == 12
    assert_equal(dataset[0, 5], dataset[0, 5])
    assert not torch.equal(dataset[0, 5].sample["video"], dataset[1, 5].sample["video"])


def test_repeats_of_a_record_within_a_batch_are_augmented_differently(good) -> None:
    few = good[:3]
    batch = next(build_train_loader(few, train_mapper(), batch_size=6, seed=1))
    assert batch["id"][:3] == batch["id"][3:]
    for first, repeat in zip(batch["video"][:3], batch["video"][3:], strict=True):
        assert not torch.equal(first, repeat)
    assert_equal(
        MappedDataset(few, train_mapper(), seed=1)[0, 2], MappedDataset(good, train_mapper(), seed=1)[0, 2]
    )


# ---- counting bad videos ------------------------------------------------------------------------


def test_monitor_stops_past_the_rate_and_not_before() -> None:
    monitor = BadVideoMonitor(max_rate=0.1, min_samples=20)
    monitor.update([("x.mp4", "broken")], 0)  # 1 of 1, but too few to judge
    monitor.update([], 18)  # 1 of 19
    monitor.update([("x.mp4", "broken")], 0)  # 2 of 20 are the limit
    with pytest.raises(
        UserError,
        match=r"3 of 21 samples could not be read, more than the 10.00% .*: x.mp4: broken; y.mp4: empty$",
    ):
        monitor.update([("y.mp4", "empty")], 0)


def test_monitor_names_each_video_once(caplog) -> None:
    monitor = BadVideoMonitor(max_rate=1.0)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            monitor.update([("x.mp4", "broken"), ("y.mp4", "empty")], 5)
    assert caplog.text.count("x.mp4: broken") == 1 and caplog.text.count("y.mp4: empty") == 1


def test_monitor_lists_a_few(folder) -> None:
    monitor = BadVideoMonitor(max_rate=0.0, min_samples=1)
    with pytest.raises(UserError, match=r"v4.mp4: broken; and 3 more$"):
        monitor.update([(f"v{i}.mp4", "broken") for i in range(8)], 100)


def test_watch_drops_batches_without_clips_and_judges_at_the_end(mixed) -> None:
    loader = build_test_loader(mixed, eval_mapper(), batch_size=3)
    names = [name for batch in BadVideoMonitor(0.4).watch(loader) for name in batch["id"]]
    assert len(names) == 12
    seen = 0
    with pytest.raises(UserError, match="6 of 18 samples could not be read"):
        for batch in BadVideoMonitor(0.3).watch(loader):
            seen += len(batch["id"])
    assert seen == 12


def test_watch_of_nothing(bad) -> None:
    assert list(BadVideoMonitor(0.0).watch([])) == []
    with pytest.raises(UserError, match="6 of 6 samples"):
        list(BadVideoMonitor(0.5).watch(build_test_loader(bad, eval_mapper(), batch_size=4)))
