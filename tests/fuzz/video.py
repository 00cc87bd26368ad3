"""Videos, intact and damaged, against an independent decoding of the whole file.

The product seeks, skips and counts; here everything is decoded from the start, in order, and a frame's time is the
one that it carries. Where time stamps do not rise (or leap), the ffmpeg command line says what a player shows.

What a decoder makes of a damaged packet depends on what it decoded before, often without an error. So pixels are
compared only of frames that need no damaged packet: packets that are in an original as they are.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from modist_det.inference.stream import FileSource
from modist_det.video.container import ANY_TITLES
from modist_det.video.info import FrameScaler
from modist_det.video.reader import VideoError, VideoReader

from .kinds import accepted, expect
from .mutate import mutate_bytes
from .originals import NUM_ORIGINALS, Original, container_of, original, read_number

__all__ = ["Truth", "damaged", "decode", "intact"]

_MAX_FRAMES = 1500
_NATIVE_PIXELS = 160 * 160  # larger frames (of damaged headers) are compared small
_LEAP = 5.0  # seconds; players take a longer gap for a break in the time stamps of some formats
_VAGUE = 0.5  # seconds by which players differ where stamps repeat or go back
_LONG_GAP = 1.0  # seconds; as documented, a player's rule holds across longer ones
_SAME = 4.0  # mean difference of grey values up to which two frames are the same one
_TOLERANCE = 2e-3  # seconds; Matroska and FLV count milliseconds


@dataclass
class Truth:
    """What a file shows.

    Attributes:
        frames: uint8 (N, H, W, 3), scaled to one size.
        times: seconds (N,) from the first frame; None where the file does not tell.
        errors: packets that could not be decoded, or the demuxer's end before the file's.
        ranks: for each packet in order of its time stamp the frame with that stamp, -1 where there is none.
        clean: bool (N,): no packet that the frame needs is damaged.
        vague: times of a damaged file whose stamps repeat or go back; players differ.
    """

    frames: NDArray[np.uint8]
    times: NDArray[np.float64] | None
    errors: int
    ranks: list[int]
    clean: NDArray[np.bool_]
    vague: bool = False


def packets_of(*videos: Original) -> dict[bytes, set[bytes]]:
    """The packets of originals, each with those that come before it, and their decoders' settings.

    None come before packets of another codec than the first video's.
    """
    found: dict[bytes, set[bytes]] = {}
    codecs = []
    for video in videos:
        with av.open(io.BytesIO(video.data), **ANY_TITLES) as container:
            stream = container.streams.video[0]
            before = b""
            codecs.append(stream.codec_context.name)
            for packet in container.demux(stream):
                found.setdefault(bytes(packet), set()).update({before} if codecs[-1] == codecs[0] else ())
                before = bytes(packet)
            found[b"extradata" + (stream.codec_context.extradata or b"")] = set()
    return found


def decode(path: Path, originals: dict[bytes, set[bytes]] | None = None) -> Truth | None:
    """Decode all of a file; None where there is no frame (or where there are thousands).

    ``originals``: the packets that are not damaged, and what each follows; default: all.
    """
    frames: list[NDArray[np.uint8]] = []
    stamps: list[int | None] = []
    packets: set[int] = set()
    dirty: set[int | None] = set()  # stamps of frames that need a damaged packet
    damaged_before = damaged_now = False  # in the packets before the last keyframe, and since
    last_key = 0
    before = b""
    strange = False  # whether a packet is of another codec, or made the decoder fail although it is intact
    errors = 0
    try:
        container = av.open(str(path), **ANY_TITLES)
    except (av.FFmpegError, OSError, ValueError):
        return None
    with container:
        stream = container.streams.best("video")
        if stream is None or stream.codec_context is None:
            return None
        stream.thread_count = 1
        for other in container.streams:
            if other is not stream and hasattr(other, "discard"):
                other.discard = type(other.discard).all  # damaged sound is no end of the video
        size: tuple[int, int] | None = None
        demuxer = container.demux(stream)
        while True:
            try:
                packet = next(demuxer)
            except StopIteration:
                break
            except (av.FFmpegError, OSError, IndexError, ValueError):
                errors += 1
                break
            if not packet.size and packet.pts is not None:
                continue  # an empty one in the middle; PyAV would take it for the end
            if packet.size and packet.pts is not None and not packet.is_discard:
                packets.add(packet.pts)
            if packet.size and originals is not None:
                # An intact one that lacks the one before it is as good as a damaged one.
                follows = originals.get(bytes(packet), {b"no packet"})
                strange |= not follows
                is_damaged = bytes(packet) not in originals or not (packet.is_keyframe or before in follows)
                before = bytes(packet)
                if packet.is_keyframe:
                    damaged_before, damaged_now, last_key = damaged_now, is_damaged, packet.pts or 0
                damaged_now |= is_damaged
                # Frames shown before the last keyframe may refer to what came before it.
                # A packet of another codec may leave its settings in the decoder, for all that follows.
                if strange or damaged_now or (damaged_before and (packet.pts or 0) < last_key):
                    dirty.add(packet.pts)
            try:
                decoded = packet.decode()
            except (av.FFmpegError, ValueError):
                errors += 1
                strange |= originals is not None and bytes(packet) in originals
                continue
            for frame in decoded:
                small = frame.width * frame.height > _NATIVE_PIXELS
                size = size or ((64, 48) if small else (frame.width, frame.height))
                frames.append(frame.reformat(*size, "rgb24", interpolation="BILINEAR").to_ndarray())
                stamps.append(frame.pts)
            if len(frames) > _MAX_FRAMES:
                return None
        tick = float(stream.time_base or 0)
        reordered = bool(stream.codec_context.has_b_frames)
        settings = b"extradata" + (stream.codec_context.extradata or b"")
    if not frames:
        return None
    known = np.array([np.nan if stamp is None else stamp for stamp in stamps], dtype=np.float64)
    times = (known - known[0]) * tick
    steps = np.diff(times)
    # AVI has no stamps, and what FFmpeg's libraries make of its chunks' places is off where frames are reordered.
    told = path.suffix != ".avi" and np.isfinite(times).all()
    if not (told and (steps > 0).all() and (steps < _LEAP).all()):
        times = played_times(path, len(frames))
    ranks = [stamps.index(stamp) if stamp in stamps else -1 for stamp in sorted(packets)]
    clean = np.array([stamp not in dirty for stamp in stamps])
    if (dirty and None in (*stamps, *dirty)) or (originals is not None and settings not in originals):
        clean[:] = False
    made_up = path.suffix == ".avi" and reordered
    vague = originals is not None and (made_up or (path.suffix != ".avi" and not (steps > 0).all()))
    if strange or (vague and not clean.any()):
        times = None  # what FFmpeg makes of such stamps changes from version to version
    return Truth(np.stack(frames), times, errors, ranks, clean, vague)


def played_times(path: Path, count: int) -> NDArray[np.float64] | None:
    """When ffmpeg's command line shows each of ``count`` frames; None where it is absent or shows others."""
    if shutil.which("ffmpeg") is None:
        return None
    command = [
        "ffmpeg",
        "-hide_banner",
        "-nostats",
        "-i",
        str(path),
        "-map",
        "0:V:0",
        "-vf",
        "showinfo",
        "-fps_mode",
    ]
    command += ["passthrough", "-enc_time_base", "-1", "-f", "null", "-"]
    try:
        said = subprocess.run(command, capture_output=True, timeout=20).stderr.decode(errors="replace")
    except subprocess.TimeoutExpired:
        return None
    times = np.array([float(text) for text in re.findall(r"pts_time:\s*(-?[\d.]+)", said)])
    steps = np.diff(times)
    if len(times) != count or not (steps > 0).all():
        return None
    if path.suffix == ".avi" and len(steps) > 1 and steps[-1] > 4 * np.median(steps[:-1]):
        return None  # the last frame comes out when the decoder is emptied, and players guess its time
    return times - times[0]


def nearest_frames(times: NDArray[np.float64], second: float) -> list[int]:
    """Frames that are nearest to ``second``, or as near but for rounding; in a gap the one that stays on the screen."""
    away = np.abs(times - second)
    before = max(int(np.searchsorted(times, second, "right")) - 1, 0)
    gap = times[min(before + 1, len(times) - 1)] - times[before]
    nearest = away <= (_TOLERANCE if gap > _LONG_GAP + _TOLERANCE else away.min() + _TOLERANCE)
    return sorted({*np.flatnonzero(nearest).tolist(), *([before] if gap > _LONG_GAP - _TOLERANCE else [])})


def check_frame(shown: NDArray[np.uint8], truth: Truth, allowed: list[int], asked: str) -> None:
    """One of the frames ``allowed`` must be what is shown, unless damage may show anything there."""
    if not truth.clean[allowed].all():
        return
    grey = shown.mean(axis=2)
    if any(np.abs(grey - truth.frames[i].mean(axis=2)).mean() <= _SAME for i in allowed):
        return
    away = np.abs(grey - truth.frames.mean(axis=3)).mean(axis=(1, 2))
    best = int(away.argmin())
    given = f"frame {best}" if away[best] <= _SAME else f"none of the file's frames (nearest: {best})"
    expect(False, f"{asked}: {given} instead of {allowed[:4]} of {len(truth.frames)}")


def check_reader(rng: np.random.Generator, path: Path, truth: Truth, strict: bool) -> int:
    """Frames by number and by time; returns how many requests were answered.

    With ``strict`` the file is whole, so each must be.
    """
    count, height, width = truth.frames.shape[:3]
    answered = 0
    with VideoReader(path) as reader:
        if strict:
            expect(
                reader.info.num_frames == count, f"info: {reader.info.num_frames} frames instead of {count}"
            )
        for _ in range(3):
            index = int(rng.integers(0, count + 2))
            try:
                shown = reader.frames_at_indices([index], size=(height, width))[0]
            except VideoError:
                if strict:
                    raise
                continue
            allowed = [min(index, count - 1)]
            if not strict:
                allowed += [rank for rank in truth.ranks[index : index + 1] or truth.ranks[-1:] if rank >= 0]
            check_frame(shown, truth, allowed, f"by number, {index}")
            answered += 1
        for _ in range(4):
            if truth.times is None:
                break
            i = int(rng.integers(count))
            second = float(truth.times[i]) + float(rng.choice([0, 0, rng.normal(0, 0.02), rng.normal(0, 1)]))
            try:
                shown = reader.frames_at_times([second], size=(height, width))[0]
            except VideoError:
                if strict:
                    raise
                continue
            allowed = nearest_frames(truth.times, second)
            away = float(np.abs(truth.times[allowed] - second).max())
            if truth.vague:
                allowed = np.flatnonzero(np.abs(truth.times - second) <= _VAGUE + away).tolist()
            check_frame(shown, truth, allowed, f"by time, {second:.4f} s")
            answered += 1
    return answered


def check_source(path: Path, truth: Truth, strict: bool) -> None:
    """The demo's frames: the same ones in the same order, at the same times."""
    source = FileSource(path)
    scaler = FrameScaler()
    seconds = []
    for frame in source.frames():
        seconds.append(frame.second)
        if len(seconds) > len(truth.frames):
            break
        if len(seconds) % 5 == 1:
            shown = frame.rgb(scaler, truth.frames.shape[1:3])
            check_frame(shown, truth, [len(seconds) - 1], "demo's source")
    expect(
        len(seconds) == len(truth.frames),
        f"demo's source: {len(seconds)} frames instead of {len(truth.frames)}",
    )
    if truth.times is not None:
        off = float(np.abs(np.array(seconds) - truth.times).max())
        expect(
            off <= (_VAGUE if truth.vague else _TOLERANCE),
            f"demo's source: a frame is {off:.3f} s off its time",
        )


def intact(rng: np.random.Generator, folder: Path) -> None:
    """A whole file: every frame at its place."""
    video = original(int(rng.integers(NUM_ORIGINALS)))
    path = folder / f"video.{video.suffix}"
    path.write_bytes(video.data)
    (folder / "recipe.txt").write_text(video.recipe)
    truth = decode(path)
    expect(truth is not None, f"the fuzzer's own decoder fails on {video.recipe}")
    assert truth is not None
    with accepted(video.recipe):
        check_reader(rng, path, truth, strict=True)
        check_source(path, truth, strict=True)
        # Nothing is lost in encoding: the numbers that were drawn can be read in what is shown.
        with VideoReader(path) as reader:
            shown = reader.frames_at_indices(np.arange(len(truth.frames)))
    numbers = [read_number(frame) for frame in shown]
    expect(numbers == sorted(numbers), f"numbers in the frames are {numbers}")


def damaged(rng: np.random.Generator, folder: Path) -> None:
    """A damaged or joined file: the frame that the whole decoding has there, or an error."""
    number = int(rng.integers(NUM_ORIGINALS))
    video = original(number)
    # Joined with a file of the same kind: another recording, or itself.
    others = [other for other in range(NUM_ORIGINALS) if container_of(other) == container_of(number)]
    other = original(int(rng.choice(others)))
    if rng.random() < 0.15:
        data = video.data + other.data
        if rng.random() < 0.3:
            data += video.data
    else:
        data = mutate_bytes(rng, video.data, other.data)
    path = folder / f"video.{video.suffix}"
    path.write_bytes(data)
    (folder / "recipe.txt").write_text(video.recipe)
    truth = decode(path, packets_of(video, other))
    if truth is None:
        with VideoReader(path) as reader:  # most likely an error; what counts is that it is a plain one
            _ = reader.info.num_frames
            reader.frames_at_times([0.0, 1.0], size=(32, 32))
        return
    if not check_reader(rng, path, truth, strict=False):
        raise VideoError(path, "no request was answered")
    if not truth.errors:
        check_source(path, truth, strict=False)
