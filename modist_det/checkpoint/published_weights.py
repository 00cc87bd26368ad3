"""The catalogue of published weights that fit this project's models.

URLs and metrics are copied from the page in ``source``. An entry becomes ``verified`` once somebody has checked its
file. ``MODEL_ZOO.md`` is generated from this module (``python tools/model_zoo.py list --markdown``).

Each row of a table is one file: name, path below the table's URL, config below ``configs/Zoo``, input and published
metrics; ``-`` means none.
"""

from __future__ import annotations

import re
from typing import Any

from .entry import Entry, Figure

__all__ = ["ENTRIES"]

_PYSLOWFAST_PAGE = "https://github.com/facebookresearch/SlowFast/blob/main/MODEL_ZOO.md"
_PYSLOWFAST = "https://dl.fbaipublicfiles.com/pyslowfast/"
_MULTIGRID = "pyslowfast/model_zoo/multigrid/model_zoo/"  # below the URL above
_CONTRASTIVE_PAGE = (
    "https://github.com/facebookresearch/SlowFast/blob/main/projects/contrastive_ssl/README.md"
)
_PYTORCHVIDEO_PAGE = "https://github.com/facebookresearch/pytorchvideo/blob/main/docs/source/model_zoo.md"
_PYTORCHVIDEO = "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/"
_TORCHVISION_PAGE = "https://docs.pytorch.org/vision/stable/models.html"
_TORCHVISION = "https://download.pytorch.org/models/"
_MMACTION2_PAGE = "https://github.com/open-mmlab/mmaction2/blob/main/configs/"
_MMACTION2 = "https://download.openmmlab.com/mmaction/v1.0/"
_VIDEOMAE_AVA = "vit-{0}-p16_videomae-k400-pre_8xb8-16x4x1-20e-adamw_ava-kinetics-rgb"
_VIDEOMAE_K400 = "vit-{}-p16_videomae-k400-pre_16x4x1_kinetics-400_20221013-{}.pth"
_VIDEOMAE_V2 = "vit-{0}-p16_videomaev2-vit-g-dist-k710-pre_16x4x1_kinetics-400"
_UMT_PAGE = "https://github.com/OpenGVLab/unmasked_teacher/blob/main/single_modality/"
_UMT = "https://pjlab-gvm-data.oss-cn-shanghai.aliyuncs.com/umt/single_modality/"
_HIERA_PAGE = "https://github.com/facebookresearch/hiera/blob/main/README.md"
_HIERA = "https://dl.fbaipublicfiles.com/hiera/"
_MVIT = "https://dl.fbaipublicfiles.com/pyslowfast/model_zoo/mvitv2/pysf_video_models/"
_MVIT_PAGE = "https://github.com/facebookresearch/SlowFast/blob/main/projects/mvitv2/README.md"
_MAE_ST_PAGE = "https://github.com/facebookresearch/SlowFast/blob/main/projects/mae/README.md"
_VJEPA2_PAGE = "https://github.com/facebookresearch/vjepa2/blob/main/README.md"
_VJEPA2 = "https://dl.fbaipublicfiles.com/vjepa2/"
_DETECTRON2_PAGE = "https://github.com/facebookresearch/detectron2/blob/main/MODEL_ZOO.md"
_DETECTRON2 = "https://dl.fbaipublicfiles.com/detectron2/COCO-Detection/"

_APACHE, _BSD, _MIT, _NON_COMMERCIAL = "Apache-2.0", "BSD-3-Clause", "MIT", "CC-BY-NC-4.0"
_SSV2 = "Something-Something v2"
_NOTES = {  # by part of the name
    "stepwise": "stepwise schedule",
    "multigrid": "multigrid training",
    "for_ava": "what slow_4x16_r50_ava22 was fine-tuned from",
}
_INFLATED = "2D; kernels are spread over time where the model's are longer"


def _tops(dataset: str) -> tuple[tuple[str, str], ...]:
    return ("top1", dataset), ("top5", dataset)


# Part of a name -> task, training data, and (metric, dataset) of each number in the row.
_KINDS: dict[str, tuple[str, str, tuple[tuple[str, str], ...]]] = {
    "k400": ("classification", "Kinetics-400", _tops("Kinetics-400")),
    "ssv2": ("classification", f"Kinetics-400, then {_SSV2}", _tops(_SSV2)),
    "charades": ("classification", "Kinetics-400, then Charades", (("mAP", "Charades"),)),
    "nln_ava21": ("detection", "Kinetics-600, then AVA v2.1", (("mAP", "AVA v2.1"),)),
    "nln_ava22": ("detection", "Kinetics-600, then AVA v2.2", (("mAP", "AVA v2.2"),)),
    "ava22": ("detection", "Kinetics-400, then AVA v2.2", (("mAP", "AVA v2.2"),)),
    "imagenet": ("pretraining", "ImageNet-1K", _tops("ImageNet-1K")),
    "fpn": ("person_detection", "COCO", (("box mAP", "COCO val2017"),)),
    # What the fine-tuned network reaches.
    "pretrained": ("pretraining", "Kinetics-400 without labels", (("top1, fine-tuned", "Kinetics-400"),)),
    # Linear classification, then fine-tuning on three datasets.
    "r50": (
        "pretraining",
        "Kinetics-400 without labels",
        (("top1, linear", "Kinetics-400"), ("top1", "UCF101 split 1"), ("mAP", "AVA"), ("top1", _SSV2)),
    ),
}


def _table(
    source: str, url: str, page: str, licence: str, format: str, rows: str, **facts: Any
) -> list[Entry]:
    """The entries of one table.

    Args:
        source: first part of every name.
        url, page, licence, format: shared by all entries.
        rows: see the module's docstring.
        facts: further fields that all entries share.
    """
    entries = []
    for row in rows.strip().split("\n"):
        name, file, config, clip, *values = row.split()
        task, data, metrics = next(kind for part, kind in _KINDS.items() if part in name)
        figures = [
            Figure(metric, float(value), dataset)
            for value, (metric, dataset) in zip(values, metrics, strict=False)
            if value != "-"
        ]
        # Both put the first digits of the SHA-256 into the name.
        digits = re.search(r"-([0-9a-f]{8})\.pth$", file) if url in (_TORCHVISION, _MMACTION2) else None
        fields: dict[str, Any] = {
            "name": f"{source}/{name}",
            "task": task,
            "url": url + file,
            "format": format,
            "data": data,
            "source": page,
            "licence": licence,
            "config": "" if config == "-" else f"Zoo/{config}.yaml",
            "input": clip,
            "figures": tuple(figures),
            "note": next((note for part, note in _NOTES.items() if part in name), ""),
            "builder": name if (source, task) == ("torchvision", "person_detection") else "",
            "sha256": digits[1] if digits else "",
        }
        entries.append(Entry(**fields | facts))
    return entries


def _pyslowfast(folder: str, format: str, rows: str, **facts: Any) -> list[Entry]:
    return _table("pyslowfast", _PYSLOWFAST + folder, _PYSLOWFAST_PAGE, _APACHE, format, rows, **facts)


def _pytorchvideo(folder: str, rows: str) -> list[Entry]:
    return _table("pytorchvideo", _PYTORCHVIDEO + folder, _PYTORCHVIDEO_PAGE, _APACHE, "pytorchvideo", rows)


def _mmaction2(page: str, file: str, rows: str, **facts: Any) -> list[Entry]:
    """Rows have ``SIZE:HASH``, the gaps of ``file``, in the place of a path."""
    rows = re.sub(r"(\w+):(\w+)", lambda gaps: f"{page}/{file.format(gaps[1], gaps[2])}", rows)
    page = f"{_MMACTION2_PAGE}{page}/README.md"
    return _table("mmaction2", _MMACTION2, page, _APACHE, "mmaction2_vit", rows, **facts)


def _umt(page: str, rows: str, **facts: Any) -> list[Entry]:
    return _table("umt", _UMT, _UMT_PAGE + page, _MIT, "videomae", rows, **facts)


def _hiera(rows: str) -> list[Entry]:
    return _table("hiera", _HIERA, _HIERA_PAGE, _NON_COMMERCIAL, "hiera", rows)


def _torchvision(format: str, rows: str, **facts: Any) -> list[Entry]:
    return _table("torchvision", _TORCHVISION, _TORCHVISION_PAGE, _BSD, format, rows, **facts)


_MODIST = Entry(
    name="modist/maclr",
    task="pretraining",
    url="https://aws-cv-sci-motion-public.s3.us-west-2.amazonaws.com/MaCLR/model_zoos/maclr.pyth",
    format="modist",
    data="Kinetics-400 without labels",
    source="https://github.com/amazon-science/self-supervised-maclr",
    licence=_APACHE,
    config="Zoo/Pretrained/DenseSlow_8x8_R50.yaml",
    input="8x8",
    note="the MoDist authors' own; they state that the method is patent pending",
)

_ALL = [
    *_pyslowfast("model_zoo/kinetics400/", "caffe2", """
c2d_nopool_8x8_r50_k400 C2D_NOPOOL_8x8_R50.pkl Kinetics400/C2D_NOPOOL_8x8_R50 8x8 67.2 87.8
i3d_8x8_r50_k400 I3D_8x8_R50.pkl Kinetics400/I3D_8x8_R50 8x8 73.5 90.8
slow_4x16_r50_k400 SLOWONLY_4x16_R50.pkl Kinetics400/Slow_4x16_R50 4x16 72.7 90.3
slow_8x8_r50_k400 SLOWONLY_8x8_R50.pkl Kinetics400/Slow_8x8_R50 8x8 74.8 91.6
slowfast_4x16_r50_k400 SLOWFAST_4x16_R50.pkl Kinetics400/SlowFast_4x16_R50 32x2 75.6 92.0
slowfast_8x8_r50_k400 SLOWFAST_8x8_R50.pkl Kinetics400/SlowFast_8x8_R50 32x2 77.0 92.6
"""),
    *_pyslowfast(_MULTIGRID + "Kinetics/", "pyslowfast", """
slowfast_8x8_r50_stepwise_k400 SLOWFAST_8x8_R50_stepwise.pkl Kinetics400/SlowFast_8x8_R50 32x2 76.8 92.7
slowfast_8x8_r50_multigrid_k400 SLOWFAST_8x8_R50_stepwise_multigrid.pkl Kinetics400/SlowFast_8x8_R50 32x2 76.6 92.7
"""),
    *_pyslowfast(_MULTIGRID, "pyslowfast", """
slowfast_16x8_r50_ssv2 SSv2/SLOWFAST_16x8_R50.pkl SSv2/SlowFast_16x8_R50 64x2 63.0 88.5
slowfast_16x8_r50_multigrid_ssv2 SSv2/SLOWFAST_16x8_R50_multigrid.pkl SSv2/SlowFast_16x8_R50 64x2 63.5 88.7
slowfast_16x8_r50_charades Charades/SLOWFAST_16x8_R50.pkl Charades/SlowFast_16x8_R50 64x2 38.9
slowfast_16x8_r50_multigrid_charades Charades/SLOWFAST_16x8_R50_multigrid.pkl Charades/SlowFast_16x8_R50 64x2 38.6
"""),
    *_pyslowfast("model_zoo/ava/", "caffe2", """
slow_4x16_r50_ava22 C2D_8x8_R50.pkl AVA/Slow_4x16_R50 4x16 19.5
slow_4x16_r50_k400_for_ava pretrain/C2D_8x8_R50.pkl Kinetics400/Slow_4x16_R50 4x16
"""),
    *_table("pyslowfast", _PYSLOWFAST + "videomoco_models/", _CONTRASTIVE_PAGE, _APACHE, "pyslowfast", """
moco_rho2_slow_8x8_r50 MoCo_SlowR50_8x8_T2_epoch_00200.pyth Pretrained/Slow_8x8_R50 8x8 66.6 91.3 19.7 52.7
moco_rho4_slow_8x8_r50 MoCo_SlowR50_8x8_T4_epoch_00200.pyth Pretrained/Slow_8x8_R50 8x8 71.0 94.5 21.9 54.0
byol_rho2_slow_8x8_r50 BYOL_SlowR50_8x8_T2_epoch_00200.pyth Pretrained/Slow_8x8_R50 8x8 67.4 94.0 22.8 54.4
byol_rho4_slow_8x8_r50 BYOL_SlowR50_8x8_T4_epoch_00200.pyth Pretrained/Slow_8x8_R50 8x8 70.1 94.7
byol_rho4_slow_16x4_r50 BYOL_SlowR50_16x4_T4_epoch_00200.pyth Pretrained/Slow_16x4_R50 16x4 71.1 95.4
simclr_rho2_slow_8x8_r50 SimCLR_SlowR50_8x8_T2_epoch_00200.pyth Pretrained/Slow_8x8_R50 8x8 61.5 88.3 17.5 51.4
swav_rho2_slow_8x8_r50 SwAV_SlowR50_8x8_T2_epoch_00200.pyth Pretrained/Slow_8x8_R50 8x8 62.6 90.2 19.2 52.5
""", prefix="backbone."),
    *_pyslowfast("model_zoo/kinetics400/", "pyslowfast", """
r50_imagenet R50_IN1K.pyth Pretrained/ImageNet_R50 8x8 76.4 93.2
""", note=_INFLATED),
    *_pytorchvideo("kinetics/", """
c2d_8x8_r50_k400 C2D_8x8_R50.pyth Kinetics400/C2D_8x8_R50 8x8 71.46 89.68
i3d_8x8_r50_k400 I3D_8x8_R50.pyth Kinetics400/I3D_8x8_R50 8x8 73.27 90.70
slow_4x16_r50_k400 SLOW_4x16_R50.pyth Kinetics400/Slow_4x16_R50 4x16 72.40 90.18
slow_8x8_r50_k400 SLOW_8x8_R50.pyth Kinetics400/Slow_8x8_R50 8x8 74.58 91.63
slowfast_4x16_r50_k400 SLOWFAST_4x16_R50.pyth Kinetics400/SlowFast_4x16_R50 32x2 75.34 91.89
slowfast_8x8_r50_k400 SLOWFAST_8x8_R50.pyth Kinetics400/SlowFast_8x8_R50 32x2 76.94 92.69
slowfast_8x8_r101_k400 SLOWFAST_8x8_R101.pyth Kinetics400/SlowFast_8x8_R101 32x2 77.90 93.27
slowfast_16x8_r101_50_50_k400 SLOWFAST_16x8_R101_50_50.pyth Kinetics400/SlowFast_16x8_R101_50_50 64x2 78.70 93.61
"""),
    *_pytorchvideo("", """
slow_8x8_r50_ssv2 ssv2/SLOW_8x8_R50.pyth SSv2/Slow_8x8_R50 8x8 60.04 85.19
slowfast_8x8_r50_ssv2 ssv2/SLOWFAST_8x8_R50.pyth SSv2/SlowFast_8x8_R50 32x2 61.68 86.92
slow_8x8_r50_charades charades/SLOW_8x8_R50.pyth Charades/Slow_8x8_R50 8x8 34.72
slowfast_8x8_r50_charades charades/SLOWFAST_8x8_R50.pyth Charades/SlowFast_8x8_R50 32x2 37.24
slow_4x16_r50_ava22 ava/SLOW_4x16_R50_DETECTION.pyth AVA/Slow_4x16_R50 4x16 19.5
slowfast_8x8_r50_ava22 ava/SLOWFAST_8x8_R50_DETECTION.pyth AVA/SlowFast_8x8_R50 32x2 24.67
"""),
    _MODIST,
    *_torchvision("torchvision", """
resnet18_imagenet resnet18-f37072fd.pth Pretrained/ImageNet_R18 8x8 69.758 89.078
resnet50_imagenet resnet50-0676ba61.pth Pretrained/ImageNet_R50 8x8 76.13 92.862
resnet101_imagenet resnet101-63fe2227.pth Pretrained/ImageNet_R101 8x8 77.374 93.546
""", note=_INFLATED),
    *_torchvision("torchvision", """
fasterrcnn_resnet50_fpn fasterrcnn_resnet50_fpn_coco-258fb6c6.pth - image 37.0
fasterrcnn_resnet50_fpn_v2 fasterrcnn_resnet50_fpn_v2_coco-dd69338a.pth - image 46.7
fasterrcnn_mobilenet_v3_large_fpn fasterrcnn_mobilenet_v3_large_fpn-fb6a3cc7.pth - image 32.8
fasterrcnn_mobilenet_v3_large_320_fpn fasterrcnn_mobilenet_v3_large_320_fpn-907ea3f9.pth - image 22.8
"""),
    *_table("detectron2", _DETECTRON2, _DETECTRON2_PAGE, "CC-BY-SA-3.0", "detectron2", """
faster_rcnn_r50_fpn_3x faster_rcnn_R_50_FPN_3x/137849458/model_final_280758.pkl - image 40.2
faster_rcnn_r101_fpn_3x faster_rcnn_R_101_FPN_3x/137851257/model_final_f6e8b1.pkl - image 42.0
faster_rcnn_x101_fpn_3x faster_rcnn_X_101_32x8d_FPN_3x/139173657/model_final_68b088.pkl - image 43.0
""", note="needs detectron2"),
    *_pyslowfast("model_zoo/", "caffe2", """
i3d_nln_8x8_r50_k400 kinetics400/I3D_NLN_8x8_R50.pkl I3D_NLN_R50_8x8 8x8 74.0 91.1
slowfast_8x8_r101_50_50_nln_ava21 ava/SLOWFAST_32x2_R101_50_50_v2.1.pkl AVA/SlowFast_8x8_R101_50_50_NLN 32x2 28.2
slowfast_8x8_r101_50_50_nln_ava22 ava/SLOWFAST_32x2_R101_50_50.pkl AVA/SlowFast_8x8_R101_50_50_NLN 32x2 29.1
slowfast_16x8_r101_50_50_nln_ava22 ava/SLOWFAST_64x2_R101_50_50.pkl AVA/SlowFast_16x8_R101_50_50_NLN 64x2 29.4
"""),
    *_pyslowfast("x3d_models/", "pyslowfast", """
x3d_xs_k400 x3d_xs.pyth X3D_XS 4x12 69.5
x3d_s_k400 x3d_s.pyth X3D_S 13x6 73.5
x3d_m_k400 x3d_m.pyth X3D_M 16x5 76.2
x3d_l_k400 x3d_l.pyth X3D_L 16x5 77.5
""", note="30 views"),
    *_pytorchvideo("kinetics/", """
x3d_xs_k400 X3D_XS.pyth PyTorchVideo/X3D_XS 4x12 69.12 88.63
x3d_s_k400 X3D_S.pyth PyTorchVideo/X3D_S 13x6 73.33 91.27
x3d_m_k400 X3D_M.pyth PyTorchVideo/X3D_M 16x5 75.94 92.72
x3d_l_k400 X3D_L.pyth PyTorchVideo/X3D_L 16x5 77.44 93.31
"""),
    *_torchvision("torchvision_video", """
r3d_18_k400 r3d_18-b3b3357e.pth R3D_18 16x2 63.2 83.479
r2plus1d_18_k400 r2plus1d_18-91a641e6.pth R2Plus1D_18 16x2 67.463 86.175
mc3_18_k400 mc3_18-a90a0ba3.pth MC3_18 16x2 63.96 84.13
s3d_k400 s3d-d76dad2f.pth S3D 128x2 68.368 88.05
mvit_v1_b_k400 mvit_v1_b-dbeb1030.pth MViTv1_B 16x4 78.477 93.582
mvit_v2_s_k400 mvit_v2_s-ae3be167.pth MViTv2_S 16x4 80.757 94.665
swin3d_t_k400 swin3d_t-7615ae03.pth Swin3D_T 32x2 77.715 93.519
swin3d_s_k400 swin3d_s-da41c237.pth Swin3D_S 32x2 79.521 94.158
swin3d_b_k400 swin3d_b_1k-24f7c7c6.pth Swin3D_B 32x2 79.427 94.386
"""),
    *_torchvision("torchvision_video", """
swin3d_b_22k_k400 swin3d_b_22k-7c6ae6fa.pth Swin3D_B 32x2 81.643 95.574
""", data="ImageNet-22K, then Kinetics-400"),
    *_umt("action_detection/README.md", """
vit_b_ava22 b16_ptk710_ftk710_ftava_f8_res224.pth AVA/UMT_B 8x8 33.5
vit_l_ava22 l16_ptk710_ftk710_ftava_f8_res224.pth AVA/UMT_L 8x8 39.8
""", data="Kinetics-710, then AVA v2.2"),
    *_umt("MODEL_ZOO.md", """
vit_b_k400 b16_ptk710_ftk710_ftk400_f8_res224.pth Kinetics400/UMT_B 8xuniform 87.4
vit_l_k400 l16_ptk710_ftk710_ftk400_f8_res224.pth Kinetics400/UMT_L 8xuniform 90.3
vit_l_16_frames_k400 l16_ptk710_ftk710_ftk400_f16_res224.pth Kinetics400/UMT_L_16 16xuniform 90.6
""", data="Kinetics-710, then Kinetics-400"),
    *_umt("MODEL_ZOO.md", """
vit_b_pretrained b16_ptk710_f8_res224.pth Pretrained/UMT_B 8xuniform
vit_l_pretrained l16_ptk710_f8_res224.pth Pretrained/UMT_L 8xuniform
""", data="Kinetics-710 without labels", prefix="encoder."),
    *_mmaction2("detection/videomae", f"{_VIDEOMAE_AVA}/{_VIDEOMAE_AVA}_20230314-{{1}}.pth", """
videomae_vit_b_ava22 base:3dafab75 AVA/VideoMAE_B 16x4 33.6
videomae_vit_l_ava22 large:bf93c9ea AVA/VideoMAE_L 16x4 38.7
""", data="Kinetics-400, then AVA-Kinetics"),
    *_mmaction2("recognition/videomae", _VIDEOMAE_K400, """
videomae_vit_b_k400 base:860a3cd3 Kinetics400/VideoMAE_B 16x4 81.3 95.0
videomae_vit_l_k400 large:229dbb03 Kinetics400/VideoMAE_L 16x4 85.3 96.7
""", note="VideoMAE's file in mmaction2's layout"),
    *_mmaction2("recognition/videomaev2", f"{_VIDEOMAE_V2}/{_VIDEOMAE_V2}_20230510-{{1}}.pth", """
videomaev2_vit_s_k400 small:25c748fd Kinetics400/VideoMAE_S 16x4 83.6 96.3
videomaev2_vit_b_k400 base:3e7f93b2 Kinetics400/VideoMAE_B 16x4 86.6 97.3
""", data="Kinetics-710", note="distilled from ViT-g"),
    *_hiera("""
hiera_b_k400 hiera_base_16x224.pth Kinetics400/Hiera_B 16x4 84.0
hiera_b_plus_k400 hiera_base_plus_16x224.pth Kinetics400/Hiera_B_Plus 16x4 85.0
hiera_l_k400 hiera_large_16x224.pth Kinetics400/Hiera_L 16x4 87.3
hiera_h_k400 hiera_huge_16x224.pth Kinetics400/Hiera_H 16x4 87.8
hiera_b_pretrained mae_hiera_base_16x224.pth Pretrained/Hiera_B 16x4 84.0
hiera_b_plus_pretrained mae_hiera_base_plus_16x224.pth Pretrained/Hiera_B_Plus 16x4 85.0
hiera_l_pretrained mae_hiera_large_16x224.pth Pretrained/Hiera_L 16x4 87.3
hiera_h_pretrained mae_hiera_huge_16x224.pth Pretrained/Hiera_H 16x4 87.8
"""),
    *_table("pyslowfast", _MVIT, _MVIT_PAGE, _APACHE, "pyslowfast_mvit", """
mvit_v2_s_k400 MViTv2_S_16x4_k400_f302660347.pyth Kinetics400/MViTv2_S 16x4 81.0 94.6
mvit_v2_b_k400 MViTv2_B_32x3_k400_f304025456.pyth Kinetics400/MViTv2_B 32x3 82.9 95.7
mvit_v2_l_k400 MViTv2_L_40x3_k400_f306903192.pyth Kinetics400/MViTv2_L 40x3 86.1 97.0
"""),
    *_table("pyslowfast", _PYSLOWFAST + "masked_models/", _MAE_ST_PAGE, _APACHE, "mae_st", """
mae_vit_b_pretrained VIT_B_16x4_MAE_PT.pyth Pretrained/MAE_ST_B 16x4 81.3
mae_vit_l_pretrained VIT_L_16x4_MAE_PT.pyth Pretrained/MAE_ST_L 16x4 84.8
mae_vit_h_pretrained VIT_H_16x4_MAE_PT_400e_85.1.pyth Pretrained/MAE_ST_H 16x4 85.1
"""),
    *_table("vjepa2", _VJEPA2, _VJEPA2_PAGE, _MIT, "vjepa", """
vit_l_pretrained vitl.pt Pretrained/VJEPA2_L 64x8
vit_h_pretrained vith.pt Pretrained/VJEPA2_H 64x8
vit_g_pretrained vitg.pt Pretrained/VJEPA2_g 64x8
vit_g_384_pretrained vitg-384.pt Pretrained/VJEPA2_g_384 64x8
""", prefix="module.backbone.", data="videos and images without labels", note="4 frames per second"),
]  # fmt: skip

# Name -> entry, in the order of the tables.
ENTRIES: dict[str, Entry] = {entry.name: entry for entry in _ALL}
