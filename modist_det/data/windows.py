"""Cut long videos into windows, so that a long video counts as many samples of an epoch."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from ..core import NOT_NEGATIVE, Key, add_section
from ..utils import comm
from ..utils.progress import progress_bar
from ..video.reader import VideoError, probe
from .datasets.records import VideoRecord, VideoRecords

__all__ = ["cut_into_windows", "measure_durations"]

# In pretraining, videos are cut into parts of about this many seconds, each of which is a sample. 0: a video is one
# sample, however long, and no video is opened before training.
add_section("INPUT", WINDOW_SECONDS=Key(30.0, NOT_NEGATIVE))

_THREADS = 8


def cut_into_windows(records: VideoRecords, durations: NDArray[np.float64], seconds: float) -> VideoRecords:
    """Cut each video, or the part of it that a record names, into equal windows of about ``seconds``.

    A part of length L becomes ``round(L / seconds)`` windows; records that stay whole are unchanged. Windows keep the
    number of their video, and their ids end with ``@START``.

    Args:
        durations: (N,) seconds from :func:`measure_durations`; NaN leaves a record whole.
        seconds: length of a window, above 0.
    """
    starts = np.where(np.isnan(records.starts), 0.0, records.starts)
    ends = np.fmin(np.where(np.isnan(records.ends), np.inf, records.ends), durations)
    lengths = np.nan_to_num(ends - starts, nan=0.0, posinf=0.0)
    counts = np.maximum(np.round(lengths / seconds), 1).astype(np.int64)
    if counts.max(initial=1) == 1:
        return records
    rows = np.repeat(np.arange(len(records)), counts)
    place = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    step = (lengths / counts)[rows]
    cut = counts[rows] > 1
    windows = records.take(rows)
    windows.starts = np.where(cut, starts[rows] + place * step, windows.starts)
    windows.ends = np.where(cut, starts[rows] + (place + 1) * step, windows.ends)
    return windows.with_ids(
        f"{name}@{start:.2f}" if is_cut else name
        for name, start, is_cut in zip(windows.video_ids, windows.starts, cut, strict=True)
    )


def measure_durations(records: Sequence[VideoRecord]) -> NDArray[np.float64]:
    """Seconds (N,) of each record's video; NaN if it cannot be read.

    Each file is opened once, by one of the run's processes; files are read through without decoding where possible.
    """
    videos = {(record.video, record.fps): np.nan for record in records}
    mine = list(videos)[comm.get_rank() :: comm.get_world_size()]
    with ThreadPoolExecutor(_THREADS) as threads, progress_bar("durations", "video", len(mine)) as progress:
        found = []
        for seconds in threads.map(_duration, mine):
            found.append(seconds)
            progress.update()
    for part in comm.all_gather(dict(zip(mine, found, strict=True))):
        videos.update(part)
    return np.array([videos[record.video, record.fps] for record in records], np.float64)


def _duration(video: tuple[str, float | None]) -> float:
    try:
        return probe(*video).duration
    except VideoError:
        return np.nan  # reported when the sample is drawn
