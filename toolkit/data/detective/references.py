"""Reference energies E0 of the elements: which of them the compositions of a data set determine, and what to supply."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from ase import Atoms

from toolkit.data.detective.data_file import DataFile
from toolkit.data.detective.findings import Finding
from toolkit.data.statistics import composition_counts, energies_above, fit_energy_shifts, rank_of

DETERMINED = 1e-6
"""An element's E0 is determined when its unit vector lies in the row space of the compositions this closely."""


@dataclass(frozen=True)
class ElementReference:
    """One element: atoms in the file, fitted E0, whether the data determine it, isolated-atom energy if given."""

    element: str
    n_atoms: int
    fitted_eV: float
    determined: bool
    isolated_atom_eV: float | None


@dataclass(frozen=True)
class ReferenceEnergies:
    """E0 of all elements by least squares of total energies on compositions.

    rank : independent compositions;  supply : elements whose isolated-atom energies would settle the rest
    residual_meV_per_atom : RMS of (E − Σ E0)/N
    """

    rank: int
    elements: tuple[ElementReference, ...]
    supply: tuple[str, ...]
    residual_meV_per_atom: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def reference_energies(frames: list[Atoms], isolated_atom_energies: dict[str, float]) -> ReferenceEnergies | None:
    """Fit E0 and tell what the compositions determine; None without energies.

    isolated_atom_energies : element -> eV, as far as they are known
    """
    labelled = [atoms for atoms in frames if atoms.calc is not None and "energy" in atoms.calc.results]
    if not labelled:
        return None
    symbols, counts = composition_counts(labelled)
    shifts, _ = fit_energy_shifts(labelled)
    residuals = np.array(list(energies_above(labelled, shifts).values()))
    _, singular, right = np.linalg.svd(counts, full_matrices=False)
    rank = rank_of(singular)
    outside = 1.0 - np.sum(right[:rank] ** 2, axis=0)  # of each unit vector, its part outside the row space
    elements = tuple(ElementReference(symbol, int(counts[:, k].sum()), shifts[symbol], bool(outside[k] < DETERMINED),
                                      isolated_atom_energies.get(symbol)) for k, symbol in enumerate(symbols))
    return ReferenceEnergies(rank, elements, _to_supply(counts, symbols, rank),
                             float(1e3 * np.sqrt(np.mean(residuals**2))))


def undetermined_references(file: DataFile) -> list[Finding]:
    """Which E0 the file leaves open, and which isolated-atom energies to supply."""
    isolated = file.frame_set.report.isolated_atom_energies
    references = reference_energies(file.frames, isolated)
    if references is None or not references.supply or set(references.supply) <= isolated.keys():
        return []
    open_ = [entry.element for entry in references.elements if not entry.determined]
    total = len(references.elements)
    return [Finding("undetermined_e0", "info", f"Reference energies of {', '.join(open_)} are not determined",
                    f"the compositions have rank {references.rank}, and there are {total} elements",
                    {"composition_rank": references.rank, "n_elements": total},
                    advice=f"Harmless for molecular dynamics. E0 of {', '.join(references.supply)} would fix the fit; "
                           "for atomisation and reaction energies supply isolated-atom energies of all elements "
                           "(data.isolated_atom_energies), or add other compositions.")]


def _to_supply(counts: np.ndarray, symbols: list[str], rank: int) -> tuple[str, ...]:
    """Fewest elements, first come first served, whose unit vectors complete the row space of the compositions."""
    rows, chosen = np.unique(counts / counts.sum(axis=1, keepdims=True), axis=0), []
    for k, symbol in enumerate(symbols):
        extended = np.vstack([rows, np.eye(len(symbols))[k]])
        if rank_of(np.linalg.svd(extended, compute_uv=False)) > rank:
            rows, rank = extended, rank + 1
            chosen.append(symbol)
    return tuple(chosen)
