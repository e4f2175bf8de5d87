"""Replaying a fixed sequence of GPU kernels without launching them one by one: CUDA graphs behind a plain call.

Peers spend their time on launching some thousand kernels per step; a recorded graph launches them all at once.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

WARMUP_CALLS = 3
"""Calls before recording, so that Triton has compiled, cuBLAS has its workspace and autograd its buffers."""


class CapturedCall:
    """`function(*inputs)` for tensors of fixed shape, dtype and device; on CUDA recorded once and replayed.

    The function may change tensors it closes over in place (weights, optimiser state, buffers); it must not copy
    anything to the host, branch on values, or draw random numbers (a replay would draw the same ones).
    It is called `WARMUP_CALLS` times before recording: `undo` must then put back what those calls changed.
    Elsewhere than on CUDA, and where recording fails (with a warning that says why), it is called as it is.

    Each recording has a stream of its own: matrix products keep scratch memory for every stream, and two recordings made
    on the same one, replayed at the same time, overwrite each other's partial sums (seen: wrong gradients, and a GPU that
    waits for ever).

    The returned tensors are overwritten by the next call.
    """

    def __init__(self, function: Callable[..., tuple[Tensor, ...]], inputs: Sequence[Tensor], *,
                 undo: Callable[[], None] | None = None) -> None:
        self._function = function
        self._inputs = tuple(x.detach().clone() for x in inputs)
        self._outputs: tuple[Tensor, ...] = ()
        self._graph: torch.cuda.CUDAGraph | None = None
        if self._inputs and self._inputs[0].is_cuda:
            self._record(undo)

    @property
    def recorded(self) -> bool:
        """True when calls replay a CUDA graph."""
        return self._graph is not None

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Copy the inputs to where the recording reads them, run, and return the outputs."""
        for place, value in zip(self._inputs, inputs, strict=True):
            if place is not value:
                place.copy_(value)
        if self._graph is None:
            return self._function(*self._inputs)
        self._graph.replay()
        return self._outputs

    def _record(self, undo: Callable[[], None] | None) -> None:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARMUP_CALLS):
                self._function(*self._inputs)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        try:
            with _no_garbage_collection(), torch.cuda.graph(graph, stream=stream):
                self._outputs = self._function(*self._inputs)
            self._graph = graph
        except RuntimeError as error:
            warnings.warn(f"this step could not be recorded as a CUDA graph and runs kernel by kernel, slower: {error}",
                          stacklevel=3)
        if undo is not None:
            undo()


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """An earlier recording must not be thrown away while another is made: CUDA then gives up the new one (seen)."""
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
