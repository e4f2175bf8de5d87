"""The card says in a line what every file's unit was, without the same sentence for each."""

from __future__ import annotations

import json

import pytest

from toolkit.models.checkpoint import read_model_config
from toolkit.models.folders import find_model
from toolkit.training.card import card_text


@pytest.mark.parametrize(("units", "line"), [
    (["eV, Å: declared", "eV, Å: detected"], "eV, Å in a.npz, b.npz (of a.npz: declared)"),
    (["eV, Å: declared", "Hartree, Bohr: detected"], "eV, Å (declared); Hartree, Bohr (detected)"),
])
def test_units_of_several_files(units: list[str], line: str) -> None:
    folder = find_model("ethanol")
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics["data"] |= {"sources": ["a.npz", "b.npz"], "units": units}
    assert f"\n- **Units found**: {line}\n" in card_text(metrics, read_model_config(folder))
