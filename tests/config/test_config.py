"""The config tree: files over defaults, and errors that help."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from modist_det.config import get_cfg
from modist_det.core.elsewhere import ELSEWHERE
from modist_det.utils.errors import UserError
from modist_det.utils.plugins import import_modules

ROOT = Path(__file__).resolve().parents[2]


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_bases_are_laid_below_in_order(tmp_path):
    write(tmp_path, "a.yaml", "SOLVER: {BASE_LR: 1.0, MOMENTUM: 0.5}\nSEED: 1\n")
    (tmp_path / "sub").mkdir()
    write(tmp_path, "sub/b.yaml", "_BASE_: ../a.yaml\nSOLVER: {BASE_LR: 2.0}\n")
    leaf = write(tmp_path, "c.yaml", "_BASE_: [a.yaml, sub/b.yaml]\nSEED: 3\n")
    cfg = get_cfg()
    cfg.merge_from_file(leaf)
    assert (cfg.SOLVER.BASE_LR, cfg.SOLVER.MOMENTUM, cfg.SEED) == (2.0, 0.5, 3)


def test_numbers_are_read_as_the_default_says(tmp_path):
    # YAML 1.1 reads 1e-7 as text, and 1 as an integer.
    cfg = get_cfg()
    cfg.merge_from_file(write(tmp_path, "a.yaml", "SOLVER: {WEIGHT_DECAY: 1e-7, BASE_LR: 1}\n"))
    assert cfg.SOLVER.WEIGHT_DECAY == 1e-7
    assert cfg.SOLVER.BASE_LR == 1.0 and isinstance(cfg.SOLVER.BASE_LR, float)
    cfg.merge_from_list(["SOLVER.STEPS", "(0, 10)", "DATASETS.TRAIN", "a.yaml", "OUTPUT_DIR", "7"])
    assert cfg.SOLVER.STEPS == [0, 10]
    assert cfg.DATASETS.TRAIN == ["a.yaml"]
    assert cfg.OUTPUT_DIR == "7"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SOLVER: {BASE_LRR: 1}", r"no config key 'SOLVER.BASE_LRR'; did you mean 'SOLVER.BASE_LR'"),
        ("SOLVER: {LR: 1}", r"no config key 'SOLVER.LR'; did you mean 'SOLVER.BASE_LR'"),
        ("BASE_LR: 1", r"'BASE_LR'; did you mean 'SOLVER.BASE_LR'"),
        ("MOMENTUM: 1", r"'MOMENTUM'; did you mean 'SOLVER.MOMENTUM'"),  # the shortest of several
        ("SOLVER: 3", r"SOLVER is a group of keys"),
        ("SOLVER: {IMS_PER_BATCH: many}", r"SOLVER.IMS_PER_BATCH is 'many', but takes a whole number"),
        ("SOLVER: {BASE_LR: fast}", r"SOLVER.BASE_LR is 'fast', but takes a number"),
        ("MODEL: {COMPILE: 1}", r"MODEL.COMPILE is 1, but takes True or False"),
        ("VERSION: 2", r"VERSION is 2"),
        ("- 1\n- 2", r"holds list, not a mapping"),
        ("A: [", r"not valid YAML"),
        ("_BASE_: nowhere.yaml", r"_BASE_ .*nowhere.yaml does not exist"),
        ("_BASE_: 5", r"_BASE_ is 5, but takes a path or a list of paths"),
        ("_BASE_:", r"_BASE_ is None"),
        ("_BASE_: [null]", r"_BASE_ is \[None\]"),
    ],
)
def test_a_mistake_in_a_file_names_file_and_key(tmp_path, text, message):
    path = write(tmp_path, "bad.yaml", text)
    with pytest.raises(UserError, match=message) as caught:
        get_cfg().merge_from_file(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_base_that_leads_back_is_an_error(tmp_path):
    write(tmp_path, "a.yaml", "_BASE_: b.yaml\n")
    path = write(tmp_path, "b.yaml", "_BASE_: a.yaml\n")
    with pytest.raises(UserError, match="leads back"):
        get_cfg().merge_from_file(path)


def test_a_missing_file_and_an_odd_override_are_errors(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        get_cfg().merge_from_file(tmp_path / "none.yaml")
    with pytest.raises(UserError, match="pairs"):
        get_cfg().merge_from_list(["SEED"])
    with pytest.raises(UserError, match="is a folder"):
        get_cfg("")


def test_a_dump_reads_back_equal(tmp_path):
    cfg = get_cfg()
    cfg.merge_from_list(["SOLVER.WEIGHT_DECAY", "1e-7", "DATASETS.TEST", "['a', 'b']"])
    again = get_cfg()
    again.merge_from_file(write(tmp_path, "dump.yaml", cfg.dump()))
    assert again == cfg


def test_get_cfg_gives_independent_copies():
    first = get_cfg()
    first.SOLVER.BASE_LR = 5.0
    assert get_cfg().SOLVER.BASE_LR != 5.0


@pytest.mark.parametrize("path", sorted((ROOT / "configs").rglob("*.yaml")), ids=lambda p: p.stem)
def test_every_config_of_the_project_is_valid(path):
    cfg = get_cfg()
    cfg.merge_from_file(path)


def test_config_from_text_and_from_the_web(tmp_path, monkeypatch):
    cfg = get_cfg()
    cfg.merge_from_text("SOLVER: {BASE_LR: 0.25}\n", "the config in x")
    assert cfg.SOLVER.BASE_LR == 0.25
    for text, message in (
        ("SOLVER: {BASE: 1}", "the config in x: there is no config key 'SOLVER.BASE'"),
        ("[1", "the config in x is not valid YAML"),
        ("- 1", "the config in x holds list"),
    ):
        with pytest.raises(UserError, match=message):
            cfg.merge_from_text(text, "the config in x")
    # A URL is looked up in the cache first.
    monkeypatch.setenv("MODIST_DET_CACHE", str(tmp_path))
    (tmp_path / "example.org").mkdir()
    (tmp_path / "example.org" / "small.yaml").write_text("SEED: 7\n")
    cfg.merge_from_file("https://example.org/small.yaml")
    assert cfg.SEED == 7
    # What is imported is not for a page of the web to choose.
    (tmp_path / "example.org" / "small.yaml").write_text("IMPORTS: [antigravity]\nSEED: 8\n")
    with pytest.raises(
        UserError, match=r"small.yaml: it was made with the module antigravity .* --import antigravity"
    ):
        cfg.merge_from_file("https://example.org/small.yaml")
    assert "antigravity" not in sys.modules and (cfg.SEED, cfg.IMPORTS) == (7, [])


def test_keys_of_other_code_bases_lead_to_ours():
    cfg = get_cfg()
    for theirs, ours in ELSEWHERE.items():
        node = cfg
        for word in re.match(r"[A-Z0-9_.]*", ours).group().split("."):
            node = node[word] if word else node  # KeyError: we have no such key
        with pytest.raises(UserError, match=re.escape(f"{theirs!r}; here it is {ours}")):
            cfg.merge_from_list([theirs, "1"])


def test_a_config_lists_the_modules_imported_before(monkeypatch):
    monkeypatch.setattr("modist_det.utils.plugins._NAMED", [])
    for names in (["colorsys"], ["string", "colorsys"]):
        import_modules(names, "--import")
    cfg = get_cfg()
    assert cfg.IMPORTS == ["colorsys", "string"]
    cfg.merge_from_list(["IMPORTS", "['textwrap', 'string']"])
    assert cfg.IMPORTS == ["colorsys", "string", "textwrap"]
