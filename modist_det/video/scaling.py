"""Convert decoded frames to RGB (colour matrix, range, transfer function, size), and back for writing."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from .errors import VideoError, reading

__all__ = ["FrameScaler", "check_colours", "to_bt709", "tag_bt709"]

# Before PyAV 17 swscale always ran on one thread and the argument did not exist. Its own default, a
# thread per CPU, makes the workers of a loader fight each other.
_ONE_THREAD = {"threads": 1} if int(av.__version__.split(".")[0]) >= 17 else {}

# Numbers of ITU-T H.273, which FFmpeg uses.
_UNTAGGED = {0, 2, 3}
_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}  # to swscale's
_PQ, _HLG = 16, 18
_BT2020 = 9
_BT2020_TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)  # ITU-R BT.2087, linear light
_WHITE = 203.0  # cd/m2 of a white page in HDR video (ITU-R BT.2408)
_PEAK = 1000.0
_KNEE = 0.8  # of white; what is brighter is compressed


class FrameScaler:
    """Colour conversion and scaling of decoded frames in one step of FFmpeg's swscale, bilinear.

    When it scales down, swscale's bilinear filter covers all source pixels (it does not alias). The matrix (BT.601,
    BT.709, BT.2020, ...) and the range (limited or full) are those with which the frame is tagged, with every version
    of PyAV; untagged frames are taken as BT.601, limited range. Primaries stay as they are, as they do in ``ffmpeg``.
    HDR frames (PQ, HLG) become SDR: white of 203 cd/m2 is white, highlights are compressed, BT.2020's primaries
    become BT.709's. Interlaced frames are left as stored.

    Args:
        path: path of the video, for errors.
    """

    def __init__(self, path: str | os.PathLike[str] = "(frames)") -> None:
        self._path = path
        # Reused for all frames, because building the filters takes longer than running them.
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame, height: int, width: int) -> NDArray[np.uint8]:
        """RGB (height, width, 3). A view of memory that lives as long as the array does.

        Raises:
            VideoError: colours that cannot be converted.
        """
        hdr = getattr(frame, "color_trc", None) in (_PQ, _HLG)
        with reading(self._path):
            rgb = self._reformatter.reformat(
                frame,
                width,
                height,
                "rgb48le" if hdr else "rgb24",
                interpolation=Interpolation.BILINEAR,
                **_colours(frame, self._path),
                **_ONE_THREAD,
            )
            plane = rgb.planes[0]
            rows: NDArray[np.unsignedinteger] = np.frombuffer(memoryview(plane), "<u2" if hdr else np.uint8)
            rows = rows.reshape(-1, plane.line_size // rows.itemsize)
        image: NDArray[np.unsignedinteger] = rows[:height, : 3 * width].reshape(height, width, 3)
        return _to_sdr(image, int(frame.color_trc), int(frame.color_primaries)) if hdr else image


def check_colours(frame: av.VideoFrame, stream: av.VideoStream, path: str | os.PathLike[str]) -> None:
    """Check from the first frame that a video's colours can be converted.

    Raises:
        VideoError: they cannot.
    """
    _colours(frame, path)
    if stream.codec_context.color_trc in (_PQ, _HLG) and not hasattr(frame, "color_trc"):
        raise VideoError(path, "it is HDR video, for which PyAV 17 or later is needed; pip install -U av")


def _colours(frame: av.VideoFrame, path: str | os.PathLike[str]) -> dict[str, Any]:
    """Arguments for swscale that say how the frame's colours are coded."""
    if frame.format.is_rgb:
        return {}
    matrix = int(frame.colorspace)
    if matrix not in _MATRICES and matrix not in _UNTAGGED:
        raise VideoError(
            path, f"its colours are coded with matrix {matrix} of H.273, which FFmpeg cannot convert"
        )
    full = int(frame.color_range) == ColorRange.JPEG or frame.format.name.startswith("yuvj")
    source = _MATRICES.get(matrix, Colorspace.ITU601)
    # PyAV 15 and 16 set a matrix only where source and target differ. RGB has none: any other number does.
    target = Colorspace.ITU601 if source != Colorspace.ITU601 else Colorspace.ITU709
    return {
        "src_colorspace": source,
        "dst_colorspace": target,
        "src_color_range": ColorRange.JPEG if full else ColorRange.MPEG,
    }


def _to_sdr(image: NDArray[np.uint16], transfer: int, primaries: int) -> NDArray[np.uint8]:
    """HDR RGB (H, W, 3) of 16 bits to SDR of 8 bits."""
    light = _linear(transfer)[image]
    if transfer == _HLG:  # the system's gamma of 1.2 acts on luminance (ITU-R BT.2100)
        luminance = light @ np.array([0.2627, 0.6780, 0.0593], np.float32)
        light *= np.power(luminance, 0.2, where=luminance > 0, out=np.zeros_like(luminance))[..., None]
    light *= _PEAK / _WHITE
    if primaries == _BT2020:
        light = light @ _BT2020_TO_BT709.T
    brightest = np.maximum(light.max(axis=-1, keepdims=True), 1e-6)
    room, range_ = 1 - _KNEE, _PEAK / _WHITE - _KNEE
    over = np.maximum(brightest - _KNEE, 0)
    # Starts with slope 1 at the knee and reaches white at the peak.
    compressed = _KNEE + room * over * (1 + room / range_ * over / range_) / (room + over)
    light *= np.where(over > 0, compressed / brightest, 1)
    return np.rint(255 * np.clip(light, 0, 1) ** (1 / 2.4)).astype(np.uint8)


@cache
def _linear(transfer: int) -> NDArray[np.float32]:
    """Light of each 16-bit signal, 1 at 1000 cd/m2 (PQ) or at the peak of the scene (HLG); ITU-R BT.2100."""
    signal = np.linspace(0, 1, 65536)
    if transfer == _PQ:
        root = signal ** (1 / 78.84375)
        light = 10.0 * (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (
            1 / 0.1593017578125
        )
    else:
        light = np.where(
            signal <= 0.5, signal**2 / 3, (np.exp((signal - 0.55991073) / 0.17883277) + 0.28466892) / 12
        )
    return light.astype(np.float32)


def tag_bt709(stream: av.VideoStream) -> None:
    """Tag a stream to be written with the colours of :func:`to_bt709`."""
    context = stream.codec_context
    context.colorspace = context.color_primaries = context.color_trc = 1
    context.color_range = ColorRange.MPEG


def to_bt709(image: NDArray[np.uint8], reformatter: VideoReformatter) -> av.VideoFrame:
    """RGB (H, W, 3) as a frame to be encoded: yuv420p, BT.709, limited range, in every version of PyAV.

    Args:
        reformatter: one for all frames of a size.
    """
    rgb = av.VideoFrame.from_ndarray(image, format="rgb24")
    frame = reformatter.reformat(
        rgb,
        format="yuv420p",
        src_colorspace=Colorspace.ITU601,
        dst_colorspace=Colorspace.ITU709,
        dst_color_range=ColorRange.MPEG,
        **_ONE_THREAD,
    )
    frame.colorspace, frame.color_range = 1, ColorRange.MPEG
    return frame
