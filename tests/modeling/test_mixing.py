"""Mixup and cutmix of clips."""

from __future__ import annotations

import pytest
import torch

from modist_det.modeling.mixing import ClipMixer
from modist_det.utils.errors import UserError


def batch():
    """Three flat clips of values 0, 1 and 2 with one-hot targets: a pixel tells which clip it came from."""
    clips = torch.arange(3.0).view(3, 1, 1, 1, 1).expand(3, 3, 4, 20, 30).clone()
    return clips, torch.eye(3)


def test_mixup_blends_each_clip_with_the_one_before():
    torch.manual_seed(0)
    clips, targets = batch()
    mixed, soft = ClipMixer(mixup_alpha=0.8)(clips, targets)
    share = soft[0, 0].item()
    assert 0 < share < 1
    torch.testing.assert_close(soft, share * targets + (1 - share) * targets.roll(1, 0))
    torch.testing.assert_close(mixed, share * clips + (1 - share) * clips.roll(1, 0))


def test_cutmix_has_one_rectangle_in_all_frames_and_labels_by_its_area():
    torch.manual_seed(3)
    clips, targets = batch()
    mixed, soft = ClipMixer(cutmix_alpha=1.0)(clips, targets)
    assert type(mixed) is torch.Tensor
    taken = mixed != clips
    assert 0 < taken[0, 0, 0].sum() < 600
    assert (taken == taken[0, 0, 0]).all()
    rows, columns = taken[0, 0, 0].any(1), taken[0, 0, 0].any(0)
    assert rows.sum() * columns.sum() == taken[0, 0, 0].sum()  # a rectangle
    torch.testing.assert_close(mixed[taken], clips.roll(1, 0)[taken])
    share = 1 - taken[0, 0, 0].float().mean()
    torch.testing.assert_close(soft, share * targets + (1 - share) * targets.roll(1, 0))


def test_share_of_batches_and_kinds():
    torch.manual_seed(0)
    clips, targets = batch()
    mixer = ClipMixer(mixup_alpha=1.0, cutmix_alpha=1.0, prob=0.5)
    kinds = []
    for _ in range(400):
        mixed, soft = mixer(clips, targets)
        if soft is targets:
            kinds.append("none")
        else:
            kinds.append("cutmix" if set(mixed.unique().tolist()) <= {0.0, 1.0, 2.0} else "mixup")
    assert kinds.count("none") == pytest.approx(200, abs=40)
    assert kinds.count("mixup") == pytest.approx(100, abs=35)


def test_nothing_to_mix_with():
    with pytest.raises(UserError, match="both 0"):
        ClipMixer()
