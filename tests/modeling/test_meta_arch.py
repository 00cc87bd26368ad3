"""ActionDetector and VideoClassifier: batches in, losses or predictions out."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from modist_det.config import get_cfg
from modist_det.modeling import (
    ActionDetector,
    ClassificationHead,
    ResNet3D,
    RoIActionHead,
    VideoClassifier,
    build_model,
)
from modist_det.modeling.losses import bce_with_logits, cross_entropy
from modist_det.modeling.meta_arch import ClipNormalizer
from modist_det.utils.errors import UserError

MEAN, STD = [0.45] * 3, [0.225] * 3


def _detector(classes: int = 3, **arguments) -> ActionDetector:
    torch.manual_seed(0)
    backbone = ResNet3D(depth=18, width=8, dilate_res5=True, norm="none", zero_init_final_norm=False)
    head = RoIActionHead(backbone.out_channels, classes, 16, dropout=0.0)
    return ActionDetector(backbone, head, bce_with_logits, MEAN, STD, **arguments)


def _classifier(loss=cross_entropy) -> VideoClassifier:
    torch.manual_seed(0)
    backbone = ResNet3D(depth=18, width=8, norm="none", zero_init_final_norm=False)
    return VideoClassifier(
        backbone, ClassificationHead(backbone.out_channels, 3, dropout=0.0), loss, MEAN, STD
    )


def _batch(counts=(2, 0, 1), classes: int = 3) -> dict:
    generator = torch.Generator().manual_seed(1)
    boxes = [torch.rand(n, 4, generator=generator) * 20 + torch.tensor([0, 0, 30, 30]) for n in counts]
    return {
        "video": torch.randint(0, 256, (len(counts), 3, 4, 64, 64), generator=generator, dtype=torch.uint8),
        "boxes": boxes,
        "labels": [torch.randint(0, 2, (n, classes), generator=generator).float() for n in counts],
    }


class TestNormalizer:
    def test_values(self):
        normalizer = ClipNormalizer([0.5, 0.25, 0.0], [0.5, 0.25, 2.0])
        video = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1, 1)
        # (0 - .5) / .5, (.2 - .25) / .25, (1 - 0) / 2
        assert normalizer(video).flatten().tolist() == pytest.approx([-1, -0.2, 0.5], abs=1e-6)

    def test_bgr_swaps_before_the_mean_is_taken_off(self):
        normalizer = ClipNormalizer([0.0, 0.0, 1.0], [1.0, 1.0, 1.0], input_format="BGR")
        video = torch.tensor([255, 0, 51], dtype=torch.uint8).view(1, 3, 1, 1, 1)
        assert normalizer(video).flatten().tolist() == pytest.approx([0.2, 0, 0], abs=1e-6)

    def test_float_clips_are_left_as_they_are(self):
        video = torch.randn(1, 3, 2, 4, 4)
        assert torch.equal(ClipNormalizer(MEAN, STD, "BGR")(video), video)

    def test_channels_last(self):
        video = torch.randint(0, 256, (2, 3, 4, 8, 8), dtype=torch.uint8)
        clip = ClipNormalizer(MEAN, STD, channels_last=True)(video)
        assert clip.is_contiguous(memory_format=torch.channels_last_3d)
        torch.testing.assert_close(clip, ClipNormalizer(MEAN, STD)(video))

    def test_frame_differences(self):
        video = torch.randint(0, 256, (2, 3, 4, 5, 6), dtype=torch.uint8)
        clip = ClipNormalizer(MEAN, STD)(video)
        moving = ClipNormalizer(MEAN, STD, frame_differences=True)(video)
        assert not moving[:, :, 0].any()
        for frame in range(1, 4):
            torch.testing.assert_close(moving[:, :, frame], clip[:, :, frame] - clip[:, :, frame - 1])

    def test_constants_stay_out_of_checkpoints(self):
        assert ClipNormalizer(MEAN, STD).state_dict() == {}

    @pytest.mark.parametrize(
        ("video", "message"),
        [
            (torch.zeros(3, 4, 8, 8, dtype=torch.uint8), r"\(B, 3, T, H, W\), not \(3, 4, 8, 8\)"),
            (torch.zeros(1, 1, 4, 8, 8, dtype=torch.uint8), r"\(B, 3, T, H, W\)"),
            (torch.zeros(1, 3, 4, 8, 8, dtype=torch.int32), "torch.int32"),
        ],
    )
    def test_other_clips_are_refused(self, video, message):
        with pytest.raises(UserError, match=message):
            ClipNormalizer(MEAN, STD)(video)

    def test_settings_that_do_not_work_are_named(self):
        with pytest.raises(UserError, match="MODEL.INPUT_FORMAT is 'GRB'"):
            ClipNormalizer(MEAN, STD, "GRB")
        with pytest.raises(UserError, match="MODEL.PIXEL_STD has 2"):
            ClipNormalizer(MEAN, STD[:2])


class TestActionDetector:
    def test_predictions_belong_to_their_clips(self):
        model, batch = _detector().eval(), _batch()
        with torch.no_grad():
            together = model(batch)
            for i in range(3):
                alone = model({"video": batch["video"][i : i + 1], "boxes": [batch["boxes"][i]]})
                torch.testing.assert_close(together[i]["scores"], alone[0]["scores"], rtol=1e-4, atol=1e-5)
        assert [tuple(p["scores"].shape) for p in together] == [(2, 3), (0, 3), (1, 3)]
        assert together[0]["scores"].dtype == torch.float32
        assert (together[0]["scores"][0] != together[0]["scores"][1]).any()

    def test_scores_times_those_of_the_persons(self):
        model, batch = _detector().eval(), _batch((2, 0, 1))
        with torch.no_grad():
            plain = model(batch)
            factors = [torch.tensor([0.5, 0.25]), torch.zeros(0), torch.tensor([0.8])]
            multiplied = model({**batch, "person_scores": factors})
        for before, after, factor in zip(plain, multiplied, factors, strict=True):
            torch.testing.assert_close(after["scores"], before["scores"] * factor[:, None])

    def test_loss_is_the_mean_over_all_boxes(self):
        model, batch = _detector(), _batch()
        loss = model(batch)["loss_action"]
        with torch.no_grad():
            scores = torch.cat([p["scores"] for p in model.eval()(batch)])
        expected = nn.functional.binary_cross_entropy(scores, torch.cat(batch["labels"]))
        assert loss.item() == pytest.approx(expected.item(), rel=1e-5)

    def test_loss_weight(self):
        batch = _batch()
        assert _detector(loss_weight=3.0)(batch)["loss_action"].item() == pytest.approx(
            3 * _detector()(batch)["loss_action"].item(), rel=1e-5
        )

    def test_batch_without_boxes_has_zero_loss_and_zero_gradients(self):
        model = _detector()
        loss = model(_batch(counts=(0, 0)))["loss_action"]
        loss.backward()
        assert loss.item() == 0
        assert all(p.grad is not None and p.grad.abs().max() == 0 for p in model.parameters())

    def test_learns_one_batch(self):
        model, batch = _detector(), _batch()
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        first = model(batch)["loss_action"].item()
        for _ in range(25):
            loss = model(batch)["loss_action"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert loss.item() < 0.2 * first

    @pytest.mark.parametrize("channels_last", [False, True])
    def test_autocast_and_memory_format_change_little(self, channels_last):
        batch = _batch()
        expected = _detector()(batch)["loss_action"]
        model = _detector(channels_last=channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(batch)["loss_action"]
        loss.backward()
        assert loss.dtype == torch.float32
        assert loss.item() == pytest.approx(expected.item(), rel=0.02)

    def test_a_training_step_never_looks_at_values(self):
        """Meta tensors have none: reading one, or indexing by a mask, would raise."""
        with torch.device("meta"):
            model = _detector()
        model(_batch())["loss_action"].backward()
        model.eval()
        assert [tuple(p["scores"].shape) for p in model(_batch())] == [(2, 3), (0, 3), (1, 3)]

    def test_one_tensor_of_boxes_per_clip(self):
        batch = _batch()
        batch["boxes"] = batch["boxes"][:2]
        with pytest.raises(UserError, match="2 for 3 clips"):
            _detector()(batch)

    def test_labels_must_fit_boxes_and_classes(self):
        with pytest.raises(UserError, match=r"labels are \(3, 5\).*3 boxes.*3 classes"):
            _detector()(_batch(classes=5))


class TestVideoClassifier:
    def test_loss_is_the_mean_over_clips(self):
        model, batch = _classifier(), _batch()
        losses = [
            model({"video": batch["video"], "labels": labels})["loss_class"].item()
            for labels in (
                [2, 0, 1],
                torch.tensor([2, 0, 1]),
                torch.eye(3)[[2, 0, 1]],
                list(torch.eye(3)[[2, 0, 1]]),
            )
        ]
        with torch.no_grad():
            scores = torch.stack([p["scores"] for p in model.eval()(batch)])
        expected = -(scores[0, 2].log() + scores[1, 0].log() + scores[2, 1].log()) / 3
        assert losses == pytest.approx([expected.item()] * 4, rel=1e-5)
        torch.testing.assert_close(scores.sum(1), torch.ones(3))

    def test_larger_clips_than_in_training(self):
        model = _classifier().eval()
        model.head.window = 2
        with torch.no_grad():
            (prediction,) = model({"video": torch.zeros(1, 3, 4, 96, 128, dtype=torch.uint8)})
        assert prediction["scores"].shape == (3,)

    @pytest.mark.parametrize(("fusion", "fuse"), [("mean", torch.mean), ("max", torch.amax)])
    def test_views_are_scored_one_by_one_and_fused(self, fusion, fuse):
        model = _classifier().eval()
        model.view_fusion, model.clips_per_forward = fusion, 4
        views = torch.randint(0, 256, (3, 2, 3, 4, 32, 32), dtype=torch.uint8)  # 6 views in chunks of 4
        with torch.no_grad():
            fused = torch.stack([p["scores"] for p in model({"video": views})])
            single = [torch.stack([p["scores"] for p in model({"video": v})]) for v in views.unbind(1)]
        torch.testing.assert_close(fused, fuse(torch.stack(single), dim=0))

    def test_smoothed_labels(self):
        model, batch = _classifier(), _batch()
        model.label_smoothing = 0.3
        smoothed = torch.tensor([[0.1, 0.1, 0.8], [0.8, 0.1, 0.1], [0.1, 0.8, 0.1]])
        loss = model({"video": batch["video"], "labels": [2, 0, 1]})["loss_class"]
        one_hot = model({"video": batch["video"], "labels": torch.eye(3)[[2, 0, 1]]})["loss_class"]
        model.label_smoothing = 0.0
        expected = model({"video": batch["video"], "labels": smoothed})["loss_class"]
        torch.testing.assert_close(loss, expected)
        torch.testing.assert_close(one_hot, expected)

    def test_repeated_clips_share_their_labels(self):
        model = _classifier()
        video = torch.randint(0, 256, (2, 3, 3, 4, 32, 32), dtype=torch.uint8)  # 3 clips of 2 videos
        loss = model({"video": video, "labels": [2, 0]})["loss_class"]
        flat = model({"video": video.flatten(0, 1), "labels": [2, 2, 2, 0, 0, 0]})["loss_class"]
        torch.testing.assert_close(loss, flat)

    def test_mixed_batches_mix_labels_with_clips(self):
        model, batch = _classifier(), _batch()
        seen = {}

        def mixer(clips, targets):
            seen["targets"] = targets
            return clips, targets.roll(1, 0)

        model.mixer = mixer
        loss = model({"video": batch["video"], "labels": [2, 0, 1]})["loss_class"]
        model.mixer = None
        torch.testing.assert_close(seen["targets"], torch.eye(3)[[2, 0, 1]])
        torch.testing.assert_close(loss, model({"video": batch["video"], "labels": [1, 2, 0]})["loss_class"])

    def test_labels_must_fit_clips_and_classes(self):
        batch = _batch()
        for labels in ([0, 1], torch.zeros(3, 4)):
            with pytest.raises(UserError, match="labels are .*3 clips.*3 classes"):
                _classifier()({"video": batch["video"], "labels": labels})


class TestBuildModel:
    def _config(self, name: str):
        cfg = get_cfg()
        cfg.MODEL.META_ARCHITECTURE = name
        cfg.MODEL.NUM_CLASSES = 4
        cfg.MODEL.RESNET3D.DEPTH, cfg.MODEL.RESNET3D.WIDTH = 18, 8
        return cfg

    def test_detector_from_config(self):
        cfg = self._config("ActionDetector")
        cfg.MODEL.INPUT_FORMAT, cfg.MODEL.CHANNELS_LAST, cfg.MODEL.LOSS.WEIGHT = "BGR", True, 2.0
        model = build_model(cfg)
        assert isinstance(model, ActionDetector)
        assert {p.device.type for p in model.parameters()} == {"cpu"}
        assert model.normalizer.swap_channels
        assert model.normalizer.memory_format == torch.channels_last_3d
        assert model.loss_weight == 2
        model(_batch(classes=4))["loss_action"].backward()

    def test_classifier_from_config(self):
        cfg = self._config("VideoClassifier")
        cfg.MODEL.HEAD.NAME, cfg.MODEL.HEAD.ACTIVATION = "ClassificationHead", "softmax"
        cfg.MODEL.LOSS.NAME = "cross_entropy"
        model = build_model(cfg)
        assert isinstance(model, VideoClassifier)
        model({"video": _batch()["video"], "labels": [0, 3, 1]})["loss_class"].backward()

    def test_same_seed_same_weights(self):
        cfg = self._config("ActionDetector")
        states = []
        for _ in range(2):
            torch.manual_seed(5)
            states.append(build_model(cfg).state_dict())
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])

    def test_errors_name_the_key(self):
        cfg = self._config("ActionDetector")
        cfg.MODEL.NUM_CLASSES = 0
        with pytest.raises(UserError, match="MODEL.NUM_CLASSES is 0: set the number"):
            build_model(cfg)
        with pytest.raises(UserError, match="MODEL.META_ARCHITECTURE.*did you mean 'ActionDetector'"):
            build_model(self._config("Detector"))


@pytest.mark.parametrize(
    ("architecture", "head"),
    [("ActionDetector", "ClassificationHead"), ("VideoClassifier", "RoIActionHead")],
)
def test_a_head_for_another_task_is_refused(architecture, head):
    cfg = get_cfg()
    cfg.MODEL.RESNET3D.DEPTH, cfg.MODEL.RESNET3D.WIDTH, cfg.MODEL.NUM_CLASSES = 18, 8, 3
    cfg.MODEL.META_ARCHITECTURE, cfg.MODEL.HEAD.NAME = architecture, head
    with pytest.raises(
        UserError, match=f"MODEL.HEAD.NAME {head} is for .*MODEL.META_ARCHITECTURE {architecture} is for"
    ):
        build_model(cfg)
