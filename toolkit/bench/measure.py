"""How speed is measured: medians over repeats after a warm-up, beside the machine and all versions."""

from __future__ import annotations

import os
import platform
import resource
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch

from toolkit.kernels.dispatch import obstacles
from toolkit.training.card import device_name

PACKAGES = ("torch", "triton", "numba", "e3nn", "numpy", "vesin", "ase")
KIB = 1024


@dataclass(frozen=True)
class Timing:
    """Seconds of one call: of the first (with all compilation), and median, quartiles and number of the later ones.

    process_s : median of the processor time this process took, which a busy neighbour changes little
    """

    first_s: float
    median_s: float
    lower_quartile_s: float
    upper_quartile_s: float
    process_s: float
    repeats: int

    def to_dict(self) -> dict[str, float]:
        """As JSON stores it."""
        return asdict(self)


def time_calls(function: Callable[[], object], device: torch.device, *, seconds: float = 3.0, warmup: int = 2,
               min_repeats: int = 5) -> Timing:
    """Call until `seconds` have passed, at least `min_repeats` times after the first call and the warm-up."""
    first, _ = _seconds(function, device)
    for _ in range(warmup):
        _seconds(function, device)
    times: list[float] = []
    process_times: list[float] = []
    while len(times) < min_repeats or sum(times) < seconds:
        wall, process = _seconds(function, device)
        times.append(wall)
        process_times.append(process)
    lower, median, upper = np.percentile(times, [25, 50, 75]).tolist()
    return Timing(first, median, lower, upper, float(np.median(process_times)), len(times))


def _seconds(function: Callable[[], object], device: torch.device) -> tuple[float, float]:
    """Wall and processor time of one call."""
    synchronize(device)
    begin, process_begin = time.perf_counter(), time.process_time()
    function()
    synchronize(device)
    return time.perf_counter() - begin, time.process_time() - process_begin


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory_GB(device: torch.device) -> float:
    """Most memory in use so far: tensors on a GPU; on a CPU the whole process, Python and libraries included."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB / 1e9


def environment(device: torch.device, dtype: torch.dtype, backend: str) -> dict[str, Any]:
    """Everything a figure depends on: device, precision, backend, threads, load of the machine, versions."""
    return {
        "device": device_name(device), "dtype": str(dtype).removeprefix("torch."), "backend": backend,
        "other_backends": obstacles(device.type),
        "tf32": torch.backends.cuda.matmul.allow_tf32, "threads": torch.get_num_threads(), "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0], "date": time.strftime("%Y-%m-%d"),
        "versions": {"python": platform.python_version(), "cuda": torch.version.cuda,
                     **{name: _version(name) for name in PACKAGES}},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
