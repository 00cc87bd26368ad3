"""Open a video file and read its packets, with clear error messages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer

from .errors import PYAV_ERRORS, VideoError, reading, reason_of
from .packed import ffmpeg_name, open_bytes, status

__all__ = ["ANY_TITLES", "demux", "open_container"]

# For ``av.open``: do not fail for titles that are not UTF-8 (the default from PyAV 19 on).
ANY_TITLES: dict[str, Any] = {"metadata_errors": "ignore"} if int(av.__version__.split(".")[0]) < 19 else {}


def open_container(path: Path, threads: int) -> tuple[InputContainer, av.VideoStream]:
    """Open a file and choose its video stream; packets of other streams are not read where PyAV can.

    Raises:
        VideoError: the file cannot be opened or has no video that FFmpeg can decode.
    """
    try:
        if path.is_dir():
            raise VideoError(path, "it is a folder")
        if status(path)[0] == 0:
            raise VideoError(path, "the file is empty (0 bytes)")
        container = av.open(ffmpeg_name(path), **ANY_TITLES)
    except av.FFmpegError as error:
        raise VideoError(path, _why_not_a_video(path, error)) from error
    except PYAV_ERRORS as error:
        raise VideoError(path, reason_of(error)) from error
    try:
        with reading(path):
            return container, _choose_stream(container, path, threads)
    except BaseException:
        container.close()
        raise


def demux(
    container: InputContainer, stream: av.VideoStream, path: Path
) -> Iterator[av.Packet[av.VideoStream]]:
    """The packets of ``stream`` up to the end of the file; the decoder is left to be flushed by the caller.

    Raises:
        VideoError: the file is damaged.
    """
    packets = container.demux(stream)
    # AVI numbers its chunks in decoding order and has no presentation times. Those that later versions of FFmpeg
    # derive show that there are B-frames, and are wrong where a chunk was left out for a dropped frame.
    avi, reordered = container.format.name == "avi", bool(stream.codec_context.has_b_frames)
    while True:
        try:
            packet = next(packets, None)
        except IndexError:
            # PyAV fails at the end of a file in which a stream began midway (MPEG-TS); everything was read.
            return
        except PYAV_ERRORS as error:
            raise VideoError(path, f"damaged (FFmpeg: {reason_of(error)})") from error
        if packet is None:
            return
        if packet.size:
            if avi:
                reordered = reordered or packet.pts not in (None, packet.dts)
                packet.pts = None if reordered else packet.dts
            yield packet


def _choose_stream(container: InputContainer, path: Path, threads: int) -> av.VideoStream:
    stream = container.streams.best("video")
    if not isinstance(stream, av.VideoStream):
        kinds = sorted({other.type for other in container.streams})
        raise VideoError(path, f"it has no video stream, only {' and '.join(kinds) or 'a header'}")
    # PyAV 14.0 has no dispositions; FFmpeg's choice above still puts cover images last.
    disposition = getattr(stream, "disposition", None)
    if disposition is not None and disposition & type(disposition).attached_pic:
        raise VideoError(path, "it has no video stream, only sound and a cover image")
    if stream.codec_context is None:
        raise VideoError(path, "FFmpeg has no decoder for its video stream")
    stream.thread_count = threads
    if threads > 1:
        stream.thread_type = "AUTO"
    for other in container.streams:
        if other is not stream and hasattr(other, "discard"):
            other.discard = type(other.discard).all
    return stream


def _why_not_a_video(path: Path, error: av.FFmpegError) -> str:
    try:
        with open_bytes(path) as file:
            head = file.read(4096)
    except OSError as system_error:
        return reason_of(system_error)
    if head[4:8] == b"ftyp":
        return "it is cut off or was never finished (an mp4 without its 'moov' index); fetch it again"
    if not head.strip(b"\0"):
        return "it holds only zero bytes"
    if b"\0" not in head:
        return "it is a text file, not a video"
    return f"not a video, or a damaged one (FFmpeg: {reason_of(error)})"
