#!/usr/bin/env python3
"""How often confidence intervals hold the truth, and how often equally good results differ significantly.

Detections are generated: videos have a difficulty of their own, which changes recall and scores of all their people.
The truth is the expected mAP of test sets of that size (and that of an endless one, which is a little lower: the
monotone curve favours small sets).
"""

from __future__ import annotations

import argparse

import numpy as np

from modist_det.evaluation.bootstrap import RankedHits, compare_hits, map_interval


def truth(rng: np.random.Generator, num_videos: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (V, C) and difficulty (V,)."""
    return rng.poisson(6, (num_videos, classes)), rng.normal(0, 0.5, num_videos)


def result(rng: np.random.Generator, counts: np.ndarray, effect: np.ndarray) -> RankedHits:
    """What one of many equally good detectors finds."""
    video, label = (np.repeat(index.ravel(), counts.ravel()) for index in np.indices(counts.shape))
    found = rng.random(len(video)) < 1 / (1 + np.exp(-1.2 - effect[video]))
    false = rng.poisson(12, counts.shape)
    wrong = [np.repeat(index.ravel(), false.ravel()) for index in np.indices(counts.shape)]
    scores = rng.normal(1 + effect[video[found]], 1), rng.normal(0, 1, len(wrong[0]))
    return RankedHits(
        tuple(range(counts.shape[1])),
        tuple(range(len(counts))),
        np.concatenate([video[found], wrong[0]]),
        np.concatenate([label[found], wrong[1]]),
        np.concatenate(scores),
        np.repeat([True, False], [found.sum(), len(wrong[0])]),
        counts,
    )


def mean_map(seeds: range, num_videos: int, classes: int) -> float:
    values = []
    for seed in seeds:
        rng = np.random.default_rng([1, seed])
        interval = map_interval(result(rng, *truth(rng, num_videos, classes)), 2)
        values.append(interval["mean"] if interval else np.nan)
    return float(np.mean(values))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=50)
    parser.add_argument("--classes", type=int, default=5)
    parser.add_argument("--repetitions", type=int, default=500)
    parser.add_argument("--resamples", type=int, default=500)
    args = parser.parse_args()
    expected = mean_map(range(2000), args.videos, args.classes)
    endless = mean_map(range(4), 5000, args.classes)
    held = np.zeros(2)
    significant, excluded = 0, 0
    for seed in range(args.repetitions):
        rng = np.random.default_rng([2, seed])
        counts, effect = truth(rng, args.videos, args.classes)
        a, b = result(rng, counts, effect), result(rng, counts, effect)
        interval = map_interval(a, args.resamples, seed=seed)
        assert interval is not None
        held += [interval["low"] <= value <= interval["high"] for value in (expected, endless)]
        compared = compare_hits(a, b, args.resamples, seed=seed)
        significant += compared["p"] < 0.05
        excluded += not compared["low"] <= 0 <= compared["high"]
    shares = held / args.repetitions
    print(
        f"{args.repetitions} repetitions, {args.videos} videos, {args.classes} classes, {args.resamples} resamples"
    )
    print(f"expected mAP {expected:.4f}, of an endless set {endless:.4f}")
    print(f"95 % intervals hold them in {shares[0]:.1%} and {shares[1]:.1%}")
    print(f"A against A is significant in {significant / args.repetitions:.1%} (exchange test)")
    print(f"the interval of the difference excludes 0 in {excluded / args.repetitions:.1%}")


if __name__ == "__main__":
    main()
