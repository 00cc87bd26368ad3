"""``ClassPredictor``: a trained video classifier, ready to use on videos of any length."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from ..config import CfgNode
from ..data.classification import ClassificationMapper
from ..data.datasets.records import VideoRecord
from ..modeling import VideoClassifier
from ..structures.actions import Scores
from ..utils.errors import UserError
from ..utils.progress import progress_bar
from ..video.frame_folder import FrameFolder
from ..video.reader import VideoReader, open_video
from .class_results import VideoClasses
from .stream import input_name
from .trained import TrainedModel

__all__ = ["WHOLE_SECONDS", "ClassPredictor", "window_starts"]

# A video of at most this length is classified as a whole, as in evaluation, unless a window is given.
WHOLE_SECONDS = 10.0
_VIEWS = 2  # clips per window of a longer video
_SHORTEST = 2.0  # seconds of a window


class ClassPredictor(TrainedModel):
    """Predicts the class of a video, and of each part of a long one.

    Attributes:
        class_names: names of the classes in results, by ascending class index, from 0.
        window: default length of a window in seconds: two clips, at least 2 s.
        others: as in :class:`.trained.TrainedModel`.

    Example::

        predictor = ClassPredictor.from_checkpoint("output/fights")
        print(predictor.predict_video("clip.mp4").top())    # [("fight", 0.93), ("other", 0.07)]
    """

    task = "classification"
    purpose = "classes of videos"
    wrong_model = "does not classify videos"
    meta_architecture = VideoClassifier

    def read_input(self, cfg: CfgNode) -> None:
        self._mapper = ClassificationMapper.from_config(cfg, is_train=False)
        clip = self._mapper.num_frames * self._mapper.sampling_rate / self._mapper.target_fps
        self.window = max(2 * clip, _SHORTEST)

    def predict_video(
        self,
        video: str | os.PathLike,
        window: float | None = None,
        every: float | None = None,
        *,
        fps: float = 25.0,
        show_progress: bool = False,
    ) -> VideoClasses:
        """Classify a video.

        A video of at most 10 s (or of at most one ``window``, if that is given) is one window, whose scores are those
        of the evaluation. A longer one is read in windows, each of which is scored like a video of its own from two
        clips; the scores of the video are their mean.

        Args:
            video: a file, or a frame folder with frame rate ``fps``.
            window: seconds; default: :attr:`window`.
            every: seconds from the start of a window to that of the next; default: half a window.

        Raises:
            UserError: ``window`` or ``every`` is not positive.
            VideoError: the video cannot be read.
        """
        whole = WHOLE_SECONDS if window is None else window
        window = self.window if window is None else window
        every = window / 2 if every is None else every
        if not (window > 0 and every > 0):
            raise UserError(f"window is {window:g} s and every {every:g} s, but both must be above 0")
        with open_video(os.fspath(video), fps) as reader:
            info = reader.info
            duration = info.duration
            mapper, starts = self._mapper, np.zeros(1)
            records = [VideoRecord(0, "", os.fspath(video), fps)]
            if duration > whole:
                mapper = replace(mapper, num_views=min(mapper.num_views, _VIEWS))
                starts = window_starts(duration, window, every)
                records = [replace(records[0], start=start, end=start + window) for start in starts.tolist()]
            scores = []
            with progress_bar(records[0].video, "window", len(starts), show=show_progress) as progress:
                for record in records:
                    scores.append(self._score(mapper, record, reader))
                    progress.update()
        return VideoClasses(
            input_name(os.fspath(video)),
            info.width,
            info.height,
            self.class_names,
            starts,
            np.minimum(starts + (window if duration > whole else duration), duration),
            np.stack(scores),
            duration,
            model=self.source,
        )

    @torch.inference_mode()
    def _score(
        self, mapper: ClassificationMapper, record: VideoRecord, reader: VideoReader | FrameFolder
    ) -> Scores:
        """Scores (C,) of the part of the video that the record stands for."""
        rng = np.random.default_rng(0)  # in evaluation nothing is random
        indices = mapper.frame_numbers(record, reader.info, rng)
        frames = torch.from_numpy(reader.frames_at_indices(indices, short_side=mapper.min_size_test))
        sample = mapper.transform(record, frames.permute(3, 0, 1, 2), rng)
        with self._autocast():
            prediction = self.model({"video": sample["video"][None]})[0]
        return prediction["scores"].float().cpu().numpy()[self._channels]


def window_starts(duration: float, window: float, every: float) -> NDArray[np.float64]:
    """Starts of windows that cover ``duration`` seconds: multiples of ``every``, and the last window at the end."""
    last = max(duration - window, 0.0)
    return np.append(np.arange(0, last - 1e-6, every), last)
