"""HTTP downloads that end in the whole file or in one clear error.

The bytes go into ``.NAME.part`` beside the destination, which a later attempt or run continues where the server can
tell that the file is still the same (an ``ETag`` or ``Last-Modified``, sent back in ``If-Range``). Only a file that
passed every check gets its name.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import logging
import os
import re
import shutil
import socket
import threading
import time
import urllib.error
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote, urlsplit

from .errors import UserError
from .json_reading import read_json
from .progress import progress_bar

__all__ = ["Transfer", "WrongFile", "download", "file_sha256", "why_incomplete"]

logger = logging.getLogger(__name__)

_CHUNK = 1 << 20
_LONGEST_PAUSE = 60.0
_LARGEST = 100 << 30  # limit in bytes for a file of unknown size
# The server, not the request, is at fault, perhaps only now.
_PASSING_STATUS = {408, 425, 429, 500, 502, 503, 504}
# How files begin that torch.save wrote before it wrote zip archives.
TORCH_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."


@dataclass(frozen=True)
class Transfer:
    """How patient a download is.

    Attributes:
        attempts: in a row without a single new byte.
        pause: seconds before the second attempt; doubled for each further one.
        timeout: seconds without a byte after which a connection counts as broken.
        window: seconds in which ``min_rate`` bytes a second have to come on the average; a connection that brings
            less is aborted, which counts as an attempt without a new byte.
        min_rate: bytes a second.
    """

    attempts: int = 5
    pause: float = 1.0
    timeout: float = 30.0
    window: float = 60.0
    min_rate: float = 1024.0


# Age in seconds from which a partial download is deleted.
_ABANDONED = 30 * 24 * 3600.0


class WrongFile(UserError):
    """The server delivers another file than the one that was asked for."""


class _Broken(Exception):
    """The transfer failed in a way that another attempt may fix.

    Attributes:
        pause: seconds that the server asks to wait.
        slow: data still came, but far too slowly.
    """

    def __init__(self, reason: str, pause: float = 0.0, slow: bool = False) -> None:
        super().__init__(reason)
        self.pause = pause
        self.slow = slow


def download(
    url: str, path: Path, *, size: int | None = None, sha256: str = "", transfer: Transfer | None = None
) -> str:
    """Download ``url`` to ``path`` and return the file's SHA-256 in hexadecimal.

    The caller sees to it that no other process writes ``path``.

    Args:
        size: bytes that the file must have, if known.
        sha256: hexadecimal digits that its SHA-256 must begin with; ``""``: unknown.

    Raises:
        UserError: the server refuses, or does not deliver after all attempts; the disk cannot take the file.
        WrongFile: what it delivers has another size or hash, or is no file of weights.
    """
    part = path.with_name(f".{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    _tidy(part)
    resumed = _transfer(url, path, part, size, transfer or Transfer())
    digest = file_sha256(part)
    fault = _fault(part, digest, size, sha256)
    if fault and resumed:
        logger.warning("%s, continued from an earlier attempt, %s; starting anew", url, fault)
        _discard(part)
        _transfer(url, path, part, size, transfer or Transfer())
        digest = file_sha256(part)
        fault = _fault(part, digest, size, sha256)
    if fault:
        _discard(part)
        raise WrongFile(f"what {url} delivers {fault}; nothing was kept. {_by_hand(path)}")
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    part.replace(path)
    _validator_file(part).unlink(missing_ok=True)
    return digest


def _tidy(part: Path) -> None:
    """Remove links at the names that are written to, and partial downloads that were not continued for a month."""
    for file in (part, _validator_file(part)):
        if file.is_symlink():
            file.unlink()
    for file in part.parent.glob(".*.part*"):
        if file.name.endswith((".part", ".part.json")):
            with contextlib.suppress(OSError):
                if time.time() - file.lstat().st_mtime > _ABANDONED:
                    file.unlink()


def file_sha256(path: str | os.PathLike) -> str:
    """In hexadecimal."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(_CHUNK):
            digest.update(block)
    return digest.hexdigest()


def why_incomplete(path: Path) -> str:
    """What shows that a file is not a whole file of weights, such as ``"is a web page"``; ``""``: nothing does."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(512)
        file.seek(max(0, size - 1))
        last = file.read(1)
    if not size:
        return "is empty"
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype html", b"<html", b"<?xml")):
        return "is a web page, not a file of weights"
    if head.startswith(b"PK\x03\x04") and not zipfile.is_zipfile(path):
        return "is cut short (a zip archive without its end)"
    if head.startswith(b"\x80") and not head.startswith(TORCH_MAGIC) and last != b".":
        return "is cut short (a pickle without its end)"
    return ""


def _fault(part: Path, digest: str, size: int | None, sha256: str) -> str:
    length = part.stat().st_size
    if size is not None and length != size:
        return f"has {length} bytes instead of {size}"
    if not digest.startswith(sha256.lower()):
        return f"has the SHA-256 {digest[: max(len(sha256), 16)]} instead of {sha256}"
    return "" if len(sha256) == 64 else why_incomplete(part)


def _by_hand(path: Path) -> str:
    return f"If you have the file, put it at {path}"


def _way(url: str) -> str:
    """The proxy of the environment, if any, without its password."""
    parts = urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme, "")
    if not proxy or urllib.request.proxy_bypass(parts.netloc):
        return ""
    return f" through the proxy {proxy.rpartition('@')[2]}"


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _validator_file(part).unlink(missing_ok=True)


def _validator_file(part: Path) -> Path:
    """Says which version of which URL the bytes of ``part`` are."""
    return part.with_name(f"{part.name}.json")


def _transfer(url: str, path: Path, part: Path, size: int | None, transfer: Transfer) -> bool:
    """Fill ``part``; True where bytes of an earlier attempt or run are among it."""
    resumed = False
    failures = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            return _attempt(url, path, part, size, transfer) or resumed
        except _Broken as broken:
            after = part.stat().st_size if part.exists() else 0
            resumed = resumed or after > 0
            failures = 1 if after > before and not broken.slow else failures + 1
            if failures >= transfer.attempts:
                lacking = "enough bytes" if broken.slow else "a new byte"
                raise UserError(
                    f"{url} could not be downloaded{_way(url)}: {broken} ({failures} attempts without {lacking}). Try "
                    f"again later: what has arrived is kept. {_by_hand(path)}"
                ) from broken
            pause = min(max(broken.pause, transfer.pause * 2 ** (failures - 1)), _LONGEST_PAUSE)
            logger.warning("%s: %s; next attempt in %.1f s", url, broken, pause)
            time.sleep(pause)


def _attempt(url: str, path: Path, part: Path, size: int | None, transfer: Transfer) -> bool:
    """One request. True where it continued ``part``.

    Raises:
        _Broken: another attempt may help.
        UserError: none will.
    """
    start, validator = _resumable(url, part)
    headers = {"User-Agent": "modist_det", "Accept-Encoding": "identity"}
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": validator}
    pace = _Pace(transfer.window, transfer.min_rate)
    try:
        opener = urllib.request.build_opener(_Redirects, _HTTPHandler(pace), _HTTPSHandler(pace))
        request = urllib.request.Request(_ascii_url(url), headers=headers)
        with pace, opener.open(request, timeout=transfer.timeout) as response:
            start = _check_answer(url, response, start, part)
            total = _total_length(response, start)
            if size is not None and total is not None and total != size:
                raise WrongFile(f"{url} offers {total} bytes, but the file has {size}. {_by_hand(path)}")
            total = size if total is None else total
            most = _LARGEST if total is None else total
            _check_room(part, (total or size or 0) - start)
            if not start:
                part.unlink(missing_ok=True)  # before the validator of the new bytes is written beside it
            _write_validator(url, response, part)
            _receive(response, part, start, most, path.name, pace)
            received = part.stat().st_size
            if received > most:
                _discard(part)
                raise WrongFile(f"{url} sends more than the {most:,} bytes of the file. {_by_hand(path)}")
            if pace.too_slow:  # what is cut off while it says no length looks as if it had ended
                raise _Broken(str(pace), slow=True)
            if total is not None and received < total:
                raise _Broken(f"the connection ended after {received} of {total} bytes")
            return start > 0
    except urllib.error.HTTPError as error:
        _explain_status(url, path, part, error)
        raise
    except http.client.InvalidURL as error:
        raise UserError(f"{url} is, or redirects to, what is no URL ({error}). {_by_hand(path)}") from error
    except (_Broken, http.client.HTTPException, OSError) as error:
        if pace.too_slow:
            raise _Broken(str(pace), slow=True) from error
        if isinstance(error, _Broken):
            raise
        raise _Broken(_reason(error)) from error
    except ValueError as error:  # urllib's, of malformed addresses and headers
        raise UserError(
            f"{url}: the server's answer, or the URL itself, is malformed ({error}). {_by_hand(path)}"
        ) from error


def _resumable(url: str, part: Path) -> tuple[int, str]:
    """From which byte on, and with which validator, to ask; (0, "") where ``part`` cannot be continued."""
    try:
        known = read_json(_validator_file(part))
        length = part.stat().st_size
    except (OSError, UserError):
        return 0, ""
    if not isinstance(known, dict) or known.get("url") != url:
        return 0, ""
    validator = known.get("validator")
    # A header is a line of ASCII; other characters could inject a second header.
    fits = isinstance(validator, str) and validator.isascii() and validator.isprintable()
    return (length, validator) if fits and validator else (0, "")


def _write_validator(url: str, response: http.client.HTTPResponse, part: Path) -> None:
    tag = response.headers.get("ETag", "")
    validator = response.headers.get("Last-Modified", "") if not tag or tag.startswith("W/") else tag
    _validator_file(part).write_text(json.dumps({"url": url, "validator": validator}), encoding="utf-8")


def _check_answer(url: str, response: http.client.HTTPResponse, start: int, part: Path) -> int:
    """The byte at which the answer starts; 0 where the server sends the whole file."""
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise UserError(
            f"{url} is sent compressed ({response.headers['Content-Encoding']}) though not asked to"
        )
    if response.status == 200:
        return 0
    match = re.match(r"bytes ([0-9]{1,18})-", response.headers.get("Content-Range", ""))
    if response.status != 206 or not match or int(match[1]) != start:
        _discard(part)
        raise _Broken(
            f"the server answers a request from byte {start} on with status {response.status}, another range"
        )
    return start


def _total_length(response: http.client.HTTPResponse, start: int) -> int | None:
    """Of the whole file, as far as the server says."""
    length = _number(response.headers.get("Content-Length", ""))
    return None if length is None else start + length


def _number(text: str) -> int | None:
    """Of a header: ``isdigit`` also holds for "²"."""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text.strip()) else None


def _check_room(part: Path, needed: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if needed > free:
        raise UserError(
            f"{part.parent} has {free >> 20} MiB left, but {needed >> 20} MiB are to be downloaded"
        )


def _receive(
    response: http.client.HTTPResponse, part: Path, start: int, most: int, title: str, pace: _Pace
) -> None:
    """Append what comes to ``part``, until the end or until it is more than ``most`` bytes."""
    total = None if most == _LARGEST else most
    with (
        part.open("r+b" if start else "wb") as file,
        progress_bar(title, "B", total, initial=start, unit_scale=True, unit_divisor=1024) as bar,
    ):
        file.seek(start)
        file.truncate()
        received = start
        while received <= most and (block := response.read1(_CHUNK)):
            _write(file, block, part)
            received += len(block)
            pace.received += len(block)
            bar.update(len(block))


def _write(file: BinaryIO, block: bytes, part: Path) -> None:
    try:
        file.write(block)
    except OSError as error:  # of the disk, which another attempt would not mend
        raise UserError(f"{part} cannot be written: {error.strerror or error}") from error


def _explain_status(url: str, path: Path, part: Path, error: urllib.error.HTTPError) -> None:
    """Turn an error status into the exception that says what to do."""
    if error.code == 416:
        _discard(part)
        raise _Broken("the server has not the rest of the file that an earlier attempt began") from error
    if error.code in _PASSING_STATUS:
        wait = _number(error.headers.get("Retry-After", "") if error.headers else "")
        raise _Broken(f"the server answers {error.code} {error.reason}", float(wait or 0)) from error
    meaning = {
        401: "wants a login",
        403: "refuses access",
        404: "has no such file (it may have moved)",
        410: "no longer has the file",
    }.get(error.code, "answers with an error")
    if 300 <= error.code < 400:
        meaning = "redirects in a circle, or to what is no page of the web"
    raise UserError(f"{url}: the server {meaning}, status {error.code}. {_by_hand(path)}") from error


def _reason(error: Exception) -> str:
    inner = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(inner, TimeoutError):
        return "the server is silent"
    return str(inner) or type(inner).__name__


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from https to something that others can read and change."""

    def redirect_request(self, request, file, code, message, headers, new_url):
        allowed = ("https://",) if request.full_url.startswith("https://") else ("http://", "https://")
        if not new_url.lower().startswith(allowed):
            raise UserError(f"{request.full_url} redirects to {new_url}, which is not safe to follow")
        return super().redirect_request(request, file, code, message, headers, new_url)


class _Pace:
    """Shuts down the connection of one attempt if too little comes through it: a server that sends a byte now and then
    never causes a time-out, neither in a file nor in the headers before it.

    Attributes:
        received: bytes of the file so far.
        too_slow: whether the connection was shut down.
    """

    def __init__(self, window: float, min_rate: float) -> None:
        self.window, self.min_rate = window, min_rate
        self.received = 0
        self.too_slow = False
        self.sockets: list[socket.socket] = []
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _Pace:
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._watcher.join()

    def __str__(self) -> str:
        return f"less than {self.min_rate:g} bytes a second came for {self.window:g} seconds"

    def _watch(self) -> None:
        before = 0
        while not self._ended.wait(self.window):
            if self.received - before < self.min_rate * self.window:
                self.too_slow = True
                for connection in self.sockets:
                    with contextlib.suppress(OSError):
                        connection.shutdown(socket.SHUT_RDWR)
                return
            before = self.received


def _watched(connection_class: Any, pace: _Pace) -> Any:
    """``connection_class`` with its sockets known to ``pace``."""

    class Connection(connection_class):
        def connect(self) -> None:
            super().connect()
            pace.sockets.append(self.sock)

    return Connection


class _HTTPHandler(urllib.request.HTTPHandler):
    def __init__(self, pace: _Pace) -> None:
        super().__init__()
        self._pace = pace

    def do_open(self, http_class: Any, req: urllib.request.Request, **options: Any) -> Any:
        return super().do_open(_watched(http_class, self._pace), req, **options)


class _HTTPSHandler(urllib.request.HTTPSHandler):
    def __init__(self, pace: _Pace) -> None:
        super().__init__()
        self._pace = pace

    def do_open(self, http_class: Any, req: urllib.request.Request, **options: Any) -> Any:
        return super().do_open(_watched(http_class, self._pace), req, **options)


def _ascii_url(url: str) -> str:
    """``url`` with what is not ASCII, and spaces, as HTTP wants it."""
    parts = urlsplit(url)
    host = parts.netloc if parts.netloc.isascii() else parts.netloc.encode("idna").decode("ascii")
    safe = "!$%&'()*+,-./:;=?@[]_~"
    path, query = (quote(text, safe=safe) for text in (parts.path, parts.query))
    return parts._replace(netloc=host, path=path, query=query, fragment="").geturl()
