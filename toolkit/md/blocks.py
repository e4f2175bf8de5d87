"""Many steps in a row that nobody looks at: on a GPU one recorded step is replayed, and the host asks once a block.

Within a block the edge list stays as it is, with all pairs up to r_max + skin (whose envelope beyond r_max is 0).
The device counts the steps before the first at which a guard failed or an atom had moved so far that a pair may be
missing. When these are fewer than the block has, the block did not happen: the state at its start, noise included, is
still there, and only the good steps are repeated. The step that needs a look is left to the careful path.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from toolkit.config import MDConfig
from toolkit.data.graph import AtomicGraph
from toolkit.kernels.capture import CapturedCall
from toolkit.md.ensembles import InnerWatch, make_step
from toolkit.md.forces import ReplicaForces
from toolkit.md.frames import FrameBuffer
from toolkit.md.guards import Guards
from toolkit.md.layout import Layout, frame_bytes
from toolkit.md.noise import NoiseBuffers
from toolkit.md.restart import RestartPoint
from toolkit.md.run_files import MAX_WAITING_BYTES, RunFiles
from toolkit.md.state import MOVING, MDState

MAX_STEPS = 128
FRESH_REACH = 0.25
"""Lists that have used up more than this part of the skin are rebuilt before a block begins."""
EDGE_RESERVE = 1.15
"""Room for edges, relative to those of the first list; more need a new recording."""
FAR_A = 1e3
"""Length of the edges that fill up the room, Å."""


class BlockRunner:
    """Advances a run by whole blocks.

    inner_watch : says where inner steps are not to be trusted, when there are such
    datasets : what a frame holds
    """

    def __init__(self, config: MDConfig, forces: ReplicaForces, guards: Guards, datasets: Layout,
                 inner_watch: InnerWatch | None = None) -> None:
        self._config = config
        self._forces = forces
        self._inner_watch = inner_watch
        self._care = [guards.failed] if inner_watch is None else [guards.failed, inner_watch.strayed]
        self._datasets = datasets
        self._length = MAX_STEPS
        self._recording: _Recording | None = None

    def advance(self, point: RestartPoint, files: RunFiles, until: int) -> RestartPoint | None:
        """The point after the next block, at step `until` or before, its frames recorded; None when the very next step
        needs care."""
        config, state = self._config, point.state
        if self._inner_watch is not None and bool(self._inner_watch.strayed(state).any()):
            return None
        before = state.generator.get_state()
        length = min(self._length, self._max_frames(state) * config.save_every, until - point.step)
        while length > 0:
            recording = self._prepare(state)
            try:
                times, good = self._run(recording, point.step, length)
            except BaseException:
                state.generator.set_state(before)
                raise
            if good == length:
                self._length = min(MAX_STEPS, self._length + 1)
                if len(times):
                    files.record(state.replica_ids.cpu().numpy(), times, recording.frames.take())
                return RestartPoint(recording.copy_state(), point.step + length)
            state.generator.set_state(before)
            self._length = max(1, good)
            length = good
        return None

    def _run(self, recording: _Recording, first: int, length: int) -> tuple[np.ndarray, int]:
        """So many steps; the times of the frames that were kept, (T,), fs, and the number of good steps."""
        times = []
        for step in range(first + 1, first + length + 1):
            recording.advance()
            if step % self._config.save_every == 0:
                recording.frames.add(recording.state)
                times.append(step * self._config.timestep_fs)
        return np.asarray(times), recording.good_steps()

    def _max_frames(self, state: MDState) -> int:
        """How many frames may wait on the device."""
        return max(1, MAX_WAITING_BYTES // frame_bytes(self._datasets, *state.positions.shape[:2]))

    def _prepare(self, state: MDState) -> _Recording:
        """The recorded step, at this state and with fresh lists; made anew when shapes have changed."""
        recording = self._recording
        if recording is None or not recording.load(state):
            most = -(-MAX_STEPS // self._config.save_every)
            frames = FrameBuffer(state, self._datasets, min(self._max_frames(state), most))
            recording = _Recording(state, self._forces, self._config, self._care, frames)
        self._recording = recording
        return recording


class _FixedList:
    """The forces of one potential on edges that stay where they are in memory."""

    def __init__(self, forces: ReplicaForces, state: MDState) -> None:
        self._forces = forces
        graph = forces.candidates(state.positions, state.cell, FRESH_REACH)
        self._room = None if forces.never_rebuilds else int(EDGE_RESERVE * graph.num_edges) + 1
        self._graph = graph if self._room is None else fill_up(graph, self._room)

    def load(self, state: MDState) -> bool:
        """Take the edges of another state; False when they need more room."""
        if self._room is None:
            return True
        graph = self._forces.candidates(state.positions, state.cell, FRESH_REACH)
        if graph.num_edges > self._room:
            return False
        _overwrite(self._graph, fill_up(graph, self._room))
        return True

    def outdated(self, state: MDState) -> Tensor | None:
        """Replicas of which an edge may be missing, (R,) bool; None when that cannot be."""
        return None if self._room is None else self._forces.outdated(state.positions, state.cell)

    def __call__(self, positions: Tensor, cells: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self._forces.evaluate(self._forces.at(self._graph, positions, cells), positions)


class _Recording:
    """One time step on buffers that stay where they are, so that it can be replayed as a CUDA graph."""

    def __init__(self, state: MDState, forces: ReplicaForces, config: MDConfig,
                 care: Sequence[Callable[[MDState], Tensor]], frames: FrameBuffer) -> None:
        self._care = care
        self.frames = frames
        self._noise = NoiseBuffers(state.generator)
        self.state = replace(state, noise=self._noise, **{name: getattr(state, name).clone() for name in MOVING})
        self._lists = [_FixedList(part, state) for part in (forces, forces.inner) if part is not None]
        self._num_replicas = len(state.replica_ids)
        self._good = torch.zeros((), dtype=torch.bool, device=state.positions.device)
        self._count = torch.zeros_like(state.step)
        self._step = make_step(config, *self._lists)
        before = state.generator.get_state()
        self._call = CapturedCall(self._advance, (state.step,), undo=lambda: self._reset(state))
        state.generator.set_state(before)
        self._reset(state)

    def load(self, state: MDState) -> bool:
        """Begin from another state with other lists; False when their shapes are not those of the recording."""
        if len(state.replica_ids) != self._num_replicas or not all(edges.load(state) for edges in self._lists):
            return False
        self._reset(state)
        return True

    def advance(self) -> None:
        """One step, without waiting for it."""
        self._noise.refill()
        step, = self._call(self.state.step)
        self.state = replace(self.state, step=step)

    def good_steps(self) -> int:
        """Steps since the last `load` before the first at which a guard failed or a list was outdated."""
        return int(self._count)

    def copy_state(self) -> MDState:
        """The present state, safe from later steps."""
        return replace(self.state, noise=None, step=self.state.step.clone(),
                       **{name: getattr(self.state, name).clone() for name in MOVING})

    def _advance(self, step: Tensor) -> tuple[Tensor]:
        self._noise.rewind()
        state = self._step(replace(self.state, step=step))
        for bad in (*(judge(state) for judge in self._care), *(edges.outdated(state) for edges in self._lists)):
            if bad is not None:
                self._good.logical_and_(~bad.any())
        self._count.add_(self._good)
        for name in MOVING:
            getattr(self.state, name).copy_(getattr(state, name))
        return (state.step,)

    def _reset(self, state: MDState) -> None:
        for name in MOVING:
            getattr(self.state, name).copy_(getattr(state, name))
        self.state = replace(self.state, step=state.step)
        self.frames.clear()
        self._good.fill_(True)
        self._count.zero_()


def fill_up(graph: AtomicGraph, room: int) -> AtomicGraph:
    """The same batch with exactly `room` edges: the added ones join the last atom to an image of itself, far away."""
    periodic = graph.pbc[-1].tolist()
    axis = periodic.index(True) if any(periodic) else 0
    cell = graph.cell
    if not any(periodic):  # nothing else reads this cell
        cell = cell.clone()
        cell[-1, axis, 0] = FAR_A
    images = float(torch.ceil(FAR_A / torch.linalg.vector_norm(cell[-1, axis])))
    missing = room - graph.num_edges
    loops = graph.edge_index.new_full((2, missing), graph.num_atoms - 1)
    shifts = graph.cell_shifts.new_zeros(missing, 3)
    shifts[:, axis] = images
    return replace(graph, cell=cell, edge_index=torch.cat([graph.edge_index, loops], dim=1),
                   cell_shifts=torch.cat([graph.cell_shifts, shifts]))


def _overwrite(graph: AtomicGraph, other: AtomicGraph) -> None:
    """Put the edges of another graph, and all that was worked out from them, where a recorded step reads them."""
    graph.edge_index.copy_(other.edge_index)
    graph.cell_shifts.copy_(other.cell_shifts)
    for name, value in vars(graph.edges).items():
        if isinstance(value, Tensor) and value is not graph.edge_index:
            value.copy_(getattr(other.edges, name))
