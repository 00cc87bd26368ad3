"""Flow estimators on a texture that moves by a known number of pixels."""

from __future__ import annotations

import pickle
import shutil

import numpy as np
import pytest
import torch
from torchvision.models.optical_flow import Raft_Small_Weights, raft_small

from modist_det.motion import build_flow_estimator
from modist_det.utils.cache import cached_path
from modist_det.utils.errors import UserError


@pytest.mark.parametrize(
    ("name", "options", "pixels"),
    [
        ("DIS", {"preset": "ultrafast"}, 0.15),
        ("DIS", {"preset": "fast"}, 0.15),
        ("DIS", {}, 0.05),
        ("Farneback", {}, 0.05),
    ],
)
@pytest.mark.parametrize("velocity", [(4, -3), (-7, 2), (0, 0)])
def test_known_translation(carried, name, options, pixels, velocity):
    earlier, frame = carried(2, 96, 128, velocity)
    flow = build_flow_estimator(name, **options)(frame[None], earlier[None])
    assert flow.dtype == torch.float32
    assert flow.shape == (1, 2, 96, 128)
    # From the frame back to the earlier one; the border has come into view since.
    inside = flow[0, :, 12:-12, 12:-12].numpy()
    error = np.abs(inside + np.array(velocity, np.float32).reshape(2, 1, 1)).max(axis=0)
    assert np.median(error) < pixels
    assert np.quantile(error, 0.95) < 2 * pixels


@pytest.mark.parametrize("name", ["DIS", "Farneback"])
def test_a_batch_is_its_pairs(carried, name):
    frames = carried(5, 40, 56, (1, 2))
    estimator = pickle.loads(pickle.dumps(build_flow_estimator(name)))  # as a spawned worker gets it
    together = estimator(frames[1:], frames[:-1])
    for i in range(4):
        assert torch.equal(together[i], estimator(frames[i + 1 : i + 2], frames[i : i + 1])[0])
    assert estimator(frames[:0], frames[:0]).shape == (0, 2, 40, 56)
    assert estimator(frames, frames).abs().median() < 1e-2


def test_mistakes_in_names_and_options():
    with pytest.raises(UserError, match="no flow estimator 'Farnback'; did you mean 'Farneback'"):
        build_flow_estimator("Farnback")
    with pytest.raises(UserError, match="no option 'levls'; did you mean 'levels'"):
        build_flow_estimator("Farneback", levls=3)
    with pytest.raises(UserError, match="no preset 'quick'"):
        build_flow_estimator("DIS", preset="quick")
    with pytest.raises(UserError, match=r"no preset \['fast'\]"):
        build_flow_estimator("DIS", preset=["fast"])
    for device in ("gpu", 1.5, "cuda:99"):
        with pytest.raises(UserError, match=f"there is no device {device!r}"):
            build_flow_estimator("RAFT", device=device)
    with pytest.raises(UserError, match="raft_large/5: torchvision's weights of raft_large are"):
        build_flow_estimator("RAFT", weights=5)
    with pytest.raises(UserError, match="window is 0"):
        build_flow_estimator("Farneback", window=0)
    with pytest.raises(UserError, match="known: 'large', 'small'"):
        build_flow_estimator("RAFT", size="huge")
    with pytest.raises(UserError, match="raft_large/C_T_V3: .*; did you mean 'C_T_V"):
        build_flow_estimator("RAFT", weights="C_T_V3")


@pytest.mark.parametrize("size", [(96, 128), (64, 85), (32, 42)])
@pytest.mark.parametrize("options", [{"preset": "ultrafast"}, {"preset": "medium"}, {"name": "Farneback"}])
def test_flow_of_a_pair_does_not_depend_on_other_pairs(carried, size, options):
    frames = carried(5, *size, (2, 1))
    estimator = build_flow_estimator(**options)
    together = estimator(frames[1:], frames[:-1])
    alone = [estimator(frames[i + 1 : i + 2], frames[i : i + 1]) for i in range(4)]
    assert torch.equal(together, torch.cat(alone))


def test_frames_that_do_not_fit():
    estimator = build_flow_estimator("DIS")
    tiny = np.zeros((1, 6, 6, 3), np.uint8)
    with pytest.raises(UserError, match="6x6 pixels"):
        estimator(tiny, tiny)
    for frames, others in ((tiny, tiny[:, :5]), (tiny[0], tiny[0]), (tiny.astype(float), tiny.astype(float))):
        with pytest.raises(ValueError, match="two uint8 arrays"):
            estimator(frames, others)


@pytest.fixture(scope="module")
def raft_weights(tmp_path_factory):
    """RAFT small with random weights, in a file."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("raft") / "small.pth"
    torch.save(raft_small(weights=None).state_dict(), path)
    return path


def build_raft(path, **options):
    return build_flow_estimator("RAFT", size="small", weights=str(path), iterations=2, **options)


def test_raft_pads_what_it_needs(raft_weights, carried):
    earlier, frame = carried(2, 75, 131, (2, 1))
    flow = build_raft(raft_weights)(frame[None], earlier[None])
    assert flow.shape == (1, 2, 75, 131)

    model = raft_small(weights=None).eval()
    model.load_state_dict(torch.load(raft_weights, weights_only=True))
    pads = (26, 27), (2, 3), (0, 0)  # to 128 x 136
    pair = [np.pad(picture, pads, mode="edge") for picture in (frame, earlier)]
    pair = [torch.from_numpy(picture).permute(2, 0, 1)[None] / 255 * 2 - 1 for picture in pair]
    with torch.no_grad():
        expected = model(*pair, num_flow_updates=2)[-1][..., 26:-27, 2:-3]
    assert expected.abs().max() > 0.01
    torch.testing.assert_close(flow, expected, atol=1e-3, rtol=1e-3)


def test_raft_does_not_depend_on_the_batch(raft_weights, carried):
    frames = carried(4, 64, 80, (2, 1))
    one, two = build_raft(raft_weights, batch_size=1), build_raft(raft_weights, batch_size=2)
    assert repr(one) == repr(two) == "RAFT(size='small', weights='small.pth', iterations=2)"
    flow = two(frames[1:], frames[:-1])
    torch.testing.assert_close(flow, one(frames[1:], frames[:-1]), atol=1e-3, rtol=1e-3)
    assert not torch.allclose(flow[0], flow[1], atol=1e-2)
    assert two(frames[:0], frames[:0]).shape == (0, 2, 64, 80)


def test_raft_with_a_bad_file(tmp_path, raft_weights):
    with pytest.raises(UserError, match=r"none\.pth does not exist"):
        build_raft(tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(UserError, match=r"text\.pth is a text file, not a checkpoint"):
        build_raft(tmp_path / "text.pth")
    with pytest.raises(UserError, match=r"small\.pth does not fit raft_large"):
        build_flow_estimator("RAFT", size="large", weights=str(raft_weights))


def test_weights_by_name_come_from_the_cache(tmp_path, monkeypatch, raft_weights):
    monkeypatch.setenv("MODIST_DET_CACHE", str(tmp_path))
    monkeypatch.setenv("MODIST_DET_OFFLINE", "1")
    url = r"https://download\.pytorch\.org/models/raft_small\S+\.pth"
    with pytest.raises(
        UserError, match=f"torchvision://raft_small/C_T_V2 is not in the cache.*download {url}"
    ):
        build_flow_estimator("RAFT", size="small")
    place = cached_path(Raft_Small_Weights.C_T_V2.url)
    place.parent.mkdir(parents=True)
    shutil.copy(raft_weights, place)
    raft = build_flow_estimator("RAFT", size="small")
    expected = torch.load(raft_weights, weights_only=True)
    assert all(torch.equal(expected[name], tensor) for name, tensor in raft.model.state_dict().items())
