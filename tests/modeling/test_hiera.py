"""Hiera: outputs of its own code from its own files, sizes of the published networks, other inputs, checkpointing."""

from __future__ import annotations

import pytest
import torch

from modist_det.checkpoint import load_weights
from modist_det.config import get_cfg
from modist_det.modeling import ClassificationHead, Hiera, HieraMAE, VideoClassifier, build_model
from modist_det.modeling.losses import cross_entropy
from modist_det.modeling.meta_arch import ClipNormalizer
from modist_det.utils.errors import UserError


def _case(real_data, name):
    folder = real_data / "reference" / "vit"
    return folder / f"{name}.pyth", torch.load(folder / f"{name}_io.pt", weights_only=True)


def _constructed(arch) -> VideoClassifier:
    arguments = {key: value for key, value in arch.items() if key != "num_classes"}
    backbone = Hiera(**arguments, features="pooled")
    head = ClassificationHead(backbone.out_channels, arch["num_classes"])
    return VideoClassifier(backbone, head, cross_entropy, [0.0] * 3, [1.0] * 3)


def _from_content(path, classes: int):
    """Built from what the file shows."""
    tensors = torch.load(path, weights_only=True)["model_state"]
    cfg = get_cfg()
    cfg.merge_from_list([word for pair in Hiera.config_of(tensors).items() for word in pair])
    cfg.merge_from_list(["MODEL.BACKBONE.NAME", "Hiera", "MODEL.HIERA.FEATURES", "pooled"])
    cfg.merge_from_list(
        ["MODEL.META_ARCHITECTURE", "VideoClassifier", "MODEL.HEAD.NAME", "ClassificationHead"]
    )
    cfg.merge_from_list(["MODEL.HEAD.ACTIVATION", "softmax", "MODEL.LOSS.NAME", "cross_entropy"])
    cfg.merge_from_list(["MODEL.NUM_CLASSES", classes])
    return build_model(cfg)


@torch.no_grad()
@pytest.mark.parametrize("build", ["constructor", "content"])
@pytest.mark.parametrize("name", ["hiera_video", "hiera_image"])
def test_outputs_of_its_own_code(real_data, name, build):
    path, io = _case(real_data, name)
    classes = io["arch"]["num_classes"]
    model = (_constructed(io["arch"]) if build == "constructor" else _from_content(path, classes)).eval()
    report = load_weights(model, path)
    assert report.format == "hiera"
    assert (report.missing, report.unexpected, report.mismatched, report.dropped) == ([], [], [], [])
    assert sorted(report.loaded) == sorted(model.state_dict())
    assert "not visible in a file, so the config decides: MODEL.HIERA.NUM_HEADS 1" in str(report)

    clip = io["clip"].float()
    clip = clip if clip.dim() == 5 else clip.unsqueeze(2)
    logits = model.head(model.backbone(clip))[:, 0]
    torch.testing.assert_close(logits, io["output"], rtol=0, atol=1e-4)
    torch.testing.assert_close(model.head.scores(logits[:, None]), io["probabilities"], rtol=0, atol=1e-5)
    for stage, (ours, theirs) in enumerate(zip(model.backbone.stage_maps(clip), _stages(io), strict=True)):
        tokens = ours.flatten(2).transpose(1, 2)[:, :: {0: 7, 1: 3}.get(stage, 1)]
        torch.testing.assert_close(tokens, theirs, rtol=0, atol=1e-4)
    double = model.double()
    torch.testing.assert_close(
        double.head(double.backbone(clip.double()))[:, 0], io["output_float64"], rtol=0, atol=1e-6
    )


def _stages(io):
    """Tokens (B, N, C) in spatial order; every seventh and third of the first two stages."""
    last = (io[name].flatten(1, -2) for name in ("stage_third", "stage_last"))
    return [io["stage_first_part"], io["stage_second_part"], *last]


@pytest.mark.parametrize("image", [True, False])
@pytest.mark.parametrize(
    ("size", "millions"), [("T", 28), ("S", 35), ("B", 52), ("B+", 70), ("L", 214), ("H", 673)]
)
def test_published_sizes(size, millions, image):
    """Table 2 of the paper counts networks for images; those for videos have other tables and kernels."""
    with torch.device("meta"):
        backbone = Hiera.preset(size, image=image)
        count = sum(p.numel() for p in backbone.parameters())
        classifier = (backbone.out_channels[0] + 1) * (1000 if image else 400)
    assert (count + classifier) / 1e6 == pytest.approx(millions, abs=0.5 if image else 1.4)


def _tiny(size=(4, 64, 64), **changes) -> Hiera:
    torch.manual_seed(0)
    return Hiera(size, 8, stages=(1, 2, 1, 1), **changes).eval()


@torch.no_grad()
@pytest.mark.parametrize("stage", [1, 2, 3, 4])
def test_a_map_has_the_size_that_the_attributes_say(stage):
    network = _tiny(map_stage=stage)
    assert len(network.blocks) == (1, 3, 4, 5)[stage - 1]
    maps = network(torch.randn(2, 3, 5, 40, 70))
    assert network.spatial_stride == 2 ** (stage + 1)
    size = (-(-40 // network.spatial_stride), -(-70 // network.spatial_stride))
    assert [m.shape for m in maps] == [(2, 8 * 2 ** (stage - 1), 3, *size)]
    assert network.out_channels == (maps[0].shape[1],)
    assert network.temporal_strides == (2,)


@torch.no_grad()
def test_cells_are_where_their_pixels_are():
    """Before attention to all tokens, a change of one mask unit changes only its cells; order in space is kept."""
    network = _tiny(map_stage=2)
    clip = torch.randn(1, 3, 4, 64, 96)
    other = clip.clone()
    other[:, :, 2:, 36:60, 68:92] += 1  # inside the second unit row, third column; the second token in time
    first, second = network.stage_maps(clip), network.stage_maps(other)
    for before, after, cells in zip(first, second, (8, 4), strict=True):
        changed = (before != after).any(dim=1)[0]
        expected = torch.zeros_like(changed)
        expected[1, cells:, 2 * cells :] = True
        assert torch.equal(changed & ~expected, torch.zeros_like(changed))
        assert (changed & expected).sum() > 0.9 * expected.sum()


@torch.no_grad()
def test_positions_are_interpolated_to_the_clip():
    """A larger clip gives what a network gives whose tables were interpolated beforehand."""
    small, large = _tiny(), _tiny((6, 96, 128))
    state = dict(small.state_dict())
    space = state["pos_embed_spatial"].unflatten(1, (16, 16)).permute(0, 3, 1, 2)
    space = torch.nn.functional.interpolate(space, size=(24, 32), mode="bicubic")
    state["pos_embed_spatial"] = space.flatten(2).transpose(1, 2)
    time = state["pos_embed_temporal"].transpose(1, 2)
    state["pos_embed_temporal"] = torch.nn.functional.interpolate(time, size=3, mode="linear").transpose(1, 2)
    large.load_state_dict(state)
    clip = torch.randn(1, 3, 6, 96, 128)
    torch.testing.assert_close(small(clip), large(clip), rtol=0, atol=1e-5)


def test_gradients_with_checkpointing_equal_those_without():
    gradients = []
    for checkpointing in (False, True):
        network = _tiny(checkpointing=checkpointing, drop_path=0.5).train()
        torch.manual_seed(1)
        network(torch.randn(3, 3, 4, 32, 32))[0].square().mean().backward()
        gradients.append([p.grad for p in network.parameters()])
    assert all(torch.equal(*pair) for pair in zip(*gradients, strict=True))
    assert all(grad is not None for grad in gradients[0])


def test_residuals_are_dropped_in_training_alone():
    network = _tiny(drop_path=1.0)
    last = network.blocks[-1]
    tokens = torch.randn(2, 4, 32)
    assert not torch.equal(last(tokens, 1), last.proj(last.norm1(tokens)).amax(1, keepdim=True))
    last.train()
    torch.testing.assert_close(last(tokens, 1), last.proj(last.norm1(tokens)).amax(1, keepdim=True))
    assert [block.drop_path.p for block in network.blocks] == [0, 0.25, 0.5, 0.75, 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"features": "mean"}, "MODEL.HIERA.FEATURES is 'mean', but takes map or pooled"),
        ({"input_size": (16,)}, r"INPUT_SIZE is \[16\], but takes \[T, H, W\], or \[H, W\] for images"),
        ({"input_size": (16, 224, 200)}, r"INPUT_SIZE \[16, 224, 200\] must be multiples of \[2, 32, 32\]"),
    ],
)
def test_settings_that_do_not_fit(arguments, message):
    with pytest.raises(UserError, match=message):
        Hiera(**arguments)
    with pytest.raises(UserError, match="there is no Hiera of size 'XL'"):
        Hiera.preset("XL")


@torch.no_grad()
def test_a_file_has_stages_beyond_the_map(tmp_path, caplog):
    whole, part = _tiny(), _tiny(map_stage=3)
    with torch.no_grad():
        whole.blocks[0].norm1.weight.fill_(0.5)
        part.norm.weight.fill_(2.0)
    names = dict(whole.state_dict())
    torch.save({"model_state": names}, tmp_path / "hiera.pth")
    report = load_weights(part, tmp_path / "hiera.pth")
    assert (report.missing, report.unexpected, report.mismatched) == ([], [], [])
    assert {reason for _, reason in report.dropped} == {"beyond stage 3, whose map is used"}
    assert {name.split(".")[1] for name, _ in report.dropped} == {"4"}
    assert [name for name, _ in report.adapted] == ["norm.weight", "norm.bias"]
    clip = torch.randn(1, 3, 4, 32, 32)
    assert torch.equal(part.stage_maps(clip)[2], whole.stage_maps(clip)[2])
    assert torch.equal(part.norm.weight, torch.full((32,), 2.0))


def _masked(arch, ratio=0.9) -> HieraMAE:
    decoder = {f"decoder_{name}": arch[key] for name, key in DECODER.items()}
    names = {key: value for key, value in arch.items() if not key.startswith("decoder_")}
    return HieraMAE(Hiera(**names), ClipNormalizer([0.0] * 3, [1.0] * 3), ratio, **decoder)


DECODER = {"dim": "decoder_embed_dim", "depth": "decoder_depth", "heads": "decoder_num_heads"}


@torch.no_grad()
def test_masked_autoencoder_of_its_own_code(real_data):
    path, io = _case(real_data, "hiera_mae_video")
    model = _masked(io["arch"])
    tensors = torch.load(path, weights_only=True)["model_state"]
    keys = Hiera.config_of(tensors)
    assert (keys["MODEL.HIERA.Q_POOL"], keys["MODEL.HIERA.STAGES"]) == (2, [1, 1, 1, 1])
    report = load_weights(model, path)
    assert (report.format, report.missing, report.unexpected, report.mismatched) == ("hiera", [], [], [])
    assert sorted(report.loaded) == sorted(model.state_dict())
    clip, kept = io["clip"].float(), io["mask_true_is_keep"]
    torch.testing.assert_close(model.encode(clip, kept), io["latent"], rtol=0, atol=1e-4)
    predicted, hidden = model.predict(clip, kept)
    torch.testing.assert_close(predicted[hidden][::2], io["output"], rtol=0, atol=1e-4)
    torch.testing.assert_close(model.target(clip)[hidden][:4], io["target_head"], rtol=0, atol=1e-4)
    torch.testing.assert_close(model.loss(clip, kept), io["loss"], rtol=0, atol=1e-4)
    # A classifier or detector takes the encoder and its norm.
    detector = Hiera(**{k: v for k, v in io["arch"].items() if not k.startswith("decoder_")} | {"q_pool": 3})
    report = load_weights(detector, path)
    assert (report.missing, report.unexpected, report.mismatched) == ([], [], [])
    assert torch.equal(detector.norm.weight, tensors["encoder_norm.weight"])


ARCH = {"input_size": (4, 64, 64), "embed_dim": 8, "stages": (1, 1, 1, 1), "q_pool": 2}
ARCH |= {"decoder_embed_dim": 16, "decoder_depth": 1, "decoder_num_heads": 2}


def test_pretraining_step_hides_the_given_share_of_units():
    torch.manual_seed(0)
    model = _masked(ARCH, ratio=0.7).train()
    masks = []
    model.loss = lambda clip, kept: masks.append(kept) or HieraMAE.loss(model, clip, kept)
    losses = model({"video": torch.randint(0, 256, (3, 1, 3, 4, 64, 64), dtype=torch.uint8)})
    losses["loss_pixels"].backward()
    assert masks[0].sum(dim=1).tolist() == [2, 2, 2]  # of 8: int(8 * 0.3)
    assert all(p.grad is not None for p in model.parameters())
    features = model.eval()({"video": torch.zeros(2, 3, 4, 64, 64, dtype=torch.uint8)})
    assert [f["features"].shape for f in features] == [(64,)] * 2
    with pytest.raises(UserError, match="clips of 4 x 64 x 64 .* not of 8 x 64 x 64: set INPUT.NUM_FRAMES"):
        model.train()({"video": torch.zeros(1, 1, 3, 8, 64, 64, dtype=torch.uint8)})


def test_backbones_that_a_masked_autoencoder_cannot_use():
    normalizer = ClipNormalizer([0.0] * 3, [1.0] * 3)
    with pytest.raises(UserError, match="HieraMAE needs MODEL.BACKBONE.NAME Hiera with FEATURES map"):
        HieraMAE(_tiny(features="pooled"), normalizer)
    with pytest.raises(UserError, match="needs all stages of a Hiera"):
        HieraMAE(_tiny(map_stage=3), normalizer)
