"""Tables of names by hand."""

from __future__ import annotations

from modist_det.checkpoint.name_table import NameTable

TABLE = NameTable(
    [
        ("{wrapper}layer{stage}.{rest}", "res{stage}.{rest}"),
        ("{gone}.{rest}", "gone{gone}.{rest}"),
        ("a.b.{rest}", "c.{rest}"),
        ("a.{rest}", "d.{rest}"),
    ],
    {"wrapper": "(?:model.)*", "stage": {"1": "2", "11": "3"}, "rest": r"\w+", "gone": {}},
)


def test_both_directions():
    assert TABLE.ours("model.layer11.bias") == "res3.bias"
    assert TABLE.theirs("res3.bias", wrapper="model.") == "model.layer11.bias"
    assert TABLE.theirs("res2.bias", wrapper="") == "layer1.bias"


def test_the_first_pair_that_matches_the_whole_name_counts():
    assert (TABLE.ours("a.b.w"), TABLE.ours("a.w")) == ("c.w", "d.w")
    assert TABLE.ours("a.b.w.x") is None
    assert TABLE.ours("xa.w") is None


def test_texts_are_no_patterns():
    assert TABLE.ours("aXb.w") is None


def test_an_empty_mapping_matches_nothing():
    assert TABLE.ours(".w") is None
    assert TABLE.theirs("gone.w") is None
