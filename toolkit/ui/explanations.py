"""What each control does to the physics, in a sentence or two, and where its equation stands on the Theory page."""

from __future__ import annotations

THEORY = "Theory"
"""Address of the page, relative to every other page; a link from a tooltip opens it beside the form."""

EXPLANATIONS: dict[str, tuple[str, str]] = {
    # choices that several pages share
    "model": ("It knows only the elements and the kind of structures it was trained on.", "energy"),
    "source": ("Positions of atoms, and energies and forces where they are known. Embedded sets come with the app: "
               "molecules sampled at 500 K, labelled with GFN2-xTB, a fast quantum method.", "units"),
    "test.source": ("Frames to be kept away from training, so that the error on them is honest.", "splits"),
    "frame": ("Which of the frames to take, by its place in the file: 0 is the first, -1 the last.", "replicas"),
    "run": ("What was started here before, newest first. The address of the page names it, so a reload finds it.",
            "precision"),
    "upload": ("Units and signs are found from the numbers, and shown on the Dataset page.", "units"),
    "path": ("Extended XYZ, npz (MD17, rMD17, sGDML), or anything that ASE reads.", "units"),
    "dtype": ("float32 keeps 7 digits and is faster. float64 keeps 16: for symmetries and second derivatives.",
              "precision"),
    "energy_unit": ("Of the file, when it cannot be told from the numbers. A wrong one scales all forces.", "units"),
    "length_unit": ("Of the file, when it cannot be told from the numbers. A wrong one moves all atoms apart.",
                    "units"),
    "forces_unit": ("Of the forces in the file, where it is not the unit of energy per that of length, as when gradients in "
                    "Hartree/Bohr stand beside positions in Å.", "units"),
    "energy_key": ("Name of the energy in the file; empty: found automatically.", "units"),
    "forces_key": ("Name of the forces in the file, minus the slope of the energy; empty: found automatically.",
                   "units"),
    "stress_key": ("Name of the stress in the file, positive under tension; empty: found automatically.", "energy"),
    # Dataset
    "dataset.forces": ("Each arrow is the force on one atom: the direction in which its energy falls.", "energy"),
    # Train
    "train.preset": ("A complete configuration to start from; every field can be changed below.", "layers"),
    "train.yaml": ("Every field can be set here, also those that have no widget. Checked when you leave the box or "
                   "press Ctrl+Enter; the form follows.", "loss"),
    "train.data.split.method": ("blocks: contiguous stretches, for one trajectory. random: for independent frames. "
                                "indices: from a file.", "splits"),
    "train.data.split.num_train": ("The model learns from these. Ten times more frames make the error several times "
                                   "smaller.", "splits"),
    "train.data.split.num_val": ("They judge the model after each epoch; the best epoch is kept.", "splits"),
    "train.data.split.num_test": ("Looked at once, at the end: the honest error.", "splits"),
    "train.data.split.gap": ("blocks: frames dropped between the sets, because neighbours in time are nearly the "
                             "same.", "splits"),
    "train.data.split.seed": ("Of a random split. The same seed gives the same split.", "splits"),
    "student.teachers": ("Models of the same elements and the same level of theory. Errors in which they differ cancel in "
                         "the mean of what they say.", "transfer"),
    "student.small": ("Preset S, from random weights: for speed.", "transfer"),
    "student.large": ("Goes on with the weights of the first teacher and learns the mean of all: as fast as that one, and more "
                      "accurate. Worth a GPU.", "transfer"),
    "student.temperature_K": ("Of the simulation that finds the frames: about that of your data.", "transfer"),
    "student.trajectories": ("Simulations from frames of your training set, side by side.", "replicas"),
    "student.ps": ("Each takes this long; with 40 fs between frames, 10 ps give 250.", "timestep"),
    "student.timestep_fs": ("0.5 fs is safe where there is hydrogen, 1 fs does for drawing frames.", "timestep"),
    "train.start_from": ("Go on with the network and the weights of a model: fewer new frames then teach as much. The "
                         "learning rate may be smaller.", "transfer"),
    "train.model.architecture": ("nequip: the reference. allegro: strictly local, for very large systems. atom_gnn and "
                                 "atom_mlp: small and fast, distances and simple angles.", "architectures"),
    "train.model.r_max": ("Atoms further apart exchange no messages. Too small misses physics; the cost grows as the "
                          "cube.", "cutoff"),
    "train.model.num_layers": ("Each layer carries information one cutoff further and correlates more atoms.",
                               "layers"),
    "train.model.l_max": ("How finely directions are told apart: 0 sees distances only, 1 arrows, 2 ellipsoids.",
                          "spherical-harmonics"),
    "train.model.num_features": ("Features of each kind on every atom: capacity, and cost. One number, or one for "
                                 "each l: 64, 32, 16.", "layers"),
    "train.model.parity": ("Also keep features that change sign under inversion the other way. Two to three times the cost; rarely "
                           "needed for energies.", "parity"),
    "train.max_epochs": ("How often every training frame is seen. The learning rate falls over this time.",
                         "learning-rate"),
    "train.batch_size": ("Frames in each step of the optimiser. Small learns more per epoch, large is faster on a "
                         "GPU.", "learning-rate"),
    "train.max_train_s": ("The run ends in this time, and its learning rate falls towards that end. Empty: the epochs "
                          "count.", "learning-rate"),
    "train.optimizer.name": ("What turns gradients into steps. muon learned molecules about twice as well as adam in "
                             "the same number of epochs.", "learning-rate"),
    "train.optimizer.learning_rate": ("How far each step moves the weights. Too large diverges, too small does not "
                                      "arrive.", "learning-rate"),
    "train.loss.energy_weight": ("What squared errors of the energy, (eV/atom)², count in the loss.", "loss"),
    "train.loss.forces_weight": ("What squared errors of the forces, (eV/Å)², count in the loss. They teach the shape "
                                 "of the energy.", "loss"),
    "train.device": ("auto takes the GPU where there is one. Or write cpu, cuda, cuda:1.", "precision"),
    "train.dtype": ("Numbers of the network: float32 is faster and enough for training.", "precision"),
    "train.seed": ("Of the order of the frames. The same seed on the same machine repeats the run.", "precision"),
    # Molecular dynamics
    "md.preset": ("Settings that answer one question; every field can be changed below.", "nve"),
    "md.ensemble": ("What stays constant: the energy (nve), the temperature of a heat bath (langevin, csvr, "
                    "nose-hoover), or also the pressure (npt).", "nve"),
    "md.ensemble.nve": ("nve: alone in the world. The energy stays, the temperature finds itself.", "nve"),
    "md.ensemble.langevin": ("langevin: friction and random pushes on every atom. Relaxes fast; slows diffusion and "
                             "broadens spectra.", "langevin"),
    "md.ensemble.csvr": ("csvr: all velocities are scaled by one random factor. Disturbs the motion least.", "csvr"),
    "md.ensemble.nose-hoover": ("nose-hoover: a deterministic bath. Not for one small stiff molecule.", "nose-hoover"),
    "md.ensemble.npt": ("npt: csvr, and a cell that answers to the pressure. For crystals.", "barostat"),
    "md.temperature_K": ("Of the heat bath and of the first velocities. At constant energy, of the first velocities "
                         "only.", "initial-velocities"),
    "md.timestep_fs": ("At most a tenth of the fastest vibration: 0.5 fs with hydrogen, 1 to 2 fs without.",
                       "timestep"),
    "md.inner_steps": ("Above 1, a second, cheaper model makes so many steps in each, and the model itself corrects them "
                       "once. Keep the inner ones at 0.5 to 1 fs.", "timestep"),
    "md.inner_model": ("A small model of the same molecule and method, such as a student of the other. The closer it is, "
                       "the longer the steps may be.", "timestep"),
    "md.friction_per_fs": ("How tightly the bath holds: 0.01 per fs is a memory of 100 fs. Strong friction slows all "
                           "motion.", "langevin"),
    "md.thermostat_fs": ("How fast the bath corrects the temperature: 100 fs is tight, 1000 fs gentle.", "csvr"),
    "md.pressure_GPa": ("Pressure on the crystal. For a crystal, 0 is the same as the atmosphere (0.0001 GPa).",
                        "barostat"),
    "md.barostat_fs": ("How fast the cell answers to the pressure; slower than the heat bath.", "barostat"),
    "md.cell_change": ("isotropic keeps the shape of the cell; anisotropic lets all lengths and angles change.",
                       "barostat"),
    "md.uncertainty_stop_eV_per_A": ("A copy ends when the standard deviation of one of its forces is above this. Empty: "
                                     "never.", "uncertainty"),
    "md.harvest_above_eV_per_A": ("Frames more uncertain than this are kept in a file of their own, to be labelled and "
                                  "learned. Empty: none.", "uncertainty"),
    "md.harvest_gap_fs": ("At least so much time between two kept frames of one copy: neighbours teach the same.",
                          "uncertainty"),
    "md.uncertainty_every": ("Steps from one look to the next, at most 10 fs: it rises and falls with a bond that "
                             "breaks. One look costs about five force calls.", "uncertainty"),
    "md.steps": ("Number of time steps. The more, the smaller the error bars of all averages.", "error-bars"),
    "md.save_every": ("Steps between stored frames. Spectra need a frame every 4 fs or less, averages only rare ones.",
                      "replicas"),
    "md.replicas": ("Independent copies at once, with their own velocities and noise: smaller error bars.",
                    "replicas"),
    "md.seed": ("Of velocities and noise. The same seed on the same machine repeats the trajectory.", "precision"),
    # Trajectory
    "trajectory.system": ("One of the structures that were simulated, in the order of the frames they started from.",
                          "replicas"),
    "trajectory.replica": ("One of the independent copies. They differ in first velocities and noise.", "replicas"),
    "trajectory.r_max": ("Longest distance that is counted.", "rdf"),
    "trajectory.pairs": ("Pairs of elements. Bonds are the first sharp peaks: H-C near 1.09 Å, C-C at 1.4 to 1.5 Å.",
                         "rdf"),
    "trajectory.measure": ("Many frames take a while. All of them are counted.", "rdf"),
    # Equivariance
    "equivariance.turn": ("Turns all atoms about this axis of space, not of the molecule.", "equivariance"),
    "equivariance.mirror": ("x → −x: the mirror image, which no turning brings back.", "parity"),
    "equivariance.invert": ("x, y, z → −x, −y, −z: a mirror followed by half a turn.", "parity"),
    "equivariance.shift": ("All atoms by the same vector, (1.5, −1.0, 0.5) Å. Nothing may change.", "equivariance"),
    "equivariance.shuffle": ("The same atoms, listed in another order. Each keeps its own force.", "passport"),
    "equivariance.fault": ("The copy takes distances along one direction of space for longer by this much, which "
                           "breaks the symmetry. 0: no fault.", "equivariance"),
    "equivariance.layer": ("Features of an atom after this layer: what it knows of its surroundings so far.",
                           "layers"),
    "equivariance.atom": ("Whose features are compared. The number counts from 0, as in the file.", "equivariance"),
    "equivariance.vectors": ("Features of degree 1 are arrows in space and turn as forces do.", "spherical-harmonics"),
    # Spectra
    "spectra.temperature": ("Of the ideal gas whose free energy is given.", "thermochemistry"),
    "spectra.symmetry": ("Rotations that leave the molecule as it is: 1 for aspirin, 2 for water, 12 for benzene. "
                         "Enters the free energy only.", "thermochemistry"),
    "spectra.unpaired": ("Electrons without a partner: 0 for most molecules, 1 for a radical, 2 for O₂. Enters the free energy "
                         "only, as the entropy of their spin.", "thermochemistry"),
    "spectra.supercell": ("Crystals only: repetitions along each vector, until forces fade inside. 1: modes at Γ "
                          "alone.", "phonons"),
    "spectra.simulation": ("Its velocities are projected on the modes: at which frequency each really moves.", "vdos"),
    # Study
    "study.preset": ("Minutes, half an hour, or about an hour on a CPU core for a molecule like aspirin. Longer runs: smaller "
                     "error bars, finer spectra.", "error-bars"),
    "study.temperature_K": ("Of the heat bath and of all first velocities.", "initial-velocities"),
    "study.timestep_fs": ("At most a tenth of the fastest vibration: 0.5 fs with hydrogen.", "timestep"),
    "study.seed": ("The same seed on the same machine repeats the study.", "precision"),
    "study.nve_ps": ("Length of the runs at constant energy, one in float64 and one in float32: drift and spectra.",
                     "nve"),
    "study.nvt_ps": ("Length of each replica in the heat bath: distances, torsions, temperature of each mode.",
                     "langevin"),
    "study.nvt_replicas": ("Independent copies in the heat bath: smaller error bars.", "replicas"),
    "study.resolution_cm1": ("Of spectra: 33 ps divided by this is the length of a segment.", "vdos"),
    "study.kind": ("A molecule or crystal near its minimum, or an alloy that is melted and quenched.", "barostat"),
    "study.alloy": ("Training data, crystal, temperatures, rates and strains, all in one YAML file.", "barostat"),
    "study.alloy_model": ("Train as the file says, or take a model that knows the elements of the alloy.", "loss"),
    "study.hot_K": ("A perfect crystal without surface melts well above its melting point.", "barostat"),
    "study.cooling_K_per_s": ("Fast quenches keep more of the liquid: the transition moves up with the rate.",
                              "barostat"),
    "study.glass_ps": ("At the low temperature, after the quench: what the structure of the glass is averaged over.",
                       "rdf"),
    # Runs and Evaluate
    "runs.tasks": ("Show only these kinds of runs; none chosen: all.", "precision"),
    "runs.against": ("epoch compares how much is learned from the same data, wall time what it costs.",
                     "learning-rate"),
    "evaluate.judged": ("What makes a frame bad: one atom with a large force error, all atoms a little, or the "
                        "energy.", "errors"),
    # Compare models
    "compare.models": ("Two to eight. All are judged on the same frames, so that the hard ones are hard for all of "
                       "them.", "errors"),
    "compare.frames": ("Of a longer file so many, evenly spaced. Four times as many halve the error bars.",
                       "error-bars"),
    "compare.speed_s": ("How long each model is timed, one frame at a time and in a batch; all of them take turns.",
                        "precision"),
    "compare.md_ps": ("Length of each replica in a heat bath. Long enough, a potential shows what it does to "
                      "structures that it was never taught.", "langevin"),
    "compare.replicas": ("Independent copies in the heat bath. With 4 whole ones, less than half of all may still "
                         "break; with 64, one in twenty.", "replicas"),
    "compare.temperature_K": ("Of the heat bath. Hotter atoms climb higher, further from what was learned.",
                              "langevin"),
    "compare.timestep_fs": ("At most a tenth of the fastest vibration: 0.5 fs with hydrogen.", "timestep"),
    # Theory
    "theory.num_bessels": ("How many radial functions a distance is turned into.", "radial-basis"),
    "theory.r_max": ("Beyond this distance a neighbour is not seen.", "cutoff"),
    "theory.p": ("A larger power keeps messages strong until close to the cutoff.", "cutoff"),
    "theory.degree": ("Degree of the harmonic; it has 2l + 1 components.", "spherical-harmonics"),
    "theory.order": ("Which of the components, −l to l.", "spherical-harmonics"),
}
"""Name of a control -> what it does, and its anchor in docs/theory.md. The name is the key of the widget, without its
first parts where pages share it."""


def explained(control: str) -> str:
    """Help text of a control such as "train.model.r_max" or "md.model": what it does, and a link to its equation."""
    while control not in EXPLANATIONS and "." in control:
        control = control.partition(".")[2]
    text, anchor = EXPLANATIONS[control]
    return f"{text} {equation(anchor)}"


def equation(anchor: str) -> str:
    """A Markdown link to a section of the Theory page."""
    return f"[Equation →]({THEORY}#{anchor})"
