"""detectron2's own catalogues, Visualizer and detectors on our data and backbones."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from modist_det.formats.ava.files import read_ava_boxes
from modist_det.modeling.backbone import ResNet3D, SlowFast
from modist_det.utils.errors import UserError

pytestmark = pytest.mark.detectron2


@pytest.fixture(scope="module")
def d2():
    """The integration; skipped where detectron2 is not installed."""
    pytest.importorskip("detectron2", reason="detectron2 is not installed (INSTALL.md)")
    from modist_det.integrations import detectron2

    return detectron2


@pytest.fixture(scope="module")
def registered(d2, tiny_puppets):
    """Dicts and metadata of the tiny set, from detectron2's catalogues."""
    from detectron2.data import DatasetCatalog, MetadataCatalog

    description = tiny_puppets / "tiny.yaml"
    description.write_text((tiny_puppets / "val.yaml").read_text().replace("puppets_val", "tiny"))
    (name,) = d2.register_datasets([str(description)])
    assert name == "tiny"
    return DatasetCatalog.get(name), MetadataCatalog.get(name)


def test_without_detectron2_there_is_one_clear_error():
    code = (
        "import sys; sys.modules['detectron2'] = None\n"
        "from modist_det.utils.errors import UserError\n"
        "try:\n"
        "    import modist_det.integrations.detectron2\n"
        "except UserError as error:\n"
        "    assert 'INSTALL.md' in str(error), error\n"
        "    print('refused')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "refused\n", done.stderr


def test_ava_and_puppets_are_registered_without_reading_files(d2, tiny_puppets):
    from detectron2.data import DatasetCatalog

    names = d2.register_datasets()
    assert {"ava_v2.2_train", "ava_v2.2_val", "puppets_train"} <= set(names) <= set(DatasetCatalog.list())
    assert d2.register_datasets() == names  # again: no complaint
    # A file that calls itself as something else is called already.
    with pytest.raises(UserError, match="another dataset 'puppets_val'"):
        d2.register_datasets([str(tiny_puppets / "val.yaml")])


def test_dicts_are_the_csv_in_pixels(registered, tiny_puppets):
    dicts, metadata = registered
    truth = read_ava_boxes(tiny_puppets / "val.csv")
    expected = sorted(
        (truth.videos[v], second, action - 1, *(box * (64, 48, 64, 48)).round(3).tolist())
        for v, second, action, box in zip(
            truth.video, truth.second.tolist(), truth.action.tolist(), truth.boxes, strict=True
        )
    )
    found = sorted(
        (d["video_id"], d["second"], a["category_id"], *np.round(a["bbox"], 3).tolist())
        for d in dicts
        for a in d["annotations"]
    )
    assert [row[:3] for row in found] == [row[:3] for row in expected]
    np.testing.assert_allclose([row[3:] for row in found], [row[3:] for row in expected], atol=2e-3)
    assert {(d["height"], d["width"]) for d in dicts} == {(48, 64)}
    assert metadata.thing_classes[:2] == ["stand", "walk"] and len(metadata.thing_classes) == 12
    assert metadata.thing_dataset_id_to_contiguous_id[12] == 11
    assert metadata.groundtruth == str(tiny_puppets / "val.csv")


def test_the_visualizer_draws_annotations_and_predictions(d2, registered):
    dicts, metadata = registered
    keyframe = next(d for d in dicts if d["annotations"])
    plain = d2.load_keyframe(keyframe)
    drawn = d2.draw_keyframe(keyframe, metadata)
    assert drawn.shape == plain.shape and (drawn != plain).any()
    x1, y1, x2, y2 = np.round(keyframe["annotations"][0]["bbox"]).astype(int)
    edge = np.abs(drawn[y1:y2, max(x1, 1)].astype(int) - plain[y1:y2, max(x1, 1)]).mean()
    assert edge > 10

    boxes = torch.tensor([[0.25, 0.25, 0.75, 0.75]])
    scores = torch.zeros(1, 12)
    scores[0, 1] = 0.9
    instances = d2.action_instances(boxes, scores, (48, 64))
    pictures = []
    for lowest in (0.2, 0.95):
        np.random.seed(0)  # noqa: NPY002 (detectron2 draws the colours of boxes from it)
        pictures.append(d2.draw_keyframe(keyframe, metadata, instances, min_score=lowest, scale=4.0))
    labelled, plain_box = pictures
    assert labelled.shape == (192, 256, 3)
    # Its words alone, which are few.
    assert 50 < (labelled != plain_box).any(axis=2).sum() < 192 * 256 / 8
    # detectron2's own ways to draw take the fields as they are.
    from detectron2.utils.visualizer import Visualizer

    for own in (
        Visualizer(plain, metadata).draw_instance_predictions(instances),
        Visualizer(plain, metadata).draw_dataset_dict(keyframe),
    ):
        assert (own.get_image() != plain).any()


def test_instances(d2):
    boxes = torch.tensor([[0.0, 0.5, 0.5, 1.0], [0.25, 0.0, 1.0, 0.5]])
    scores = torch.tensor([[0.1, 0.7, 0.2], [0.6, 0.3, 0.5]])
    instances = d2.action_instances(boxes, scores, (100, 200))
    assert instances.image_size == (100, 200) and len(instances) == 2
    assert instances.pred_boxes.tensor.tolist() == [[0, 50, 100, 100], [50, 0, 200, 50]]
    assert instances.pred_classes.tolist() == [1, 0]
    torch.testing.assert_close(instances.scores, torch.tensor([0.7, 0.6]))
    assert torch.equal(instances[instances.scores > 0.65].action_scores, scores[:1])
    assert len(d2.action_instances(torch.zeros(0, 4), torch.zeros(0, 3), (10, 10))) == 0


_CONFIG = """\
MODEL:
  NUM_CLASSES: 3
  RESNET3D: {DEPTH: 18, WIDTH: 8, STEM_KERNEL: [3, 3, 3], STEM_STRIDE: [2, 2, 2], TEMPORAL_KERNELS: [1, 1, 1, 3]}
  SLOWFAST: {DEPTH: 18, WIDTH: 8}
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "ours.yaml"
    path.write_text(_CONFIG)
    return path


def test_maps_are_those_of_the_backbone(d2):
    from modist_det.integrations.detectron2_backbones import StillBackbone

    torch.manual_seed(0)
    network = ResNet3D(depth=18, width=8, stem_stride=(2, 2, 2), zero_init_final_norm=False).eval()
    still = StillBackbone(network)
    clip = torch.randn(2, 3, 4, 64, 96)
    with torch.no_grad():
        maps, whole = still(clip), network(clip)[0]
    torch.testing.assert_close(maps["res5"], whole.mean(dim=2))
    shapes = still.output_shape()
    for name, value in maps.items():
        stride = shapes[name].stride
        assert value.shape == (2, shapes[name].channels, 64 // stride, 96 // stride), name
    # A still is a clip of equal frames.
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        repeated = still(image.unsqueeze(2).expand(-1, -1, 2, -1, -1))
        torch.testing.assert_close(still(image)["res4"], repeated["res4"])
    slowfast = StillBackbone(SlowFast(depth=18, width=8, alpha=4))
    maps = slowfast(image)
    assert list(maps) == ["res5"]
    assert maps["res5"].shape == (1, slowfast.output_shape()["res5"].channels, 2, 2)


def test_weights_of_a_checkpoint_are_used(d2, config, tmp_path):
    from detectron2.config import get_cfg as d2_cfg
    from detectron2.modeling import build_backbone

    from modist_det.config import get_cfg
    from modist_det.modeling import build_model

    own = get_cfg()
    own.merge_from_file(config)
    torch.manual_seed(3)
    model = build_model(own)
    torch.save({"model": model.state_dict(), "config": own.dump(), "iteration": 1}, tmp_path / "w.pth")
    cfg = d2_cfg()
    d2.use_backbone(cfg, config, tmp_path / "w.pth", fpn=False)
    assert pytest.approx([114.75] * 3) == cfg.MODEL.PIXEL_MEAN and cfg.INPUT.FORMAT == "RGB"
    built = build_backbone(cfg)
    for name, tensor in model.backbone.state_dict().items():
        assert torch.equal(built.backbone.state_dict()[name], tensor), name


def test_a_detector_of_detectron2_trains_on_our_keyframes(d2, config, registered):
    from detectron2.config import get_cfg as d2_cfg
    from detectron2.modeling import build_model
    from detectron2.structures import Boxes, Instances

    cfg = d2_cfg()
    cfg.MODEL.META_ARCHITECTURE = "GeneralizedRCNN"
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.MASK_ON = False
    cfg.MODEL.FPN.IN_FEATURES = ["res2", "res3", "res4", "res5"]
    cfg.MODEL.FPN.OUT_CHANNELS = 16
    cfg.MODEL.RPN.IN_FEATURES = ["p2", "p3", "p4", "p5", "p6"]
    cfg.MODEL.ANCHOR_GENERATOR.SIZES = [[8], [16], [24], [32], [48]]
    cfg.MODEL.ROI_HEADS.NAME = "StandardROIHeads"
    cfg.MODEL.ROI_HEADS.IN_FEATURES = ["p2", "p3", "p4", "p5"]
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = 1
    cfg.MODEL.ROI_BOX_HEAD.NAME = "FastRCNNConvFCHead"
    cfg.MODEL.ROI_BOX_HEAD.NUM_FC = 1
    cfg.MODEL.ROI_BOX_HEAD.FC_DIM = 16
    cfg.MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION = 7
    d2.use_backbone(cfg, config)
    torch.manual_seed(0)
    model = build_model(cfg)

    samples = []
    for keyframe in [d for d in registered[0] if d["annotations"]][:2]:
        persons = {a["person"]: a["bbox"] for a in keyframe["annotations"]}
        truth = Instances((48, 64))
        truth.gt_boxes = Boxes(torch.tensor(list(persons.values())))
        truth.gt_classes = torch.zeros(len(persons), dtype=torch.int64)
        image = torch.from_numpy(d2.load_keyframe(keyframe)).permute(2, 0, 1).contiguous()
        samples.append({"image": image, "instances": truth, "height": 48, "width": 64})

    from detectron2.utils.events import EventStorage

    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    totals = []
    with EventStorage():
        for _ in range(8):
            losses = model(samples)
            total = sum(losses.values())
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
            totals.append(total.item())
    assert {"loss_cls", "loss_box_reg", "loss_rpn_cls", "loss_rpn_loc"} <= losses.keys()
    assert np.isfinite(totals).all() and min(totals[-3:]) < totals[0]
    stem = next(p for name, p in model.named_parameters() if "stem" in name and p.dim() == 5)
    assert stem.grad.abs().max() > 0
    model.eval()
    (first, _) = model(samples)
    assert first["instances"].image_size == (48, 64)


def test_a_pyramid_needs_strides_of_its_own(d2, tmp_path):
    from detectron2.config import get_cfg as d2_cfg

    path = tmp_path / "dilated.yaml"
    path.write_text("MODEL: {RESNET3D: {DILATE_RES5: True}}\n")
    with pytest.raises(UserError, match="DILATE_RES5 False"):
        d2.use_backbone(d2_cfg(), path)
