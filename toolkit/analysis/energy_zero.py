"""Whether predicted energies differ from their labels by a zero of energy, or by a level of theory."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from toolkit.analysis.paired import composition_offset_eV
from toolkit.analysis.parity import Parity
from toolkit.units import MEV_PER_EV

OFFSET_RATIO, OFFSET_MEV_PER_ATOM = 5.0, 10.0
"""An energy offset this much larger than what is left of the error, and than this, is another zero of energy."""
OFFSET, REST = "energy_offset_meV_per_atom", "energy_mae_meV_per_atom_without_offset"


def energy_zero(parity: Parity) -> dict[str, float | None]:
    """`energy_offset_meV_per_atom`, the mean over the frames of the offset by composition, and the energy MAE without it;
    None with too few labels to tell them apart (`composition_offset_eV`)."""
    offset = MEV_PER_EV * composition_offset_eV(parity) / parity.num_atoms
    rest = np.abs(parity.energy_error_meV_per_atom - offset)
    known = np.isfinite(rest)
    return {OFFSET: float(offset.mean()) if np.isfinite(offset).all() else None,
            REST: float(rest[known].mean()) if known.any() else None}


def has_other_zero(errors: Mapping[str, float | None]) -> bool:
    """Whether the energy error is mostly an offset by composition: another level of theory or zero of energy.

    errors : holds what `energy_zero` returns
    """
    offset, rest = errors.get(OFFSET), errors.get(REST)
    return offset is not None and rest is not None and abs(offset) > max(OFFSET_MEV_PER_ATOM, OFFSET_RATIO * rest)


def describe_other_zero(errors: Mapping[str, float | None], whose: str) -> str:
    """Two sentences on an offset, for those who see the errors. whose : the name of the model, "this potential" …"""
    return (f"Energies of {whose} lie {errors[OFFSET] / MEV_PER_EV:+.3f} eV/atom away from the labels, by the "
            "composition alone: another level of theory or another zero of energy. If the level of theory differs, the "
            "force errors hold the difference of the two theories too.")
