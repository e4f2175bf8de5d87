"""Equivariant interatomic potentials from quantum-chemistry frames: train, certify, simulate, analyse.

The public names are loaded on first use (PEP 562), so that `import toolkit` is quick and needs neither Streamlit nor a GPU.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toolkit.api import train as train
    from toolkit.config import DataConfig as DataConfig
    from toolkit.config import MDConfig as MDConfig
    from toolkit.config import ModelConfig as ModelConfig
    from toolkit.config import TrainConfig as TrainConfig
    from toolkit.errors import ToolkitError as ToolkitError
    from toolkit.interfaces.ase_calculator import Calculator as Calculator
    from toolkit.interfaces.relaxation import cartesian_hessian as hessian
    from toolkit.md.simulation import simulate as simulate
    from toolkit.models.potential import Potential as Potential
    from toolkit.models.potential import build_potential as build
    from toolkit.models.potential import load_potential as load

__version__ = "0.1.0"

_PUBLIC = {
    "Calculator": ("toolkit.interfaces.ase_calculator", "Calculator"),
    "DataConfig": ("toolkit.config", "DataConfig"),
    "MDConfig": ("toolkit.config", "MDConfig"),
    "ModelConfig": ("toolkit.config", "ModelConfig"),
    "Potential": ("toolkit.models.potential", "Potential"),
    "ToolkitError": ("toolkit.errors", "ToolkitError"),
    "TrainConfig": ("toolkit.config", "TrainConfig"),
    "build": ("toolkit.models.potential", "build_potential"),
    "evaluate": ("toolkit.training.metrics", "evaluate_potential"),
    "hessian": ("toolkit.interfaces.relaxation", "cartesian_hessian"),
    "load": ("toolkit.models.potential", "load_potential"),
    "read_frames": ("toolkit.data.formats", "read_frames"),
    "simulate": ("toolkit.md.simulation", "simulate"),
    "train": ("toolkit.api", "train"),
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'toolkit' has no attribute {name!r}; it offers {sorted(_PUBLIC)}")
    module, attribute = _PUBLIC[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
