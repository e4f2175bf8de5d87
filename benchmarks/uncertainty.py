"""Fit the uncertainty of a model and measure it: in its domain, out of it, its cost. Renews docs/uncertainty.md and .svg.

`PYTHONPATH=. nice -n 10 python benchmarks/uncertainty.py [MODEL]`, by default `aspirin`; its training data must be there, and of a
molecule of rMD17, whose other molecules of the same elements are what it has never seen. Needs matplotlib.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from ase import Atoms

from toolkit.bench.measure import environment, time_calls
from toolkit.checks.passport import with_section
from toolkit.data.formats import read_frames
from toolkit.jobs.evaluation import labelled_frames
from toolkit.jobs.own_data import own_data
from toolkit.jobs.uncertainty import check_uncertainty, fit_model, headline
from toolkit.models.potential import Potential, load_potential
from toolkit.storage import write_json, write_text_atomic

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs" / "uncertainty.md"
RMD17 = ROOT.parent / "shared" / "data" / "rmd17"
OTHERS = ("benzene", "toluene", "salicylic", "ethanol", "malonaldehyde")
NUM_OTHER, NUM_MOVED, NUM_TIMED = 60, 100, 20
DISPLACEMENTS_A = (0.0, 0.02, 0.05, 0.1, 0.2)
"""Standard deviations of the random displacement of each coordinate."""


def main(model: str = "aspirin") -> None:
    """Fit, check, time, write."""
    torch.set_num_threads(1)
    data = own_data(model)
    fitted = fit_model(model, device="cpu")
    potential = load_potential(model, device="cpu")
    frames = labelled_frames(data, "test")
    sets = {"its test frames": frames}
    for name in OTHERS:
        sets[name] = read_frames(str(RMD17 / f"rmd17_{name}_test_01.npz")).frames[:NUM_OTHER]
    checks = {name: headline(check_uncertainty(potential, part)["forces"], "forces") for name, part in sets.items()}
    result = {"model": model, "fit": fitted, "checks": checks, "displaced": _displaced(potential, frames[:NUM_MOVED]),
              "cost": _cost(potential, frames[:NUM_TIMED]), "environment": environment(
                  potential.device, potential.dtype, potential.backend)}
    write_json(result, ROOT / "benchmarks" / "results" / f"uncertainty-{model}.json")
    write_text_atomic(DOCS, with_section(DOCS.read_text(encoding="utf-8"), _section(result)))
    _draw(checks)


def _displaced(potential: Potential, frames: list[Atoms]) -> dict[str, list[float]]:
    """The largest σ in each frame, meV/Å, when all atoms are displaced at random."""
    rng = np.random.default_rng(0)
    found = {}
    for size in DISPLACEMENTS_A:
        moved = [Atoms(a.numbers, a.positions + rng.normal(0.0, size, a.positions.shape)) for a in frames]
        found[str(size)] = [1e3 * float(p["forces_std"].max()) for p in potential.predict(moved, uncertainty=True)]
    return found


def _cost(potential: Potential, frames: list[Atoms]) -> dict[str, float]:
    """Processor time of a force call and of an uncertainty, ms, and their ratio; for one molecule and for a batch."""
    cost = {}
    for name, graph in (("one", potential.graph(frames[0])), ("batch", potential.graph(frames))):
        plain, doubt = (1e3 * time_calls(call, potential.device).process_s for call in (
            lambda graph=graph: potential.evaluate(graph), lambda graph=graph: potential.evaluate_uncertainty(graph)))
        cost |= {f"{name}_forces_ms": plain, f"{name}_uncertainty_ms": doubt, f"{name}_ratio": doubt / plain}
    return cost


def _section(result: dict[str, Any]) -> str:
    """What was measured, as Markdown."""
    fit, cost, stop = result["fit"], result["cost"], 1.5 * max(result["displaced"]["0.0"])
    rows = [f"| {name} | {c['n']:,} | {_rms(c['rmse_meV_per_A']):.1f} | {_rms(c['predicted_std_meV_per_A']):.1f} | "
            f"{c['z_std']:.2f} ± {c['z_std_stderr']:.2f} | {c['coverage_of_68_percent']:.0f} / "
            f"{c['coverage_of_90_percent']:.0f} / {c['coverage_of_99_percent']:.0f} % | {c['spearman']:.2f} | "
            f"{c['nll_gain_over_constant']:+.2f} | {100 * c['ence']:.0f} % |" for name, c in result["checks"].items()]
    moved = [f"| {size} | {np.median(found):.0f} | {np.min(found):.0f} – {np.max(found):.0f} | "
             f"{100 * np.mean(np.array(found) > stop):.0f} % |" for size, found in result["displaced"].items()]
    return "\n".join([
        f"## Measured: {result['model']}", "",
        f"Written by `PYTHONPATH=. python benchmarks/uncertainty.py {result['model']}` on {result['environment']['device']}, backend "
        f"{result['environment']['backend']}, {result['environment']['dtype']}. Fitted on {fit['n_fitted']} training "
        f"frames, calibrated on {fit['n_calibrated']} validation frames (α_F {fit['forces_scale']:.3g}, α_E "
        f"{fit['energy_scale']:.3g}); {fit['num_features']} features, {fit['num_directions']} directions. No test frame "
        "was used for either.", "",
        "| frames | force components | RMS error, meV/Å | RMS σ, meV/Å | error ÷ σ (RMS) | within 68 / 90 / 99 % | "
        "rank correlation | gain in −ln p | ENCE |", "|---|---|---|---|---|---|---|---|---|", *rows, "",
        "A constant σ, even a perfect one, would have a rank correlation of 0 and a gain of 0. The gain is per component, "
        "against one σ for all that knows the RMS error of these very frames.", "",
        "| displacement of each coordinate, Å | median of the largest σ, meV/Å | range | stopped at "
        f"{stop:.0f} meV/Å |", "|---|---|---|---|", *moved, "",
        f"{NUM_MOVED} test frames; the threshold is 1.5 times the largest σ in them as they are.", "",
        f"Cost (processor time): one molecule {cost['one_uncertainty_ms']:.1f} ms beside {cost['one_forces_ms']:.1f} ms of "
        f"plain forces, {cost['one_ratio']:.1f} times; a batch of {NUM_TIMED}: {cost['batch_ratio']:.1f} times. MD that "
        f"looks every 20 steps pays {100 * cost['one_ratio'] / 20:.0f} % more.", ""])


def _rms(values: list[float]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def _draw(checks: dict[str, dict[str, Any]]) -> None:
    """docs/uncertainty.svg: RMS error against σ in bins, and coverage."""
    plt.rcParams.update({"font.size": 9, "svg.hashsalt": "uncertainty"})
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    sizes = [value for c in checks.values() for key in ("predicted_std_meV_per_A", "rmse_meV_per_A") for value in c[key]]
    left.loglog([min(sizes), max(sizes)], [min(sizes), max(sizes)], "--", color="0.5")
    right.plot([0, 100], [0, 100], "--", color="0.5")
    levels = [50.0, 68.27, 80.0, 90.0, 95.0, 99.0]
    for name, c in checks.items():
        left.loglog(c["predicted_std_meV_per_A"], c["rmse_meV_per_A"], "o-", label=name, markersize=4)
        right.plot(levels, [c[f"coverage_of_{level:.0f}_percent"] for level in levels], "o-", markersize=4)
    left.set_xlabel("predicted σ of a force component, meV/Å")
    left.set_ylabel("RMS error of a force component, meV/Å")
    right.set_xlabel("expected within the interval, %")
    right.set_ylabel("found within the interval, %")
    left.legend(frameon=False)
    figure.savefig(DOCS.with_suffix(".svg"), metadata={"Date": None})


if __name__ == "__main__":
    main(*sys.argv[1:2])
