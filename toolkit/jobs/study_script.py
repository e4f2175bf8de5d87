"""A study as a Python script that needs nothing but the package: what the command did, for notebooks and changes."""

from __future__ import annotations

from toolkit.jobs.study_config import StudyRequest

_TEMPLATE = '''"""The study of {structure} with {model}, step by step.

It writes its trajectories into the current folder and, started again, goes on where it stopped.
"""

import toolkit
from toolkit.config import MDConfig
from toolkit.interfaces.relaxation import relax, vibrations
from toolkit.jobs.analyses import trajectory_rdf
from toolkit.jobs.analyses_motion import trajectory_torsions
from toolkit.jobs.analyses_spectra import trajectory_vdos
from toolkit.jobs.mode_analysis import spectra_of_modes
from toolkit.jobs.sources import starting_structure
from toolkit.md.summary import summarize


def potential(dtype):
    return toolkit.load({model!r}, device={device!r}, dtype=dtype, backend={backend!r})


# The nearest minimum and the vibrations around it
relaxed = relax(potential("float64"), starting_structure({structure!r}, {frame}))
modes = vibrations(potential("float64"), relaxed.atoms)
print(f"{{modes.n_imaginary}} imaginary modes, zero-point energy {{modes.zero_point_energy_eV:.4f}} eV")

# A thermal structure
config = MDConfig({equilibration})
run = toolkit.simulate(potential("float32"), relaxed.atoms, config, "script_equilibration.h5", resume=True)
thermal = run.to_atoms(-1)

# Constant energy in both precisions, from the same structure and velocities
for dtype in ("float64", "float32"):
    config = MDConfig({nve})
    run = toolkit.simulate(potential(dtype), thermal, config, f"script_nve_{{dtype}}.h5", resume=True)
    result = summarize(run)
    print(dtype, "drift", result["energy_drift_meV_per_atom_per_ps"], "±",
          result["energy_drift_meV_per_atom_per_ps_stderr"], "meV/atom/ps")

# Heat bath
config = MDConfig({nvt})
toolkit.simulate(potential("float32"), thermal, config, "script_nvt.h5", resume=True).close()

# Analyses
distances = trajectory_rdf("script_nvt.h5", bin_width_A=0.01)
for pair, curve in distances["pairs"].items():
    print(f"{{pair}}: highest peak at {{curve['peak_A']:.3f}} Å")
spectrum = trajectory_vdos("script_nve_float64.h5", {resolution}, highest_cm1=float(modes.frequencies_cm1.max()))
spectra, peaks = spectra_of_modes("script_nve_float64.h5", modes, {resolution})
for row in spectra.rows():
    print(f"mode {{row['mode'] + 1}}: {{row['harmonic_cm1']:.1f}} cm⁻¹ harmonic, {{row['centre_cm1']:.1f}} in motion")
try:
    torsions = trajectory_torsions("script_nvt.h5")
    print("torsions:", ", ".join(torsions["torsions"]))
except toolkit.ToolkitError as error:
    print(error)
'''


def script(request: StudyRequest) -> str:
    """The text of `study.py`. Names are written as Python literals, so that nothing in them is executed."""
    study = request.study
    runs = {name: ", ".join(f"{field}={value!r}" for field, value in config.model_dump(exclude_defaults=True).items())
            for name, config in (("equilibration", study.equilibration()), ("nve", study.nve()), ("nvt", study.nvt()))}
    return _TEMPLATE.format(model=_Literal(request.model), structure=_Literal(request.structure), frame=request.frame,
                            device=request.device, backend=request.backend, resolution=study.resolution_cm1, **runs)


class _Literal(str):
    """A text that ends no docstring when it is shown plainly; `!r` gives its Python literal as usual."""

    def __format__(self, spec: str) -> str:
        return repr(str(self))[1:-1].replace('"', "'")
