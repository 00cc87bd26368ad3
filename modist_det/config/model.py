"""``MODEL``: architecture, weights, device."""

from __future__ import annotations

from .node import CfgNode

__all__ = ["defaults"]


def defaults() -> CfgNode:
    model = CfgNode()
    model.META_ARCHITECTURE = "ActionDetector"
    # A checkpoint to start from: a path, zoo://NAME (MODEL_ZOO.md), a URL or torchvision://NAME/WEIGHTS; any of the
    # formats that modist_det.checkpoint reads.
    model.WEIGHTS = ""
    # "auto": CUDA where there is one, otherwise the CPU. Or "cpu", "cuda", "cuda:1".
    model.DEVICE = "auto"
    # Clips arrive as uint8 RGB; the model computes (x / 255 - mean) / std on the device. One entry
    # per channel, in the order of INPUT_FORMAT.
    model.PIXEL_MEAN = [0.45, 0.45, 0.45]
    model.PIXEL_STD = [0.225, 0.225, 0.225]
    # "BGR" swaps the channels on the device, for checkpoints of Caffe2's time.
    model.INPUT_FORMAT = "RGB"
    # Width of the last linear layer. 0: the highest class id of the training data's label map.
    model.NUM_CLASSES = 0
    model.CHANNELS_LAST = False  # torch.channels_last_3d memory format
    model.COMPILE = False  # torch.compile
    model.SYNC_BN = False  # batch statistics over all processes

    model.BACKBONE = CfgNode()
    model.BACKBONE.NAME = "ResNet3D"
    model.BACKBONE.FREEZE = False  # no gradients, always in evaluation mode
    # BN normalizes with its stored statistics in training, too; its weights still learn.
    model.BACKBONE.FREEZE_BN = False

    model.RESNET3D = CfgNode()
    model.RESNET3D.DEPTH = 50  # 18, 50 or 101
    model.RESNET3D.WIDTH = 64
    model.RESNET3D.STEM_KERNEL = [1, 7, 7]  # (T, H, W)
    model.RESNET3D.STEM_STRIDE = [1, 2, 2]
    # Of the first convolution of each block: one size a stage, or a list per stage to alternate.
    model.RESNET3D.TEMPORAL_KERNELS = [1, 1, 3, 3]
    model.RESNET3D.POOL_AFTER_RES2 = 1  # temporal size and stride of a max pool (I3D, C2D: 2)
    model.RESNET3D.DILATE_RES5 = False  # stride 1, dilation 2: the last map keeps 1/16 resolution
    model.RESNET3D.NORM = "BN"  # "BN", "GN" (32 groups or fewer) or "none"
    model.RESNET3D.ZERO_INIT_FINAL_NORM = True
    # Of res2 to res5: the blocks (from 0) that a non-local block follows.
    model.RESNET3D.NONLOCAL_BLOCKS = [[], [], [], []]
    model.RESNET3D.NONLOCAL_KIND = "softmax"  # or "dot_product"
    model.RESNET3D.NONLOCAL_POOL = [1, 2, 2]  # (T, H, W) max pool before keys and values

    model.SLOWFAST = CfgNode()
    model.SLOWFAST.DEPTH = 50
    model.SLOWFAST.WIDTH = 64
    model.SLOWFAST.ALPHA = 4  # the slow pathway sees every ALPHA-th frame
    model.SLOWFAST.BETA_INV = 8  # the fast pathway has 1 / BETA_INV of the channels
    model.SLOWFAST.FUSION_KERNEL = 7
    model.SLOWFAST.FUSION_RATIO = 2
    model.SLOWFAST.SLOW_TEMPORAL_KERNELS = [1, 1, 3, 3]  # as RESNET3D.TEMPORAL_KERNELS
    model.SLOWFAST.FAST_TEMPORAL_KERNELS = [3, 3, 3, 3]
    model.SLOWFAST.DILATE_RES5 = False
    model.SLOWFAST.NORM = "BN"
    model.SLOWFAST.ZERO_INIT_FINAL_NORM = True
    model.SLOWFAST.NONLOCAL_BLOCKS = [[], [], [], []]  # of the slow pathway, as RESNET3D.NONLOCAL_BLOCKS
    model.SLOWFAST.NONLOCAL_KIND = "dot_product"
    model.SLOWFAST.NONLOCAL_POOL = [1, 2, 2]

    # XS, S and M; L has DEPTH_FACTOR 5.0.
    model.X3D = CfgNode()
    model.X3D.WIDTH_FACTOR = 2.0
    model.X3D.DEPTH_FACTOR = 2.2
    model.X3D.BOTTLENECK_FACTOR = 2.25  # channels of the 3x3x3 convolutions per channel of a block's output
    model.X3D.STEM_CHANNELS = 12  # before WIDTH_FACTOR
    model.X3D.DILATE_RES5 = False
    model.X3D.NORM = "BN"
    model.X3D.ZERO_INIT_FINAL_NORM = True
    model.X3D.RES2_SHORTCUT_NORM = True  # False: PyTorchVideo's hub
    model.X3D.HEAD_CHANNELS = 2048  # of X3DHead's second convolution

    model.TORCHVISION = CfgNode()
    model.TORCHVISION.NAME = "r2plus1d_18"  # the others: docs/BACKBONES.md
    # "map", or "pooled": what torchvision's own classifier sees, to classify with its weights.
    model.TORCHVISION.FEATURES = "map"

    model.HEAD = CfgNode()
    model.HEAD.NAME = "RoIActionHead"  # or "ClassificationHead", "X3DHead"
    model.HEAD.DROPOUT = 0.5
    # Of scores at test time: "sigmoid" (many labels a person) or "softmax" (one).
    model.HEAD.ACTIVATION = "sigmoid"
    model.HEAD.ROI_RESOLUTION = 7
    model.HEAD.ROI_SAMPLING_RATIO = 0  # 0: adaptive, as PySlowFast
    model.HEAD.ROI_ALIGNED = True  # False for models of Caffe2's time
    model.HEAD.INIT_STD = 0.01

    model.LOSS = CfgNode()
    model.LOSS.NAME = "bce_with_logits"
    model.LOSS.WEIGHT = 1.0
    model.LOSS.LABEL_SMOOTHING = 0.0  # classification: share of a target spread over all classes

    # Pretraining: META_ARCHITECTURE MoDist, BYOL or SimCLR; the visual backbone is BACKBONE above.
    model.MODIST = _pathways()
    model.MODIST.CROSS_WEIGHT = 1.0
    model.MODIST.QUEUE_SIZE = 65536  # keys of all processes
    model.MODIST.TEMPERATURE = 0.1
    model.MODIST.MOMENTUM = 0.999
    model.MODIST.ANNEAL_MOMENTUM = False  # from MOMENTUM to 1 along a cosine
    model.MODIST.SHUFFLE_BN = True
    model.MODIST.MASK_SAME_VIDEO = False  # keys of the query's own video are no negatives

    model.BYOL = _pathways()
    model.BYOL.DIM = 256
    model.BYOL.PROJECTION_HIDDEN = 4096
    model.BYOL.PROJECTION_NORM = "BN"  # of the predictor, too
    model.BYOL.PREDICTOR_HIDDEN = 4096
    model.BYOL.MOMENTUM = 0.996
    model.BYOL.ANNEAL_MOMENTUM = True

    model.SIMCLR = _pathways()
    model.SIMCLR.PROJECTION_LAYERS = 3
    model.SIMCLR.TEMPERATURE = 0.1

    # The motion pathway, a ResNet3D with these keys.
    model.MOTION_PATHWAY = model.RESNET3D.clone()
    model.MOTION_PATHWAY.WIDTH = 8
    model.MOTION_PATHWAY.STEM_KERNEL = [5, 7, 7]
    model.MOTION_PATHWAY.STEM_STRIDE = [2, 2, 2]
    model.MOTION_PATHWAY.TEMPORAL_KERNELS = [1, 1, 1, 1]  # [3, 3, 3, 3]: the 3D variant

    # Exponential moving average of the weights, evaluated instead of them when enabled.
    model.EMA = CfgNode()
    model.EMA.ENABLED = False
    model.EMA.DECAY = 0.9999
    return model


def _pathways() -> CfgNode:
    """What methods share that compare clips with each other and with their motion."""
    node = CfgNode()
    node.VISUAL_WEIGHT = 1.0  # of the RGB-RGB term; 0 leaves a term out
    node.CROSS_WEIGHT = 0.0  # of RGB-motion and motion-RGB; 0: no motion unless MOTION_WEIGHT asks for it
    node.MOTION_WEIGHT = 0.0  # of motion-motion
    node.SAME_TIME = False  # cross-modal terms within one clip instead of between two
    node.DIM = 128  # length of a projection
    node.PROJECTION_HIDDEN = 2048
    node.PROJECTION_LAYERS = 2
    node.PROJECTION_NORM = "none"  # or "BN"
    # Of the motion pathway's input after division by 255, one entry a channel; its std is 1. The task sets it to what
    # MOTION.KIND has where nothing moves.
    node.MOTION_MEAN = [0.0, 0.0, 0.0]
    return node
