"""One process or many: under torchrun, spawned here with ``--num-gpus N``, or simply this one."""

from __future__ import annotations

import datetime
import os
import socket
import sys
from collections.abc import Callable

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from ..utils import comm
from ..utils.errors import UserError

__all__ = ["launch"]

# Long enough for one rank to evaluate or to start its workers while the others wait.
_TIMEOUT = datetime.timedelta(minutes=30)


def launch(main: Callable[[], int], num_gpus: int | None) -> int:
    """Run ``main()`` in every process of the run and return the exit status.

    Under torchrun (its environment variables are set) this process joins the group. Otherwise
    ``num_gpus`` > 1 starts that many processes here, one per GPU (``main`` must be picklable, such as a
    ``functools.partial`` of a module's function). The group uses nccl on CUDA, gloo on the CPU.

    Raises:
        UserError: more GPUs are asked for than there are.
    """
    if "LOCAL_RANK" in os.environ and "WORLD_SIZE" in os.environ:
        return _in_group(main)
    available = torch.cuda.device_count()
    if num_gpus is not None and num_gpus > available:
        raise UserError(
            f"--num-gpus {num_gpus}, but this machine has {available} CUDA devices; give --num-gpus 0 for the CPU "
            "(several CPU processes: torchrun --nproc_per_node N tools/run_net.py ...)"
        )
    if num_gpus is None or num_gpus <= 1:
        return main()
    port = _free_port()
    try:
        mp.spawn(_spawned, args=(num_gpus, port, main), nprocs=num_gpus)
    except mp.ProcessExitedException as error:
        # The process has said why, in one line.
        return error.exit_code
    return 0


def _spawned(local_rank: int, world_size: int, port: int, main: Callable[[], int]) -> None:
    os.environ.update(
        RANK=str(local_rank),
        LOCAL_RANK=str(local_rank),
        WORLD_SIZE=str(world_size),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
    )
    try:
        status = _in_group(main)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        status = 1
    sys.exit(status)


def _in_group(main: Callable[[], int]) -> int:
    local_rank = int(os.environ["LOCAL_RANK"])
    use_cuda = torch.cuda.is_available() and local_rank < torch.cuda.device_count()
    if use_cuda:
        torch.cuda.set_device(local_rank)
    dist.init_process_group("cpu:gloo,cuda:nccl" if use_cuda else "gloo", timeout=_TIMEOUT)
    try:
        status = main()
        comm.synchronize()
        return status
    finally:
        dist.destroy_process_group()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
