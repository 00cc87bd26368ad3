"""A feature bank holds what the detector's head pools for each person of each keyframe."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from modist_det.analysis.feature_bank import _Collector, make_feature_bank
from modist_det.config import get_cfg
from modist_det.data.mappers import DetectionMapper
from modist_det.modeling import FeatureBank, build_model
from modist_det.tasks import build_task
from modist_det.utils.errors import UserError


def _config(tiny_puppets, tmp_path, **more):
    cfg = get_cfg()
    keys = {
        "MODEL.RESNET3D.DEPTH": 18,
        "MODEL.RESNET3D.WIDTH": 4,
        "INPUT.NUM_FRAMES": 4,
        "INPUT.CROP_SIZE": 32,
        "INPUT.MIN_SIZE_TEST": 32,
        "DATASETS.TEST": [str(tiny_puppets / "val.yaml")],
        "DATALOADER.NUM_WORKERS": 0,
        "OUTPUT_DIR": str(tmp_path),
    }
    cfg.merge_from_list([word for pair in {**keys, **more}.items() for word in pair])
    return cfg


def test_features_are_those_of_the_head(tiny_puppets, tmp_path):
    cfg = _config(tiny_puppets, tmp_path)
    torch.manual_seed(1)  # other weights than those of a new model
    weights = tmp_path / "weights.pth"
    task = build_task(cfg)
    complete = cfg.clone()
    task.complete_config(complete)
    model = build_model(complete).eval()
    torch.save(model.state_dict(), weights)

    cfg.MODEL.WEIGHTS = str(weights)
    videos, people, channels = make_feature_bank(cfg, tmp_path / "bank.pt")
    records = task.test_data(complete, cfg.DATASETS.TEST[0])[0]
    assert people == sum(len(record.boxes) for record in records)
    assert (videos, channels) == (len({record.video_id for record in records}), 32)

    bank = FeatureBank.load([tmp_path / "bank.pt"])
    mapper = DetectionMapper.from_config(complete, is_train=False)
    for record in (records[0], records[len(records) - 1]):
        sample = mapper(record, np.random.default_rng(0))
        rois = torch.cat([torch.zeros(len(sample["boxes"]), 1), sample["boxes"]], dim=1)
        with torch.no_grad():
            expected = model.head.pooled(model.backbone(model.normalizer(sample["video"][None])), rois)
        found = bank.features[record.video_id][round(record.second)]
        assert found.dtype == torch.float16
        torch.testing.assert_close(found.float(), expected, rtol=1e-2, atol=1e-3)


def test_people_of_keyframes_of_one_second_follow_each_other():
    collector = _Collector()
    for video, second, value in (("a", 1.0, 1), ("a", 1.25, 2), ("a", 2.0, 3), ("b", 1.0, 4)):
        features = torch.full((2, 3), float(value))
        collector.process({"video_id": [video], "second": [second]}, [{"features": features}])
    first = {
        video: {s: rows[:, 0].tolist() for s, rows in bank.items()} for video, bank in collector.bank.items()
    }
    assert first == {"a": {1: [1, 1, 2, 2], 2: [3, 3]}, "b": {1: [4, 4]}}


def test_configs_that_have_no_features(tiny_puppets, tmp_path):
    cfg = _config(tiny_puppets, tmp_path, **{"MODEL.HEAD.NAME": "ACARHead"})
    with pytest.raises(UserError, match="needs MODEL.HEAD.NAME RoIActionHead, not ACARHead"):
        make_feature_bank(cfg, tmp_path / "bank.pt")
    cfg = _config(tiny_puppets, tmp_path, **{"DATASETS.TEST": []})
    with pytest.raises(UserError, match="the datasets in DATASETS.TEST"):
        make_feature_bank(cfg, tmp_path / "bank.pt")
    assert not (tmp_path / "bank.pt").exists()
