"""The process group: DeepSpeed on one process or many, on CPUs (gloo) or GPUs (nccl)."""

import logging
import os
import warnings
from collections.abc import Iterable
from typing import Any, TypeVar

import torch

from ..errors import RunError

T = TypeVar("T")


def start(world_size: int, device: str) -> int:
    """Joins the process group that torchrun made; returns this process's rank.

    Raises RunError when torchrun started another number of processes than the run was compiled for:
    the batch arithmetic would no longer hold.
    """
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started != world_size:
        raise RunError(
            "world-size",
            f"this run was compiled for {world_size} processes and {started} were started",
            "start it with bash launch.sh",
            "or set nodes and devices_per_node in [hardware] and compile again",
        )
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    quiet()

    import deepspeed

    if device == "cpu":
        # gloo does what this op does; at the first start it would compile for more than a minute.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed(dist_backend="gloo" if device == "cpu" else "nccl", verbose=False)
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    return torch.distributed.get_rank()


def quiet() -> None:
    """Leaves out the chatter of the libraries; warnings and errors of their own still show."""
    import transformers

    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    # PEFT's, about what it does apply: `adapters` compares.
    warnings.filterwarnings("ignore", "The following (rank|alpha)_pattern keys|fan_in_fan_out is")
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    logging.getLogger("torch.distributed.elastic").setLevel(logging.ERROR)
    logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


def device(kind: str) -> str:
    """The device of this process, as torch names it."""
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if kind == "cuda" else "cpu"


def undo_first_step(optimizer: Any) -> None:
    """Undoes the step that DeepSpeed takes at its start, at stage 0 in 16 bits, to claim memory.

    Its gradients are 0, but it counts: AdamW's bias correction would be one step ahead, and the first
    updates a quarter too small; and it decays the weights (FP16_UnfusedOptimizer, DeepSpeed 0.19).
    """
    optimizer.optimizer.state.clear()
    for masters, weights in zip(optimizer.fp32_groups, optimizer.fp16_groups, strict=True):
        for master, weight in zip(masters, weights, strict=True):
            master.data.copy_(weight)


def seed(seed: int, step: int, rank: int) -> None:
    """Seeds dropout as a pure function of (seed, step, rank), so that resuming needs no random state."""
    torch.manual_seed(((seed * 1_000_003 + step) * 10_007 + rank) % 2**64)


def total(values: Iterable[float]) -> list[float]:
    """The values, each summed over all processes."""
    tensor = torch.tensor(list(values), dtype=torch.float64)
    if place()[1] > 1:
        tensor = tensor.to(device("cuda" if torch.distributed.get_backend() == "nccl" else "cpu"))
        torch.distributed.all_reduce(tensor)
    return tensor.tolist()


def place() -> tuple[int, int]:
    """This process's rank and the number of processes; (0, 1) outside a process group."""
    if not torch.distributed.is_initialized():
        return 0, 1
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


def gather(value: T) -> list[T]:
    """The values of all processes, by rank."""
    if place()[1] == 1:
        return [value]
    values: list[Any] = [None] * place()[1]
    torch.distributed.all_gather_object(values, value)
    return values


def barrier() -> None:
    """Waits until every process is here."""
    if place()[1] > 1:
        torch.distributed.barrier()
