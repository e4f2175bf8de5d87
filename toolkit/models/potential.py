"""A potential ready to use: a model on a device, with everything between ASE atoms and NumPy results."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.data import atomic_numbers as number_of
from ase.data import chemical_symbols
from torch import Tensor

from toolkit.config import ModelConfig
from toolkit.data.graph import AtomicGraph, collate, graph_from_atoms
from toolkit.errors import ConfigError, DataError, DeviceError, ModelError
from toolkit.kernels.dispatch import select_backend
from toolkit.models.base import AtomisticModel, ModelOutput
from toolkit.models.checkpoint import load_model
from toolkit.models.derivatives import evaluate
from toolkit.models.folders import find_model
from toolkit.models.registry import build_model
from toolkit.models.uncertainty import LastLayerUncertainty, load_uncertainty

Prediction = dict[str, float | np.ndarray]
DEVICES = ("cpu", "cuda")


class Potential:
    """Energies, forces and stresses of structures; what `toolkit.load` and `toolkit.build` return.

    `device`, `dtype` and `backend` say what really runs. Weights are never modified by predictions.
    `model` is the network itself, for Hessians and features; `evaluate` runs a copy prepared for speed (constant
    factors folded, in float32 radial functions read from tables), renewed whenever `model` is set.
    `folder` is where it was loaded from, None for one made here or given another model.
    """

    def __init__(self, model: AtomisticModel, config: ModelConfig, device: torch.device, backend: str,
                 folder: Path | None = None) -> None:
        self.model = model.to(device).eval().requires_grad_(False)
        self.config = config
        self.device = device
        self.backend = backend
        self.dtype = next(p.dtype for name, p in model.named_parameters() if "table." not in name)
        self.r_max = config.r_max
        self.species = config.species
        self.folder = folder

    def __repr__(self) -> str:
        return (f"Potential({self.config.architecture}, {'-'.join(self.species)}, r_max {self.r_max} Å, "
                f"{self.num_parameters} parameters, {self.device}, {self.dtype}, backend {self.backend!r})")

    @property
    def model(self) -> AtomisticModel:
        """The network."""
        return self._model

    @model.setter
    def model(self, model: AtomisticModel) -> None:
        self._model = model
        self._prepared = deepcopy(model)
        self._prepared.prepare_inference()
        self._uncertainty: LastLayerUncertainty | None = None
        self.folder: Path | None = None  # what lies there was fitted for other weights

    @property
    def uncertainty(self) -> LastLayerUncertainty:
        """What was fitted for these weights, read at first use. Raises ModelError when there is none or it is of others."""
        if self._uncertainty is None:
            if self.folder is None:
                raise ModelError("found a potential that was not loaded from a folder, so nobody has fitted its uncertainty",
                                 "fit one with toolkit.training.uncertainty.fit_uncertainty")
            self._uncertainty = load_uncertainty(self.folder, self.model).to(self.device)
        return self._uncertainty

    @uncertainty.setter
    def uncertainty(self, uncertainty: LastLayerUncertainty) -> None:
        self._uncertainty = uncertainty.to(self.device)

    @property
    def num_parameters(self) -> int:
        """Number of weights."""
        return sum(p.numel() for p in self.model.parameters())

    def check_species(self, atomic_numbers: Tensor) -> None:
        """Raise DataError when an element occurs that the model has never seen."""
        known = {number_of[symbol] for symbol in self.species}
        unknown = sorted(set(atomic_numbers.unique().tolist()) - known)
        if unknown:
            raise DataError(f"found {[chemical_symbols[z] for z in unknown]}, this model knows only {list(self.species)}",
                            "use a model trained on these elements")

    def graph(self, atoms: Atoms | Sequence[Atoms]) -> AtomicGraph:
        """The batch of one or more structures on this device. Raises DataError for unknown species or bad cells."""
        structures = [atoms] if isinstance(atoms, Atoms) else list(atoms)
        strange = [atoms] if isinstance(atoms, str) else [found for found in structures if not isinstance(found, Atoms)]
        if strange:
            raise DataError(f"found {strange[0]!r}, expected ase.Atoms or several of them", "read files with toolkit.read_frames")
        if not structures:
            raise DataError("found an empty list of structures, expected at least one")
        graph = collate([graph_from_atoms(a, self.r_max) for a in structures])
        self.check_species(graph.atomic_numbers)
        return graph.to(self.device)

    def evaluate(self, graph: AtomicGraph, *, forces: bool = True, stress: bool = False) -> ModelOutput:
        """energy (S,), atomic_energies (N,) and, as asked for, forces (N, 3), stress (S, 3, 3): float64, eV, Å.

        Raises DeviceError when the batch does not fit into memory.
        """
        try:
            return evaluate(self._prepared, graph, forces=forces, stress=stress)
        except torch.OutOfMemoryError:
            raise DeviceError(f"{self.device} ran out of memory on {graph.num_atoms} atoms and {graph.num_edges} edges",
                              "predict fewer structures at once or use a smaller model") from None

    def evaluate_uncertainty(self, graph: AtomicGraph) -> ModelOutput:
        """energy_std (S,), eV, and forces_std (N,), eV/Å: calibrated standard deviations, of one force component.

        Raises ModelError when no uncertainty was fitted for these weights.
        """
        return self.uncertainty.evaluate(self._prepared, graph)

    def predict(self, atoms: Atoms | Sequence[Atoms], *, uncertainty: bool = False) -> Prediction | list[Prediction]:
        """Energies and derivatives as NumPy; a list is computed as one batch and gives a list.

        Keys: energy (float, eV), energies (N,), forces (N, 3), eV/Å, and stress (3, 3), eV/Å³, for structures that
        are periodic in all directions; when asked for, energy_std (float) and forces_std (N,), `evaluate_uncertainty`.
        """
        graph = self.graph(atoms)
        output = self.evaluate(graph, stress=bool(graph.pbc.all(dim=1).any()))
        if uncertainty:
            output |= self.evaluate_uncertainty(graph)
        last = np.cumsum(graph.atoms_per_structure().cpu().numpy())[:-1]
        energies = np.split(output["atomic_energies"].cpu().numpy(), last)
        forces = np.split(output["forces"].cpu().numpy(), last)
        results: list[Prediction] = []
        for s in range(graph.num_structures):
            result: Prediction = {"energy": float(output["energy"][s]), "energies": energies[s], "forces": forces[s]}
            if bool(graph.pbc[s].all()):
                result["stress"] = output["stress"][s].cpu().numpy()
            if uncertainty:
                result |= {"energy_std": float(output["energy_std"][s]),
                           "forces_std": output["forces_std"][graph.batch == s].cpu().numpy()}
            results.append(result)
        return results[0] if isinstance(atoms, Atoms) else results


def resolve_device(name: str) -> torch.device:
    """"auto" is CUDA when present, else the CPU. Raises DeviceError for a device this machine does not have."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in DEVICES:
        raise DeviceError(f"found device {name!r}, expected 'auto', 'cpu', 'cuda' or 'cuda:N'")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise DeviceError(f"found device {name!r}, but this machine has no usable CUDA GPU", "use device='cpu' or 'auto'")
    return device


def resolve_dtype(name: str | torch.dtype) -> torch.dtype:
    """"float32" or "float64" as a torch dtype. Raises ConfigError for anything else."""
    dtypes = {"float32": torch.float32, "float64": torch.float64}
    if isinstance(name, torch.dtype) and name in dtypes.values():
        return name
    if name not in dtypes:
        raise ConfigError(f"found dtype {name!r}, expected one of {sorted(dtypes)}")
    return dtypes[name]


@torch.inference_mode(False)  # forces are derivatives, whatever the caller says of his own tensors
def build_potential(config: ModelConfig, *, device: str = "cpu", dtype: str = "float32", backend: str = "auto") -> Potential:
    """An untrained potential with weights drawn from `config.seed`."""
    where = resolve_device(device)
    backend = select_backend(backend, where.type)
    return Potential(build_model(config, resolve_dtype(dtype), backend), config, where, backend)


@torch.inference_mode(False)
def load_potential(name_or_path: str | Path, *, device: str = "auto", dtype: str = "float32", backend: str = "auto") -> Potential:
    """A trained potential: a name under trained_models/, a model folder, or a run folder that holds one.

    Raises ModelError when the folder is absent or damaged, DeviceError when the device is.
    """
    where = resolve_device(device)
    backend = select_backend(backend, where.type)
    folder = find_model(name_or_path)
    model, config = load_model(folder, resolve_dtype(dtype), backend)
    return Potential(model, config, where, backend, folder)
