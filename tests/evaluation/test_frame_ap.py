"""Average precision of AVA's metric against its definition."""

from __future__ import annotations

import numpy as np
import pytest

from modist_det.evaluation.frame_ap import Detections, average_precisions


def average_precision(score, is_hit, num_groundtruth):
    """By definition; of equal scores the later detection comes first."""
    found, precision = 0, []
    for rank, i in enumerate(sorted(range(len(score)), key=lambda i: (-score[i], -i)), start=1):
        found += int(is_hit[i])
        precision.append(found / rank if is_hit[i] else 0.0)
    return sum(max(precision[k:]) for k in range(len(score)) if precision[k]) / num_groundtruth


@pytest.mark.parametrize("levels", [1, 5, 1000])
@pytest.mark.parametrize("hit_rate", [0.0, 0.02, 0.3])
def test_average_precision_of_many_classes_and_equal_scores(levels, hit_rate):
    rng = np.random.default_rng(levels)
    class_index, index = rng.integers(0, 3, 900), np.arange(900)
    level = rng.integers(0, levels, 900) / levels
    # The range of the last scores overflows.
    for score in (level, level * 1e-3 + 7, (level * 2 - 1) * 1.7e308):
        is_hit = rng.random(900) < hit_rate
        detections = Detections(index, index.astype(np.int32), class_index, score)
        left_out = np.flatnonzero(rng.random(900) < 0.3)
        is_kept = ~np.isin(index, left_out)
        other_hits = is_kept & (rng.random(900) < hit_rate)
        counts = np.array([200, 300, 0])
        results = average_precisions(detections, is_hit, counts, (left_out, other_hits))
        for (ap, num), rows, hits in zip(results, (index, index[is_kept]), (is_hit, other_hits), strict=True):
            for c in range(2):
                of_class = rows[class_index[rows] == c]
                assert ap[c] == pytest.approx(
                    average_precision(score[of_class], hits[of_class], counts[c]), abs=1e-12
                )
            assert np.isnan(ap[2])
            assert num.tolist() == np.bincount(class_index[rows], minlength=3).tolist()
