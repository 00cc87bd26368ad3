"""``hf://ORG/NAME[/FILE][@REVISION]``: files of model repositories on the Hugging Face Hub.

Files are kept in huggingface_hub's own cache, and its environment variables apply (``HF_TOKEN``, ``HF_HOME``,
``HF_ENDPOINT``, ``HF_HUB_OFFLINE``), as does ``MODIST_DET_OFFLINE``.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from types import ModuleType
from typing import Any, NamedTuple

from ..utils.cache import offline
from ..utils.errors import UserError, nearest
from ..utils.paths import WebHandler
from .run_folder import BEST

__all__ = ["HUB_PREFIX", "HubHandler", "HubPath", "choose_file", "explained", "hub_package", "parse_hub_path"]

logger = logging.getLogger(__name__)

HUB_PREFIX = "hf://"
_FORM = f"{HUB_PREFIX}ORG/NAME[/FILE][@REVISION]"
_PATH = re.compile(rf"{HUB_PREFIX}([^/@]+/[^/@]+)(?:/([^@]+))?(?:@(.+))?")
_COMMON_NAMES = ("model.safetensors", "pytorch_model.bin")
_OF_RUN = re.compile(rf"(checkpoints/)?({re.escape(BEST)}|model_\d{{7}}\.pth)")
_WEIGHTS = (".safetensors", ".bin", ".pth", ".pt", ".pyth", ".ckpt", ".pkl")
_OF_DISK = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
)  # errors of the cache's folder
_PATIENCE = 5.0  # seconds in which the hub must answer


class HubPath(NamedTuple):
    """A place on the hub.

    Attributes:
        repo: ``ORG/NAME``.
        file: path in the repository; "": none is named.
        revision: branch, tag or commit; "": the main branch.
    """

    repo: str
    file: str = ""
    revision: str = ""

    def __str__(self) -> str:
        return f"{HUB_PREFIX}{self.repo}{self.file and '/'}{self.file}{self.revision and '@'}{self.revision}"


def parse_hub_path(path: str) -> HubPath:
    """The parts of an ``hf://`` path.

    Raises:
        UserError: it has another form.
    """
    match = _PATH.fullmatch(path)
    if match is None:
        raise UserError(f"{path} is not of the form {_FORM}")
    return HubPath(match[1], match[2] or "", match[3] or "")


def hub_package() -> ModuleType:
    """The package ``huggingface_hub``.

    Raises:
        UserError: it is not installed.
    """
    try:
        import huggingface_hub
    except ImportError as error:
        raise UserError(
            f"{HUB_PREFIX} paths need huggingface_hub, which is not installed: pip install huggingface_hub"
        ) from error
    return huggingface_hub


@contextlib.contextmanager
def explained(place: HubPath) -> Iterator[None]:
    """Turns the errors of huggingface_hub about ``place`` into one line."""
    from huggingface_hub import constants, errors

    try:
        yield
    except errors.GatedRepoError as error:
        raise UserError(
            f"{place} is gated: ask for access on {constants.ENDPOINT}/{place.repo}, then log in (hf auth login) or "
            "set HF_TOKEN"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise UserError(
            f"{place}: {constants.ENDPOINT} has no model repository {place.repo}, or it is private: check the name, or "
            "log in (hf auth login) or set HF_TOKEN"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise UserError(
            f"{place}: {place.repo} has no revision {place.revision}; the form is {_FORM}"
        ) from error
    except errors.HFValidationError as error:
        raise UserError(f"{place}: {error}") from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        advice = "; log in (hf auth login) or set HF_TOKEN" if status == 401 else ""
        advice = "; try again later" if status >= 500 else advice
        raise UserError(f"{place}: {_first_line(error)}{advice}") from error
    except Exception as error:  # that of the HTTP client, which depends on the version of huggingface_hub
        if isinstance(error, OSError) and error.errno in _OF_DISK:
            raise UserError(f"{place}: {error}") from error
        raise _Unreachable(
            f"{constants.ENDPOINT} cannot be reached ({_first_line(error)}); check the connection"
        ) from error


class _Unreachable(UserError):
    """The hub does not answer."""


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def choose_file(files: Sequence[str], place: HubPath) -> str:
    """The weights among the files of a repository: the first that exists of

    1. ``model.safetensors``, then ``pytorch_model.bin``;
    2. a checkpoint of this project, in ``checkpoints/`` or not: ``model_best.pth``, then the one after the most steps;
    3. the only file of weights, whatever its name.

    Raises:
        UserError: none of these is there.
    """
    for name in _COMMON_NAMES:
        if name in files:
            return name
    if saved := [name for name in files if _OF_RUN.fullmatch(name)]:
        return max(saved, key=lambda name: PurePosixPath(name).name)  # "best" comes after digits
    weights = sorted(name for name in files if name.endswith(_WEIGHTS))
    if len(weights) == 1:
        return weights[0]
    some = ", ".join(weights[:8]) + (", ..." if len(weights) > 8 else "")
    reason = f"has several files of weights ({some})" if weights else "has no file of weights"
    raise UserError(f"{place}: {place.repo} {reason}; name one: {_FORM}")


class HubHandler(WebHandler):
    """Read only."""

    def _get_supported_prefixes(self) -> list[str]:
        return [HUB_PREFIX]

    def url(self, path: str) -> str:
        return ""  # huggingface_hub has its own cache and gives up in time

    def _get_local_path(self, path: str, force: bool = False, **kwargs: Any) -> str:
        place, hub = parse_hub_path(path), hub_package()
        files, reached = _files(place)
        file = place.file or choose_file(files, place)
        if file not in files:
            raise UserError(
                f"{place}: {place.repo} has no file {file}{nearest(file, files)}; the form is {_FORM}"
            )
        if not place.file:
            logger.info("%s: using %s", place, file)
        with explained(place):
            return hub.hf_hub_download(
                place.repo, file, revision=place.revision or None, local_files_only=not reached
            )


def _files(place: HubPath) -> tuple[list[str], bool]:
    """Names of the repository's files, of those in the cache if the hub cannot be reached, and whether it was."""
    from huggingface_hub import HfApi, errors

    unreachable = "MODIST_DET_OFFLINE forbids downloads"
    if not offline():
        try:
            with explained(place):
                info = HfApi().model_info(place.repo, revision=place.revision or None, timeout=_PATIENCE)
            return [sibling.rfilename for sibling in info.siblings or ()], True
        except _Unreachable as error:
            unreachable = str(error)
    try:
        cached = hub_package().scan_cache_dir().repos
    except errors.CacheNotFound:
        cached = frozenset()
    wanted = place.revision or "main"
    files = [
        file.file_path.relative_to(snapshot.snapshot_path).as_posix()
        for repo in cached
        if (repo.repo_type, repo.repo_id) == ("model", place.repo)
        for snapshot in repo.revisions
        if wanted in (*snapshot.refs, snapshot.commit_hash)
        for file in snapshot.files
    ]
    if not files or (place.file and place.file not in files):
        raise UserError(f"{place} is not in the cache, and {unreachable}")
    return files, False
