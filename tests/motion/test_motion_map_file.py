"""Files of maps: what goes in comes out, and damage never goes unseen."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from modist_det.motion.map_file import MapFile, MapFileError, MapFileInfo, write_map_file

INFO = MapFileInfo(
    kind="flow",
    channels=2,
    height=16,
    width=24,
    num_frames=3,
    rate="30000/1001",
    gap_seconds=5 / 30,
    short_side=16,
    max_frame_side=320,
    estimator="DIS(preset='medium')",
    quality=90,
    source="a file of 5 bytes",
)


@pytest.fixture
def maps() -> torch.Tensor:
    y, x = np.mgrid[:16, :24]
    waves = [128 + 100 * np.sin(x / (3 + i)) * np.cos(y / (4 + i)) for i in range(6)]
    return torch.from_numpy(np.stack(waves).reshape(3, 2, 16, 24).astype(np.uint8))


def test_round_trip(tmp_path, maps):
    path = tmp_path / "sub" / "clip.motion"
    written = write_map_file(path, INFO, [maps[:2], maps[2:]])
    assert path.stat().st_size == written
    assert [entry.name for entry in path.parent.iterdir()] == ["clip.motion"]
    with MapFile(path) as file:
        assert file.info == INFO
        read = file.read([2, 0, 2])
        assert file.read([]).shape == (0, 2, 16, 24)
    assert read.dtype == torch.uint8
    assert (read.int() - maps[[2, 0, 2]].int()).abs().max() < 20
    assert (read.int() - maps[[2, 0, 2]].int()).abs().float().mean() < 2


def test_files_of_earlier_releases_have_flow_in_pixels_of_the_video(tmp_path, maps, monkeypatch):
    fields = dataclasses.asdict(INFO)
    del fields["reference_side"], fields["limit"]
    monkeypatch.setattr("modist_det.motion.map_file.asdict", lambda info: fields)
    write_map_file(tmp_path / "m", INFO, [maps])
    with MapFile(tmp_path / "m") as file:
        assert file.info == dataclasses.replace(INFO, limit=20.0)  # of "flow"
        assert file.info.reference_side == 0


def test_quality_is_that_of_the_description(tmp_path, maps):
    errors = []
    for quality in (30, 90, 100):
        write_map_file(tmp_path / "m", dataclasses.replace(INFO, quality=quality), [maps])
        with MapFile(tmp_path / "m") as file:
            errors.append((file.read([0, 1, 2]).int() - maps.int()).abs().float().mean().item())
    assert errors[0] > 2 * errors[1] > 2 * errors[2]


@pytest.mark.parametrize("value", [0, 128, 255])
def test_even_maps_are_kept_exactly(tmp_path, value):
    maps = torch.full((3, 2, 16, 24), value, dtype=torch.uint8)
    write_map_file(tmp_path / "m", INFO, [maps])
    with MapFile(tmp_path / "m") as file:
        assert torch.equal(file.read([0, 1, 2]), maps)


def test_wrong_maps_leave_no_file(tmp_path, maps):
    for wrong in (maps[:2], maps[:, :1], maps.float()):
        with pytest.raises(ValueError, match=r"maps"):
            write_map_file(tmp_path / "m", INFO, [wrong])
    assert not list(tmp_path.iterdir())


def test_a_file_cut_off_anywhere_is_refused(tmp_path, maps):
    path = tmp_path / "m"
    write_map_file(path, INFO, [maps])
    whole = path.read_bytes()
    for length in [*range(0, len(whole), 7), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(MapFileError, match=r"tools/extract_motion\.py"):
            MapFile(path)


def test_a_changed_byte_is_noticed(tmp_path, maps):
    path = tmp_path / "m"
    write_map_file(path, INFO, [maps])
    whole = path.read_bytes()
    for position in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[position] ^= 0x10
        path.write_bytes(damaged)
        with pytest.raises(MapFileError), MapFile(path) as file:
            file.read([0, 1, 2])


def test_missing_and_foreign_files(tmp_path):
    with pytest.raises(MapFileError, match="No such file"):
        MapFile(tmp_path / "none.motion")
    (tmp_path / "text").write_text("hello" * 100)
    with pytest.raises(MapFileError, match="not a map file"):
        MapFile(tmp_path / "text")


def test_another_release(tmp_path, maps, monkeypatch):
    monkeypatch.setattr("modist_det.motion.map_file.FORMAT_VERSION", 2)
    write_map_file(tmp_path / "m", dataclasses.replace(INFO), [maps])
    monkeypatch.undo()
    with pytest.raises(MapFileError, match="another release"):
        MapFile(tmp_path / "m")
