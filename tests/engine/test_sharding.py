"""Training with sharded weights, in two and four processes, against one process."""

from __future__ import annotations

import importlib
import shutil
import sys

import pytest
import torch

from modist_det.engine import sharding
from modist_det.engine.run import run
from modist_det.engine.sharding import shard_model
from modist_det.engine.train import _is_sharded
from modist_det.utils import comm
from modist_det.utils.errors import UserError
from tests.engine.test_run import configured, in_processes, last_checkpoint, scores_by_detection
from tests.modeling.tiny_methods import tiny_method


@pytest.fixture
def overrides():
    """Of a small transformer and everything that a checkpoint holds; 2 + 1 steps."""
    values = {
        "MODEL.BACKBONE.NAME": "VideoViT",
        "MODEL.VIDEO_VIT.DIM": 24,
        "MODEL.VIDEO_VIT.DEPTH": 2,
        "MODEL.VIDEO_VIT.HEADS": 2,
        "MODEL.VIDEO_VIT.PATCH": 8,
        "MODEL.VIDEO_VIT.CHECKPOINTING": True,
        "MODEL.HEAD.DROPOUT": 0.0,
        "MODEL.EMA.ENABLED": True,
        "MODEL.EMA.DECAY": 0.5,
        "SOLVER.OPTIMIZER": "adamw",
        "SOLVER.BASE_LR": 0.002,
        "SOLVER.LAYER_DECAY": 0.8,
        "SOLVER.CLIP_GRADIENTS.ENABLED": True,
        "SOLVER.CLIP_GRADIENTS.CLIP_VALUE": 0.1,
        "SOLVER.MAX_EPOCH": 1.0,
        "SOLVER.CHECKPOINTS_KEPT": 0,
    }
    return [word for item in values.items() for word in item]


def test_two_and_four_processes_with_shares_train_as_one(write_config, tmp_path, root, overrides):
    config = write_config("none")
    run(configured(config, tmp_path / "one", *overrides))
    sharded = ("--cfg", config, "--num-gpus", 0, *overrides, "DISTRIBUTED.STRATEGY", "fsdp")
    # Four processes go on from the checkpoint of the one; one process goes on from that of two.
    shutil.copytree(tmp_path / "one", tmp_path / "four")
    for count, name, resume in ((2, "two", ()), (4, "four", ("--resume",))):
        if resume:
            forget_second_half(tmp_path / name)
        for done in in_processes(count, root, *sharded, "OUTPUT_DIR", tmp_path / name, *resume):
            assert done.returncode == 0, done.stderr
    shutil.copytree(tmp_path / "two", tmp_path / "again")
    forget_second_half(tmp_path / "again")
    run(configured(config, tmp_path / "again", *overrides), resume=True)

    expected = last_checkpoint(tmp_path / "one")
    scores = scores_by_detection(tmp_path / "one/inference/puppets_val_detections.csv")
    for name in ("two", "four", "again"):
        state = last_checkpoint(tmp_path / name)
        assert state.keys() == expected.keys()
        assert state["ema_updates"] == expected["ema_updates"]
        assert state["optimizer"]["param_groups"] == expected["optimizer"]["param_groups"]
        for part in ("model", "ema"):
            torch.testing.assert_close(state[part], expected[part], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(
            state["optimizer"]["state"], expected["optimizer"]["state"], rtol=1e-3, atol=1e-6
        )
        found = scores_by_detection(tmp_path / name / "inference/puppets_val_detections.csv")
        assert found == pytest.approx(scores, abs=1e-5)


def forget_second_half(folder):
    checkpoints = sorted((folder / "checkpoints").glob("*.pth"))
    assert len(checkpoints) == 2
    checkpoints[1].unlink()
    shutil.rmtree(folder / "inference")


class Blocks(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = torch.nn.ModuleList([torch.nn.Linear(4, 4)])
        self.last = torch.nn.Linear(4, 1)

    def forward(self, x):
        return self.last(self.blocks[0](x)).sum()


def test_where_weights_are_shares(tmp_path):
    """Blocks are gathered for each pass alone, the rest until the step, and in ``gathered`` everything is."""
    from torch.distributed.tensor import DTensor

    def shares():
        return {name.split(".")[0] for name, p in model.named_parameters() if isinstance(p, DTensor)}

    model, x = Blocks(), torch.ones(2, 4)
    torch.distributed.init_process_group("gloo", f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    try:
        shard_model(model)
        optimizer = torch.optim.AdamW(model.parameters())
        for _ in range(2):
            assert shares() == {"blocks", "last"}
            loss = model(x)
            assert shares() == {"blocks"}
            loss.backward()
            optimizer.step()
            with sharding.gathered(model), torch.no_grad():
                assert not shares()  # a process without data calls nothing, and others do not wait for it
                assert model(x) < loss
                assert not shares()
        state = optimizer.state_dict()
        for found, kind in ((state, DTensor), (sharding.whole(state), torch.Tensor)):
            assert {type(found["state"][0][name]) for name in ("exp_avg", "exp_avg_sq")} == {kind}
        again = sharding.shard_optimizer_state(sharding.whole(state), optimizer)["state"][0]
        assert isinstance(again["exp_avg"], DTensor) and not isinstance(again["step"], DTensor)
    finally:
        torch.distributed.destroy_process_group()


def test_earlier_versions_of_torch_train_without_shares(monkeypatch):
    """torch 2.4 has no ``torch.distributed.tensor.DTensor``, 2.5 no ``fully_shard``."""
    for name in ("torch.distributed.tensor", "torch.distributed.fsdp"):
        monkeypatch.setitem(sys.modules, name, None)
    importlib.reload(sharding)
    with pytest.raises(UserError, match=r"DISTRIBUTED.STRATEGY fsdp needs torch 2.6 or later; this is \d"):
        sharding.shard_model(torch.nn.Linear(2, 2))


def test_what_cannot_be_sharded_is_refused(write_config, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="STRATEGY fsdp does not work with MoDist's momentum encoders"):
        shard_model(tiny_method("MoDist"))
    with pytest.raises(UserError, match="STRATEGY is 'zero'; known: 'ddp', 'fsdp'"):
        run(configured(write_config(), tmp_path / "a", "DISTRIBUTED.STRATEGY", "zero"))
    monkeypatch.setattr(comm, "get_world_size", lambda group=None: 2)
    cfg = configured(write_config(), tmp_path / "b", "DISTRIBUTED.STRATEGY", "fsdp", "PICTURE_PERIOD", 1)
    with pytest.raises(UserError, match="PICTURE_PERIOD .* set it to 0"):
        _is_sharded(cfg)
