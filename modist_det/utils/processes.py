"""Distribute work over processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from .errors import UserError
from .files import remove_unfinished
from .plugins import import_modules, named_modules

__all__ = ["map_in_processes"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_processes(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int, start: Callable[[], None]
) -> Iterator[Result]:
    """``map(function, items)``, computed by ``workers`` processes, or by this process if ``workers`` is 0.

    Workers end when this process ends for any reason, and ignore signals from the terminal. If this process is stopped,
    they do not finish their current items, and their unfinished files are removed.

    Args:
        function, items: picklable if there are workers.
        start: called once in each worker.

    Raises:
        UserError: a worker was killed.
    """
    if workers == 0:
        yield from map(function, items)
        return
    # Not "fork", which threads of the caller and its libraries do not survive.
    context = multiprocessing.get_context("spawn")
    others = multiprocessing.active_children()
    with ProcessPoolExecutor(
        workers, context, initializer=_start_worker, initargs=(start, named_modules())
    ) as pool:
        try:
            futures = deque([pool.submit(function, item) for item in items])
            while futures:
                yield futures.popleft().result()
        except BrokenProcessPool as error:
            raise UserError(
                "a worker process was killed (out of memory?); run the command again, perhaps with fewer --workers: "
                "finished files are kept"
            ) from error
        except BaseException:
            # Do not cancel futures: the pool drops them itself when its workers are gone, and its thread would fail
            # with an InvalidStateError if some were already cancelled.
            for worker in multiprocessing.active_children():
                if worker not in others:
                    worker.terminate()
            raise


def _start_worker(start: Callable[[], None], modules: list[str]) -> None:
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: _end(128 + signal.SIGTERM))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import_modules(modules, "--import")
    start()


def _end_with_parent() -> None:
    """Otherwise, workers would wait for work for ever after their parent was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    _end(1)


def _end(status: int) -> None:
    remove_unfinished()
    os._exit(status)
