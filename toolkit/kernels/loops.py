"""Loops that Numba compiles, and threads that share them."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numba
import numpy as np
import torch

Range = tuple[np.uint64, np.uint64]
"""First atom, and one beyond the last."""
MIN_EDGES_PER_THREAD = 128
"""Below this the work is done before another thread has woken up."""


def compile_loops(function: Callable[..., Any]) -> Callable[..., Any]:
    """Numba's compiler, which keeps what it compiled for the next process where it finds a place to."""
    options = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "reassoc", "nsz", "arcp"}}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # neither the package's nor the user's cache folder can be written
        return numba.njit(**options)(function)


def in_parallel(kernel: Callable[..., None], shared: tuple[Any, Any], arguments: tuple[Any, ...]) -> None:
    """Run a kernel on ranges of atoms with about as many edges each, one per thread that torch may use.

    shared : tables, and an object whose `start`, (N + 1,), says where each atom's edges begin

    Every sum belongs to one atom and keeps its order, so the numbers do not depend on the number of threads.
    """
    start = shared[1].start
    threads = max(1, min(torch.get_num_threads(), int(start[-1]) // MIN_EDGES_PER_THREAD))
    inner = [np.searchsorted(start, start[-1] * k // threads) for k in range(1, threads)]
    bounds = np.array([0, *inner, len(start) - 1], dtype=np.uint64)
    ranges = [(bounds[k], bounds[k + 1]) for k in range(threads)]
    others = [_pool().submit(kernel, *shared, atoms, *arguments) for atoms in ranges[1:]]
    kernel(*shared, ranges[0], *arguments)
    for other in others:
        other.result()


@cache
def _pool() -> ThreadPoolExecutor:
    """Threads that sleep while they have nothing to do (OpenMP's spin, and slow down whatever else runs)."""
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="convolution")
