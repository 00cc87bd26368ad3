"""AVA's mAP against values worked out by hand, a slow evaluator written from the definition and the official one."""

from __future__ import annotations

import heapq
import json
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modist_det.evaluation import ava
from modist_det.evaluation.ava import class_table, detection_limit, evaluate_ava
from modist_det.evaluation.frame_ap import precision_recall
from modist_det.formats.ava.classes import AVA_CLASSES
from modist_det.formats.ava.files import LabelEntry, read_ava_boxes, read_detections
from modist_det.utils.errors import UserError

WALK, RUN, WAVE = 1, 3, 4
LABELS = {
    WALK: LabelEntry("walk", "PERSON_MOVEMENT"),
    RUN: LabelEntry("run", "PERSON_MOVEMENT"),
    WAVE: LabelEntry("wave", "OBJECT_MANIPULATION"),
}
LEFT, RIGHT, WHOLE = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0), (0.0, 0.0, 1.0, 1.0)


@pytest.fixture
def evaluate(tmp_path):
    """Evaluate rows: (key, box, class) as ground truth, (key, box, class, score) as detections, keys as exclusions."""

    def run(truth, detections, excluded=(), mode="official", labels=LABELS, **options):
        paths = {}
        for name, rows in (("truth", truth), ("detections", detections), ("excluded", excluded)):
            paths[name] = tmp_path / f"{name}.csv"
            paths[name].write_text("".join(_line(row) + "\n" for row in rows))
        return evaluate_ava(paths["truth"], paths["detections"], labels, paths["excluded"], mode, **options)

    return run


def _line(row) -> str:
    if isinstance(row, str):
        return row
    key, box, *rest = row
    return ",".join([key, *map(str, box), *map(str, rest)])


def ap_by_id(result):
    return {c["id"]: c["AP"] for c in result["classes"]}


# ---- by hand ----------------------------------------------------------------------------------


def test_worked_by_hand(evaluate):
    truth = [("a,1", LEFT, WALK), ("a,1", RIGHT, WALK), ("a,2", WHOLE, WALK), ("a,2", WHOLE, WAVE), "a,3"]
    detections = [
        ("a,1", LEFT, WALK, 0.9),  # hit
        ("a,1", (0.0, 0.0, 0.5, 0.9), WALK, 0.8),  # the same person again: miss
        ("a,3", WHOLE, WALK, 0.7),  # nobody there: miss
        ("a,2", (0.0, 0.0, 1.0, 0.5), WALK, 0.6),  # IoU exactly 0.5: hit
        ("a,2", (0.0, 0.0, 1.0, 0.4), WAVE, 0.9),  # IoU 0.4: miss
        ("a,4", WHOLE, WALK, 1.0),  # no keyframe of the ground truth
        ("a,1", RIGHT, 2, 1.0),  # no class of the label map
    ]
    result = evaluate(truth, detections)
    # walk: precision 1, 1/2, 1/3, 1/2 at recall 1/3, 1/3, 1/3, 2/3 -> 1/3 * 1 + 1/3 * 1/2.
    assert ap_by_id(result) == {WALK: pytest.approx(1 / 2), RUN: None, WAVE: 0.0}
    assert result["mAP"] == pytest.approx(1 / 4)
    assert result["mAP_by_type"] == {"pose": pytest.approx(1 / 2), "object": 0.0}
    assert (result["num_keyframes"], result["num_keyframes_with_detections"]) == (3, 3)
    assert (result["num_groundtruth"], result["num_detections"]) == (4, 5)
    assert result["num_detections_left_out"] == {
        "class_not_in_label_map": 1,
        "excluded_keyframe": 0,
        "no_such_keyframe_in_ground_truth": 1,
        "not_among_the_50_best": 0,
        "box_without_area": 0,
    }
    by_id = {c["id"]: c for c in result["classes"]}
    assert (by_id[WALK]["num_groundtruth"], by_id[WALK]["num_detections"]) == (3, 4)
    assert by_id[RUN]["note"] == "no AP: no ground truth in the evaluated keyframes"
    # In PySlowFast's metric the detection in keyframe 4 is the best-scored miss: precision 1/2, 1/3, 1/4, 2/5.
    pyslowfast = evaluate(truth, detections, mode="pyslowfast")
    assert ap_by_id(pyslowfast)[WALK] == pytest.approx(1 / 3 * (1 / 2 + 2 / 5))


def test_precision_is_made_monotone(evaluate):
    truth = [("a,1", LEFT, WALK), ("a,1", RIGHT, WALK)]
    detections = [("a,1", WHOLE[:3] + (0.1,), WALK, 0.9), ("a,1", LEFT, WALK, 0.8), ("a,1", RIGHT, WALK, 0.7)]
    # Precision 0, 1/2, 2/3: the envelope is 2/3 everywhere.
    assert evaluate(truth, detections)["mAP"] == pytest.approx(2 / 3)


def test_a_detection_counts_for_the_box_it_overlaps_most_only(evaluate):
    truth = [("a,1", (0.0, 0.0, 0.6, 1.0), WALK), ("a,1", (0.0, 0.0, 0.5, 1.0), WALK)]
    detections = [("a,1", LEFT, WALK, 0.9), ("a,1", LEFT, WALK, 0.8)]
    # Both belong to the second box; the first, with IoU 5/6, is not found by the repeat.
    assert evaluate(truth, detections)["mAP"] == pytest.approx(1 / 2)


def test_matching_is_by_score_or_by_row(evaluate):
    truth = [("a,1", LEFT, WALK), ("a,1", RIGHT, WALK)]
    detections = [
        ("a,1", LEFT, WALK, 0.5),
        ("a,1", (0.0, 0.0, 0.5, 0.9), WALK, 0.9),
        ("a,1", RIGHT, WALK, 0.7),
    ]
    assert evaluate(truth, detections)["mAP"] == 1.0  # 0.9 hit, 0.7 hit, 0.5 repeat
    assert evaluate(truth, detections, mode="pyslowfast")["mAP"] == pytest.approx(2 / 3)  # 0.9 is the repeat


def test_only_the_50_best_of_a_keyframe_count(evaluate):
    truth = [("a,1", LEFT, WALK), ("a,1", LEFT, RUN)]
    others = [("a,1", RIGHT, WALK, 0.5 + i / 1000) for i in range(50)]
    detections = [("a,1", LEFT, WALK, 0.1), ("a,1", LEFT, RUN, 0.9), *others, ("a,1", LEFT, 2, 0.95)]
    result = evaluate(truth, detections)
    assert ap_by_id(result) == {WALK: 0.0, RUN: 1.0, WAVE: None}
    assert result["num_detections_left_out"]["not_among_the_50_best"] == 2
    assert ap_by_id(evaluate(truth, detections, mode="pyslowfast"))[WALK] == pytest.approx(1 / 51)


def test_the_limit_that_changes_a_result_is_told_and_can_be_lifted(evaluate):
    """A class of 60 people, all found exactly: AP 1, of which AVA's limit leaves 50 / 60."""
    boxes = [(i / 60, 0.0, (i + 1) / 60, 1.0) for i in range(60)]
    truth = [("a,1", box, WALK) for box in boxes]
    detections = [("a,1", box, WALK, 0.9 - i / 100) for i, box in enumerate(boxes)]
    result = evaluate(truth, detections)
    assert result["mAP"] == pytest.approx(50 / 60) and result["max_detections"] == 50
    (warning,) = result["warnings"]
    assert "10 detections did not count" in warning and "0.8333, without the limit 1.0000" in warning
    assert "--max-detections 0" in warning and "TEST.AVA.MAX_DETECTIONS" in warning
    assert "10 more detections are beyond the 50 best of their keyframe and do not count" in class_table(
        result
    )
    lifted = evaluate(truth, detections, max_detections=0)
    assert (lifted["mAP"], lifted["max_detections"], lifted["warnings"]) == (1.0, 0, [])
    assert evaluate(truth, detections, max_detections=30)["mAP"] == pytest.approx(30 / 60)
    with pytest.raises(UserError, match="max_detections is -1"):
        evaluate(truth, detections, max_detections=-1)


def test_a_class_whose_detections_are_all_beyond_the_limit_is_not_called_never_detected(evaluate):
    truth = [("a,1", LEFT, WALK), ("a,1", LEFT, RUN)]
    others = [("a,1", LEFT, WALK, 0.9 - i / 1000) for i in range(50)]
    by_id = {c["id"]: c for c in evaluate(truth, [*others, ("a,1", LEFT, RUN, 0.1)])["classes"]}
    assert by_id[RUN]["note"] == "none of 1 detections is among the best of its keyframe"


def test_the_limit_is_no_matter_where_it_changes_nothing_or_is_ava_s_own(evaluate):
    """What every detector does: a score for each class, of which the low ones are beyond the limit."""
    truth = [("a,1", LEFT, WALK)]
    detections = [("a,1", LEFT, WALK, 0.9), *[("a,1", RIGHT, RUN, 0.5 - i / 1000) for i in range(60)]]
    result = evaluate(truth, detections)
    assert result["num_detections_left_out"]["not_among_the_50_best"] == 11 and result["warnings"] == []
    ava_labels = {number: LabelEntry(name) for number, name in AVA_CLASSES.items()}
    late = [("a,1", RIGHT, 3, 0.9 - i / 1000) for i in range(60)] + [("a,1", LEFT, 1, 0.01)]
    result = evaluate([("a,1", LEFT, 1)], late, labels=ava_labels)
    assert result["mAP"] == 0 and result["warnings"] == []
    assert "11 more detections are beyond the 50 best" in class_table(result)


def test_the_limit_by_the_classes():
    assert detection_limit(AVA_CLASSES) == 50
    assert detection_limit({number: AVA_CLASSES.get(number, "other") for number in range(1, 81)}) == 50
    assert detection_limit({1: "walk"}) == 0
    assert detection_limit({n: AVA_CLASSES[n] for n in (1, 3, 4)}) == 0  # some of AVA's: data of one's own
    assert detection_limit({1: "walk"}, 20) == 20 and detection_limit(AVA_CLASSES, 0) == 0


def test_of_equal_scores_at_the_limit_the_first_50_come_in_and_later_better_ones_push_the_least_out(evaluate):
    truth = [("a,1", LEFT, WALK), ("a,1", LEFT, RUN)]
    tied = [("a,1", RIGHT, WALK, 0.5)] * 49
    hit = {action: ("a,1", LEFT, action, 0.5) for action in (WALK, RUN)}
    # The 50th row comes in, the 51st finds the places taken though its class id is greater.
    assert ap_by_id(evaluate(truth, [*tied, hit[WALK], hit[RUN]])) == {
        WALK: pytest.approx(1.0),
        RUN: 0.0,
        WAVE: None,
    }
    # LEFT is less than RIGHT at equal class, so it goes first; RUN is greater than WALK and stays.
    better = ("a,1", RIGHT, WAVE, 0.9)
    assert ap_by_id(evaluate(truth, [*tied, hit[WALK], better]))[WALK] == 0.0
    assert ap_by_id(evaluate(truth, [*tied, hit[RUN], better]))[RUN] == 1.0


def test_exclusions_leave_out_keyframes_on_both_sides(evaluate):
    truth = [("a,1", LEFT, WALK), ("a,2", LEFT, WALK), ("b,2", LEFT, RUN)]
    detections = [("a,0002", LEFT, WALK, 0.9), ("a,1", RIGHT, WALK, 0.8), ("a,1", LEFT, WALK, 0.7)]
    for mode in ava.MODES:
        result = evaluate(truth, detections, ["a,2.0", "b,2", "c,9"], mode)
        assert result["mAP"] == pytest.approx(1 / 2)
        assert result["num_keyframes"] == 1
        assert result["num_detections_left_out"]["excluded_keyframe"] == 1
        notes = {c["id"]: c["note"] for c in result["classes"]}
        assert notes[RUN] == "no AP: all 1 ground-truth boxes are in excluded keyframes"


def test_boxes_without_area_count_for_nothing_but_are_said(evaluate):
    detections = [
        ("a,1", (0.5, 0.0, 0.0, 1.0), WALK, 0.9),
        ("a,1", (0, 0, 0, 1), WALK, 0.9),
        ("a,1", LEFT, WALK, 0.1),
    ]
    result = evaluate([("a,1", LEFT, WALK)], detections)
    assert result["mAP"] == 1.0
    assert "2 boxes without area" in result["warnings"][0]
    # Beyond the limit they are counted as such only.
    beyond = [("a,1", LEFT, WALK, 0.9), ("a,1", (0.5, 0.0, 0.5, 1.0), RUN, 0.1)]
    result = evaluate([("a,1", LEFT, WALK), ("a,1", LEFT, RUN)], beyond, max_detections=1)
    left_out = result["num_detections_left_out"]
    assert (left_out["not_among_the_1_best"], left_out["box_without_area"]) == (1, 0)
    assert result["classes"][1]["note"] == "none of 1 detections is among the best of its keyframe"


def test_ground_truth_without_area_is_missed_and_does_not_disturb_the_other_boxes(tmp_path):
    """As in the official evaluator, where its IoU with any box is 0, and which refuses inverted ground truth."""
    (tmp_path / "truth.csv").write_text("a,1,0,0,0.5,1,1\na,1,0,0,0.5,1,1\n")
    (tmp_path / "detections.csv").write_text("a,1,0,0,0.5,1,1,0.9\n")
    truth, detections = read_ava_boxes(tmp_path / "truth.csv"), read_detections(tmp_path / "detections.csv")
    for order in (0, 1):
        for box in ((0.5, 0.0, 0.5, 1.0), (0.0, 1.0, 0.5, 1.0), (0.2, 0.2, 0.2, 0.2)):
            truth.boxes[order], truth.boxes[1 - order] = box, LEFT
            for mode in ava.MODES:
                assert evaluate_ava(truth, detections, LABELS, mode=mode)["mAP"] == 0.5
        for box in ((1.0, 0.0, 0.5, 1.0), (0.5, 1.0, 0.0, 0.0)):
            truth.boxes[order] = box
            with pytest.raises(
                UserError, match=rf"truth.csv:{order + 1}: ground-truth box \(.*\) is inverted"
            ):
                evaluate_ava(truth, detections, LABELS)
        truth.boxes[order] = LEFT


def test_seconds_are_times(evaluate):
    truth = [("a,1.5", LEFT, WALK), ("a,2", LEFT, WALK)]
    assert evaluate(truth, [("a,01.50", LEFT, WALK, 1), ("a,0002", LEFT, WALK, 1)])["mAP"] == 1.0
    assert evaluate(truth, [("a,1.50001", LEFT, WALK, 1), ("b,2", LEFT, WALK, 1)])["mAP"] == 0.0


def test_of_equal_scores_the_later_row_ranks_first(evaluate):
    truth = [("a,1", LEFT, WALK)]
    hit, miss = ("a,1", LEFT, WALK, 0.5), ("a,1", RIGHT, WALK, 0.5)
    assert evaluate(truth, [hit, miss])["mAP"] == pytest.approx(1 / 2)
    assert evaluate(truth, [miss, hit])["mAP"] == 1.0


# ---- explanations -----------------------------------------------------------------------------


def test_no_figure_is_none_and_explained(evaluate):
    result = evaluate(["a,1"], [])
    assert result["mAP"] is None
    assert result["mAP_by_type"] == {"pose": None, "object": None}
    assert ["no box of a class" in w or "no detections" in w for w in result["warnings"]] == [True, True]
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert "mAP@0.5 (official): -" in class_table(result)


def test_detections_of_other_videos_are_pointed_out(evaluate):
    result = evaluate([("a,1", LEFT, WALK)], [("a.mp4,1", LEFT, WALK, 0.5)])
    assert result["mAP"] == 0.0
    assert "the first is in a.mp4,1, the ground truth begins with a,1" in result["warnings"][0]
    assert result["classes"][0]["note"] == "never detected"


def test_unknown_mode(evaluate):
    with pytest.raises(UserError, match="did you mean 'official'"):
        evaluate([("a,1", LEFT, WALK)], [], mode="offical")


def test_table_shows_classes_means_and_notes(evaluate):
    text = class_table(evaluate([("a,1", LEFT, WALK)], [("a,1", LEFT, WALK, 0.5)]))
    lines = text.splitlines()
    assert lines[0].split() == ["id", "class", "type", "AP", "ground", "truth", "detections", "note"]
    assert lines[2].split() == ["1", "walk", "pose", "1.0000", "1", "1"]
    assert lines[3].split("  ")[-1].strip() == "no AP: no ground truth in the evaluated keyframes"
    assert lines[-4:] == [
        "mAP of pose: 1.0000",
        "mAP of object: -",
        "mAP@0.5 (official): 1.0000",
        "1 of 3 classes with ground truth, 1 keyframes, 1 boxes, 1 detections",
    ]


# ---- against the definition -------------------------------------------------------------------


def slow_evaluate(truth, detections, class_ids, excluded, mode, limit):
    """AP by class from the definition, one row at a time, with exact fractions for boxes.

    truth: (key, box or None, class); detections: (key, box, class, score).
    """
    truth = [row for row in truth if row[0] not in excluded]
    rows = [row for row in detections if row[2] in class_ids and row[0] not in excluded]
    if mode == "official":
        rows = [row for row in rows if row[0] in {key for key, *_ in truth}]
    by_key: dict = {}
    for number, (key, (x1, y1, x2, y2), action, score) in enumerate(rows):
        heap = by_key.setdefault(key, [])
        entry = (score, action, y1, x1, y2, x2, -number)
        if mode == "pyslowfast" or len(heap) < limit:
            heapq.heappush(heap, entry)
        elif score > heap[0][0]:
            heapq.heapreplace(heap, entry)
    listed: dict = {c: [] for c in class_ids}  # of each class (score, is hit), keyframe by keyframe
    for key, heap in by_key.items():
        numbers = sorted(-entry[-1] for entry in heap)
        numbers = [n for n in numbers if rows[n][1][0] < rows[n][1][2] and rows[n][1][1] < rows[n][1][3]]
        order = numbers if mode == "pyslowfast" else sorted(numbers, key=lambda n: -rows[n][3])
        hits, found = set(), set()
        for n in order:
            _, box, action, _ = rows[n]
            best, best_iou = None, Fraction(-1)
            for i, (other_key, other, other_action) in enumerate(truth):
                if other_key == key and other_action == action and other is not None:
                    iou = exact_iou(box, other)
                    if iou > best_iou:
                        best, best_iou = i, iou
            if best_iou >= Fraction(1, 2) and best not in found:
                found.add(best)
                hits.add(n)
        for n in numbers:
            listed[rows[n][2]].append((rows[n][3], n in hits))
    result = {}
    for c in class_ids:
        count = sum(1 for _, box, action in truth if action == c and box is not None)
        ranking = sorted(listed[c], key=lambda entry: entry[0])[::-1]
        points = []
        for n in range(1, len(ranking) + 1):
            hits_so_far = sum(hit for _, hit in ranking[:n])
            points.append((Fraction(hits_so_far, count or 1), Fraction(hits_so_far, n)))
        area, recall_before = Fraction(0), Fraction(0)
        for i, (recall, _) in enumerate(points):
            area += (recall - recall_before) * max(precision for _, precision in points[i:])
            recall_before = recall
        result[c] = float(area) if count else None
    return result


def exact_iou(a, b):
    a, b = [Fraction(v) for v in a], [Fraction(v) for v in b]
    width = max(Fraction(0), min(a[2], b[2]) - max(a[0], b[0]))
    height = max(Fraction(0), min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return width * height / union


# Eighths are exact in binary, so that equal overlaps and IoUs of one half really occur.
_eighths = st.integers(0, 8).map(lambda n: n / 8)
_keys = st.sampled_from(["a,1", "a,2", "b,1"])
_classes = st.sampled_from([WALK, WALK, WALK, RUN, 2])


@st.composite
def _box(draw, least=1):
    x1, y1 = draw(st.integers(0, 7)), draw(st.integers(0, 7))
    x2, y2 = draw(st.integers(x1 + least, 8)), draw(st.integers(y1 + least, 8))
    return (x1 / 8, y1 / 8, x2 / 8, y2 / 8)


_truth = st.lists(
    st.tuples(_keys, _box(), _classes) | st.tuples(_keys, st.none(), st.none()), min_size=1, max_size=8
)
_detections = st.lists(
    st.tuples(st.sampled_from(["a,1", "a,1", "a,2", "b,1", "c,1"]), _box(least=0), _classes, _eighths),
    max_size=14,
)


@settings(max_examples=250, deadline=None)
@given(_truth, _detections, st.sets(_keys, max_size=1), st.sampled_from(ava.MODES), st.integers(1, 6))
def test_equals_the_definition(tmp_path_factory, truth, detections, excluded, mode, limit):
    folder = tmp_path_factory.getbasetemp()
    # The same detection twice, so that a repeat is common.
    detections = detections + detections[:2]
    bare = [row[0] if row[1] is None else row for row in truth]
    for name, rows in (("t", bare), ("d", detections), ("e", excluded)):
        (folder / name).write_text("".join(_line(row) + "\n" for row in rows))
    result = evaluate_ava(folder / "t", folder / "d", LABELS, folder / "e", mode, limit)
    slow = slow_evaluate(truth, detections, sorted(LABELS), excluded, mode, limit)
    assert ap_by_id(result) == {
        c: None if v is None else pytest.approx(v, abs=1e-12) for c, v in slow.items()
    }


@pytest.mark.parametrize("mode", ava.MODES)
@pytest.mark.parametrize("decimals", [1, 9])
def test_equals_the_definition_in_crowded_keyframes(evaluate, mode, decimals):
    """More than 50 detections a keyframe in shuffled order, with scores of one decimal (many ties) and of nine."""
    rng = np.random.default_rng(decimals)
    keys = [f"{video},{second}" for video in "ab" for second in (1, 2, 3)]

    def boxes(count):
        # 64ths of the image
        corners = np.sort(rng.permuted(np.tile(np.arange(65), (count, 2, 1)), axis=2)[:, :, :2], axis=2)
        return [tuple(box) for box in (corners.transpose(0, 2, 1).reshape(count, 4) / 64).tolist()]

    truth = [(keys[rng.integers(5)], box, int(rng.choice([WALK, RUN, 2]))) for box in boxes(30)]
    found = [truth[i] for i in rng.integers(30, size=200)]
    guessed = [(keys[rng.integers(6)], box, int(rng.choice([WALK, RUN]))) for box in boxes(400)]
    detections = [
        (*row, float(score))
        for row, score in zip(found + guessed, rng.random(600).round(decimals), strict=True)
    ]
    detections = [detections[i] for i in rng.permutation(600)]
    slow = slow_evaluate(truth, detections, sorted(LABELS), set(), mode, 50)
    result = evaluate(truth, detections, mode=mode)
    fast = ap_by_id(result)
    assert fast == {c: None if v is None else pytest.approx(v, abs=1e-12) for c, v in slow.items()}
    assert 0.02 < fast[WALK] < 0.99
    if mode == "official":
        lifted = evaluate(truth, detections, max_detections=0)["mAP"]
        assert any(f"without the limit {lifted:.4f}" in warning for warning in result["warnings"])


# ---- against the official evaluator -----------------------------------------------------------


def test_official_figures(real_data):
    folder = real_data / "reference" / "ava_eval"
    expected = json.loads((folder / "official.json").read_text())
    result = evaluate_ava(folder / "gt.csv", folder / "det.csv", folder / "labels.pbtxt")
    assert result["mAP"] == pytest.approx(expected.pop("PascalBoxes_Precision/mAP@0.5IOU"), abs=1e-9)
    metrics = {name.rsplit("/", 1)[1]: value for name, value in expected.items()}
    assert len(metrics) > 50
    for c in result["classes"]:
        value = metrics.pop(c["name"], None)
        if value is None or math.isnan(value):
            assert c["AP"] is None
        else:
            assert c["AP"] == pytest.approx(value, abs=1e-9), c["name"]
    assert not metrics


def test_pyslowfast_figure(real_data):
    """What PySlowFast's own code gave for these files (without the rows of two columns, which it refuses)."""
    folder = real_data / "reference" / "ava_eval"
    result = evaluate_ava(folder / "gt.csv", folder / "det.csv", folder / "labels.pbtxt", mode="pyslowfast")
    assert result["mAP"] == pytest.approx(0.0957265462422425, abs=1e-9)


def test_tables_give_what_files_give(real_data):
    folder = real_data / "reference" / "ava_eval"
    truth, detections = read_ava_boxes(folder / "gt.csv"), read_detections(folder / "det.csv")
    from_tables = evaluate_ava(truth, detections, folder / "labels.pbtxt")
    assert from_tables == evaluate_ava(
        str(folder / "gt.csv"), str(folder / "det.csv"), folder / "labels.pbtxt"
    )


# ---- what was found ---------------------------------------------------------------------------


def test_what_finds_what_and_the_curve(tmp_path):
    (tmp_path / "g.csv").write_text(
        "".join(
            f"{_line(row)}\n" for row in [("a,1", RIGHT, WAVE), ("a,1", LEFT, WALK), ("a,2", RIGHT, WALK)]
        )
    )
    rows = [
        ("a,1", LEFT, WALK, 0.9),  # finds the second row
        ("a,1", LEFT, WALK, 0.8),  # again
        ("a,2", LEFT, WALK, 0.7),  # beside it
        ("a,2", RIGHT, WALK, 0.6),  # finds the third
    ]
    (tmp_path / "d.csv").write_text("".join(f"{_line(row)}\n" for row in rows))
    matched = ava.match_ava(tmp_path / "g.csv", tmp_path / "d.csv", LABELS)
    found = [
        (int(matched.counted.row[i]), int(matched.boxes.row[box]))
        for i, box in enumerate(matched.finds.tolist())
        if box >= 0
    ]
    assert found == [(0, 1), (3, 2)]
    curves = precision_recall(matched.counted, matched.finds >= 0, matched.boxes.counts)
    walk, wave = curves[0], curves[2]
    assert sorted(curves) == [0, 2]  # "run" has no ground truth
    assert walk.score.tolist() == [0.9, 0.8, 0.7, 0.6]
    assert walk.recall.tolist() == [0.5, 0.5, 0.5, 1.0]
    # 1, 1/2, 1/3, 2/4 made monotone from the right
    assert walk.precision.tolist() == [1.0, 0.5, 0.5, 0.5]
    assert len(wave.score) == len(wave.recall) == 0
    area = float((walk.precision * np.diff(walk.recall, prepend=0)).sum())
    assert area == ap_by_id(ava.metrics(matched))[WALK] == 0.75
