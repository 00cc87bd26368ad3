"""YAML, JSON and text from strangers: the right values, or one line that says what is wrong."""

from __future__ import annotations

import os
import time

import pytest

from modist_det.config import get_cfg
from modist_det.data.datasets.description import load_description
from modist_det.utils.errors import UserError, nearest
from modist_det.utils.json_reading import malformed, parse_json, read_json
from modist_det.utils.text_files import expand_user, find_bad_character, read_text
from modist_det.utils.yaml_reading import parse_yaml, read_yaml


def _aliases(depth: int) -> str:
    lines = ["a0: &a0 [0, 0, 0, 0, 0, 0, 0, 0, 0, 0]"]
    for i in range(1, depth):
        lines.append(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]")
    return "\n".join(lines)


def _merges(depth: int) -> str:
    lines = ["a0: &a0 {x: 1, y: 2}"]
    for i in range(1, depth):
        lines.append(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}")
    return "\n".join(lines)


BAD_YAML = {
    "a: 2020-99-99": "month must be in 1..12",
    "a: !!int ''": "not valid YAML",
    "a: !!float 'x'": "not valid YAML",
    "a: !!timestamp 'x'": "not valid YAML",
    "a: !!binary 'ä'": "not valid YAML",
    "a: !!python/object:os.system {}": "could not determine a constructor",
    "a: [": "not valid YAML",
    "? [a]\n: 1": "unhashable key",
    "? {a: 1}\n: 1": "unhashable key",
    "a: 1\nb: {c: 1, d: 2, c: 3}": r"duplicate key 'c' \(line 2\)",
    "a: 1\na: 2": r"duplicate key 'a' \(line 2\)",
    "<<: 1": "not valid YAML",
    "<<: [1]": "not valid YAML",
    "a: *b": "not valid YAML",
    "a: &a [*a]": "before or inside its anchor",
    "--- 1\n--- 2": "not valid YAML",
    'a: "\\0"': r"the character U\+0000 \(line 1\)",
    'a: "\\ud800"': "not valid YAML",
    "a: \x07": "not valid YAML",
    "[" * 10_000: "not valid YAML",
    "{a: " * 10_000: "nested more than 50 levels",
    "- " * 10_000 + "1": "nested more than 50 levels",
    "a: " + "9" * 100_000: "a number has 100,000 digits",
    "a: 1" + ":1" * 50_000: "a number has 100,001 digits",
    _aliases(9): "more than 100,000 entries",
    _merges(30): "more than 100,000 entries",
    "x" * (2 << 20): "characters of YAML",
}


@pytest.mark.parametrize("text", BAD_YAML, ids=lambda text: repr(text[:20]))
def test_bad_yaml_is_one_short_line(tmp_path, text):
    begun = time.process_time()
    with pytest.raises(UserError, match=BAD_YAML[text]) as caught:
        parse_yaml(text, "x.yaml")
    assert str(caught.value).startswith("x.yaml ") and "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1300 and time.process_time() - begun < 5
    # Readers of files of both kinds.
    path = tmp_path / "x.yaml"
    path.write_text(text)
    for read in (lambda: get_cfg().merge_from_file(path), lambda: load_description(path)):
        with pytest.raises(UserError, match=r"x\.yaml "):
            read()


def test_good_yaml_is_what_it_was(tmp_path):
    text = (
        "base: &base {a: 1, b: [x, 0x10, 1e-4, 1.5, 2020-01-02, ~, yes]}\n"
        "more: {<<: *base, a: 2}\n1: one\n'1': text\nempty:\nagain: *base\n"
    )
    (tmp_path / "x.yaml").write_text(text, encoding="utf-8-sig")
    content = read_yaml(tmp_path / "x.yaml")
    assert content["more"]["a"] == 2 and content["base"]["a"] == 1 and content["again"] == content["base"]
    assert content["base"]["b"][1:4] == [16, "1e-4", 1.5] and content[1] == "one" and content["1"] == "text"
    assert parse_yaml("", "x") is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ("9" * 10_000, "is not JSON"),
        (r'["\u0000"]', r"contains \\u0000"),
        (r'["a\ud800b"]', r"contains \\ud800"),
        (r'["\ude00\ud83d"]', r"contains \\ude00"),
        (r'{"\\\uDC00": 1}', r"contains \\uDC00"),
        ('["\0"]', "NUL byte in line 1"),
        ("", "is not JSON"),
    ],
)
def test_bad_json_is_one_line(tmp_path, text, reason):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(UserError, match=rf"x\.json .*{reason}"):
        read_json(tmp_path / "x.json")


def test_good_json_is_what_it_was():
    assert parse_json(r'["\ud83d\ude00", "\\u0000", "\\\\ud800", "ä"]', "x") == [
        "😀",
        r"\u0000",
        r"\\ud800",
        "ä",
    ]


@pytest.mark.parametrize(
    "read",
    [
        lambda value: float(value["x"] * 10**400),
        lambda value: value["y"],
        lambda value: value.x,
        lambda value: value["x"][0],
        lambda value: [][value["x"]],
        lambda value: value["x"] / 0,
        lambda value: int(str(value)),
    ],
)
def test_content_of_another_form(read):
    with pytest.raises(UserError, match="r.json is not a result: "), malformed("r.json is not a result"):
        read({"x": 1})


def test_what_is_no_text_file(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "wide").write_bytes("A: 1\n".encode("utf-16"))
    (tmp_path / "latin").write_bytes("A: ä\n".encode("latin-1"))
    (tmp_path / "nul").write_bytes(b"A: 1\nB:\0 2\n")
    for name, reason in {
        "pipe": "is not an ordinary file",
        "wide": r"is not UTF-8 text \(it looks like UTF-16\)",
        "latin": "is not UTF-8 text",
        "nul": "NUL byte in line 2",
        "none": "does not exist",
        "a\0b": "does not exist",
        ".": "is a folder",
        "/dev/zero": "is not an ordinary file",
        "x" * 300: "cannot be read: File name too long",
    }.items():
        with pytest.raises(UserError, match=reason):
            read_text(tmp_path / name)
        with pytest.raises(UserError, match=reason):
            get_cfg().merge_from_file(tmp_path / name)
    with pytest.raises(UserError, match="has 12 bytes; at most 11"):
        (tmp_path / "long").write_text("x" * 12)
        read_text(tmp_path / "long", largest=11)
    with pytest.raises(UserError, match="~nosuchuser/x: the home folder is unknown"):
        expand_user("~nosuchuser/x")
    monkeypatch.setenv("MODIST_DATASETS", "~nosuchuser")
    (tmp_path / "d.yaml").write_text("format: ava\nvideos: ~nosuchuser/videos\nlabel_map: x\n")
    with pytest.raises(UserError, match="~nosuchuser"):
        load_description(tmp_path / "d.yaml")


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("OUTPUT_DIR", "'a\\0b'", r"OUTPUT_DIR has the character U\+0000"),
        ("OUTPUT_DIR", "'\\ud800'", r"OUTPUT_DIR has the character U\+D800"),
        ("SOLVER.BASE_LR", "1e999", "SOLVER.BASE_LR"),
        ("SOLVER.BASE_LR", "9" * 400, "SOLVER.BASE_LR"),
        ("SOLVER.BASE_LR", "9" * 10_000, "SOLVER.BASE_LR"),
        ("SOLVER.BASE_LR", "(" * 10_000, "SOLVER.BASE_LR"),
        ("SEED", "9" * 400, "SEED"),
        ("SEED", "'x' * 10**10", "SEED"),
        ("X" * 100_000, "1", "there is no config key"),
    ],
)
def test_overrides_that_no_key_takes(key, value, reason):
    with pytest.raises(UserError, match=reason) as caught:
        get_cfg().merge_from_list([key, value])
    assert len(str(caught.value)) < 1300


def test_messages_are_one_line_of_a_sane_length():
    error = UserError("x.csv:3: " + "y" * 10_000_000 + "; give it another name")
    assert len(str(error)) < 1300
    assert str(error).startswith("x.csv:3: yy") and str(error).endswith("yy; give it another name")
    assert str(UserError("a\nb\x1b[31m\ud800ä")) == "a b\\x1b[31m\\ud800ä"
    assert str(UserError("x" * 1000)) == "x" * 1000
    assert nearest("x" * 1_000_000, ["xy"]) == ""
    assert find_bad_character("ä😀") == "" and find_bad_character("ä\ud83d") == "U+D83D"
