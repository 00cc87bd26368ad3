"""HTTP downloads that end with the complete file or with one clear error.

The bytes go to ``.NAME.part`` beside the destination. A later attempt or run continues this file if the server can tell
that the original has not changed (an ``ETag`` or ``Last-Modified``, sent back in ``If-Range``). Only a file that passes
all checks gets its final name.
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

__all__ = ["TORCH_MAGIC", "Transfer", "WrongFile", "download", "file_sha256", "why_incomplete", "why_silent"]

logger = logging.getLogger(__name__)

_CHUNK = 1 << 20
_LONGEST_PAUSE = 60.0
_LARGEST = 100 << 30  # limit in bytes for a file of unknown size
# The server has a problem that may pass; the request is fine.
_TEMPORARY_STATUS = {408, 425, 429, 500, 502, 503, 504}
# The first bytes of files from before torch.save wrote zip archives.
TORCH_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."


@dataclass(frozen=True)
class Transfer:
    """Retries and time limits of a download.

    Attributes:
        attempts: number of successive attempts without a new byte before giving up.
        pause: seconds before the second attempt, doubled before each further one.
        timeout: seconds without a byte after which the connection counts as broken.
        window: seconds over which the average rate is measured. A connection slower than ``min_rate`` is aborted, which
            counts as an attempt without a new byte.
        min_rate: bytes per second.
    """

    attempts: int = 5
    pause: float = 1.0
    timeout: float = 30.0
    window: float = 60.0
    min_rate: float = 1024.0


# Age in seconds at which a partial download is deleted.
_ABANDONED = 30 * 24 * 3600.0


class WrongFile(UserError):
    """The server sent a different file from the one requested."""


class _Broken(Exception):
    """The transfer failed, but another attempt may succeed.

    Attributes:
        pause: seconds to wait, as requested by the server.
        slow: data still arrived, but far too slowly.
        unknown_host: the server's name is unknown: it is misspelled, or there is no network.
    """

    def __init__(
        self, reason: str, pause: float = 0.0, slow: bool = False, unknown_host: bool = False
    ) -> None:
        super().__init__(reason)
        self.pause = pause
        self.slow = slow
        self.unknown_host = unknown_host


def download(
    url: str, path: Path, *, size: int | None = None, sha256: str = "", transfer: Transfer | None = None
) -> str:
    """Download ``url`` to ``path`` and return the file's SHA-256 in hexadecimal.

    The caller must ensure that no other process writes to ``path``.

    Args:
        size: size of the file in bytes, if known.
        sha256: SHA-256 of the file or its first hexadecimal digits; ``""`` if unknown.

    Raises:
        UserError: the server refuses the request or fails in all attempts, or the file cannot be written.
        WrongFile: the file has the wrong size or hash, or is not a weights file.
    """
    part = path.with_name(f".{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    _tidy(part)
    for is_last in (False, True):
        resumed = _transfer(url, path, part, size, transfer or Transfer())
        digest = file_sha256(part)
        fault = _fault(part, digest, size, sha256)
        if not fault:
            break
        _discard(part)
        if is_last or not resumed:
            raise WrongFile(f"the file from {url} {fault}; nothing was kept. {_by_hand(path)}")
        logger.warning("%s, continued from an earlier attempt, %s; starting over", url, fault)
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    part.replace(path)
    _validator_file(part).unlink(missing_ok=True)
    return digest


def _tidy(part: Path) -> None:
    """Remove symbolic links in place of our files, and partial downloads older than a month."""
    for file in (part, _validator_file(part)):
        if file.is_symlink():
            file.unlink()
    for file in part.parent.glob(".*.part*"):
        if file.name.endswith((".part", ".part.json")):
            with contextlib.suppress(OSError):
                if time.time() - file.lstat().st_mtime > _ABANDONED:
                    file.unlink()


def file_sha256(path: str | os.PathLike) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(_CHUNK):
            digest.update(block)
    return digest.hexdigest()


def why_incomplete(path: Path) -> str:
    """Why a file is not a complete weights file, such as ``"is empty"``; ``""`` if it seems to be one."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(512)
        file.seek(max(0, size - 1))
        last = file.read(1)
    if not size:
        return "is empty"
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype html", b"<html", b"<?xml")):
        return "is a web page, not a weights file"
    if head.startswith(b"PK\x03\x04") and not zipfile.is_zipfile(path):
        return "is truncated (a zip archive without its end)"
    if head.startswith(b"\x80") and not head.startswith(TORCH_MAGIC) and last != b".":
        return "is truncated (a pickle without its end)"
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
    """``" through the proxy ..."`` (without its password) if the environment sets one."""
    parts = urlsplit(url)
    proxy = urllib.request.getproxies().get(parts.scheme, "")
    if not proxy or urllib.request.proxy_bypass(parts.netloc):
        return ""
    return f" through the proxy {proxy.rpartition('@')[2]}"


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _validator_file(part).unlink(missing_ok=True)


def _validator_file(part: Path) -> Path:
    """The file that records which version of which URL ``part`` contains."""
    return part.with_name(f"{part.name}.json")


def _transfer(url: str, path: Path, part: Path, size: int | None, transfer: Transfer) -> bool:
    """Fill ``part``. Returns whether it includes bytes of an earlier attempt or run."""
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
            if broken.unknown_host and failures == 1 and not resumed:
                raise UserError(
                    f"{url} could not be downloaded{_way(url)}: {broken}. {_by_hand(path)}"
                ) from broken
            if failures >= transfer.attempts:
                lacking = "enough bytes" if broken.slow else "a new byte"
                raise UserError(
                    f"{url} could not be downloaded{_way(url)}: {broken} ({failures} attempts without {lacking}). Try "
                    f"again later; the bytes received so far are kept. {_by_hand(path)}"
                ) from broken
            pause = min(max(broken.pause, transfer.pause * 2 ** (failures - 1)), _LONGEST_PAUSE)
            logger.warning("%s: %s; next attempt in %.1f s", url, broken, pause)
            time.sleep(pause)


def _attempt(url: str, path: Path, part: Path, size: int | None, transfer: Transfer) -> bool:
    """One request. Returns whether it continued ``part``.

    Raises:
        _Broken: another attempt may succeed.
        UserError: no attempt will.
    """
    start, validator = _resumable(url, part)
    headers = {"User-Agent": "modist_det", "Accept-Encoding": "identity"}
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": validator}
    pace = _Pace(transfer.window, transfer.min_rate)
    try:
        handlers = (urllib.request.HTTPHandler, urllib.request.HTTPSHandler)
        opener = urllib.request.build_opener(_Redirects, *(_watched(handler, pace) for handler in handlers))
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
                part.unlink(missing_ok=True)  # before the validator of the new bytes is written
            _write_validator(url, response, part)
            _receive(response, part, start, most, path.name, pace)
            received = part.stat().st_size
            if received > most:
                _discard(part)
                raise WrongFile(f"{url} sends more than the {most:,} bytes of the file. {_by_hand(path)}")
            if pace.too_slow:  # without a length, an aborted connection looks like a complete file
                raise _Broken(str(pace), slow=True)
            if total is not None and received < total:
                raise _Broken(f"the connection ended after {received} of {total} bytes")
            return start > 0
    except urllib.error.HTTPError as error:
        _explain_status(url, path, part, error)
        raise
    except http.client.InvalidURL as error:
        raise UserError(
            f"{url} is not a valid URL, or redirects to one that is not ({error}). {_by_hand(path)}"
        ) from error
    except (_Broken, http.client.HTTPException, OSError) as error:
        if pace.too_slow:
            raise _Broken(str(pace), slow=True) from error
        if isinstance(error, _Broken):
            raise
        raise _Broken(_reason(error), unknown_host=_is_unknown_host(error)) from error
    except ValueError as error:  # from urllib, for malformed addresses and headers
        raise UserError(f"{url} or the server's response is malformed ({error}). {_by_hand(path)}") from error


def _resumable(url: str, part: Path) -> tuple[int, str]:
    """The first byte to request and the validator to send; (0, "") if ``part`` cannot be continued."""
    try:
        known = read_json(_validator_file(part))
        length = part.stat().st_size
    except (OSError, UserError):
        return 0, ""
    if not isinstance(known, dict) or known.get("url") != url:
        return 0, ""
    validator = known.get("validator")
    # Headers are lines of ASCII; other characters could inject a second header.
    fits = isinstance(validator, str) and validator.isascii() and validator.isprintable()
    return (length, validator) if fits and validator else (0, "")


def _write_validator(url: str, response: http.client.HTTPResponse, part: Path) -> None:
    tag = response.headers.get("ETag", "")
    validator = response.headers.get("Last-Modified", "") if not tag or tag.startswith("W/") else tag
    _validator_file(part).write_text(json.dumps({"url": url, "validator": validator}), encoding="utf-8")


def _check_answer(url: str, response: http.client.HTTPResponse, start: int, part: Path) -> int:
    """The byte at which the response starts; 0 if the server sends the whole file."""
    if (encoding := response.headers.get("Content-Encoding", "identity")) != "identity":
        raise UserError(f"{url}: the server sends compressed data ({encoding}) against the request")
    if response.status == 200:
        return 0
    match = re.match(r"bytes ([0-9]{1,18})-", response.headers.get("Content-Range", ""))
    if response.status != 206 or not match or int(match[1]) != start:
        _discard(part)
        raise _Broken(f"the server did not continue at byte {start} (status {response.status})")
    return start


def _total_length(response: http.client.HTTPResponse, start: int) -> int | None:
    """Length of the whole file, if the server says."""
    length = _number(response.headers.get("Content-Length", ""))
    return None if length is None else start + length


def _number(text: str) -> int | None:
    """The number in a header. (``str.isdigit`` would also accept "²".)"""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text.strip()) else None


def _check_room(part: Path, needed: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if needed > free:
        raise UserError(f"{part.parent} has {free >> 20} MiB left, but the download needs {needed >> 20} MiB")


def _receive(
    response: http.client.HTTPResponse, part: Path, start: int, most: int, title: str, pace: _Pace
) -> None:
    """Append the received bytes to ``part``, until the end or until there are more than ``most``."""
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
    except OSError as error:  # a disk error, which another attempt would not fix
        raise UserError(f"{part} cannot be written: {error.strerror or error}") from error


def _explain_status(url: str, path: Path, part: Path, error: urllib.error.HTTPError) -> None:
    """Raise the exception for an error status."""
    if error.code == 416:
        _discard(part)
        raise _Broken("the server does not have the rest of the file from an earlier attempt") from error
    if error.code in _TEMPORARY_STATUS:
        wait = _number(error.headers.get("Retry-After", "") if error.headers else "")
        raise _Broken(f"the server responds with {error.code} {error.reason}", float(wait or 0)) from error
    meaning = {
        401: "requires a login",
        403: "denies access",
        404: "has no such file (it may have moved)",
        410: "no longer has the file",
    }.get(error.code, "responds with an error")
    if 300 <= error.code < 400:
        meaning = "redirects in a circle or to an address that is not on the web"
    raise UserError(f"{url}: the server {meaning}, status {error.code}. {_by_hand(path)}") from error


def _reason(error: Exception) -> str:
    inner = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(inner, TimeoutError):
        return "the server does not respond"
    return str(inner) or type(inner).__name__


def _is_unknown_host(error: Exception) -> bool:
    inner = error.reason if isinstance(error, urllib.error.URLError) else error
    return isinstance(inner, socket.gaierror) and inner.errno == socket.EAI_NONAME


def why_silent(url: str, patience: float) -> str:
    """Why the server of ``url`` does not answer within ``patience`` seconds; ``""`` if it does, whatever it says."""
    found: list[str] = []

    def ask() -> None:
        reason = ""
        try:
            request = urllib.request.Request(
                _ascii_url(url), headers={"User-Agent": "modist_det"}, method="HEAD"
            )
            urllib.request.build_opener(_Redirects).open(request, timeout=patience).close()
        except urllib.error.HTTPError as error:
            if error.code in _TEMPORARY_STATUS:  # also of a proxy that does not reach the server
                reason = f"the server responds with {error.code}"
        except (OSError, http.client.HTTPException, ValueError, UserError) as error:
            reason = _reason(error)
        found.append(reason)

    # In a thread, since looking up a name has no time limit, and each answer of a chain of redirects has its own.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(patience)
    reason = found[0] if found else f"no answer within {patience:g} s"
    return reason and f"{urlsplit(url).hostname} cannot be reached{_way(url)}: {reason}"


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from https to an unencrypted connection."""

    def redirect_request(self, request, file, code, message, headers, new_url):
        allowed = ("https://",) if request.full_url.startswith("https://") else ("http://", "https://")
        if not new_url.lower().startswith(allowed):
            raise UserError(f"{request.full_url} redirects to {new_url}, which is not safe")
        return super().redirect_request(request, file, code, message, headers, new_url)


class _Pace:
    """Shuts down a connection that is too slow. A server that sends single bytes would never cause a time-out.

    Attributes:
        received: bytes of the file so far.
        too_slow: the connection was shut down.
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
        return f"less than {self.min_rate:g} bytes per second arrived for {self.window:g} seconds"

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


def _watched(handler_class: Any, pace: _Pace) -> Any:
    """A handler whose connections register their sockets with ``pace``."""

    class Handler(handler_class):
        def do_open(self, http_class: Any, req: urllib.request.Request, **options: Any) -> Any:
            class Connection(http_class):
                def connect(self) -> None:
                    super().connect()
                    pace.sockets.append(self.sock)

            return super().do_open(Connection, req, **options)

    return Handler()


def _ascii_url(url: str) -> str:
    """``url`` with spaces and non-ASCII characters encoded for HTTP."""
    parts = urlsplit(url)
    host = parts.netloc if parts.netloc.isascii() else parts.netloc.encode("idna").decode("ascii")
    safe = "!$%&'()*+,-./:;=?@[]_~"
    path, query = (quote(text, safe=safe) for text in (parts.path, parts.query))
    return parts._replace(netloc=host, path=path, query=query, fragment="").geturl()
