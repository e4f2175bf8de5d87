"""The most memory that the tensors of a call hold at once: what the call itself needs, without Python and libraries."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import accumulate

import torch
from torch.profiler import ProfilerActivity, profile

ALLOCATION = "[memory]"
"""Name of the profiler's records of what the allocator gave and took back."""


def peak_tensor_bytes(function: Callable[[], object], device: torch.device) -> int:
    """Peak of the tensors made during a call, bytes, beyond those that were there before; the call must be warm.

    On CUDA the allocator counts; on the CPU every allocation of the profiler's record is added up.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        function()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else the profiler writes lines of its own to the terminal
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        function()
    events = [event for event in record.profiler.kineto_results.events() if event.name() == ALLOCATION]
    events.sort(key=lambda event: event.start_ns())
    return max(accumulate((event.nbytes() for event in events), initial=0))
