"""Splits: reproducible, disjoint, as asked; batches: every graph once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from toolkit.config import DataConfig, SplitConfig
from toolkit.data.datasets import batch_indices, batches, load_splits, split_by_edges, split_indices
from toolkit.data.formats import read_frames
from toolkit.data.graph_store import GraphStore
from toolkit.errors import DataError

ALL = ["train", "val", "test"]


@pytest.mark.parametrize("method", ["random", "blocks"])
@pytest.mark.parametrize(("counts", "expected"), [
    ({}, (80, 10, 10)), ({"num_train": 50}, (50, 10, 10)), ({"num_train": 95}, (95, 2, 3)),
    ({"num_val": 30}, (60, 30, 10)), ({"num_test": 0}, (90, 10, 0)),
    ({"num_train": 20, "num_val": 5, "num_test": 7}, (20, 5, 7)),
])
def test_counts_and_disjointness(method: str, counts: dict[str, int], expected: tuple[int, ...]) -> None:
    found = split_indices(100, SplitConfig(method=method, seed=3, **counts), ALL)
    assert tuple(len(found[name]) for name in ALL) == expected
    joined = np.concatenate([found[name] for name in ALL])
    assert len(np.unique(joined)) == len(joined) and joined.min() >= 0 and joined.max() < 100


def test_random_splits_follow_the_seed_and_keep_the_test_set() -> None:
    first = split_indices(100, SplitConfig(seed=1), ALL)
    again = split_indices(100, SplitConfig(seed=1), ALL)
    other = split_indices(100, SplitConfig(seed=2), ALL)
    fewer = split_indices(100, SplitConfig(seed=1, num_train=20), ALL)
    for name in ALL:
        np.testing.assert_array_equal(first[name], again[name])
    assert not np.array_equal(first["test"], other["test"])
    np.testing.assert_array_equal(first["test"], fewer["test"])
    assert set(fewer["train"]) < set(first["train"])
    assert not np.array_equal(first["train"], np.arange(80))


def test_blocks_are_contiguous_with_gaps() -> None:
    found = split_indices(100, SplitConfig(method="blocks", num_val=10, num_test=20, gap=5), ALL)
    np.testing.assert_array_equal(found["train"], np.arange(0, 60))
    np.testing.assert_array_equal(found["val"], np.arange(65, 75))
    np.testing.assert_array_equal(found["test"], np.arange(80, 100))
    found = split_indices(100, SplitConfig(method="blocks", num_train=85, num_val=10, num_test=0, gap=5), ALL)
    np.testing.assert_array_equal(found["val"], np.arange(90, 100))  # no gap before a set that is empty


def test_official_rmd17_split(npz_file) -> None:
    """Train the first 250, validate on the last 50 of the same file, test on all of another."""
    path = str(npz_file())
    split = SplitConfig(method="blocks", num_train=250, num_val=50)
    splits = load_splits(DataConfig(train=path, test=path, split=split))
    np.testing.assert_array_equal(splits.indices["train"], np.arange(250))
    np.testing.assert_array_equal(splits.indices["val"], np.arange(250, 300))
    assert len(splits.test) == 300 and len(splits.reports) == 2
    assert splits.val[0].calc.results["energy"] == read_frames(path).frames[250].calc.results["energy"]


def test_files_of_their_own(npz_file) -> None:
    path = str(npz_file())
    splits = load_splits(DataConfig(train=path, val=path, test=path, split=SplitConfig(num_val=7)))
    assert (len(splits.train), len(splits.val), len(splits.test)) == (300, 7, 300)
    with pytest.raises(DataError, match="has 300 frames, expected at least num_test = 301"):
        load_splits(DataConfig(train=path, test=path, split=SplitConfig(num_test=301)))


@pytest.mark.parametrize(("num_frames", "split"), [
    (1, SplitConfig()), (10, SplitConfig(num_train=10)), (10, SplitConfig(num_train=9, num_val=1, num_test=1)),
    (20, SplitConfig(method="blocks", gap=10)), (100, SplitConfig(num_val=100)),
])
def test_too_few_frames(num_frames: int, split: SplitConfig) -> None:
    with pytest.raises(DataError, match=f"found {num_frames} frames, too few for"):
        split_indices(num_frames, split, ALL)


@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_index_files(tmp_path: Path, npz_file, suffix: str) -> None:
    wanted = {"train": [5, 3, 8], "val": [1], "test": [0, 2]}
    path = tmp_path / f"split{suffix}"
    path.write_text(json.dumps(wanted)) if suffix == ".json" else np.savez(path, **wanted)
    splits = load_splits(DataConfig(train=str(npz_file()), split=SplitConfig(method="indices", index_file=str(path))))
    assert {name: splits.indices[name].tolist() for name in ALL} == wanted
    assert [len(splits.train), len(splits.val), len(splits.test)] == [3, 1, 2]


BAD_INDICES = {
    "overlap": ({"train": [0, 1], "val": [1], "test": []}, "1 frames are both in 'train' and in 'val', for example 1"),
    "range": ({"train": [0, 10], "val": [1]}, r"'train' names frame 10, expected 0 … 9"),
    "negative": ({"train": [0, -1], "val": [1]}, r"'train' names frame -1, expected 0 … 9"),
    "twice": ({"train": [0, 0], "val": [1]}, "'train' names frame 0 twice"),
    "no val": ({"train": [0]}, "has no frames for 'val', found the keys \\['train'\\]"),
    "fractions": ({"train": [0.5], "val": [1]}, "'train' is not a list of whole numbers"),
    "nested": ({"train": [[0], [1]], "val": [2]}, "'train' is not a list of whole numbers"),
    "words": ({"train": ["a"], "val": [1]}, "'train' is not a list of whole numbers"),
    "list": ([1, 2], "holds a list, expected the lists train, val and test"),
}


def test_index_files_count_the_isolated_atoms_of_the_file(tmp_path: Path) -> None:
    atom = '1\nenergy={:.1f} config_type={} pbc="F F F"\nH 0 0 0\n'
    path, index_file = tmp_path / "frames.xyz", tmp_path / "split.json"
    path.write_text(atom.format(-13.6, "IsolatedAtom") + "".join(atom.format(energy, "x") for energy in range(1, 8)))
    index_file.write_text(json.dumps({"train": [1, 2, 3], "val": [5], "test": [7]}))
    config = DataConfig(train=str(path), split=SplitConfig(method="indices", index_file=str(index_file)))
    splits = load_splits(config)
    energies = {name: [atoms.get_potential_energy() for atoms in getattr(splits, name)] for name in splits.indices}
    assert energies == {"train": [1.0, 2.0, 3.0], "val": [5.0], "test": [7.0]}
    assert {name: places.tolist() for name, places in splits.indices.items()} == json.loads(index_file.read_text())
    index_file.write_text(json.dumps({"train": [0, 2], "val": [5]}))
    with pytest.raises(DataError, match="names frame 0, an isolated atom"):
        load_splits(config)


@pytest.mark.parametrize("case", sorted(BAD_INDICES))
def test_unusable_index_files(tmp_path: Path, case: str) -> None:
    content, message = BAD_INDICES[case]
    path = tmp_path / "split.json"
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=message):
        split_indices(10, SplitConfig(method="indices", index_file=str(path)), ALL)


def test_absent_and_malformed_index_files(tmp_path: Path) -> None:
    for name, content in {"absent.json": None, "bad.json": "{", "bad.npz": "{"}.items():
        if content is not None:
            (tmp_path / name).write_text(content)
        with pytest.raises(DataError, match=name):
            split_indices(10, SplitConfig(method="indices", index_file=str(tmp_path / name)), ALL)


def test_batches_cover_every_graph_once(npz_file) -> None:
    frames = read_frames(str(npz_file())).frames[:13]
    graphs = GraphStore(frames, r_max=3.0)
    energies = np.array([atoms.calc.results["energy"] for atoms in frames])
    in_order = list(batches(graphs, 5))
    assert [batch.num_structures for batch in in_order] == [5, 5, 3]
    np.testing.assert_array_equal(torch.cat([b.labels["energy"] for b in in_order]).numpy(), energies)
    np.testing.assert_allclose(in_order[0].labels["forces"][:9].numpy(), frames[0].get_forces())


def test_batch_indices_are_shuffled_by_the_seed_alone() -> None:
    assert [len(batch) for batch in batch_indices(13, 5)] == [5, 5, 3]
    first, again, other = (torch.cat(batch_indices(13, 5, torch.Generator().manual_seed(seed))) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert sorted(first.tolist()) == list(range(13)) != first.tolist()


def test_parts_stay_within_the_edges_but_for_single_graphs(npz_file) -> None:
    graphs = GraphStore(read_frames(str(npz_file())).frames[:12], r_max=3.0)
    sizes = [graph.num_edges for graph in graphs]
    for limit in (1, 2 * max(sizes), 5 * max(sizes), None):
        parts = list(split_by_edges(graphs, 4, limit))
        assert [id(graph) for part in parts for graph in part] == [id(graph) for graph in graphs]
        assert all(len(part) <= 4 for part in parts)
        assert all(len(part) == 1 or limit is None or sum(g.num_edges for g in part) <= limit for part in parts)
    assert len(list(split_by_edges(graphs, 4, 1))) == 12
    assert len(list(split_by_edges(graphs, 4, None))) == 3


def test_building_graphs_reports_progress(npz_file) -> None:
    calls = []

    class Counter:
        def update(self, step: int, total: int, message: str = "") -> None:
            calls.append((step, total))

    GraphStore(read_frames(str(npz_file())).frames[:250], 2.0, Counter())
    assert calls == [(100, 250), (200, 250), (250, 250)]
