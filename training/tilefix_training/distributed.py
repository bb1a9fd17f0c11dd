"""One training run on several processes: the same batches, memories and clusters on each, the pictures shared out.

Start with `torchrun --nproc-per-node N -m tilefix_training.cli fit CONFIG`; without torchrun there is one process. Each
rank computes its slice of every batch; the features are gathered and every rank computes the loss over all of them,
as one process would: the gradient that DistributedDataParallel averages is that of the whole batch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, distributed

from tilefix.errors import ConfigError
from tilefix.types import IntArray

T = TypeVar("T")
_PATIENCE = timedelta(hours=2)  # the others wait while the first one clusters, or is scored
FAILED = 2  # exit status


@dataclass(frozen=True)
class World:
    """The processes of a run. `device`: this one's."""

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process writes files and the log."""
        return self.rank == 0

    def share(self, count: int) -> IntArray:
        """This rank's rows of `count`: ceil(count / size) on each rank, the last row repeated where none is left."""
        each = -(-count // self.size)
        return np.minimum(np.arange(self.rank * each, (self.rank + 1) * each), count - 1)

    def gather(self, rows: Tensor, count: int) -> Tensor:
        """All ranks' shares of `count` rows in order, (count, ...), with the gradient of a loss computed on each."""
        if self.size == 1:
            return rows
        found: Tensor = _Gather.apply(rows, self.rank, self.size)  # type: ignore[no-untyped-call]
        return found[:count]

    def by_first(self, work: Callable[[], T]) -> T:
        """What `work` gives on the first rank, on every rank; the others do not do it.

        Where it fails, the first rank raises its error and the others end with `SystemExit`: nobody waits for what will
        not come, and what is wrong is said once.
        """
        if self.size == 1:
            return work()
        box: list[Any] = [False, None]
        if self.first:
            try:
                box = [True, work()]
            except Exception:
                distributed.broadcast_object_list([False, None], src=0)
                distributed.barrier()  # the first process keeps the store: it must not leave before the others know
                raise
        distributed.broadcast_object_list(box, src=0)
        if not box[0]:
            distributed.barrier()
            raise SystemExit(FAILED)
        found: T = box[1]
        return found


class _Gather(torch.autograd.Function):
    """Every rank has the same loss over all rows, so its gradient of its own rows, times the ranks, is the sum."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, rank: int, size: int) -> Tensor:
        ctx.rank, ctx.size, ctx.each = rank, size, len(rows)
        parts = [torch.empty_like(rows) for _ in range(size)]
        distributed.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        own = gradients[0][ctx.rank * ctx.each : (ctx.rank + 1) * ctx.each]
        return own * ctx.size, None, None


@contextmanager
def processes(device: str) -> Iterator[World]:
    """The run's processes, as torchrun's environment names them; `ConfigError` for a device that is not there."""
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    try:
        where = torch.device(f"cuda:{local}" if chosen == "cuda" else chosen)
        torch.empty(0, device=where)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device {device!r} cannot be used: {error}", mend='give "auto", "cpu" or "cuda"') from error
    if size == 1:
        yield World(0, 1, where)
        return
    if where.type == "cuda":
        torch.cuda.set_device(where)
    distributed.init_process_group("nccl" if where.type == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        yield World(rank, size, where)
    finally:
        distributed.destroy_process_group()
