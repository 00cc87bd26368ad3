import numpy as np

from modist_det.structures.keyframes import MAX_SECOND, keyframe_id, pack_keyframes, unpack_keyframes
from modist_det.structures.tables import KeyTable


def table(*keyframes: tuple[str, float]) -> KeyTable:
    videos = tuple(dict.fromkeys(video for video, _ in keyframes))
    return KeyTable(
        "keyframes.csv",
        videos,
        np.array([videos.index(video) for video, _ in keyframes], np.int32),
        np.array([second for _, second in keyframes]),
        np.arange(1, len(keyframes) + 1),
    )


def test_names_as_avas_tools_write_them() -> None:
    assert [keyframe_id("a", second) for second in (902, 2.5, 12345.0)] == ["a,0902", "a,2.5", "a,12345"]


def test_numbers_sort_by_video_and_second_and_come_back() -> None:
    video = np.array([3, 0, 0, 1_000_000, 0], np.int32)
    second = np.array([0, MAX_SECOND, 1 / 3, 902, 0.0])
    keys = pack_keyframes(video, second)
    assert np.argsort(keys).tolist() == np.lexsort((second, video)).tolist()
    videos, seconds = unpack_keyframes(keys)
    assert videos.tolist() == video.tolist() and seconds.tolist() == [0, MAX_SECOND, 0.333333, 902, 0]


def test_seconds_are_equal_to_six_decimals() -> None:
    zero = np.zeros(3, int)
    a, b, c = pack_keyframes(zero, np.array([0.1 + 0.2, 0.3, 0.300001])).tolist()
    assert a == b and c == b + 1
    assert pack_keyframes(zero[:1], np.array([2 / 3])).tolist() == [666667]


def test_tables_with_videos_in_common_have_keys_in_common() -> None:
    numbers: dict[str, int] = {}
    first = table(("a", 1), ("b", 2.5)).keys(numbers)
    second = table(("b", 2.5), ("c", 1), ("a", 1)).keys(numbers)
    assert numbers == {"a": 0, "b": 1, "c": 2}
    assert first.tolist() == second[[2, 0]].tolist() and len({*first.tolist(), *second.tolist()}) == 3
    assert table(("b", 2.5), ("c", 1)).keys(numbers, np.array([1])).tolist() == second[[1]].tolist()


def test_names_of_rows() -> None:
    keyframes = [("b", 2.5), ("a", 902.0), ("b", 3.0)]
    rows = table(*keyframes)
    assert len(rows) == 3 and rows.names() == keyframes and rows.name(1) == "a,902"
