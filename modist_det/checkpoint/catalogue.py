"""The catalogue of published weights that fit models of this project.

Only data: urls and figures are those of the pages in ``source``. An entry is ``verified`` once its bytes were seen.
``MODEL_ZOO.md`` is made from it (``python tools/model_zoo.py list --markdown``).
"""

from __future__ import annotations

from functools import partial

from .entry import Entry, Figure

__all__ = ["ENTRIES"]

_PYSLOWFAST_PAGE = "https://github.com/facebookresearch/SlowFast/blob/main/MODEL_ZOO.md"
_PYSLOWFAST = "https://dl.fbaipublicfiles.com/pyslowfast/"
_CONTRASTIVE_PAGE = (
    "https://github.com/facebookresearch/SlowFast/blob/main/projects/contrastive_ssl/README.md"
)
_PYTORCHVIDEO_PAGE = "https://github.com/facebookresearch/pytorchvideo/blob/main/docs/source/model_zoo.md"
_PYTORCHVIDEO = "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/"
_TORCHVISION_PAGE = "https://docs.pytorch.org/vision/stable/models.html"
_TORCHVISION = "https://download.pytorch.org/models/"
_DETECTRON2_PAGE = "https://github.com/facebookresearch/detectron2/blob/main/MODEL_ZOO.md"
_DETECTRON2 = "https://dl.fbaipublicfiles.com/detectron2/COCO-Detection/"


def _tops(dataset: str, top1: float, top5: float) -> tuple[Figure, ...]:
    return Figure("top1", top1, dataset), Figure("top5", top5, dataset)


def _k400(top1: float, top5: float) -> tuple[Figure, ...]:
    return _tops("Kinetics-400", top1, top5)


def _ssv2(top1: float, top5: float) -> tuple[Figure, ...]:
    return _tops("Something-Something v2", top1, top5)


def _mean_ap(dataset: str, value: float) -> tuple[Figure, ...]:
    return (Figure("mAP", value, dataset),)


def _transfer(k400_linear: float, ucf101: float, ava: float | None, ssv2: float | None) -> tuple[Figure, ...]:
    """What the contrastive models' page reports: linear classification, and fine-tuning on three data sets."""
    figures = [Figure("top1, linear", k400_linear, "Kinetics-400"), Figure("top1", ucf101, "UCF101 split 1")]
    if ava is not None:
        figures.append(Figure("mAP", ava, "AVA"))
    if ssv2 is not None:
        figures.append(Figure("top1", ssv2, "Something-Something v2"))
    return tuple(figures)


_KINETICS = "Kinetics-400"
_VIA_KINETICS = "Kinetics-400, then {}"
_VIA_KINETICS_600 = "Kinetics-600, then {}"
_SSV2 = _VIA_KINETICS.format("Something-Something v2")
_CHARADES = _VIA_KINETICS.format("Charades")
_AVA22 = _VIA_KINETICS.format("AVA v2.2")

_classifier = partial(Entry, task="classification", data=_KINETICS, licence="Apache-2.0")
_caffe2 = partial(_classifier, format="caffe2", source=_PYSLOWFAST_PAGE)
_hub = partial(_classifier, format="pytorchvideo", source=_PYTORCHVIDEO_PAGE)
_x3d = partial(_classifier, format="pyslowfast", source=_PYSLOWFAST_PAGE, note="30 views")
_video = partial(_classifier, format="torchvision_video", source=_TORCHVISION_PAGE, licence="BSD-3-Clause")
_contrastive = partial(
    Entry,
    task="pretraining",
    format="pyslowfast",
    data="Kinetics-400 without labels",
    source=_CONTRASTIVE_PAGE,
    prefix="backbone.",
    licence="Apache-2.0",
    config="Zoo/Pretrained/Slow_8x8_R50.yaml",
    input="8x8",
)
_imagenet = partial(
    Entry,
    task="pretraining",
    data="ImageNet-1K",
    licence="BSD-3-Clause",
    format="torchvision",
    source=_TORCHVISION_PAGE,
    note="2D; kernels are spread over time where the model's are longer",
    input="8x8",
)
_persons = partial(Entry, task="person_detection", data="COCO")

_PYSLOWFAST_ENTRIES = (
    _caffe2(
        name="pyslowfast/c2d_nopool_8x8_r50_k400",
        url=_PYSLOWFAST + "model_zoo/kinetics400/C2D_NOPOOL_8x8_R50.pkl",
        config="Zoo/Kinetics400/C2D_NOPOOL_8x8_R50.yaml",
        input="8x8",
        figures=_k400(67.2, 87.8),
    ),
    _caffe2(
        name="pyslowfast/i3d_8x8_r50_k400",
        url=_PYSLOWFAST + "model_zoo/kinetics400/I3D_8x8_R50.pkl",
        config="Zoo/Kinetics400/I3D_8x8_R50.yaml",
        input="8x8",
        figures=_k400(73.5, 90.8),
    ),
    _caffe2(
        name="pyslowfast/slow_4x16_r50_k400",
        url=_PYSLOWFAST + "model_zoo/kinetics400/SLOWONLY_4x16_R50.pkl",
        config="Zoo/Kinetics400/Slow_4x16_R50.yaml",
        input="4x16",
        figures=_k400(72.7, 90.3),
    ),
    _caffe2(
        name="pyslowfast/slow_8x8_r50_k400",
        url=_PYSLOWFAST + "model_zoo/kinetics400/SLOWONLY_8x8_R50.pkl",
        config="Zoo/Kinetics400/Slow_8x8_R50.yaml",
        input="8x8",
        figures=_k400(74.8, 91.6),
    ),
    _caffe2(
        name="pyslowfast/slowfast_4x16_r50_k400",
        url=_PYSLOWFAST + "model_zoo/kinetics400/SLOWFAST_4x16_R50.pkl",
        config="Zoo/Kinetics400/SlowFast_4x16_R50.yaml",
        input="32x2",
        figures=_k400(75.6, 92.0),
    ),
    _caffe2(
        name="pyslowfast/slowfast_8x8_r50_k400",
        url=_PYSLOWFAST + "model_zoo/kinetics400/SLOWFAST_8x8_R50.pkl",
        config="Zoo/Kinetics400/SlowFast_8x8_R50.yaml",
        input="32x2",
        figures=_k400(77.0, 92.6),
    ),
    _caffe2(
        name="pyslowfast/slowfast_8x8_r50_stepwise_k400",
        url=_PYSLOWFAST + "pyslowfast/model_zoo/multigrid/model_zoo/Kinetics/SLOWFAST_8x8_R50_stepwise.pkl",
        format="pyslowfast",
        config="Zoo/Kinetics400/SlowFast_8x8_R50.yaml",
        input="32x2",
        figures=_k400(76.8, 92.7),
        note="stepwise schedule",
    ),
    _caffe2(
        name="pyslowfast/slowfast_8x8_r50_multigrid_k400",
        url=_PYSLOWFAST
        + "pyslowfast/model_zoo/multigrid/model_zoo/Kinetics/SLOWFAST_8x8_R50_stepwise_multigrid.pkl",
        format="pyslowfast",
        config="Zoo/Kinetics400/SlowFast_8x8_R50.yaml",
        input="32x2",
        figures=_k400(76.6, 92.7),
        note="multigrid training",
    ),
    _caffe2(
        name="pyslowfast/slowfast_16x8_r50_ssv2",
        url=_PYSLOWFAST + "pyslowfast/model_zoo/multigrid/model_zoo/SSv2/SLOWFAST_16x8_R50.pkl",
        format="pyslowfast",
        data=_SSV2,
        config="Zoo/SSv2/SlowFast_16x8_R50.yaml",
        input="64x2",
        figures=_ssv2(63.0, 88.5),
    ),
    _caffe2(
        name="pyslowfast/slowfast_16x8_r50_multigrid_ssv2",
        url=_PYSLOWFAST + "pyslowfast/model_zoo/multigrid/model_zoo/SSv2/SLOWFAST_16x8_R50_multigrid.pkl",
        format="pyslowfast",
        data=_SSV2,
        config="Zoo/SSv2/SlowFast_16x8_R50.yaml",
        input="64x2",
        figures=_ssv2(63.5, 88.7),
        note="multigrid training",
    ),
    _caffe2(
        name="pyslowfast/slowfast_16x8_r50_charades",
        url=_PYSLOWFAST + "pyslowfast/model_zoo/multigrid/model_zoo/Charades/SLOWFAST_16x8_R50.pkl",
        format="pyslowfast",
        data=_CHARADES,
        config="Zoo/Charades/SlowFast_16x8_R50.yaml",
        input="64x2",
        figures=_mean_ap("Charades", 38.9),
    ),
    _caffe2(
        name="pyslowfast/slowfast_16x8_r50_multigrid_charades",
        url=_PYSLOWFAST + "pyslowfast/model_zoo/multigrid/model_zoo/Charades/SLOWFAST_16x8_R50_multigrid.pkl",
        format="pyslowfast",
        data=_CHARADES,
        config="Zoo/Charades/SlowFast_16x8_R50.yaml",
        input="64x2",
        figures=_mean_ap("Charades", 38.6),
        note="multigrid training",
    ),
    _caffe2(
        name="pyslowfast/slow_4x16_r50_ava22",
        task="detection",
        url=_PYSLOWFAST + "model_zoo/ava/C2D_8x8_R50.pkl",
        data=_AVA22,
        config="Zoo/AVA/Slow_4x16_R50.yaml",
        input="4x16",
        figures=_mean_ap("AVA v2.2", 19.5),
    ),
    _caffe2(
        name="pyslowfast/slow_4x16_r50_k400_for_ava",
        url=_PYSLOWFAST + "model_zoo/ava/pretrain/C2D_8x8_R50.pkl",
        config="Zoo/Kinetics400/Slow_4x16_R50.yaml",
        input="4x16",
        note="what slow_4x16_r50_ava22 was fine-tuned from",
    ),
    _contrastive(
        name="pyslowfast/moco_rho2_slow_8x8_r50",
        url=_PYSLOWFAST + "videomoco_models/MoCo_SlowR50_8x8_T2_epoch_00200.pyth",
        figures=_transfer(66.6, 91.3, 19.7, 52.7),
    ),
    _contrastive(
        name="pyslowfast/moco_rho4_slow_8x8_r50",
        url=_PYSLOWFAST + "videomoco_models/MoCo_SlowR50_8x8_T4_epoch_00200.pyth",
        figures=_transfer(71.0, 94.5, 21.9, 54.0),
    ),
    _contrastive(
        name="pyslowfast/byol_rho2_slow_8x8_r50",
        url=_PYSLOWFAST + "videomoco_models/BYOL_SlowR50_8x8_T2_epoch_00200.pyth",
        figures=_transfer(67.4, 94.0, 22.8, 54.4),
    ),
    _contrastive(
        name="pyslowfast/byol_rho4_slow_8x8_r50",
        url=_PYSLOWFAST + "videomoco_models/BYOL_SlowR50_8x8_T4_epoch_00200.pyth",
        figures=_transfer(70.1, 94.7, None, None),
    ),
    _contrastive(
        name="pyslowfast/byol_rho4_slow_16x4_r50",
        url=_PYSLOWFAST + "videomoco_models/BYOL_SlowR50_16x4_T4_epoch_00200.pyth",
        config="Zoo/Pretrained/Slow_16x4_R50.yaml",
        input="16x4",
        figures=_transfer(71.1, 95.4, None, None),
    ),
    _contrastive(
        name="pyslowfast/simclr_rho2_slow_8x8_r50",
        url=_PYSLOWFAST + "videomoco_models/SimCLR_SlowR50_8x8_T2_epoch_00200.pyth",
        figures=_transfer(61.5, 88.3, 17.5, 51.4),
    ),
    _contrastive(
        name="pyslowfast/swav_rho2_slow_8x8_r50",
        url=_PYSLOWFAST + "videomoco_models/SwAV_SlowR50_8x8_T2_epoch_00200.pyth",
        figures=_transfer(62.6, 90.2, 19.2, 52.5),
    ),
    _imagenet(
        name="pyslowfast/r50_imagenet",
        url=_PYSLOWFAST + "model_zoo/kinetics400/R50_IN1K.pyth",
        format="pyslowfast",
        source=_PYSLOWFAST_PAGE,
        licence="Apache-2.0",
        config="Zoo/Pretrained/ImageNet_R50.yaml",
        figures=_tops("ImageNet-1K", 76.4, 93.2),
    ),
)

_PYTORCHVIDEO_ENTRIES = (
    _hub(
        name="pytorchvideo/c2d_8x8_r50_k400",
        url=_PYTORCHVIDEO + "kinetics/C2D_8x8_R50.pyth",
        config="Zoo/Kinetics400/C2D_8x8_R50.yaml",
        input="8x8",
        figures=_k400(71.46, 89.68),
    ),
    _hub(
        name="pytorchvideo/i3d_8x8_r50_k400",
        url=_PYTORCHVIDEO + "kinetics/I3D_8x8_R50.pyth",
        config="Zoo/Kinetics400/I3D_8x8_R50.yaml",
        input="8x8",
        figures=_k400(73.27, 90.70),
    ),
    _hub(
        name="pytorchvideo/slow_4x16_r50_k400",
        url=_PYTORCHVIDEO + "kinetics/SLOW_4x16_R50.pyth",
        config="Zoo/Kinetics400/Slow_4x16_R50.yaml",
        input="4x16",
        figures=_k400(72.40, 90.18),
    ),
    _hub(
        name="pytorchvideo/slow_8x8_r50_k400",
        url=_PYTORCHVIDEO + "kinetics/SLOW_8x8_R50.pyth",
        config="Zoo/Kinetics400/Slow_8x8_R50.yaml",
        input="8x8",
        figures=_k400(74.58, 91.63),
    ),
    _hub(
        name="pytorchvideo/slowfast_4x16_r50_k400",
        url=_PYTORCHVIDEO + "kinetics/SLOWFAST_4x16_R50.pyth",
        config="Zoo/Kinetics400/SlowFast_4x16_R50.yaml",
        input="32x2",
        figures=_k400(75.34, 91.89),
    ),
    _hub(
        name="pytorchvideo/slowfast_8x8_r50_k400",
        url=_PYTORCHVIDEO + "kinetics/SLOWFAST_8x8_R50.pyth",
        config="Zoo/Kinetics400/SlowFast_8x8_R50.yaml",
        input="32x2",
        figures=_k400(76.94, 92.69),
    ),
    _hub(
        name="pytorchvideo/slowfast_8x8_r101_k400",
        url=_PYTORCHVIDEO + "kinetics/SLOWFAST_8x8_R101.pyth",
        config="Zoo/Kinetics400/SlowFast_8x8_R101.yaml",
        input="32x2",
        figures=_k400(77.90, 93.27),
    ),
    _hub(
        name="pytorchvideo/slowfast_16x8_r101_50_50_k400",
        url=_PYTORCHVIDEO + "kinetics/SLOWFAST_16x8_R101_50_50.pyth",
        config="Zoo/Kinetics400/SlowFast_16x8_R101_50_50.yaml",
        input="64x2",
        figures=_k400(78.70, 93.61),
    ),
    _hub(
        name="pytorchvideo/slow_8x8_r50_ssv2",
        url=_PYTORCHVIDEO + "ssv2/SLOW_8x8_R50.pyth",
        data=_SSV2,
        config="Zoo/SSv2/Slow_8x8_R50.yaml",
        input="8x8",
        figures=_ssv2(60.04, 85.19),
    ),
    _hub(
        name="pytorchvideo/slowfast_8x8_r50_ssv2",
        url=_PYTORCHVIDEO + "ssv2/SLOWFAST_8x8_R50.pyth",
        data=_SSV2,
        config="Zoo/SSv2/SlowFast_8x8_R50.yaml",
        input="32x2",
        figures=_ssv2(61.68, 86.92),
    ),
    _hub(
        name="pytorchvideo/slow_8x8_r50_charades",
        url=_PYTORCHVIDEO + "charades/SLOW_8x8_R50.pyth",
        data=_CHARADES,
        config="Zoo/Charades/Slow_8x8_R50.yaml",
        input="8x8",
        figures=_mean_ap("Charades", 34.72),
    ),
    _hub(
        name="pytorchvideo/slowfast_8x8_r50_charades",
        url=_PYTORCHVIDEO + "charades/SLOWFAST_8x8_R50.pyth",
        data=_CHARADES,
        config="Zoo/Charades/SlowFast_8x8_R50.yaml",
        input="32x2",
        figures=_mean_ap("Charades", 37.24),
    ),
    _hub(
        name="pytorchvideo/slow_4x16_r50_ava22",
        task="detection",
        url=_PYTORCHVIDEO + "ava/SLOW_4x16_R50_DETECTION.pyth",
        data=_AVA22,
        config="Zoo/AVA/Slow_4x16_R50.yaml",
        input="4x16",
        figures=_mean_ap("AVA v2.2", 19.5),
    ),
    _hub(
        name="pytorchvideo/slowfast_8x8_r50_ava22",
        task="detection",
        url=_PYTORCHVIDEO + "ava/SLOWFAST_8x8_R50_DETECTION.pyth",
        data=_AVA22,
        config="Zoo/AVA/SlowFast_8x8_R50.yaml",
        input="32x2",
        figures=_mean_ap("AVA v2.2", 24.67),
    ),
)

_OTHER_ENTRIES = (
    Entry(
        name="modist/maclr",
        task="pretraining",
        url="https://aws-cv-sci-motion-public.s3.us-west-2.amazonaws.com/MaCLR/model_zoos/maclr.pyth",
        format="modist",
        data="Kinetics-400 without labels",
        source="https://github.com/amazon-science/self-supervised-maclr",
        licence="Apache-2.0",
        config="Zoo/Pretrained/DenseSlow_8x8_R50.yaml",
        input="8x8",
        note="the MoDist authors' own; they state that the method is patent pending",
    ),
    _imagenet(
        name="torchvision/resnet18_imagenet",
        url=_TORCHVISION + "resnet18-f37072fd.pth",
        sha256="f37072fd",
        config="Zoo/Pretrained/ImageNet_R18.yaml",
        figures=_tops("ImageNet-1K", 69.758, 89.078),
    ),
    _imagenet(
        name="torchvision/resnet50_imagenet",
        url=_TORCHVISION + "resnet50-0676ba61.pth",
        sha256="0676ba61",
        config="Zoo/Pretrained/ImageNet_R50.yaml",
        figures=_tops("ImageNet-1K", 76.13, 92.862),
    ),
    _imagenet(
        name="torchvision/resnet101_imagenet",
        url=_TORCHVISION + "resnet101-63fe2227.pth",
        sha256="63fe2227",
        config="Zoo/Pretrained/ImageNet_R101.yaml",
        figures=_tops("ImageNet-1K", 77.374, 93.546),
    ),
    _persons(
        name="torchvision/fasterrcnn_resnet50_fpn",
        url=_TORCHVISION + "fasterrcnn_resnet50_fpn_coco-258fb6c6.pth",
        sha256="258fb6c6",
        format="torchvision",
        builder="fasterrcnn_resnet50_fpn",
        source=_TORCHVISION_PAGE,
        licence="BSD-3-Clause",
        figures=(Figure("box mAP", 37.0, "COCO val2017"),),
    ),
    _persons(
        name="torchvision/fasterrcnn_resnet50_fpn_v2",
        url=_TORCHVISION + "fasterrcnn_resnet50_fpn_v2_coco-dd69338a.pth",
        sha256="dd69338a",
        format="torchvision",
        builder="fasterrcnn_resnet50_fpn_v2",
        source=_TORCHVISION_PAGE,
        licence="BSD-3-Clause",
        figures=(Figure("box mAP", 46.7, "COCO val2017"),),
    ),
    _persons(
        name="torchvision/fasterrcnn_mobilenet_v3_large_fpn",
        url=_TORCHVISION + "fasterrcnn_mobilenet_v3_large_fpn-fb6a3cc7.pth",
        sha256="fb6a3cc7",
        format="torchvision",
        builder="fasterrcnn_mobilenet_v3_large_fpn",
        source=_TORCHVISION_PAGE,
        licence="BSD-3-Clause",
        figures=(Figure("box mAP", 32.8, "COCO val2017"),),
    ),
    _persons(
        name="torchvision/fasterrcnn_mobilenet_v3_large_320_fpn",
        url=_TORCHVISION + "fasterrcnn_mobilenet_v3_large_320_fpn-907ea3f9.pth",
        sha256="907ea3f9",
        format="torchvision",
        builder="fasterrcnn_mobilenet_v3_large_320_fpn",
        source=_TORCHVISION_PAGE,
        licence="BSD-3-Clause",
        figures=(Figure("box mAP", 22.8, "COCO val2017"),),
    ),
    _persons(
        name="detectron2/faster_rcnn_r50_fpn_3x",
        url=_DETECTRON2 + "faster_rcnn_R_50_FPN_3x/137849458/model_final_280758.pkl",
        format="detectron2",
        source=_DETECTRON2_PAGE,
        licence="CC-BY-SA-3.0",
        figures=(Figure("box mAP", 40.2, "COCO val2017"),),
        note="needs detectron2",
    ),
    _persons(
        name="detectron2/faster_rcnn_r101_fpn_3x",
        url=_DETECTRON2 + "faster_rcnn_R_101_FPN_3x/137851257/model_final_f6e8b1.pkl",
        format="detectron2",
        source=_DETECTRON2_PAGE,
        licence="CC-BY-SA-3.0",
        figures=(Figure("box mAP", 42.0, "COCO val2017"),),
        note="needs detectron2",
    ),
    _persons(
        name="detectron2/faster_rcnn_x101_fpn_3x",
        url=_DETECTRON2 + "faster_rcnn_X_101_32x8d_FPN_3x/139173657/model_final_68b088.pkl",
        format="detectron2",
        source=_DETECTRON2_PAGE,
        licence="CC-BY-SA-3.0",
        figures=(Figure("box mAP", 43.0, "COCO val2017"),),
        note="needs detectron2",
    ),
)

# Networks with non-local blocks; X3D; torchvision's video networks.
_MORE_ENTRIES = (
    _caffe2(
        name="pyslowfast/i3d_nln_8x8_r50_k400",
        url=_PYSLOWFAST + "model_zoo/kinetics400/I3D_NLN_8x8_R50.pkl",
        config="Zoo/I3D_NLN_R50_8x8.yaml",
        input="8x8",
        figures=_k400(74.0, 91.1),
    ),
    _caffe2(
        name="pyslowfast/slowfast_8x8_r101_50_50_nln_ava21",
        task="detection",
        url=_PYSLOWFAST + "model_zoo/ava/SLOWFAST_32x2_R101_50_50_v2.1.pkl",
        data=_VIA_KINETICS_600.format("AVA v2.1"),
        config="Zoo/AVA/SlowFast_8x8_R101_50_50_NLN.yaml",
        input="32x2",
        figures=_mean_ap("AVA v2.1", 28.2),
    ),
    _caffe2(
        name="pyslowfast/slowfast_8x8_r101_50_50_nln_ava22",
        task="detection",
        url=_PYSLOWFAST + "model_zoo/ava/SLOWFAST_32x2_R101_50_50.pkl",
        data=_VIA_KINETICS_600.format("AVA v2.2"),
        config="Zoo/AVA/SlowFast_8x8_R101_50_50_NLN.yaml",
        input="32x2",
        figures=_mean_ap("AVA v2.2", 29.1),
    ),
    _caffe2(
        name="pyslowfast/slowfast_16x8_r101_50_50_nln_ava22",
        task="detection",
        url=_PYSLOWFAST + "model_zoo/ava/SLOWFAST_64x2_R101_50_50.pkl",
        data=_VIA_KINETICS_600.format("AVA v2.2"),
        config="Zoo/AVA/SlowFast_16x8_R101_50_50_NLN.yaml",
        input="64x2",
        figures=_mean_ap("AVA v2.2", 29.4),
    ),
    _x3d(
        name="pyslowfast/x3d_xs_k400",
        url=_PYSLOWFAST + "x3d_models/x3d_xs.pyth",
        config="Zoo/X3D_XS.yaml",
        input="4x12",
        figures=(Figure("top1", 69.5, "Kinetics-400"),),
    ),
    _x3d(
        name="pyslowfast/x3d_s_k400",
        url=_PYSLOWFAST + "x3d_models/x3d_s.pyth",
        config="Zoo/X3D_S.yaml",
        input="13x6",
        figures=(Figure("top1", 73.5, "Kinetics-400"),),
    ),
    _x3d(
        name="pyslowfast/x3d_m_k400",
        url=_PYSLOWFAST + "x3d_models/x3d_m.pyth",
        config="Zoo/X3D_M.yaml",
        input="16x5",
        figures=(Figure("top1", 76.2, "Kinetics-400"),),
    ),
    _x3d(
        name="pyslowfast/x3d_l_k400",
        url=_PYSLOWFAST + "x3d_models/x3d_l.pyth",
        config="Zoo/X3D_L.yaml",
        input="16x5",
        figures=(Figure("top1", 77.5, "Kinetics-400"),),
    ),
    _hub(
        name="pytorchvideo/x3d_xs_k400",
        url=_PYTORCHVIDEO + "kinetics/X3D_XS.pyth",
        config="Zoo/PyTorchVideo/X3D_XS.yaml",
        input="4x12",
        figures=_k400(69.12, 88.63),
    ),
    _hub(
        name="pytorchvideo/x3d_s_k400",
        url=_PYTORCHVIDEO + "kinetics/X3D_S.pyth",
        config="Zoo/PyTorchVideo/X3D_S.yaml",
        input="13x6",
        figures=_k400(73.33, 91.27),
    ),
    _hub(
        name="pytorchvideo/x3d_m_k400",
        url=_PYTORCHVIDEO + "kinetics/X3D_M.pyth",
        config="Zoo/PyTorchVideo/X3D_M.yaml",
        input="16x5",
        figures=_k400(75.94, 92.72),
    ),
    _hub(
        name="pytorchvideo/x3d_l_k400",
        url=_PYTORCHVIDEO + "kinetics/X3D_L.pyth",
        config="Zoo/PyTorchVideo/X3D_L.yaml",
        input="16x5",
        figures=_k400(77.44, 93.31),
    ),
    _video(
        name="torchvision/r3d_18_k400",
        url=_TORCHVISION + "r3d_18-b3b3357e.pth",
        sha256="b3b3357e",
        config="Zoo/R3D_18.yaml",
        input="16x2",
        figures=_k400(63.2, 83.479),
    ),
    _video(
        name="torchvision/r2plus1d_18_k400",
        url=_TORCHVISION + "r2plus1d_18-91a641e6.pth",
        sha256="91a641e6",
        config="Zoo/R2Plus1D_18.yaml",
        input="16x2",
        figures=_k400(67.463, 86.175),
    ),
    _video(
        name="torchvision/mc3_18_k400",
        url=_TORCHVISION + "mc3_18-a90a0ba3.pth",
        sha256="a90a0ba3",
        config="Zoo/MC3_18.yaml",
        input="16x2",
        figures=_k400(63.96, 84.13),
    ),
    _video(
        name="torchvision/s3d_k400",
        url=_TORCHVISION + "s3d-d76dad2f.pth",
        sha256="d76dad2f",
        config="Zoo/S3D.yaml",
        input="128x2",
        figures=_k400(68.368, 88.05),
    ),
    _video(
        name="torchvision/mvit_v1_b_k400",
        url=_TORCHVISION + "mvit_v1_b-dbeb1030.pth",
        sha256="dbeb1030",
        config="Zoo/MViTv1_B.yaml",
        input="16x4",
        figures=_k400(78.477, 93.582),
    ),
    _video(
        name="torchvision/mvit_v2_s_k400",
        url=_TORCHVISION + "mvit_v2_s-ae3be167.pth",
        sha256="ae3be167",
        config="Zoo/MViTv2_S.yaml",
        input="16x4",
        figures=_k400(80.757, 94.665),
    ),
    _video(
        name="torchvision/swin3d_t_k400",
        url=_TORCHVISION + "swin3d_t-7615ae03.pth",
        sha256="7615ae03",
        config="Zoo/Swin3D_T.yaml",
        input="32x2",
        figures=_k400(77.715, 93.519),
    ),
    _video(
        name="torchvision/swin3d_s_k400",
        url=_TORCHVISION + "swin3d_s-da41c237.pth",
        sha256="da41c237",
        config="Zoo/Swin3D_S.yaml",
        input="32x2",
        figures=_k400(79.521, 94.158),
    ),
    _video(
        name="torchvision/swin3d_b_k400",
        url=_TORCHVISION + "swin3d_b_1k-24f7c7c6.pth",
        sha256="24f7c7c6",
        config="Zoo/Swin3D_B.yaml",
        input="32x2",
        figures=_k400(79.427, 94.386),
    ),
    _video(
        name="torchvision/swin3d_b_22k_k400",
        url=_TORCHVISION + "swin3d_b_22k-7c6ae6fa.pth",
        sha256="7c6ae6fa",
        data="ImageNet-22K, then Kinetics-400",
        config="Zoo/Swin3D_B.yaml",
        input="32x2",
        figures=_k400(81.643, 95.574),
    ),
)

# Name -> entry, in the order of the tables.
ENTRIES: dict[str, Entry] = {
    entry.name: entry
    for entry in (*_PYSLOWFAST_ENTRIES, *_PYTORCHVIDEO_ENTRIES, *_OTHER_ENTRIES, *_MORE_ENTRIES)
}
