"""Reproducible splits of frames into training, validation and test sets, and batches of graphs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from toolkit.config import DataConfig, SplitConfig
from toolkit.data.formats import FrameSet, ReadReport, read_frames
from toolkit.data.graph import AtomicGraph, collate
from toolkit.data.npz_layouts import load_arrays
from toolkit.data.packed import PackedFrames
from toolkit.errors import DataError, one_line

SETS = ("train", "val", "test")
DEFAULT_FRACTION = 0.1
"""Share of the frames that validation and test get each when their number is not given."""


@dataclass(frozen=True)
class Splits:
    """Frames of the three sets; `indices` holds for each set the positions in the file it was taken from."""

    train: Sequence[Atoms]
    val: Sequence[Atoms]
    test: Sequence[Atoms]
    indices: dict[str, np.ndarray]
    reports: tuple[ReadReport, ...]


def load_splits(config: DataConfig) -> Splits:
    """Read the files of a DataConfig and divide them. Sets without a file of their own are split from `train`.

    Raises DataError for unreadable files, too few frames and unusable index files.
    """
    sources = {"train": config.train, "val": config.val, "test": config.test}
    sets = {name: read_frames(source, config) for name, source in sources.items() if source is not None}
    shared = [name for name in SETS if name == "train" or name not in sets]
    indices = _divide(sets["train"], config.split, shared)
    for name in sets.keys() - set(shared):
        indices[name] = _own_file_indices(sets[name], name, config.split)
    frames = {name: _select(sets[name if name in sets else "train"].frames, indices[name]) for name in SETS}
    places = {name: sets[name if name in sets else "train"].places[indices[name]] for name in SETS}
    return Splits(**frames, indices=places, reports=tuple(frame_set.report for frame_set in sets.values()))


def _divide(frame_set: FrameSet, split: SplitConfig, names: list[str]) -> dict[str, np.ndarray]:
    """Which frames of a set go where. Index files count as the file does, isolated atoms included. Raises DataError."""
    if split.method != "indices":
        return split_indices(len(frame_set.frames), split, names)
    places = frame_set.places
    named = split_indices(len(places) + len(frame_set.isolated), split, names)
    for name, chosen in named.items():
        atoms = np.intersect1d(chosen, frame_set.isolated)
        if atoms.size:
            raise DataError(f"{split.index_file}: {name!r} names frame {atoms[0]}, an isolated atom, expected frames to learn from",
                            "leave isolated atoms out: they are the zero of energy")
    return {name: np.searchsorted(places, chosen) for name, chosen in named.items()}


def _select(frames: Sequence[Atoms], indices: np.ndarray) -> Sequence[Atoms]:
    return frames.select(indices) if isinstance(frames, PackedFrames) else [frames[t] for t in indices]


def split_indices(num_frames: int, split: SplitConfig, names: list[str]) -> dict[str, np.ndarray]:
    """Indices 0 … num_frames − 1 for each of `names` ("train" among them), sorted, without overlap.

    Both methods fill from the two ends: training frames from the front (of the shuffled order, or of the trajectory),
    test and then validation frames from the back. So another num_train leaves validation and test unchanged.
    Raises DataError when there are too few frames.
    """
    if split.method == "indices":
        return _read_indices(Path(split.index_file or ""), num_frames, names)
    gap = split.gap if split.method == "blocks" else 0
    filled = [name for name in names if getattr(split, f"num_{name}") != 0]
    counts = _counts(num_frames, split, names, gap * (len(filled) - 1))
    order = np.arange(num_frames)
    if split.method == "random":
        order = np.random.default_rng(split.seed).permutation(num_frames)
    indices, stop = {}, num_frames
    for name in ("test", "val"):
        if name in names:
            indices[name] = np.sort(order[stop - counts[name]:stop])
            stop -= counts[name] + gap * (name in filled)
    indices["train"] = np.sort(order[:counts["train"]])
    return {name: indices[name] for name in names}


def _counts(num_frames: int, split: SplitConfig, names: list[str], lost_to_gaps: int) -> dict[str, int]:
    wanted = {name: getattr(split, f"num_{name}") for name in names}
    given = {name: count for name, count in wanted.items() if count is not None}
    left = num_frames - lost_to_gaps - sum(given.values())
    open_sets = [name for name in ("val", "test") if name in names and name not in given]
    room = left if "train" in given else left - 1
    counts = dict(given)
    for position, name in enumerate(open_sets):
        share = max(room, 0) // (len(open_sets) - position)
        counts[name] = min(max(round(DEFAULT_FRACTION * num_frames), 1), share)
        room -= counts[name]
    counts.setdefault("train", num_frames - lost_to_gaps - sum(counts.values()))
    needed = sum(counts.values()) + lost_to_gaps
    if needed > num_frames or counts["train"] < 1 or counts.get("val", 1) < 1:
        asked = ", ".join(f"num_{name} = {count}" for name, count in given.items()) or "the default shares"
        in_gaps = f" and {lost_to_gaps} in gaps" if lost_to_gaps else ""
        raise DataError(f"found {num_frames} frames, too few for {asked}{in_gaps} (train and val need at least one)",
                        "ask for fewer, lower split.gap, or give a larger file" if lost_to_gaps else
                        "ask for fewer, or give a larger file")
    return counts


def _own_file_indices(frame_set: FrameSet, name: str, split: SplitConfig) -> np.ndarray:
    """All frames of a file given for one set, or the first num_val / num_test of it."""
    wanted, found = getattr(split, f"num_{name}"), len(frame_set.frames)
    if wanted is not None and wanted > found:
        raise DataError(f"{frame_set.report.path} has {found} frames, expected at least num_{name} = {wanted}",
                        f"lower data.split.num_{name}")
    return np.arange(found if wanted is None else wanted)


def _read_indices(path: Path, num_frames: int, names: list[str]) -> dict[str, np.ndarray]:
    """The arrays of an index file: whole numbers in range, no frame twice, training and validation not empty."""
    stored = _load_index_file(path)
    indices: dict[str, np.ndarray] = {}
    for name in names:
        array = np.asarray(stored.get(name, []))
        if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
            raise DataError(f"{path}: {name!r} is not a list of whole numbers",
                            "store the positions of frames, counted from 0")
        array = array.astype(np.int64)
        if array.size == 0 and name != "test":
            raise DataError(f"{path} has no frames for {name!r}, found the keys {sorted(stored)}", f"add {name!r}")
        wrong = array[(array < 0) | (array >= num_frames)]
        if wrong.size:
            raise DataError(f"{path}: {name!r} names frame {wrong[0]}, expected 0 … {num_frames - 1}",
                            "check that it was made for this file")
        if len(np.unique(array)) < len(array):
            values, times = np.unique(array, return_counts=True)
            raise DataError(f"{path}: {name!r} names frame {values[times > 1][0]} twice, expected every frame once",
                            "remove the duplicate")
        for other, taken in indices.items():
            shared = np.intersect1d(array, taken)
            if shared.size:
                raise DataError(f"{path}: {shared.size} frames are both in {other!r} and in {name!r}, for example "
                                f"{shared[0]}, expected sets without overlap", "remove them from one set")
        indices[name] = array
    return indices


def _load_index_file(path: Path) -> dict[str, object]:
    try:
        if path.suffix == ".npz":
            return load_arrays(path, SETS)
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the index file {path}: {one_line(error)}",
                        "give JSON or npz with the lists train, val and test") from None
    if not isinstance(stored, dict):
        raise DataError(f"{path} holds a {type(stored).__name__}, expected the lists train, val and test")
    return stored


def batch_indices(num_graphs: int, batch_size: int, generator: torch.Generator | None = None) -> list[Tensor]:
    """Batches as indices (batch_size,), int64, that cover 0 … num_graphs − 1 once, shuffled by the generator or in
    order; the last may be smaller."""
    order = torch.arange(num_graphs) if generator is None else torch.randperm(num_graphs, generator=generator)
    return list(order.split(batch_size))


def split_by_edges(graphs: Iterable[AtomicGraph], max_graphs: int,
                   max_edges: int | None = None) -> Iterator[list[AtomicGraph]]:
    """Stretches of at most `max_graphs` graphs and, but for single graphs, at most `max_edges` edges, in order."""
    part: list[AtomicGraph] = []
    edges = 0
    for graph in graphs:
        if len(part) == max_graphs or (part and max_edges is not None and edges + graph.num_edges > max_edges):
            yield part
            part, edges = [], 0
        part.append(graph)
        edges += graph.num_edges
    if part:
        yield part


def batches(graphs: Iterable[AtomicGraph], max_graphs: int, max_edges: int | None = None) -> Iterator[AtomicGraph]:
    """The stretches of `split_by_edges`, each joined into one batch."""
    return map(collate, split_by_edges(graphs, max_graphs, max_edges))
