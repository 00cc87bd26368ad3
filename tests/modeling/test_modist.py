"""The MoDist model: which terms, views, queues and encoders take part."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from modist_det.config import get_cfg
from modist_det.modeling import build_model
from modist_det.modeling.losses.infonce import info_nce
from modist_det.modeling.registry import META_ARCH_REGISTRY
from modist_det.utils.errors import UserError
from tests.modeling.tiny_methods import tiny_batch, tiny_method


def small_model(*, accumulation_steps=1, **changes):
    return tiny_method("MoDist", accumulation_steps=accumulation_steps, **changes)


def embed(model, side, modality, clips):
    encoder = getattr(model, side)[modality]
    return encoder(model.normalizer[modality](clips))


@pytest.mark.parametrize("same_time", [False, True])
def test_terms_against_their_definition(same_time):
    model, batch = (
        small_model(MOTION_WEIGHT=0.5, SAME_TIME=same_time, MOMENTUM=1.0, TEMPERATURE=0.2),
        tiny_batch(),
    )
    queues = {name: queue.keys.clone() for name, queue in model.queue.items()}
    numbers = model(batch)
    rgb, motion = batch["video"], batch["motion"].expand(-1, -1, 3, -1, -1, -1)
    motion_query, motion_key = (1, 0) if same_time else (0, 1)
    query = {
        "visual": embed(model, "query", "visual", rgb[:, 0]),
        "motion": embed(model, "query", "motion", motion[:, motion_query]),
    }
    key = {
        "visual": embed(model, "key", "visual", rgb[:, 1]),
        "motion": embed(model, "key", "motion", motion[:, motion_key]),
    }
    weights = {
        ("visual", "visual"): 1,
        ("visual", "motion"): 1,
        ("motion", "visual"): 1,
        ("motion", "motion"): 0.5,
    }
    for (q, k), weight in weights.items():
        expected = weight * info_nce(query[q], key[k], queues[k], 0.2).loss
        torch.testing.assert_close(numbers[f"loss_{q}_{k}"], expected)
        # Negatives come from the key's modality; the new keys are in its queue now, in order.
        torch.testing.assert_close(model.queue[k].keys[:2], key[k])
        assert model.queue[k].videos.tolist() == [0, 1] + [-1] * 6


@pytest.mark.parametrize("side", ["key", "query"])
def test_negatives_of_either_modality(side):
    model, batch = small_model(CROSS_NEGATIVES=side, MOMENTUM=1.0, MASK_SAME_VIDEO=True), tiny_batch()
    model(batch)
    queues = {name: queue.keys.clone() for name, queue in model.queue.items()}
    numbers = model(batch)
    motion = batch["motion"].expand(-1, -1, 3, -1, -1, -1)
    query = {"visual": batch["video"][:, 0], "motion": motion[:, 0]}
    key = {"visual": batch["video"][:, 1], "motion": motion[:, 1]}
    excluded = torch.tensor([[True, False] + [False] * 6, [False, True] + [False] * 6])
    for q, k in (("visual", "motion"), ("motion", "visual"), ("visual", "visual")):
        negatives = queues[{"key": k, "query": q}[side]]
        pair = embed(model, "query", q, query[q]), embed(model, "key", k, key[k])
        expected = info_nce(*pair, negatives, 0.1, excluded).loss
        torch.testing.assert_close(numbers[f"loss_{q}_{k}"], expected)


def test_the_queue_of_the_negatives_is_filled_even_if_no_term_has_its_keys():
    model = small_model(CROSS_NEGATIVES="query", VISUAL_WEIGHT=0.0, CROSS_DIRECTIONS=[1.0, 0.0])
    assert list(model.terms) == [("visual", "motion")]
    model(tiny_batch())
    assert model.queue["visual"].videos.tolist() == [0, 1] + [-1] * 6
    with pytest.raises(UserError, match="CROSS_NEGATIVES is 'keys'; known: 'key', 'query'"):
        small_model(CROSS_NEGATIVES="keys")


@pytest.mark.parametrize("name", ["MoDist", "BYOL", "SimCLR"])
def test_the_directions_have_weights_of_their_own(name):
    def losses(*directions):
        model = tiny_method(name, CROSS_WEIGHT=2.0, CROSS_DIRECTIONS=list(directions))
        return {key: value.item() for key, value in model(tiny_batch()).items() if key.startswith("loss")}

    both, apart = losses(1.0, 1.0), losses(0.5, 3.0)
    assert apart["loss_visual_visual"] == pytest.approx(both["loss_visual_visual"])
    assert apart["loss_visual_motion"] == pytest.approx(0.5 * both["loss_visual_motion"])
    assert apart["loss_motion_visual"] == pytest.approx(3.0 * both["loss_motion_visual"])
    one = losses(0.0, 1.0)
    assert "loss_visual_motion" not in one
    # BYOL's initial weights are other ones: it has a predictor less.
    assert name == "BYOL" or one["loss_motion_visual"] == pytest.approx(both["loss_motion_visual"])
    assert set(losses(0.0, 0.0)) == {"loss_visual_visual"}


def test_an_encoder_that_only_makes_keys_is_not_trained():
    model = small_model(CROSS_DIRECTIONS=[1.0, 0.0])
    assert not any(p.requires_grad for p in model.query["motion"].parameters())
    numbers = model(tiny_batch())
    sum(value for name, value in numbers.items() if name.startswith("loss")).backward()
    assert all(p.grad is not None for p in model.query["visual"].parameters())
    for follower, leader in zip(
        model.key["motion"].parameters(), model.query["motion"].parameters(), strict=True
    ):
        assert torch.equal(follower, leader)
    # SimCLR trains both sides of a term.
    model = tiny_method("SimCLR", CROSS_WEIGHT=1.0, CROSS_DIRECTIONS=[1.0, 0.0])
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("name", ["MoDist", "BYOL"])
def test_motion_queries_alone_train_no_visual_backbone(name):
    with pytest.raises(UserError, match="CROSS_DIRECTIONS leaves out the terms that train RGB"):
        tiny_method(name, VISUAL_WEIGHT=0.0, CROSS_WEIGHT=1.0, CROSS_DIRECTIONS=[0.0, 1.0])


def test_a_frozen_motion_pathway_only_learns_its_projection():
    cfg = get_cfg()
    cfg.merge_from_list(["MODEL.RESNET3D.DEPTH", 18, "MODEL.RESNET3D.WIDTH", 4, "MODEL.MODIST.QUEUE_SIZE", 8])
    cfg.merge_from_list(["MODEL.MOTION_PATHWAY.DEPTH", 18, "MODEL.MOTION_PATHWAY.WIDTH", 2])
    cfg.merge_from_list(["MODEL.META_ARCHITECTURE", "MoDist", "MODEL.MOTION_PATHWAY.FREEZE", True])
    model = build_model(cfg).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    numbers = model(tiny_batch())
    sum(value for name, value in numbers.items() if name.startswith("loss")).backward()
    optimizer.step()
    after = model.state_dict()
    for side in ("query.", "key."):
        for name in (n for n in after if n.startswith(f"{side}motion.backbone.")):
            assert torch.equal(after[name], before[name])  # BN statistics, too
    for name in ("query.motion.projection.layers.0.weight", "query.visual.backbone.stem.conv.weight"):
        assert not torch.equal(after[name], before[name])
    # MODEL.BACKBONE.FREEZE is for both pathways.
    cfg.merge_from_list(["MODEL.MOTION_PATHWAY.FREEZE", False, "MODEL.BACKBONE.FREEZE", True])
    learning = {name for name, p in build_model(cfg).query.named_parameters() if p.requires_grad}
    assert learning and not any(".backbone." in name for name in learning)


def test_the_motion_pathway_has_its_own_settings():
    model = small_model(MOTION_MEAN=[0.5] * 2)
    visual, motion = (model.query[name].backbone for name in ("visual", "motion"))
    assert visual.out_channels == (32,) and motion.out_channels == (16,)  # 8 times the width
    assert visual.stem.conv.in_channels == 3 and motion.stem.conv.in_channels == 2


def test_rgb_only_builds_no_motion_pathway():
    model = small_model(CROSS_WEIGHT=0.0)
    assert list(model.query) == list(model.key) == list(model.queue) == ["visual"]
    batch = tiny_batch()
    del batch["motion"]
    assert {name for name in model(batch) if name.startswith("loss")} == {"loss_visual_visual"}
    cfg = get_cfg()
    cfg.MODEL.MOTION_PATHWAY.WEIGHTS = "run"
    assert model.further_weights(cfg) == {}


@pytest.mark.parametrize("motion_weight", [0.0, 1.0])
def test_without_a_visual_term_there_is_nothing_to_train(motion_weight):
    with pytest.raises(UserError, match="VISUAL_WEIGHT and CROSS_WEIGHT are both 0"):
        small_model(CROSS_WEIGHT=0.0, VISUAL_WEIGHT=0.0, MOTION_WEIGHT=motion_weight)


def test_impossible_projection_heads_are_named():
    with pytest.raises(UserError, match="PROJECTION_NORM is 'LN'; known: 'none', 'BN'"):
        small_model(PROJECTION_NORM="LN")
    model = small_model(PROJECTION_NORM="BN")
    with pytest.raises(UserError, match="PROJECTION_NORM BN needs at least two clips"):
        model(tiny_batch(size=1))
    assert model(tiny_batch(size=2))["loss_visual_motion"].isfinite()


def test_keys_of_the_same_video_are_no_negatives():
    model, batch = small_model(MASK_SAME_VIDEO=True, CROSS_WEIGHT=0.0, MOMENTUM=1.0), tiny_batch()
    model(batch)
    kept = model.queue["visual"].keys.clone()
    second = model(batch)["loss_visual_visual"]
    query = embed(model, "query", "visual", batch["video"][:, 0])
    key = embed(model, "key", "visual", batch["video"][:, 1])
    excluded = torch.tensor([[True, False] + [False] * 6, [False, True] + [False] * 6])
    torch.testing.assert_close(second, info_nce(query, key, kept, 0.1, excluded).loss)


def test_key_encoders_follow_once_a_step_and_get_no_gradient():
    model = small_model()
    with torch.no_grad():
        for parameter in model.query.parameters():
            parameter += 1.0
    before = [p.clone() for p in model.key.parameters()]
    numbers = model(tiny_batch())
    sum(value for name, value in numbers.items() if name.startswith("loss")).backward()
    for old, follower, leader in zip(before, model.key.parameters(), model.query.parameters(), strict=True):
        torch.testing.assert_close(follower.detach(), (old + leader.detach()) / 2)
        assert follower.grad is None and leader.grad is not None


def test_accumulated_passes_move_the_keys_as_far_as_one():
    whole, parts = small_model(), small_model(accumulation_steps=3)
    for model, passes in ((whole, 1), (parts, 3)):
        with torch.no_grad():
            for parameter in model.query.parameters():
                parameter += 1.0
        for _ in range(passes):
            model(tiny_batch())
    for one, three in zip(whole.key.parameters(), parts.key.parameters(), strict=True):
        torch.testing.assert_close(one, three)


def test_bn_statistics_without_gradients_leave_keys_and_queues_alone():
    model = small_model()
    with torch.no_grad():
        for parameter in model.query.parameters():
            parameter += 1.0
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        again = [model(tiny_batch()), model(tiny_batch())]
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert again[0]["loss_visual_motion"] == again[1]["loss_visual_motion"]
    model(tiny_batch())
    assert not torch.equal(model.queue["visual"].keys, before["queue.visual.keys"])


@pytest.mark.parametrize("shuffle", [False, True])
def test_clips_are_shuffled_only_where_asked(shuffle):
    model = small_model(SHUFFLE_BN=shuffle)
    before = torch.get_rng_state()
    model(tiny_batch())
    assert torch.equal(torch.get_rng_state(), before) != shuffle


def test_momentum_follows_the_progress():
    model = small_model(ANNEAL_MOMENTUM=True)
    model.set_progress(0.5)
    assert model.key.momentum == pytest.approx(0.75)


def test_evaluation_gives_pooled_features_of_the_visual_query_backbone():
    model = small_model().eval()
    clips = tiny_batch()["video"][:, 0]
    features = torch.stack([p["features"] for p in model({"video": clips})])
    maps = model.query["visual"].backbone(model.normalizer["visual"](clips))[0]
    torch.testing.assert_close(features, maps.mean(dim=(2, 3, 4)))


def test_features_of_a_video_are_the_mean_over_its_clips():
    model, clips = small_model().eval(), tiny_batch()["video"]
    features = [p["features"] for p in model({"video": clips})]
    for video, feature in zip(clips, features, strict=True):
        of_clips = [p["features"] for p in model({"video": video})]
        torch.testing.assert_close(feature, torch.stack(of_clips).mean(dim=0))


def test_motion_of_two_channels_has_its_own_mean():
    model = small_model(MOTION_MEAN=[128 / 255] * 2)
    batch = tiny_batch()
    batch["motion"] = torch.full((2, 2, 2, 4, 16, 16), 128, dtype=torch.uint8)
    clip = model.normalizer["motion"](batch["motion"][:, 0])
    torch.testing.assert_close(clip, torch.zeros_like(clip), atol=1e-6, rtol=0)
    assert model(batch)["loss_visual_motion"].isfinite()
    cfg = get_cfg()
    for mean, expected in (([0.5, 0.25], [0.5, 0.25]), ([0.5], [0.5] * 3)):  # a single channel is repeated
        type(model).complete_config(cfg, mean)
        assert list(cfg.MODEL.MODIST.MOTION_MEAN) == expected


class Transfers(TorchDispatchMode):
    """Records what is copied from the CPU to another device: (shape, contiguous, bytes)."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func is torch.ops.aten._to_copy.default and args[0].device.type == "cpu" != result.device.type:
            self.seen.append((tuple(args[0].shape), args[0].is_contiguous(), args[0].nbytes))
        return result


@pytest.mark.parametrize("name", ["MoDist", "BYOL", "SimCLR", "MotionRegression"])
def test_each_entry_goes_to_the_device_once_and_whole(name, monkeypatch):
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # "meta" has none
    pathways = name != "MotionRegression"  # which needs no numbers of videos
    weights = {"CROSS_WEIGHT": 1.0, "MOTION_WEIGHT": 1.0} if pathways else {}
    model, batch = tiny_method(name, **weights).to("meta"), tiny_batch()
    with Transfers() as transfers:
        model(batch)
    clips, frames, maps = 2 * 2, 3 * 2 * 16 * 16, 4 * 16 * 16  # three colours, one channel of motion
    assert sorted(transfers.seen) == sorted(
        [
            ((2, 2, 3, 2, 16, 16), True, clips * frames),
            ((2, 2, 1, 4, 16, 16), True, clips * maps),
            *([((2,), True, 2 * 8)] if pathways else []),
        ]
    )


def test_the_bytes_of_a_step_of_the_kinetics_recipe(root):
    """8 of the 64 clips on each of 8 GPUs: two views of 8 RGB frames and 16 maps of one channel, 224 x 224 pixels."""
    cfg = get_cfg()
    cfg.merge_from_file(root / "configs/MoDist/Kinetics_R50.yaml")
    share = cfg.SOLVER.IMS_PER_BATCH // 8
    batch = META_ARCH_REGISTRY.get("MoDist").random_batch(cfg, share, 0)
    assert sum(batch[name].nbytes for name in ("video", "motion")) == 8 * 2 * (3 * 8 + 16) * 224**2  # 32 MB


def test_evaluation_takes_as_many_clips_at_once_as_configured():
    model, clips = small_model().eval(), tiny_batch(size=3)["video"]
    expected = torch.stack([p["features"] for p in model({"video": clips})])
    model.clips_per_forward = 4
    sizes = []
    model.query["visual"].backbone.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    features = torch.stack([p["features"] for p in model({"video": clips})])
    assert sizes == [4, 2]
    torch.testing.assert_close(features, expected)


def test_the_number_of_clips_at_once_is_that_of_the_config():
    cfg = get_cfg()
    cfg.TEST.CLIPS_PER_FORWARD = 5
    for name in ("MoDist", "BYOL", "SimCLR"):
        cfg.MODEL.META_ARCHITECTURE = name
        assert META_ARCH_REGISTRY.get(name).arguments(cfg)["clips_per_forward"] == 5


@pytest.mark.parametrize("everywhere", [False, True])
def test_keys_are_shuffled_within_the_machine_or_everywhere(everywhere, monkeypatch):
    groups, channels = [], []

    def shuffle(clips, group):
        groups.append(group)
        channels.append(clips.shape[1])
        return clips, torch.arange(len(clips))

    def unshuffle(keys, order, group):
        groups.append(group)
        return keys

    monkeypatch.setattr("modist_det.modeling.methods.modist.machine_group", lambda: "this machine")
    monkeypatch.setattr("modist_det.modeling.methods.modist.shuffle_batch", shuffle)
    monkeypatch.setattr("modist_det.modeling.methods.modist.unshuffle_batch", unshuffle)
    model = tiny_method("MoDist", SHUFFLE_ALL=everywhere, SHUFFLE_BN=True)
    model(tiny_batch())
    assert groups and set(groups) == {None if everywhere else "this machine"}
    assert sorted(channels) == [1, 3]  # of motion one, although its pathway sees three
