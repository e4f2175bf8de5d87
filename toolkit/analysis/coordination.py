"""Who is next to whom: the first shell of g(r), coordination numbers of each pair of elements, short-range order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

from toolkit.analysis.rdf import RadialDistribution
from toolkit.errors import DataError

SMOOTHING_A = 0.1
"""Width of the Gaussian that g(r) is smoothed with before its extrema are looked for."""
MIN_HEIGHT, MIN_DEPTH = 0.3, 0.05
"""A peak rises and a minimum falls at least so far, in heights of the highest peak; what is less is noise."""


@dataclass(frozen=True)
class Coordination:
    """The first shell: up to `shell_A`, Å, an atom has `total` neighbours on average.

    partial : "Nb-Mo" -> mean number of Mo within the shell of an Nb; both orders are given
    short_range_order : the same pairs -> Warren–Cowley parameter (0 random, negative: they seek each other; NaN for an
        element without neighbours)
    """

    shell_A: float
    total: float
    partial: dict[str, float]
    short_range_order: dict[str, float]


def first_shell(rdf: RadialDistribution) -> float:
    """The first minimum of the total g(r) behind its first high peak, Å. Raises DataError when there is none.

    In bcc the first two shells, 8 and 6 atoms, are told apart when it is cold and are one shell of 14 when it is hot.
    """
    values = gaussian_filter1d(rdf.of("total"), SMOOTHING_A / (rdf.r_A[1] - rdf.r_A[0]))
    peaks, _ = find_peaks(values, prominence=MIN_HEIGHT * values.max())
    first = peaks[0] if len(peaks) else len(values) - 1
    minima, _ = find_peaks(-values[first:], prominence=MIN_DEPTH * values.max())
    if not len(minima):
        raise DataError(f"found no peak of g(r) with a minimum behind it up to {rdf.r_A[-1]:.2f} Å",
                        "compute g(r) to larger distances, or of more frames")
    return float(rdf.r_A[first + minima[0]])


def coordination_numbers(rdf: RadialDistribution, atomic_fractions: dict[str, float],
                         shell_A: float | None = None) -> Coordination:
    """Mean numbers of neighbours up to `shell_A` (default: the first minimum of g(r)), from its running integral.

    α_ab = 1 − n_ab / (c_b n_a), with n_a = Σ_b n_ab (Cowley, Phys. Rev. 77, 669 (1950)).
    atomic_fractions : element -> c, as in the frames
    """
    shell_A = first_shell(rdf) if shell_A is None else shell_A
    edges = rdf.r_A + 0.5 * (rdf.r_A[1] - rdf.r_A[0])  # where the running integral is known
    if shell_A > edges[-1]:
        raise DataError(f"found a shell of {shell_A:g} Å, g(r) ends at {edges[-1]:.2f} Å", "compute it further out")
    counts = {name: float(np.interp(shell_A, edges, rdf.coordination[row])) for row, name in enumerate(rdf.pairs)}
    partial = {}
    for name, count in counts.items():
        if name != "total":
            first, second = name.split("-")
            partial[name] = count
            partial[f"{second}-{first}"] = count * atomic_fractions[first] / atomic_fractions[second]
    around = {a: sum(n for name, n in partial.items() if name.split("-")[0] == a) for a in atomic_fractions}
    order = {}
    for name, count in partial.items():
        first, second = name.split("-")
        order[name] = 1.0 - count / (atomic_fractions[second] * around[first]) if around[first] > 0.0 else float("nan")
    return Coordination(shell_A, counts["total"], partial, order)
