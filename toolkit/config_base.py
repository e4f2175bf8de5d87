"""What all configurations have in common."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


class StrictModel(BaseModel):
    """Base of all configurations: frozen, no unknown fields, no infinite or undefined numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


class Computing(StrictModel):
    """Where and how potentials are computed; `device` auto means CUDA when present."""

    device: str = "auto"
    dtype: Literal["float32", "float64"] = "float32"
    backend: str = "auto"

    def computing(self) -> dict[str, str]:
        """The options of `load_potential`."""
        return {"device": self.device, "dtype": self.dtype, "backend": self.backend}
