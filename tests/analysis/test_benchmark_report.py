"""Statistics of benchmarks against numbers worked out by hand."""

from __future__ import annotations

import json
import time

import pytest

from modist_det.analysis.benchmark.machine import describe_machine, machine_line
from modist_det.analysis.benchmark.report import Report, Series, paired_ratio

MACHINE = {
    "cpu": "Abacus",
    "cores": 4,
    "threads": 2,
    "device": "cpu",
    "memory_gib": 7.6,
    "load": 0.9,
    "system": "Linux x86_64",
    "versions": {"python": "3.10.0"},
}


def test_summary_in_milliseconds_and_items_per_second():
    series = Series("decode", items=8, wall=[0.5, 0.2, 0.4], cpu=[0.1, 0.3, 0.1])
    assert series.summary() == {
        "name": "decode",
        "samples": 3,
        "median_ms": 400.0,
        "min_ms": 200.0,
        "max_ms": 500.0,
        "cpu_ms": 100.0,
        "items": 8,
        "items_per_second": 20.0,
        "facts": {},
    }


def test_the_median_of_an_even_number_is_the_mean_of_the_middle_two():
    assert Series("x", wall=[1.0, 9.0, 3.0, 2.0]).summary()["median_ms"] == 2500.0
    assert Series("x", wall=[1.0]).summary()["cpu_ms"] is None


def test_ratio_of_pairs_is_not_the_ratio_of_medians():
    # Ratios 2, 3 and 0.5; the ratio of the medians would be 3 / 2.
    assert paired_ratio([2.0, 3.0, 4.0], [1.0, 1.0, 8.0]) == 2.0
    with pytest.raises(ValueError):
        paired_ratio([1.0], [1.0, 2.0])
    series = Series("ours", wall=[2.0, 3.0, 4.0], cpu=[1.0, 1.0, 1.0])
    series.compare(Series("theirs", wall=[1.0, 1.0, 8.0], cpu=[4.0, 2.0, 5.0]), "x theirs")
    assert series.facts == {"x theirs": 2.0, "x theirs (CPU)": 0.25}


def test_total_adds_sample_by_sample():
    total = Series.total(
        "both", [Series("a", 3, [1.0, 2.0], [0.5, 0.25]), Series("b", 3, [10.0, 5.0], [1.0, 2.0])]
    )
    assert (total.items, total.wall, total.cpu) == (3, [11.0, 7.0], [1.5, 2.25])


def test_a_sample_is_the_time_of_its_block():
    series = Series("sleep")
    with series.sample():
        time.sleep(0.05)
    with pytest.raises(KeyError), series.sample():
        raise KeyError
    assert len(series.wall) == len(series.cpu) == 1
    assert series.wall[0] >= 0.05
    assert series.cpu[0] < series.wall[0]  # asleep


def test_the_table_and_the_file_say_the_same(tmp_path):
    slow = Series("slow", 2, [0.5, 0.25, 1.0], [0.25, 0.25, 0.25])
    other = Series("other", 2, [0.0123456, 0.0123456, 0.0123456], facts={"peak MiB": 1234.5})
    report = Report("title", "clip", MACHINE, {"frames": 8, "crop": 32}, [slow, other])
    assert report.text().splitlines() == [
        "title",
        "Abacus, 4 cores, 8 GiB, Linux x86_64; cpu, threads 2; python 3.10.0; load 0.9",
        "frames 8, crop 32",
        "",
        "|       |   median ms |   min |   max |   CPU ms |   samples |   clips/s |   peak MiB |",
        "|-------|-------------|-------|-------|----------|-----------|-----------|------------|",
        "| slow  |         500 |   250 |  1000 |      250 |         3 |      4.00 |          - |",
        "| other |        12.3 |  12.3 |  12.3 |        - |         3 |       162 |       1234 |",
    ]
    report.write_json(tmp_path / "new" / "report.json")
    content = json.loads((tmp_path / "new" / "report.json").read_text())
    assert content["machine"] == MACHINE
    assert content["settings"] == {"frames": 8, "crop": 32}
    assert content["series"][0] == {**slow.summary(), "wall_s": slow.wall, "cpu_s": slow.cpu}
    assert content["series"][1]["facts"] == {"peak MiB": 1234.5}


def test_a_busy_machine_is_named_so():
    assert "\n" not in machine_line({**MACHINE, "load": 1.0})
    assert machine_line({**MACHINE, "load": 1.1}).endswith(
        "\nother jobs are running: trust ratios and CPU times more than times"
    )


def test_the_machine_is_this_one():
    import numpy
    import torch

    machine = describe_machine(threads=3, device="here")
    assert (machine["threads"], machine["device"]) == (3, "here")
    assert machine["cores"] >= 1
    assert 0.1 < machine["memory_gib"] < 1e5
    assert machine["versions"]["torch"] == torch.__version__.split("+")[0]
    assert machine["versions"]["numpy"] == numpy.__version__
    assert machine["cpu"] in machine_line(machine)
