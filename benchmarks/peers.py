"""Our backends beside nequip and mace in one process, on aspirin-L2 with random weights, calls interleaved.

    OMP_NUM_THREADS=2 PYTHONPATH=. ../venv-nequip/bin/python benchmarks/peers.py cpu

Optional: whichever peer is installed is measured (tests/requirements-nequip.txt has nequip). Each round times every
contestant once, in turn, so that a busy machine slows all alike; a speed-up is the median of the ratios within rounds.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import e3nn
import numpy as np
import torch
from ase import Atoms

from toolkit.bench.measure import environment, synchronize
from toolkit.bench.systems import REFERENCE_MODEL, aspirin
from toolkit.kernels.dispatch import BACKENDS, available
from toolkit.models.potential import build_potential

Call = Callable[[], object]


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("device", choices=("cpu", "cuda"))
    parser.add_argument("--batch", type=int, nargs="*", default=[1])
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--out", type=Path, help="default: benchmarks/results/peers-DEVICE-THREADS.json")
    chosen = parser.parse_args()
    device = torch.device(chosen.device)
    threads = torch.get_num_threads()
    results = {"environment": environment(device, torch.float32, "all"), "rounds": chosen.rounds, "batches": {}}
    results["environment"]["versions"] |= {name: version(name) for name in ("nequip", "mace-torch") if _installed(name)}
    for batch in chosen.batch:
        calls = _contestants([Atoms(frame.numbers, frame.positions) for frame in aspirin(batch)], device)
        results["batches"][str(batch)] = summary = _summary(_interleaved(calls, device, chosen.rounds))
        for name, row in summary.items():
            ratio = row.get("times_nequip")
            print(f"batch {batch:3d}  {name:24s} {row['median_ms']:9.2f} ms" + (f"  {ratio:5.2f} × nequip" if ratio else ""))
    out = chosen.out or Path(__file__).parent / "results" / f"peers-{chosen.device}-{threads}.json"
    out.write_text(json.dumps(results, indent=1) + "\n")


def _contestants(frames: list[Atoms], device: torch.device) -> dict[str, Call]:
    """Name -> a call that computes energies and forces of the frames, neighbour lists ready."""
    calls = {f"ours, {name}": _ours(frames, device, name) for name in BACKENDS if available(name, device.type)}
    if _installed("nequip"):
        calls["nequip, eager"] = _nequip(frames, device)
    if _installed("mace-torch"):
        calls["mace, e3nn"] = _mace(frames, device)
    return calls


def _ours(frames: list[Atoms], device: torch.device, backend: str) -> Call:
    potential = build_potential(REFERENCE_MODEL, device=str(device), backend=backend)
    graph = potential.graph(frames)
    return lambda: potential.evaluate(graph)


def _nequip(frames: list[Atoms], device: torch.device) -> Call:
    from nequip.data import AtomicDataDict, compute_neighborlist_
    from nequip.data.ase import from_ase
    from nequip.data.transforms import ChemicalSpeciesToAtomTypeMapper
    from nequip.model import NequIPGNNModel
    from nequip.utils.global_state import set_global_state

    defaults, dtype = dict(e3nn.get_optimization_defaults()), torch.get_default_dtype()
    set_global_state()
    c = REFERENCE_MODEL
    model = NequIPGNNModel(seed=0, model_dtype="float32", type_names=list(c.species), r_max=c.r_max, num_layers=c.num_layers,
                           l_max=c.l_max, parity=c.parity, num_features=c.num_features, num_bessels=c.num_bessels,
                           polynomial_cutoff_p=c.polynomial_cutoff_p, radial_mlp_depth=c.radial_mlp_depth,
                           radial_mlp_width=c.radial_mlp_width, avg_num_neighbors=c.avg_num_neighbors).eval().to(device)
    mapper = ChemicalSpeciesToAtomTypeMapper(list(c.species))
    data = AtomicDataDict.batched_from_list([compute_neighborlist_(mapper(from_ase(frame)), c.r_max) for frame in frames])
    data = AtomicDataDict.to_(data, device)
    torch.set_default_dtype(dtype)
    e3nn.set_optimization_defaults(**defaults)
    return lambda: model(dict(data))


def _mace(frames: list[Atoms], device: torch.device) -> Call:
    from mace import data, modules
    from mace.tools import AtomicNumberTable
    from mace.tools.torch_geometric.batch import Batch

    torch.manual_seed(0)
    zs = AtomicNumberTable([1, 6, 8])
    model = modules.MACE(
        r_max=REFERENCE_MODEL.r_max, num_bessel=8, num_polynomial_cutoff=6, max_ell=3, num_interactions=2, num_elements=3,
        interaction_cls_first=modules.interaction_classes["RealAgnosticResidualInteractionBlock"],
        interaction_cls=modules.interaction_classes["RealAgnosticResidualInteractionBlock"],
        hidden_irreps=e3nn.o3.Irreps("128x0e+128x1o"), MLP_irreps=e3nn.o3.Irreps("16x0e"), gate=torch.nn.functional.silu,
        atomic_energies=np.zeros(3), avg_num_neighbors=REFERENCE_MODEL.avg_num_neighbors, atomic_numbers=zs.zs,
        correlation=3).float().to(device)
    configs = [data.config_from_atoms(frame) for frame in frames]
    batch = Batch.from_data_list([data.AtomicData.from_config(c, zs, REFERENCE_MODEL.r_max) for c in configs]).to(device)
    fields = {key: value.float() if torch.is_tensor(value) and value.is_floating_point() else value
              for key, value in batch.to_dict().items()}
    return lambda: model(dict(fields), compute_force=True)


def _interleaved(calls: dict[str, Call], device: torch.device, rounds: int) -> dict[str, np.ndarray]:
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        for _ in range(5):
            call()
    for _ in range(rounds):
        for name, call in calls.items():
            synchronize(device)
            begin = time.perf_counter()
            call()
            synchronize(device)
            times[name].append(time.perf_counter() - begin)
    return {name: np.array(values) for name, values in times.items()}


def _summary(times: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    rows = {name: {"median_ms": 1e3 * float(np.median(t)), "fastest_ms": 1e3 * float(t.min())} for name, t in times.items()}
    if "nequip, eager" in times:
        for name, values in times.items():
            rows[name]["times_nequip"] = float(np.median(times["nequip, eager"] / values))
            rows[name]["times_nequip_fastest"] = float(times["nequip, eager"].min() / values.min())
    return rows


def _installed(package: str) -> bool:
    return importlib.util.find_spec({"mace-torch": "mace"}.get(package, package)) is not None


if __name__ == "__main__":
    sys.exit(main())
