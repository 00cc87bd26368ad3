"""Link the boxes of single frames to tracks: optimal assignment by IoU with the prediction of a Kalman filter.

Two rounds, as in ByteTrack (arXiv 2110.06864): confident boxes first; weak boxes only continue unmatched tracks and
never start one.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from .actions import Boxes, PersonBoxes, interpolate
from .boxes import area, intersection, iou_matrix

__all__ = ["Track", "Tracker", "iou_matrix"]

# Of the filter, in heights of the box: errors of a detection, speed and acceleration (per second) of people.
_ERROR, _SPEED, _ACCELERATION = 0.05, 0.5, 1.25
# A box of which more than this share lies inside one that continues a track is the same person, found twice.
_DOUBLE = 0.7
# Stricter, because weak boxes are many and some are near any track.
_WEAK_MIN_IOU = 0.5


class Track:
    """One person over time.

    Attributes:
        id: from 1.
        strong_hits: number of detections with a score high enough to start a track.
        times, boxes, scores: the latest observations; older ones are dropped (:meth:`forget`).
        first, last: seconds of the first and the latest observation.
    """

    def __init__(self, id: int, second: float, box: Boxes, score: float) -> None:
        self.id = id
        self.strong_hits = 1
        self.first = self.last = second
        self.times = deque([second])
        self.boxes = deque([box])
        self.scores = deque([score])
        self._state = np.stack([_centre_and_size(box), np.zeros(4)])  # values, velocities
        self._covariance = np.diag([_ERROR**2, _SPEED**2])  # of value and velocity, in heights of the box

    def predict(self, second: float) -> NDArray[np.float64]:
        """Predict the box (4,) at ``second`` with constant velocity and size."""
        values, velocities = self._state
        return _corners(np.concatenate([values[:2] + (second - self.last) * velocities[:2], values[2:]]))

    def see(self, second: float, box: Boxes, score: float, strong: bool) -> None:
        """Add an observation."""
        passed = second - self.last
        step = np.array([[1.0, passed], [0.0, 1.0]])
        noise = _ACCELERATION * np.array([passed**2 / 2, passed])
        predicted = step @ self._state
        covariance = step @ self._covariance @ step.T + np.outer(noise, noise)
        gain = covariance[:, 0] / (covariance[0, 0] + _ERROR**2)
        self._state = predicted + np.outer(gain, _centre_and_size(box) - predicted[0])
        self._covariance = covariance - np.outer(gain, covariance[0])
        self.strong_hits += strong
        self.last = second
        self.times.append(second)
        self.boxes.append(box)
        self.scores.append(score)

    def at(self, second: float, hold: float = 0.0) -> tuple[Boxes, float] | None:
        """Box (4,) and detector score at ``second``, interpolated; at most ``hold`` seconds before or after the
        track."""
        if not self.times[0] - hold <= second <= self.times[-1] + hold:
            return None
        times = np.array(self.times)
        near = int(np.abs(times - second).argmin())
        return interpolate(times, np.array(self.boxes), second), self.scores[near]

    def forget(self, before: float) -> None:
        """Drop observations that are not needed at times from ``before`` on."""
        while len(self.times) > 1 and self.times[1] <= before:
            self.times.popleft()
            self.boxes.popleft()
            self.scores.popleft()


class Tracker:
    """Links the boxes of successive frames of one video.

    Args:
        start_score: minimum score of a box that starts a track.
        min_iou: minimum IoU of a box with a track's prediction to be the same person.
        max_gap: longest time in seconds for which a person may be undetected.

    Attributes:
        active: tracks that have not ended.
        updates: frames seen.
    """

    def __init__(self, start_score: float = 0.5, min_iou: float = 0.1, max_gap: float = 1.2) -> None:
        self.start_score = start_score
        self.min_iou = min_iou
        self.max_gap = max_gap
        self.active: list[Track] = []
        self.updates = 0
        self._next_id = 1

    def update(self, second: float, people: PersonBoxes) -> list[Track]:
        """Add the detections of the next frame; returns the tracks that ended because they were undetected too long.

        Raises:
            ValueError: ``second`` is not later than the previous frame.
        """
        if any(track.last >= second for track in self.active):
            raise ValueError(f"frames come in order of time, but {second} s is not later than the one before")
        ended = [track for track in self.active if second - track.last > self.max_gap]
        self.active = [track for track in self.active if second - track.last <= self.max_gap]
        self.updates += 1

        strong = people.scores >= self.start_score
        left = self._continue(self.active, people, np.flatnonzero(strong), second, self.min_iou)
        unseen = [track for track in self.active if track.last < second]
        self._continue(unseen, people, np.flatnonzero(~strong), second, max(self.min_iou, _WEAK_MIN_IOU))
        continued = [track.boxes[-1] for track in self.active if track.last == second]
        for index in left:
            box = people.boxes[index]
            if continued and (intersection(box, np.array(continued)) > _DOUBLE * area(box)).any():
                continue
            self.active.append(Track(self._next_id, second, people.boxes[index], float(people.scores[index])))
            self._next_id += 1
        return ended

    def finish(self) -> list[Track]:
        """End all tracks."""
        ended, self.active = self.active, []
        return ended

    def _continue(
        self,
        tracks: list[Track],
        people: PersonBoxes,
        chosen: NDArray[np.intp],
        second: float,
        min_iou: float,
    ) -> list[int]:
        """Assign the chosen boxes to tracks so that the sum of IoUs is largest; returns the unmatched boxes."""
        if not tracks or not len(chosen):
            return chosen.tolist()
        iou = iou_matrix(np.array([track.predict(second) for track in tracks]), people.boxes[chosen])
        # Forbidden pairs must not displace allowed ones.
        rows, columns = linear_sum_assignment(np.where(iou >= min_iou, iou, 0.0), maximize=True)
        allowed = iou[rows, columns] >= min_iou
        for row, index in zip(rows[allowed], chosen[columns[allowed]], strict=True):
            score = float(people.scores[index])
            tracks[row].see(second, people.boxes[index], score, score >= self.start_score)
        return np.delete(chosen, columns[allowed]).tolist()


def _centre_and_size(box: Boxes) -> NDArray[np.float64]:
    x1, y1, x2, y2 = box.astype(np.float64)
    return np.array([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1])


def _corners(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([values[:2] - values[2:] / 2, values[:2] + values[2:] / 2])
