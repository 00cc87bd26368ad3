"""Colours as the frame's tags say, with every version of PyAV."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter

from modist_det.video.reader import VideoError, VideoReader
from modist_det.video.scaling import to_bt709

# (R, G, B) -> Y', Cb, Cr by Kr and Kb of ITU-T H.273.
WEIGHTS = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}
RED = (200, 30, 30)


def coded(rgb, matrix: int, full: bool, depth: int = 8) -> list[int]:
    kr, kb = WEIGHTS[matrix]
    red, green, blue = (value / 255 for value in rgb)
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    chroma = (blue - luma) / (2 * (1 - kb)), (red - luma) / (2 * (1 - kr))
    top = 2**depth
    if full:
        return [round(luma * (top - 1)), *(round(top / 2 + value * (top - 1)) for value in chroma)]
    scale = top // 256
    return [round(scale * (16 + 219 * luma)), *(round(scale * (128 + 224 * value)) for value in chroma)]


def film(path: Path, values, pix_fmt="yuv444p", codec="libx264", **tags) -> Path:
    """Two frames of one colour, given as its planes' values and written without any conversion."""
    frame = av.VideoFrame(64, 48, pix_fmt)
    for plane, value in zip(frame.planes, values, strict=True):
        wide = "<u2" if "10le" in pix_fmt or "12le" in pix_fmt else np.uint8
        plane.update(np.full(plane.buffer_size // np.dtype(wide).itemsize, value, wide).tobytes())
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"crf": "0"} if "264" in codec else {})
        stream.width, stream.height, stream.pix_fmt = 64, 48, pix_fmt
        for name, value in tags.items():
            setattr(stream.codec_context, name, value)
        for pts in range(2):
            frame.pts = pts
            frame.colorspace, frame.color_range = tags.get("colorspace", 2), tags.get("color_range", 0)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def seen(path: Path) -> list[int]:
    with VideoReader(path) as video:
        return video.frames_at_times([0.04])[0, 24, 32].tolist()


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", WEIGHTS)
@pytest.mark.parametrize(("pix_fmt", "depth"), [("yuv420p", 8), ("yuv420p10le", 10)])
def test_matrix_and_range_are_those_of_the_tags(matrix, full, pix_fmt, depth, tmp_path):
    values = coded(RED, matrix, full, depth)
    path = film(tmp_path / "a.mp4", values, pix_fmt, colorspace=matrix, color_range=2 if full else 1)
    assert np.abs(np.array(seen(path)) - RED).max() <= 4


def test_untagged_colours_are_those_of_bt601(tmp_path):
    path = film(tmp_path / "a.mkv", coded(RED, 5, False), "yuv420p")
    assert np.abs(np.array(seen(path)) - RED).max() <= 4


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "values", "expected"),
    [
        ("mjpeg", "yuvj420p", coded(RED, 5, True), RED),
        ("ffv1", "gray", [126], (128, 128, 128)),  # (126 - 16) / 219 of 255
        ("utvideo", "gbrp", [30, 30, 200], RED),
    ],
)
def test_other_ways_to_code_colours(codec, pix_fmt, values, expected, tmp_path):
    path = film(tmp_path / "a.avi", values, pix_fmt, codec)
    assert np.abs(np.array(seen(path)) - expected).max() <= 4


def test_a_matrix_that_cannot_be_converted_is_refused(tmp_path):
    path = film(tmp_path / "a.mp4", [100, 120, 140], "yuv420p", colorspace=8)
    with pytest.raises(VideoError, match="matrix 8"):
        VideoReader(path)


def pq(nits: float) -> float:
    """SMPTE ST 2084, the formula of the standard."""
    power = (nits / 10000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def hlg(nits: float) -> float:
    """ARIB STD-B67 on a display of 1000 cd/m2: the inverse of a gamma of 1.2, then the camera's curve."""
    scene = (nits / 1000) ** (1 / 1.2)
    return (
        (3 * scene) ** 0.5 if scene <= 1 / 12 else 0.17883277 * np.log(12 * scene - 0.28466892) + 0.55991073
    )


@pytest.mark.parametrize(("transfer", "curve"), [(16, pq), (18, hlg)])
def test_hdr_becomes_sdr(transfer, curve, tmp_path):
    """Grey of 36 cd/m2 is (36 / 203) ** (1 / 2.4) of white; white is near white; highlights are brighter yet."""
    found = []
    for nits in (36, 203, 900):
        grey = round(255 * curve(nits))
        path = film(
            tmp_path / f"{nits}.mp4",
            coded((grey, grey, grey), 9, False, 10),
            "yuv420p10le",
            colorspace=9,
            color_primaries=9,
            color_trc=transfer,
            color_range=1,
        )
        if int(av.__version__.split(".")[0]) < 17:
            with pytest.raises(VideoError, match="PyAV 17"):
                VideoReader(path)
            return
        colour = seen(path)
        assert max(colour) - min(colour) <= 2
        found.append(colour[0])
    assert found[0] == pytest.approx(255 * (36 / 203) ** (1 / 2.4), abs=4)
    assert 235 <= found[1] < 250 <= found[2] <= 255


def test_frames_to_be_written_are_bt709_in_limited_range():
    frame = to_bt709(np.full((48, 64, 3), RED, np.uint8), VideoReformatter())
    planes = [np.frombuffer(memoryview(plane), np.uint8)[0] for plane in frame.planes]
    assert np.abs(np.array(planes, int) - coded(RED, 1, False)).max() <= 1
    assert (int(frame.colorspace), int(frame.color_range)) == (1, 1)
