"""``INPUT``, ``MOTION``, ``DATASETS`` and ``DATALOADER``: which clips, from where, how they are loaded."""

from __future__ import annotations

from .node import CfgNode

__all__ = ["dataloader_defaults", "datasets_defaults", "input_defaults", "motion_defaults"]


def input_defaults() -> CfgNode:
    node = CfgNode()
    node.NUM_FRAMES = 8
    # Frames of a clip lie SAMPLING_RATE / TARGET_FPS seconds apart.
    node.SAMPLING_RATE = 8
    node.TARGET_FPS = 30.0
    # Training: the short side is drawn so that its inverse is uniform in [1/max, 1/min] (PySlowFast). Resized crops
    # are taken from frames whose short side is at most the larger one.
    node.MIN_SIZE_TRAIN = [256, 320]
    node.MIN_SIZE_TEST = 256  # short side at test time
    node.CROP_SIZE = 224  # square training crop
    node.RANDOM_FLIP = 0.5  # probability of a horizontal flip in training
    node.COLOR_JITTER = CfgNode()
    node.COLOR_JITTER.PROB = 0.0
    node.COLOR_JITTER.BRIGHTNESS = 0.4
    node.COLOR_JITTER.CONTRAST = 0.4
    node.COLOR_JITTER.SATURATION = 0.4
    node.COLOR_JITTER.HUE = (
        0.0  # largest shift, in turns of the colour circle (PySlowFast's pretraining: 0.15)
    )
    node.GRAYSCALE_PROB = 0.0
    # Pretraining: two clips of a video, each with a random resized crop of CROP_SIZE.
    node.CLIP_SHIFT = [0.5, 10.0]  # seconds between their beginnings
    # Classification: train on such crops, too, instead of square ones at a random short side.
    node.RESIZED_CROP = False
    # Classification: frames of a "clip" (as above), the same number spread over all of its "span" (PySlowFast's
    # classification: 8 x 8 is 9 frames apart), or one of each of NUM_FRAMES "segments" of the video.
    node.SAMPLING = "clip"
    node.REPEATS = 1  # clips of a video in a batch, augmented anew after one decoding (repeated augmentation)
    node.RAND_AUGMENT = CfgNode()
    node.RAND_AUGMENT.NUM_OPS = 0  # 0: off; changes drawn for a clip, the same for all its frames
    node.RAND_AUGMENT.MAGNITUDE = 9  # 0 to 30
    node.ERASE_PROB = 0.0  # of a random rectangle of noise in all frames
    # Classification: clips of a batch mixed with each other; with both alphas, each in half of the batches.
    node.MIX = CfgNode()
    node.MIX.ENABLED = False
    node.MIX.PROB = 1.0  # share of batches
    node.MIX.MIXUP_ALPHA = 0.8  # 0: no mixup
    node.MIX.CUTMIX_ALPHA = 1.0
    node.CROP_AREA = [0.3, 1.0]  # share of the frame
    node.CROP_ASPECT = [0.5, 2.0]  # width over height
    node.BLUR_PROB = 0.0  # 3x3 Gaussian
    return node


def motion_defaults() -> CfgNode:
    node = CfgNode()
    node.ENABLED = True  # False: RGB only
    # "edges" of flow (arXiv 2106.09703), "magnitude", "flow" (x, y) or "difference" of frames
    node.KIND = "edges"
    node.NUM_FRAMES = 16  # over the span of the RGB clip
    node.GAP_SECONDS = 5 / 30  # between the frames that are compared
    node.ESTIMATOR = "DIS"  # "Farneback", "RAFT"; computed in the loader's workers
    node.SHORT_SIDE = 128  # resolution at which flow is computed; its values stay in source pixels
    node.CACHE = ""  # folder written by tools/extract_motion.py, instead of computing
    return node


def datasets_defaults() -> CfgNode:
    node = CfgNode()
    # Names of the catalogue, or paths of data set description files (*.yaml; datasets/README.md).
    node.TRAIN = []
    node.TEST = []
    # Pretraining: labelled data sets among whose videos those of TEST look for their nearest neighbours.
    node.GALLERY = []
    # Share of the labelled training records that is used, of each class alike, and which one (few-label
    # experiments; a larger share includes a smaller one).
    node.TRAIN_SHARE = 1.0
    node.TRAIN_SHARE_SEED = 0
    # Person boxes: "ground_truth", "detected" (the data set's person boxes) or "both".
    node.TRAIN_BOXES = "ground_truth"
    node.TEST_BOXES = "ground_truth"
    node.PERSON_SCORE_THRESH = 0.9  # detected boxes below it are left out
    return node


def dataloader_defaults() -> CfgNode:
    node = CfgNode()
    node.NUM_WORKERS = 2
    node.PREFETCH_FACTOR = 2
    node.PIN_MEMORY = True  # without effect on the CPU
    # A folder in which decoded frames are kept, so that a video is decoded once: for sets of short clips that fit into
    # memory. "": decode each time.
    node.FRAME_CACHE = ""
    node.FRAME_CACHE_SIDE = 256  # short side with which the frames of larger videos are kept
    # The run stops with a list when more than this share of the videos asked for cannot be read.
    node.MAX_BAD_VIDEO_RATE = 0.01
    return node
