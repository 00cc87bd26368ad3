"""Packed folders: everything reads them as the folders that they were made from."""

from __future__ import annotations

import contextlib
import functools
import http.server
import itertools
import json
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from modist_det.data.build import build_train_loader
from modist_det.data.catalog import DatasetCatalog
from modist_det.data.samplers import TrainSampler
from modist_det.utils.errors import UserError
from modist_det.utils.files import atomic_path
from modist_det.video import packed
from modist_det.video.listing import scan, walk
from modist_det.video.packed import (
    INDEX,
    PackedFolder,
    Video,
    is_folder,
    open_bytes,
    part_of,
    plan_shards,
    shards_of,
    status,
    write_index,
    write_shard,
)
from modist_det.video.reader import VideoError, open_video
from tests.warm import run_program

NAMES = ("a/one.mp4", "a/two.v2.mkv", "b/deep/three.avi", "b/vier ä.mp4", "top.mp4")


@pytest.fixture(scope="module")
def folders(encode, root, tmp_path_factory):
    """A folder of five videos, and what ``tools/pack_videos.py`` makes of it."""
    folder = tmp_path_factory.mktemp("packed")
    for number, name in enumerate(NAMES):
        path = folder / "plain" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        encode(path, "mpeg4", 8 + number)
    done = run_program(
        [root / "tools" / "pack_videos.py", "plain", "--out", "packed", "--shard-size", "0.012"], cwd=folder
    )
    assert done.returncode == 0, done.stderr
    assert "packed: 5 videos" in done.stdout
    return folder / "plain", folder / "packed"


def test_there_are_several_shards(folders):
    assert len(list(folders[1].glob("*.tar"))) == 2
    assert sorted(np.bincount(shards_of([str(folders[1] / name) for name in NAMES]))) == [2, 3]


def test_shards_of_several_folders(folders, tmp_path):
    """Their numbers differ from those of the same shards of another folder, and from those of plain files."""
    other = shutil.copytree(folders[1], tmp_path / "other")
    parents = (folders[1], other, folders[0])
    numbers = shards_of([str(folder / name) for folder in parents for name in NAMES]).tolist()
    assert [len(set(numbers[i : i + 5])) for i in (0, 5, 10)] == [2, 2, 5]
    assert len(set(numbers)) == 9


def test_listings_are_equal(folders):
    for subfolder in ("", "a", "b", "b/deep"):
        seen = [{(e.name, e.is_dir()) for e in scan(folder / subfolder)} for folder in folders]
        assert seen[0] == seen[1]
        assert is_folder(folders[1] / subfolder)
    trees = [[Path(e.path).relative_to(folder).as_posix() for e, _ in walk(folder)] for folder in folders]
    assert sorted(trees[0]) == sorted(trees[1]) == sorted(NAMES)
    for nothing in ("c", "a/one", "a/one.mp4", "top"):
        assert not is_folder(folders[1] / nothing)
    with pytest.raises(OSError):
        list(scan(folders[1] / "c"))


@pytest.mark.parametrize("name", NAMES)
def test_videos_are_equal(folders, name):
    plain, packed = (folder / name for folder in folders)
    content = plain.read_bytes()
    with open_bytes(packed) as file:
        assert file.read() == content
        file.seek(-5, 2)
        assert file.read(9) == content[-5:]
        assert file.seek(3) == 3
        assert file.read(4) == content[3:7]
    assert status(packed) == (len(content), (folders[1] / INDEX).stat().st_mtime_ns)
    with open_video(plain) as one, open_video(packed) as two:
        assert repr(one.info) == repr(two.info)
        count = one.info.num_frames
        np.testing.assert_array_equal(one.info.times, two.info.times)
        np.testing.assert_array_equal(
            one.frames_at_indices(range(count)), two.frames_at_indices(range(count))
        )
        np.testing.assert_array_equal(one.frames_at_times([0.1, 0.2]), two.frames_at_times([0.1, 0.2]))


def test_what_is_not_there(folders):
    assert part_of(folders[1] / "a" / "four.mp4") is None
    with pytest.raises(VideoError, match=r"a/four\.mp4"):
        open_video(folders[1] / "a" / "four.mp4")


@pytest.mark.parametrize("text", ["format: videos", "format: class_folders"])
def test_datasets_read_them(folders, tmp_path, text):
    found = []
    for folder in folders:
        (tmp_path / "set.yaml").write_text(f"{text}\nvideos: {folder}\n")
        records = DatasetCatalog.videos(tmp_path / "set.yaml")
        found.append([(r.video_id, str(Path(r.video).relative_to(folder)), r.labels) for r in records])
    assert found[0] == found[1]
    assert len(found[0]) in (4, 5)


def test_lists_and_labels(folders, root, tmp_path):
    """Names of a list are found, and the shards of a labelled dataset say what webdataset's users need."""
    (tmp_path / "list.csv").write_text("a/one.mp4 1\na/two.v2.mkv 0\nb/deep/three 1\n")
    (tmp_path / "classes.txt").write_text("walk\nrun\n")
    text = "format: video_list\nvideos: {}\nannotations: list.csv\nclasses: classes.txt\n"
    (tmp_path / "set.yaml").write_text(text.format(folders[0]))
    done = run_program([root / "tools" / "pack_videos.py", "set.yaml", "--out", "packed"], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (tmp_path / "new.yaml").write_text(text.format("packed"))
    records = DatasetCatalog.get(tmp_path / "new.yaml").records()
    assert [(record.video_id, record.labels) for record in records] == [
        (record.video_id, record.labels) for record in DatasetCatalog.get(tmp_path / "set.yaml").records()
    ]
    webdataset = pytest.importorskip("webdataset")
    samples = list(webdataset.WebDataset(str(tmp_path / "packed" / "00000.tar"), shardshuffle=False))
    assert len(samples) == 3
    for sample in samples:
        facts = json.loads(sample["json"])
        kind = facts["name"].rpartition(".")[2]
        assert sample[kind] == (folders[0] / facts["name"]).read_bytes()
        expected = {"a/one.mp4": "run", "a/two.v2.mkv": "walk", "b/deep/three.avi": "run"}[facts["name"]]
        assert facts["entries"] == [{"labels": [int(expected == "run")], "classes": [expected]}]


def test_packing_continues(folders, encode, root, tmp_path):
    """A shard that is there is kept; a missing or damaged one, or one with a changed video, is made again."""
    plain = shutil.copytree(folders[0], tmp_path / "plain")
    packed = tmp_path / "packed"

    def pack():
        command = [root / "tools" / "pack_videos.py", plain, "--out", packed, "--shard-size", "0.012"]
        assert run_program(command, cwd=tmp_path).returncode == 0
        return {path.name: path.stat().st_mtime_ns for path in packed.glob("*.tar")}

    first = pack()
    assert pack() == first
    shards = sorted(first)
    (packed / shards[0]).write_bytes((packed / shards[0]).read_bytes()[:700])
    again = pack()
    assert [name for name in shards if again[name] != first[name]] == [shards[0]]
    changed = plain / "top.mp4"
    content = changed.read_bytes()
    changed.write_bytes(content[:-1] + b"?")  # as long as before
    os.utime(changed, (0, 0))
    last = pack()
    shard = part_of(packed / "top.mp4").shard.name
    assert [name for name in shards if last[name] != again[name]] == [shard]
    for name in NAMES:
        with open_bytes(packed / name) as file:
            assert file.read() == (plain / name).read_bytes()


def test_a_server(folders, tmp_path, monkeypatch):
    """Only the shards that are read are fetched."""
    monkeypatch.setenv("MODIST_DET_CACHE", str(tmp_path / "cache"))
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            asked.append(self.path)

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Handler, directory=str(folders[1].parent))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        (tmp_path / "set.yaml").write_text(
            f"format: videos\nvideos: http://127.0.0.1:{server.server_port}/packed\n"
        )
        records = DatasetCatalog.videos(tmp_path / "set.yaml")
        assert sorted(record.video_id for record in records) == sorted(n.rpartition(".")[0] for n in NAMES)
        assert set(asked) == {f"/packed/{INDEX}"}
        with open_video(records[0].video) as one, open_video(folders[0] / "a" / "one.mp4") as two:
            np.testing.assert_array_equal(one.frames_at_indices([0, 7]), two.frames_at_indices([0, 7]))
        shard = part_of(folders[1] / "a" / "one.mp4").shard.name
        assert set(asked) == {f"/packed/{INDEX}", f"/packed/{shard}"}
    finally:
        server.shutdown()
        server.server_close()


def test_a_damaged_index(folders, tmp_path):
    """Or a file of somebody else that is called as the index."""
    shutil.copytree(folders[1], tmp_path / "packed")
    index = tmp_path / "packed" / INDEX
    index.write_bytes(b"ARROW")
    with pytest.raises(UserError, match="pack the videos again"):
        list(scan(tmp_path / "packed"))
    for table in (pa.table({"text": ["a"]}), pa.table({"name": pa.array([], pa.large_binary())})):
        with pa.ipc.new_file(str(index), table.schema) as writer:
            writer.write_table(table)
        with pytest.raises(UserError, match="another name"):
            list(scan(tmp_path / "packed"))


def test_ways_to_write_a_path(folders, tmp_path, monkeypatch):
    """Relative, with "..", by a link, and from inside the packed folder."""
    (tmp_path / "link").symlink_to(folders[1])
    monkeypatch.chdir(folders[1])
    expected = part_of(folders[1] / "a" / "one.mp4")[1:]
    for path in (
        "a/one.mp4",
        "./a/one.mp4",
        "b/../a/one.mp4",
        "../packed/a/one.mp4",
        tmp_path / "link/a/one.mp4",
    ):
        assert part_of(path)[1:] == expected, path
        with open_video(path) as video:
            assert video.info.num_frames == 8
    assert part_of("a/../../plain/a/none.mp4") is None
    np.testing.assert_array_equal(shards_of(NAMES), shards_of([str(folders[1] / name) for name in NAMES]))


def test_names_that_ffmpeg_could_misread(encode, tmp_path):
    """Its name for a part of a file has commas and colons."""
    names = [
        "a,b:c/v w,,:%.mp4",
        "%2E.mp4",
        "back\\slash.mp4",
        "odd\udcff.mp4",
        "a" * 120 + "/" + "b" * 120 + ".mp4",
    ]
    videos = []
    for number, name in enumerate(names):
        path = encode(tmp_path / f"{number}.mp4", num_frames=4 + number)
        videos.append(Video(name, str(path), path.stat().st_size, 0, {}))
    packed = tmp_path / "pa,ck:ed dir"
    packed.mkdir()
    write_index(packed, [videos], [write_shard(packed, 0, videos)])
    assert sorted(entry.path for entry, _ in walk(packed)) == sorted(str(packed / name) for name in names)
    for number, name in enumerate(names):
        with open_video(packed / name) as video:
            assert video.info.num_frames == 4 + number


def test_shards_that_do_not_fit_the_index(folders, tmp_path):
    """The error names the shard: missing, cut off, or of another run."""
    packed = shutil.copytree(folders[1], tmp_path / "packed")
    video = packed / "a" / "one.mp4"
    shard, offset, size = part_of(video)
    content = shard.read_bytes()
    shard.write_bytes(content[: offset + size - 1])
    with pytest.raises(
        VideoError, match=rf"one\.mp4.*{shard.name} is cut off after {offset + size - 1} bytes"
    ):
        open_video(video)
    header = offset - 512
    other_size = content[: header + 124] + b"00000000007\0" + content[header + 136 :]
    for other in (content[512:], content.replace(b"a/one.mp4", b"a/two.mp4", 1), other_size):
        shard.write_bytes(other)
        with pytest.raises(VideoError, match=rf"{shard.name} is not the one of which {INDEX} was made"):
            open_video(video)
    shard.unlink()
    with pytest.raises(VideoError, match=rf"{shard.name} cannot be read \(No such file"):
        open_video(video)


def test_no_index_leads_into_other_shards(tmp_path):
    """Whoever stops while shards are written again leaves no index; labels of the same length are a change, too."""
    path = tmp_path / "v.mp4"
    path.write_bytes(bytes(2000))
    video = Video("v.mp4", str(path), 2000, 0, {"labels": [1]})
    write_index(tmp_path, [[video]], [write_shard(tmp_path, 0, [video])])
    write_shard(tmp_path, 0, [video])
    assert (tmp_path / INDEX).exists()
    changed = video._replace(facts={"labels": [2]})
    write_shard(tmp_path, 0, [changed])
    assert not (tmp_path / INDEX).exists()
    assert b'"labels": [2]' in (tmp_path / "00000.tar").read_bytes()


def test_the_index_goes_before_its_shard(tmp_path, monkeypatch):
    path = tmp_path / "v.mp4"
    path.write_bytes(bytes(2000))
    video = Video("v.mp4", str(path), 2000, 0, {})
    write_index(tmp_path, [[video]], [write_shard(tmp_path, 0, [video])])

    @contextlib.contextmanager
    def stopped(path):
        with atomic_path(path) as temporary:
            yield temporary
        raise KeyboardInterrupt

    monkeypatch.setattr(packed, "atomic_path", stopped)
    with pytest.raises(KeyboardInterrupt):
        write_shard(tmp_path, 0, [video._replace(changed=1)])
    assert not (tmp_path / INDEX).exists()


def test_videos_that_change_while_they_are_packed(tmp_path):
    """The error names the video, not the shard."""
    path = tmp_path / "v.mp4"
    video = Video("v.mp4", str(path), 2000, 0, {})
    for size in (2001, 4000, 1999, 0):
        path.write_bytes(bytes(size))
        with pytest.raises(UserError, match=r"v\.mp4 has grown or shrunk while it was packed"):
            write_shard(tmp_path, 0, [video])
    path.unlink()
    with pytest.raises(UserError, match=r"v\.mp4 cannot be read: No such file"):
        write_shard(tmp_path, 0, [video])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("names", "equal"),
    [
        (("a/v.mp4", "a/v.avi"), True),
        (("v.mp4", "v.MP4"), True),
        (("v", "v.mp4"), True),
        (("a/v.mp4", "b/v.mp4"), False),
        (("v.1.mp4", "v%2E1.mp4"), False),
    ],
)
def test_videos_that_webdataset_would_take_for_one(names, equal):
    videos = [Video(name, "", 10, 0, {}) for name in names]
    if not equal:
        assert plan_shards(videos, 15) == [videos]
        return
    with pytest.raises(UserError, match=f"{min(names)} and {max(names)} differ only in their ending"):
        plan_shards(videos, 15)


def test_shards_are_full():
    """A shard is closed by the video with which it reaches its size."""
    videos = [Video(f"{number}.mp4", "", size, 0, {}) for number, size in enumerate((10, 5, 4, 20, 1, 14))]
    assert [[video.size for video in shard] for shard in plan_shards(videos, 15)] == [
        [10, 5],
        [4, 20],
        [1, 14],
    ]


def test_shards_of_an_earlier_packing(folders, root, tmp_path):
    """Webdataset would read them, too: nothing is written before they are gone."""
    packed = shutil.copytree(folders[1], tmp_path / "packed")
    (packed / "notes.tar").touch()
    before = {path.name: path.read_bytes() for path in packed.iterdir()}

    def pack(size):
        command = [root / "tools" / "pack_videos.py", folders[0], "--out", packed, "--shard-size", size]
        return run_program(command, cwd=tmp_path)

    done = pack("1")
    assert done.returncode == 1
    assert f"{packed} has 00001.tar, but now there are 1 shards" in done.stderr
    assert {path.name: path.read_bytes() for path in packed.iterdir()} == before
    assert pack("0.012").returncode == 0
    (packed / "00001.tar").unlink()
    assert pack("1").returncode == 0
    assert len(PackedFolder(packed)) == 5


def test_the_index_stays_in_its_file(tmp_path):
    videos = [Video(f"{number:06}.mp4", "", 10, 0, {}) for number in range(5000)]
    write_index(tmp_path, [videos], [[1024 * number for number in range(5000)]])
    before = pa.total_allocated_bytes()
    packed = PackedFolder(tmp_path)
    assert packed.size("004999.mp4") == 10
    assert pa.total_allocated_bytes() == before


def test_inputs_that_would_be_found_again(folders, root, tmp_path):
    plain = shutil.copytree(folders[0], tmp_path / "plain")
    for inputs, out, reason in (
        ("plain", "plain", "in the folder of the videos"),
        ("plain", "plain/packed", "in the folder of the videos"),
        (folders[1], "out", "packed already"),
    ):
        done = run_program([root / "tools" / "pack_videos.py", inputs, "--out", out], cwd=tmp_path)
        assert done.returncode == 1
        assert reason in done.stderr
    assert not (plain / INDEX).exists()


def test_shards_at_a_time():
    """Every record once an epoch; two groups are mixed, and no third begins before they end; resuming is exact."""
    groups = np.arange(60) // 10
    sampler = TrainSampler(60, 4, seed=3, groups=groups, at_a_time=2)
    stream = iter(sampler)
    orders = []
    for _ in range(2):
        slots = [slot for _ in range(15) for _, slot in next(stream)]
        assert sorted(slots) == list(range(60))
        blocks = [set(groups[slots[i : i + 20]]) for i in (0, 20, 40)]
        assert [len(block) for block in blocks] == [2, 2, 2]
        assert len(set.union(*blocks)) == 6
        assert len(set(groups[slots[:8]])) == 2
        orders.append(slots)
    assert orders[0] != orders[1]
    whole = list(itertools.islice(TrainSampler(60, 4, groups=groups, at_a_time=2), 40))
    rest = iter(TrainSampler(60, 4, groups=groups, at_a_time=2, start_iteration=23))
    assert [next(rest) for _ in range(17)] == whole[23:]


def test_a_loader_reads_shard_by_shard(folders, tmp_path):
    """With two workers, and from the middle: the samples of a whole run."""
    (tmp_path / "set.yaml").write_text(f"format: videos\nvideos: {folders[1]}\n")
    records = DatasetCatalog.videos(tmp_path / "set.yaml")
    shards = dict(
        zip([record.video_id for record in records], shards_of([r.video for r in records]), strict=True)
    )
    options = {"batch_size": 1, "shards_at_a_time": 1, "pin_memory": False}
    whole = build_train_loader(records, _Number(), **options)
    ids = [next(whole)["id"][0] for _ in range(15)]
    for epoch in range(3):
        order = [shards[i] for i in ids[5 * epoch : 5 * epoch + 5]]
        assert len(set(ids[5 * epoch : 5 * epoch + 5])) == 5
        assert sum(a != b for a, b in zip(order, order[1:], strict=False)) == len(set(order)) - 1
    rest = build_train_loader(records, _Number(), start_iteration=6, num_workers=2, **options)
    assert [next(rest)["id"][0] for _ in range(9)] == ids[6:]


class _Number:
    """A mapper that reads a frame and says which video it is."""

    def __call__(self, record, rng):
        with open_video(record.video) as video:
            video.frames_at_indices([int(rng.integers(8))])
        return {"id": record.video_id}
