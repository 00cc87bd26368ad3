"""Label maps of AVA 2.1 and 2.2."""

from __future__ import annotations

import pytest

from modist_det.formats.ava.label_map import LabelEntry, read_label_map
from modist_det.utils.errors import UserError


@pytest.fixture
def label_map(tmp_path):
    def write(text: str):
        path = tmp_path / "labels.pbtxt"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_version_2_1_and_2_2_in_one_file_by_id(label_map):
    path = label_map(
        'label {\n  name: "watch (e.g., TV)"\n  label_id: 80\n  label_type: PERSON_INTERACTION\n}\n'
        'item {\n  name: "bend/bow (at the waist)"\n  id: 1\n}\n'
    )
    assert list(read_label_map(path).items()) == [
        (1, LabelEntry("bend/bow (at the waist)")),
        (80, LabelEntry("watch (e.g., TV)", "PERSON_INTERACTION")),
    ]


def test_quotes_comments_one_line_and_unknown_fields(label_map):
    path = label_map(
        '\ufeff# all classes\nitem{name:"say \\"#hi\\"" id:2}  # the second\n'
        "item { id: 3, name: 'it\\'s {odd}', display_name: \"Odd\" }\n"
    )
    assert read_label_map(path) == {2: LabelEntry('say "#hi"'), 3: LabelEntry("it's {odd}")}


def test_text_that_is_written_as_bytes(label_map):
    """Protocol buffers write "café" as ``"caf\\303\\251"``: without that, two maps of one set name other classes."""
    path = label_map(
        r'item { name: "caf\303\251" id: 1 } item { name: "\xc3\xa9\u00e9\U0001F600" id: 2 } '
        r'item { name: "é\é\\" id: 3 }'
    )
    assert [entry.name for entry in read_label_map(path).values()] == ["café", "éé\U0001f600", "éé\\"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no class in this label map"),
        ("# nothing\n", "no class in this label map"),
        ('item { name: "a" }', ":1: a class needs one name and one id"),
        ("\nitem { id: 1 }", ":2: a class needs one name and one id"),
        ('item { name: "a" id: 1 label_id: 2 }', ":1: a class needs one name and one id"),
        ('item { name: "a" id: 0 }', ":1: class id is '0'"),
        ('item { name: "a" id: one }', ":1: class id is 'one'"),
        ('item { name: "a" id: 99999999999 }', ":1: class id is '99999999999'"),
        ('item { name: "a" id: 1 }\nitem { name: "b" id: 1 }', ":2: class id 1 was already given in line 1"),
        (
            'item { name: "a" id: 1 }\nitem { name: "a" id: 2 }',
            ":2: class 2 is called 'a' like class 1 in line 1",
        ),
        ('item {\n name: "a" id: 1\n name: "b" }', ":3: this class has a second name, 'b' after 'a'"),
        ('item { name: "a" id: 1\n id: 2 }', ":2: this class has a second id, '2' after '1'"),
        ('label { name: "a" label_id: 1 label_id: 1 }', ":1: this class has a second label_id"),
        ('label { name: "a" id: 1 label_type: A label_type: B }', ":1: this class has a second label_type"),
        ('item { name: " " id: 1 }', ":1: a class needs one name and one id"),
        ('item { name: "a" id: -1 }', ":1: class id is '-1'"),
        ('item { name: "a" id: 1.0 }', ":1: class id is '1.0'"),
        ('item { name: "a\n id: 1 }', ":1: cannot read"),
        (r'item { name: "caf\351" id: 1 }', ':1: "caf\\351" is not UTF-8 text where a backslash is'),
        (r'item { name: "a\777" id: 1 }', "is not UTF-8 text where a backslash is"),
        (r'item { name: "a\ud800" id: 1 }', "is not UTF-8 text where a backslash is"),
        (r'item { name: "a\0" id: 1 }', "the name of class 1 has the character U+0000"),
        ('item { name: "a" id: 1', "expected a field such as 'id: 1' or '}', found 'the end of the file'"),
        ('item { name "a" }', ":1: expected a field"),
        ("1: walk\n2: run\n", ":1: expected 'item {' or 'label {', found '1'"),
        ("walk\n", ":1: expected 'item {'"),
    ],
)
def test_malformed_maps(label_map, text, message):
    with pytest.raises(UserError) as caught:
        read_label_map(label_map(text))
    assert message in str(caught.value)
    assert "labels.pbtxt" in str(caught.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match=r"label map .*none.pbtxt does not exist"):
        read_label_map(tmp_path / "none.pbtxt")
    (tmp_path / "bytes").write_bytes(b"\xff\xff")
    with pytest.raises(UserError, match="not UTF-8 text"):
        read_label_map(tmp_path / "bytes")


def test_real_maps(real_data):
    challenge = read_label_map(real_data / "ava" / "ava_action_list_v2.1_for_activitynet_2018.pbtxt")
    assert len(challenge) == 60
    assert challenge[1].name == "bend/bow (at the waist)"
    assert max(challenge) == 80
    typed = read_label_map(real_data / "ucf101_24" / "label_map.pbtxt")
    assert len(typed) == 24
    assert typed[3] == LabelEntry("Biking", "PERSON_MOVEMENT")


def test_small_files_that_ask_for_gigabytes(tmp_path):
    """Five million letters of one name took 0.8 GB; a device has no end."""
    (tmp_path / "x.pbtxt").write_text('item { name: "' + "x" * 5_000_000 + '" id: 1 }')
    with pytest.raises(UserError, match="x.pbtxt has 5,000,023 bytes; at most"):
        read_label_map(tmp_path / "x.pbtxt")
    with pytest.raises(UserError, match="is not an ordinary file"):
        read_label_map("/dev/zero")
