"""What the outputs of a model mean, written, read and compared."""

from __future__ import annotations

import copy

import pytest

from modist_det.structures.class_facts import (
    ClassFacts,
    KeyframeFacts,
    check_same_classes,
    disagreement,
    join_facts,
    parse_facts,
    renumbered,
)
from modist_det.utils.errors import UserError

FACTS = ClassFacts(
    "detection",
    5,
    {1: "stand", 2: "=walk", 5: "läuft"},
    {2: "PERSON_MOVEMENT"},
    KeyframeFacts(25, 900, 0.5),
    "a",
)


def facts(names: dict[int, str], source: str = "b", task: str = "detection") -> ClassFacts:
    return ClassFacts(task, max(names) + 1, names, source=source)


def test_there_and_back():
    assert parse_facts(FACTS.to_dict(), "a") == FACTS
    assert parse_facts(FACTS.to_json(), "a") == FACTS
    plain = ClassFacts("classification", 2, {0: "a", 1: "b"}, source="c")
    assert parse_facts(plain.to_json(), "c") == plain


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda c: c.update(version=2), "version"),
        (lambda c: c.pop("task"), "lacks 'task'"),
        (lambda c: c.update(task="cooking"), "task"),
        (lambda c: c.update(task=[]), "task"),
        (lambda c: c.update(num_classes=True), "number of classes"),
        (lambda c: c.update(num_classes=10**9), "number of classes"),
        (lambda c: c.update(classes=[]), "there are none"),
        (lambda c: c.update(classes={"a": 1}), "not a list"),
        (lambda c: c["classes"].append(7), ""),
        (lambda c: c["classes"][0].update(id=0), "class id"),
        (lambda c: c["classes"][0].update(id=6), "class id"),
        (lambda c: c["classes"][0].update(id="1"), "class id"),
        (lambda c: c["classes"][0].update(id=2), "there twice"),
        (lambda c: c["classes"][0].update(name=" "), "empty"),
        (lambda c: c["classes"][0].update(name=None), "not text"),
        (lambda c: c["classes"][0].update(type=3), "not text"),
        (lambda c: c["classes"][0].update(name="x" * 1001), "letters"),
        (lambda c: c["keyframes"].update(fps=float("nan")), "keyframes"),
        (lambda c: c["keyframes"].update(spacing=0), "keyframes"),
        (lambda c: c["keyframes"].update(first_second="9"), "keyframes"),
        (lambda c: c["keyframes"].pop("fps"), "lacks 'fps'"),
    ],
)
def test_damaged_facts_are_refused(change, reason):
    content = copy.deepcopy(FACTS.to_dict())
    change(content)
    with pytest.raises(UserError, match=f"model.pth: its class facts are damaged: .*{reason}"):
        parse_facts(content, "model.pth")


@pytest.mark.parametrize("content", [7, [], "", "[]", "{", "null", "[" * 100_000])
def test_other_content_is_refused(content):
    with pytest.raises(UserError, match="damaged"):
        parse_facts(content, "model.pth")


@pytest.mark.parametrize(
    ("other", "text", "moved"),
    [
        ({1: "stand", 2: "=walk", 5: "läuft"}, "", False),
        ({2: "=Walk"}, "", False),  # a part, another case
        ({1: "class 1", 2: "2"}, "", False),  # names that say nothing
        ({1: "kick", 2: "=walk"}, "class id 1 is 'stand' in a, but 'kick' in b", False),
        ({1: "=walk", 2: "stand"}, "class id 1 is 'stand' in a, but '=walk' in b", True),
        ({3: "stand"}, "class 'stand' has id 1 in a, but 3 in b", True),
    ],
)
def test_disagreement(other, text, moved):
    assert disagreement(FACTS, facts(other)) == text
    assert renumbered(FACTS, facts(other)) == moved
    assert bool(disagreement(facts(other), FACTS)) == bool(text)


def test_names_that_differ_in_case_alone_are_told_apart():
    letters = facts({1: "a", 2: "A"}, "a")
    assert disagreement(letters, facts({1: "a", 2: "A"})) == ""
    assert "'a' in a, but 'A' in b" in disagreement(letters, facts({1: "A", 2: "a"}))


def test_channels_are_compared_between_tasks():
    """Class id 1 of a detector and class index 0 of a classifier are channel 0."""
    assert disagreement(facts({1: "run", 2: "hop"}), facts({0: "run", 1: "hop"}, task="classification")) == ""
    assert renumbered(facts({1: "run", 2: "hop"}), facts({0: "hop", 1: "run"}, task="classification"))


def test_joined():
    """A placeholder gives way to a name; the widest output counts."""
    joined = join_facts([facts({1: "class 1"}, "a"), facts({1: "stand", 3: "sit"}, "b")])
    assert joined is not None
    assert joined.names == {1: "stand", 3: "sit"} and joined.num_classes == 4 and joined.source == "a and b"
    assert join_facts([]) is None
    with pytest.raises(UserError, match="is 'x' in a, but 'y' in c; use the same class file for both"):
        check_same_classes(facts({1: "x"}, "a"), facts({2: "z"}), facts({1: "y"}, "c"))
