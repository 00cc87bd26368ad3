"""Downloads from a server that behaves badly: the right file or one clear error, never a bad file."""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
import resource
import socket
import time
import urllib.request
import zipfile
from pathlib import Path

import pytest

import modist_det.checkpoint  # noqa: F401 - registers its kinds of paths
from modist_det.utils.cache import cache_folder, cached_path, fetch, lock_file, read_lock
from modist_det.utils.download import Transfer, _Redirects, download, why_incomplete
from modist_det.utils.errors import UserError
from modist_det.utils.paths import local_path, path_manager
from tests.utils.hostile_server import CONTENT, OTHER, HostileServer

SHA = hashlib.sha256(CONTENT).hexdigest()
QUICK = Transfer(attempts=4, pause=0.01, timeout=0.5)


@pytest.fixture
def server():
    with HostileServer() as running:
        yield running


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MODIST_DET_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MODIST_DET_OFFLINE", raising=False)
    monkeypatch.delenv("MODIST_DET_LOCK", raising=False)
    return tmp_path / "cache"


def _files(folder: Path) -> list[str]:
    """Everything below but locks, which stay."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")


@pytest.mark.parametrize("known", [{}, {"size": len(CONTENT), "sha256": SHA}, {"sha256": SHA[:8].upper()}])
@pytest.mark.parametrize(
    ("habit", "requests"),
    [
        ("ok", 1),
        ("drops", 4),  # 100,000 bytes at a time
        ("drops_without_etag", 3),
        ("ignores_range", 3),
        ("changes", 2),
        ("answers_another_range", 3),
        ("unsatisfiable", 3),
        ("redirects", 1),
        ("trickles", 1),
        ("falls_silent", 2),
        ("is_busy", 3),
        ("odd_length", 1),
        ("redirects_in_unicode", 1),
    ],
)
def test_the_right_file_in_the_end(server, cache, habit, requests, known):
    path = fetch(server.url(habit), **known, transfer=QUICK)
    assert path.read_bytes() == CONTENT
    assert server.requests[habit] == requests
    assert _files(cache) == ["lock.json", "model.pyth"]
    record = read_lock()[server.url(habit)]
    assert (record.size, record.sha256) == (len(CONTENT), SHA)
    # A second time nothing is asked for.
    assert fetch(server.url(habit)) == path
    assert server.requests[habit] == requests


def test_what_arrived_is_not_asked_for_again(server, cache):
    fetch(server.url("drops"), transfer=QUICK)
    assert server.ranges == ["", "bytes=100000-", "bytes=200000-", "bytes=300000-"]


def test_a_later_run_goes_on(server, cache):
    with pytest.raises(UserError, match="1 attempts without a new byte.*the bytes received so far are kept"):
        fetch(server.url("falls_silent"), transfer=Transfer(attempts=1, timeout=0.3))
    assert ".model.pyth.part" in _files(cache)
    assert fetch(server.url("falls_silent"), transfer=QUICK).read_bytes() == CONTENT
    assert server.ranges == ["", "bytes=50000-"]
    assert _files(cache) == ["lock.json", "model.pyth"]


@pytest.mark.parametrize(
    ("habit", "known", "message"),
    [
        ("wrong", {"sha256": SHA}, f"has the SHA-256 .* instead of {SHA}; nothing was kept"),
        ("wrong", {"sha256": SHA[:8]}, f"has the SHA-256 .* instead of {SHA[:8]}; nothing was kept"),
        ("ok", {"size": 5}, f"offers {len(CONTENT)} bytes, but the file has 5"),
        ("promises_nothing", {}, r"is truncated \(a zip archive without its end\)"),
        ("promises_less", {}, r"is truncated \(a zip archive without its end\)"),
        ("promises_less", {"size": len(CONTENT)}, "offers 200000 bytes"),
        ("promises_more", {}, f"ended after {len(CONTENT)} of {len(CONTENT) + 1000} bytes"),
        ("circles", {}, "redirects in a circle or to an address that is not on the web, status 302"),
        ("redirects_to_a_file", {}, "to an address that is not on the web, status 302"),
        ("redirects_to_no_url", {}, "or the server's response is malformed"),
        ("redirects_to_no_port", {}, "is not a valid URL, or redirects to one that is not"),
        ("never_answers", {}, "the server does not respond .*4 attempts without a new byte"),
        ("refuses", {}, "the server denies access, status 403"),
        ("lacks", {}, r"the server has no such file \(it may have moved\), status 404"),
        ("fails", {}, "the server responds with 503 Service Unavailable .*4 attempts"),
        ("page", {}, "is a web page, not a weights file"),
        ("zipped", {}, "sends compressed data"),
    ],
)
def test_a_clear_error_and_no_file(server, cache, habit, known, message):
    with pytest.raises(UserError, match=message) as caught:
        fetch(server.url(habit), **known, transfer=QUICK)
    text = str(caught.value)
    assert server.url(habit) in text and "\n" not in text
    if habit != "zipped":
        assert f"put it at {cached_path(server.url(habit))}" in text
    assert not cached_path(server.url(habit)).exists()
    assert not lock_file().exists()


@pytest.mark.parametrize(
    ("habit", "requests"), [("refuses", 1), ("lacks", 1), ("fails", 4), ("never_answers", 4)]
)
def test_only_what_may_pass_is_tried_again(server, cache, habit, requests):
    with pytest.raises(UserError):
        fetch(server.url(habit), transfer=QUICK)
    assert server.requests[habit] == requests


@pytest.mark.parametrize("known", [{"size": len(CONTENT)}, {}])
def test_more_than_announced_is_not_written(server, cache, monkeypatch, known):
    monkeypatch.setattr("modist_det.utils.download._LARGEST", 2 * len(CONTENT))
    with pytest.raises(UserError, match=f"sends more than the {(2 - len(known)) * len(CONTENT):,} bytes"):
        fetch(server.url("never_ends"), **known, transfer=QUICK)
    assert server.requests["never_ends"] == 1 and server.sent < 100 * len(CONTENT)
    assert _files(cache) == []


@pytest.mark.parametrize("habit", ["drips", "drips_headers", "drips_without_length"])
def test_a_drip_ends_in_an_error(server, cache, habit):
    """Twenty bytes a second never are a time-out."""
    slow = Transfer(attempts=2, pause=0.01, timeout=5, window=0.4, min_rate=1000)
    begun = time.monotonic()
    with pytest.raises(UserError, match=r"less than 1000 bytes per second .*2 attempts without enough bytes"):
        fetch(server.url(habit), transfer=slow)
    assert time.monotonic() - begun < 5 and server.requests[habit] == 2


def test_a_known_size_tells_the_end(server, cache):
    """The server says no length and breaks off at first."""
    path = fetch(server.url("promises_nothing"), size=len(CONTENT), transfer=QUICK)
    assert path.read_bytes() == CONTENT and server.requests["promises_nothing"] == 2


def test_a_slow_server_is_waited_for(server, cache):
    """Five times 60 kB, a tenth of a second apart: above the rate in every window."""
    patient = Transfer(attempts=1, pause=0.01, timeout=5, window=0.3, min_rate=10_000)
    assert fetch(server.url("trickles"), transfer=patient).read_bytes() == CONTENT


def test_a_file_that_changed_in_the_cache_is_not_used(server, cache):
    url = server.url("ok")
    path = fetch(url)
    path.write_bytes(OTHER)  # of the same size
    with pytest.raises(UserError, match=f"{path} has changed since it was downloaded.*delete it"):
        fetch(url)
    path.unlink()
    assert fetch(url).read_bytes() == CONTENT and server.requests["ok"] == 2
    # Whoever wants to keep the other file takes its hash out of the record, as the message of a download says.
    path.write_bytes(OTHER)
    lock_file().unlink()
    assert fetch(url) == path


def test_the_hash_of_a_cached_file_is_computed_once(server, cache, monkeypatch):
    for _ in range(2):
        fetch(server.url("ok"))
    monkeypatch.setattr("modist_det.utils.cache.file_sha256", None)
    fetch(server.url("ok"))


@pytest.mark.parametrize(
    "noted", ["[]", "{", "3", '{"url": 1}', "[" * 100_000, '{"url": URL, "validator": 7}']
)
def test_damaged_notes_about_a_part_are_passed_over(server, cache, noted):
    url = server.url("ok")
    path = cached_path(url)
    path.parent.mkdir(parents=True)
    path.with_name(f".{path.name}.part").write_bytes(b"old")
    path.with_name(f".{path.name}.part.json").write_text(noted.replace("URL", json.dumps(url)))
    assert fetch(url).read_bytes() == CONTENT and server.ranges == [""]


@pytest.mark.parametrize("name", ["modèle 1.pyth", "模型.pyth", "模型" * 60 + ".pyth", "a?b=ü"])
def test_names_that_are_not_ascii(server, cache, name):
    assert fetch(server.url("ok", name)).read_bytes() == CONTENT
    assert fetch(server.url("ok", name)).is_file() and server.requests["ok"] == 1


def test_parts_of_two_files_are_noticed(server, cache, caplog):
    """The server changes the file but not its tag: only the hash tells, and the download begins anew."""
    with caplog.at_level(logging.WARNING):
        path = fetch(server.url("changes_silently"), sha256=SHA, transfer=QUICK)
    assert path.read_bytes() == CONTENT
    assert "starting over" in caplog.text


def test_encryption_is_never_left():
    handler = _Redirects()
    for url, target, allowed in (
        ("https://a/x", "https://b/x", True),
        ("http://a/x", "http://b/x", True),
        ("https://a/x", "http://b/x", False),
    ):
        request = urllib.request.Request(url)
        if allowed:
            assert handler.redirect_request(request, None, 302, "", {}, target).full_url == target
        else:
            with pytest.raises(UserError, match="https://a/x redirects to http://b/x, which is not safe"):
                handler.redirect_request(request, None, 302, "", {}, target)


def test_a_dead_proxy_is_named_without_its_password(cache, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://me:secret@127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(UserError, match="through the proxy 127.0.0.1:9: .*refused") as caught:
        fetch("http://example.org/model.pyth", transfer=Transfer(1, 0.01, 0.5))
    assert "secret" not in str(caught.value)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(UserError, match="could not be downloaded: .*refused"):
        fetch("http://127.0.0.1:9/model.pyth", transfer=Transfer(1, 0.01, 0.5))


def test_nobody_listens(cache):
    with pytest.raises(UserError, match="could not be downloaded: .*refused.*2 attempts"):
        fetch("http://127.0.0.1:9/model.pyth", transfer=Transfer(2, 0.01, 0.5))


@pytest.mark.parametrize(("number", "requests"), [(socket.EAI_NONAME, 1), (socket.EAI_AGAIN, 4)])
def test_an_unknown_host_is_not_asked_again(cache, monkeypatch, number, requests):
    asked = []

    def look_up(host, *args, **kwargs):
        asked.append(host)
        raise socket.gaierror(number, "no such name")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(UserError, match=r"could not be downloaded: .*no such name.* put it at") as caught:
        fetch("https://weights.example/a.pth", transfer=QUICK)
    assert len(asked) == requests
    assert ("attempts" in str(caught.value)) == (requests > 1)


def test_the_first_hash_counts(server, cache):
    url = server.url("ok")
    path = fetch(url)
    path.unlink()
    lock = json.loads(lock_file().read_text())
    lock[url]["sha256"] = hashlib.sha256(OTHER).hexdigest()
    lock_file().write_text(json.dumps(lock))
    with pytest.raises(
        UserError,
        match=f"recorded at an earlier download: if the authors.*remove its line from {lock_file()}",
    ):
        fetch(url, transfer=QUICK)
    assert not path.exists()
    lock[url]["size"] = 5
    lock_file().write_text(json.dumps(lock))
    with pytest.raises(
        UserError, match="offers 300106 bytes, but the file has 5.*recorded at an earlier download"
    ):
        fetch(url, transfer=QUICK)
    with pytest.raises(UserError, match="and the catalogue have different hashes for"):
        fetch(url, sha256=SHA, transfer=QUICK)
    lock_file().unlink()
    assert fetch(url).read_bytes() == CONTENT


def test_lock_file_elsewhere(server, cache, tmp_path, monkeypatch):
    monkeypatch.setenv("MODIST_DET_LOCK", str(tmp_path / "project" / "zoo.lock.json"))
    fetch(server.url("ok"))
    assert (tmp_path / "project" / "zoo.lock.json").is_file()
    assert _files(cache) == ["model.pyth"]
    for text in ("[]", "", "{", '{"url": 3}', '{"url": {"size": "a", "sha256": "b"}}'):
        (tmp_path / "project" / "zoo.lock.json").write_text(text)
        with pytest.raises(UserError, match="zoo.lock.json is not a lock file"):
            fetch(server.url("ok"))


def test_a_hash_that_cannot_be_recorded(server, cache, tmp_path, monkeypatch):
    """The file is not kept: a later one would not have to match it."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MODIST_DET_LOCK", str(tmp_path / "file" / "zoo.lock.json"))
    with pytest.raises(UserError, match="zoo.lock.json cannot be written .*MODIST_DET_LOCK names another"):
        fetch(server.url("ok"))
    assert _files(cache) == []
    (tmp_path / "folder").mkdir()
    monkeypatch.setenv("MODIST_DET_LOCK", str(tmp_path / "folder"))
    with pytest.raises(UserError, match="folder is not a lock file"):
        fetch(server.url("ok"))
    assert not server.requests.get("folder")


def test_a_cache_that_cannot_be_written(server, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MODIST_DET_CACHE", str(tmp_path / "file"))
    with pytest.raises(
        UserError, match=r"cannot be written \(Not a directory\); MODIST_DET_CACHE names another"
    ):
        fetch(server.url("ok"))
    monkeypatch.setenv("MODIST_DET_CACHE", str(tmp_path / "cache of ours"))
    cached_path(server.url("ok")).mkdir(parents=True)
    with pytest.raises(UserError, match="is a folder, but should be the file of"):
        fetch(server.url("ok"))
    assert not server.requests
    cached_path(server.url("ok")).rmdir()
    assert fetch(server.url("ok")).read_bytes() == CONTENT


def test_a_catalogue_that_learns_the_hash(server, cache):
    """What is in the cache already must have the size and the hash, too."""
    path = fetch(server.url("ok"))
    assert fetch(server.url("ok"), size=len(CONTENT), sha256=SHA) == path
    with pytest.raises(UserError, match="lock.json and the catalogue have different hashes for"):
        fetch(server.url("ok"), sha256="0" * 64)
    lock_file().unlink()
    with pytest.raises(UserError, match=f"has {len(CONTENT)} bytes instead of 5"):
        fetch(server.url("ok"), size=5)


def test_a_damaged_file_in_the_cache_is_named(server, cache):
    path = fetch(server.url("ok"))
    path.write_bytes(CONTENT[:1000])
    with pytest.raises(UserError, match=f"{path} has 1000 bytes instead of {len(CONTENT)}.*delete it"):
        fetch(server.url("ok"))


def test_offline(server, cache, monkeypatch):
    monkeypatch.setenv("MODIST_DET_OFFLINE", "1")
    url = server.url("ok")
    with pytest.raises(UserError, match=f"MODIST_DET_OFFLINE.*put it at {cached_path(url)}"):
        fetch(url)
    assert not server.requests
    cached_path(url).parent.mkdir(parents=True)
    cached_path(url).write_bytes(CONTENT)
    assert fetch(url) == cached_path(url)


def _fetch_in_a_process(url: str, start, results) -> None:
    start.wait(60)
    results.put(fetch(url, transfer=QUICK).read_bytes() == CONTENT)


def test_eight_processes_download_once(server, cache):
    context = multiprocessing.get_context("fork")
    results, start = context.Queue(), context.Event()
    url = server.url("trickles")
    processes = [context.Process(target=_fetch_in_a_process, args=(url, start, results)) for _ in range(8)]
    for process in processes:
        process.start()
    start.set()
    outcomes = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(60)
    assert outcomes == [True] * 8
    assert server.requests["trickles"] == 1
    assert _files(cache) == ["lock.json", "model.pyth"]


def test_a_killed_download_leaves_the_lock_free(server, cache):
    context = multiprocessing.get_context("fork")
    url = server.url("falls_silent")
    start, results = context.Event(), context.Queue()
    start.set()
    process = context.Process(target=_fetch_in_a_process, args=(url, start, results))
    process.start()
    part = cached_path(url).with_name(".model.pyth.part")
    while not (part.exists() and part.stat().st_size):
        assert process.is_alive()
    process.kill()
    process.join()
    assert fetch(url, transfer=QUICK).read_bytes() == CONTENT


def _download_under_a_limit(url: str, path: Path, results) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    try:
        download(url, path, transfer=QUICK)
    except UserError as error:
        results.put(str(error))


def test_a_disk_that_fills_up(server, tmp_path):
    """Another attempt would not help."""
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    arguments = (server.url("ok"), tmp_path / "model.pyth", results)
    process = context.Process(target=_download_under_a_limit, args=arguments)
    process.start()
    assert results.get(timeout=60) == f"{tmp_path / '.model.pyth.part'} cannot be written: File too large"
    process.join(60)
    assert server.requests["ok"] == 1
    assert not (tmp_path / "model.pyth").exists()


def test_no_room(server, tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("modist_det.utils.download.shutil.disk_usage", lambda _: usage)
    with pytest.raises(UserError, match="0 MiB left"):
        download(server.url("ok"), tmp_path / "model.pyth")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/file",
        "https://host",
        "https:///file",
        "file:///etc/passwd",
        "http://host/a\0b",
        "http://h/\ud800",
    ],
)
def test_not_the_url_of_a_file(cache, url):
    with pytest.raises(UserError, match="is not the URL of a file"):
        fetch(url)


def test_no_url(cache):
    with pytest.raises(UserError, match="is not a URL"):
        fetch("http://[no/file")
    with pytest.raises(UserError, match="is not a valid URL"):
        fetch("http://127.0.0.1:port/file")


def test_places_in_the_cache(cache, monkeypatch, tmp_path):
    assert cached_path("https://host:80/a/../b/c.pyth") == cache / "host_80/a/b/c.pyth"
    assert cached_path("https://host/get?id=a/b") == cache / "host/get?id=a_b"
    monkeypatch.delenv("MODIST_DET_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "modist_det"


def test_what_is_not_whole(tmp_path):
    for name, data, said in (
        ("empty", b"", "is empty"),
        ("page", b"\n<HTML>", "is a web page"),
        ("pickle", b"\x80\x02}q\x00", "a pickle without its end"),
        ("whole pickle", b"\x80\x02}q\x00.", ""),
        ("old PyTorch file", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.abc", ""),
        ("text", b"something else", ""),
    ):
        (tmp_path / "file").write_bytes(data)
        assert (said in why_incomplete(tmp_path / "file")) and (
            bool(said) == bool(why_incomplete(tmp_path / "file"))
        ), name
    assert zipfile.is_zipfile(tmp_path / "file") is False


def test_paths_of_the_web(server, cache, tmp_path):
    url = server.url("ok")
    assert local_path(url) == str(cached_path(url))
    with path_manager().open(url, "rb") as file:
        assert file.read() == CONTENT
    with pytest.raises(UserError, match="can only be read"):
        path_manager().open(url, "wb")
    assert local_path(tmp_path / "plain") == str(tmp_path / "plain")
    with pytest.raises(
        UserError,
        match=r"s3://bucket/x: nothing here reads s3:// paths; known are hf://, http://, https://, torchvision://, zoo://",
    ):
        local_path("s3://bucket/x")


def test_somebody_s_own_handler(tmp_path):
    from iopath.common.file_io import PathHandler

    class Store(PathHandler):
        def _get_supported_prefixes(self):
            return ["store://"]

        def _get_local_path(self, path, force=False, **kwargs):
            return str(tmp_path / path.removeprefix("store://"))

    path_manager().register_handler(Store(), allow_override=True)
    assert local_path("store://a.pyth") == str(tmp_path / "a.pyth")


def test_links_are_not_written_through_and_abandoned_parts_go(server, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    for name in (".m.pth.part", ".m.pth.part.json"):
        (tmp_path / name).symlink_to(victim)
    old, young = tmp_path / ".other.pth.part", tmp_path / ".recent.pth.part"
    for file in (old, young):
        file.write_bytes(b"begun")
    os.utime(old, (0, 0))
    assert download(server.url("ok"), tmp_path / "m.pth") == SHA
    assert victim.read_text() == "untouched" and not (tmp_path / "m.pth").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == [young.name, "m.pth", "victim"]
