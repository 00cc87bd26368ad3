"""Which records make up a share of a training set."""

from __future__ import annotations

import numpy as np
import pytest

from modist_det.config import get_cfg
from modist_det.data.catalog import DatasetCatalog
from modist_det.data.datasets import VideoRecord
from modist_det.data.few_labels import keyframe_share, stratified_share, video_share
from modist_det.tasks import build_task


def records(*labels):
    return [VideoRecord(i, str(i), f"{i}.mp4", labels=label) for i, label in enumerate(labels)]


def test_each_class_gives_its_share_and_at_least_one():
    videos = records(*[(0,)] * 20, *[(1,)] * 7, *[(2,)] * 2)
    kept = video_share(videos, 0.25, seed=0)
    counts = np.bincount([r.labels[0] for r in kept])
    assert counts.tolist() == [5, 2, 1]  # 5, 1.75, 0.5 rounded
    assert [r.number for r in kept] == sorted(r.number for r in kept)
    assert video_share(videos, 1.0, seed=0) == videos


def test_seeds_differ_and_larger_shares_include_smaller_ones():
    videos = records(*[(0,), (1,)] * 50)
    numbers = [{r.number for r in video_share(videos, share, seed=3)} for share in (0.1, 0.2, 0.5)]
    assert [len(n) for n in numbers] == [10, 20, 50]
    assert numbers[0] < numbers[1] < numbers[2]
    assert numbers[0] == {r.number for r in video_share(videos, 0.1, seed=3)}
    assert numbers[0] != {r.number for r in video_share(videos, 0.1, seed=4)}


def test_an_item_counts_for_its_rarest_label():
    # Label 0 is on all ten, label 1 on items 2 and 5; item 10 has none.
    items = np.array([*range(10), 2, 5, 5])
    labels = np.array([0] * 10 + [1, 1, 1])
    for seed in range(5):
        kept = stratified_share(items, labels, 11, 0.5, seed)
        assert len(kept) == 4 + 1 + 1
        assert 10 in kept and len({2, 5} & set(kept.tolist())) == 1


@pytest.fixture
def keyframes(tiny_puppets):
    return DatasetCatalog.get(str(tiny_puppets / "train.yaml")).records()


def test_keyframes_keep_their_persons(keyframes):
    kept = keyframe_share(keyframes, 0.4, seed=1)
    assert len(kept) == pytest.approx(0.4 * len(keyframes), abs=3)
    by_id = {record.id: record for record in keyframes}
    for record in kept:
        whole = by_id[record.id]
        assert (record.video, record.time, record.actions) == (whole.video, whole.time, whole.actions)
        np.testing.assert_array_equal(record.boxes, whole.boxes)
        np.testing.assert_array_equal(record.scores, whole.scores)


def test_detection_trains_on_the_share(tiny_puppets, keyframes):
    cfg = get_cfg()
    cfg.merge_from_list(["DATASETS.TRAIN", f"['{tiny_puppets}/train.yaml']", "DATASETS.TRAIN_SHARE", "0.4"])
    cfg.MODEL.NUM_CLASSES = 80
    trained, _ = build_task(cfg).train_data(cfg)
    assert [r.id for r in trained] == [r.id for r in keyframe_share(keyframes, 0.4, seed=0)]
