"""What a page or the command line writes into the run folder of a job."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from toolkit.config import DataConfig, MDConfig, StrictModel
from toolkit.config_base import Computing

Part = Literal["all", "train", "val", "test"]


class MDRequest(Computing):
    """One molecular dynamics run.

    model : a name under trained_models/, or the path of a model or training run folder
    structure : a source that `toolkit.data.formats.read_frames` takes, such as "embedded:aspirin" or a path, or
        "run:NAME", an earlier molecular dynamics run
    frame : which of its frames to start from; -1 is the last
    inner_model : a cheaper model for the inner steps, when `md.inner_steps` is above 1
    frames : several of its frames instead, perhaps different molecules, each a system of its own in one run
    """

    model: str
    structure: str
    frame: int = 0
    frames: tuple[int, ...] | None = Field(None, min_length=1)
    inner_model: str | None = None
    md: MDConfig = MDConfig()

    @field_validator("frames", mode="before")
    @classmethod
    def _from_words(cls, value: Any) -> Any:
        """What the command line says: numbers separated by commas."""
        return value.split(",") if isinstance(value, str) else value


class PassportRequest(StrictModel):
    """All checks of a model.

    model, structure, frame : as for molecular dynamics; without a structure one that the model was trained on is taken
    nve_ps : length of the simulation at constant energy, ps; 0 leaves it out
    keep : write the passport into the model's folder
    """

    model: str
    structure: str | None = None
    frame: int = 0
    nve_ps: float = Field(20.0, ge=0.0)
    keep: bool = False
    device: str = "auto"


class EvaluateRequest(StrictModel):
    """A model and the frames to judge it by.

    model : a name under trained_models/, or the path of a model or training run folder
    data, part : all frames of the file `data.train`, or one set of the split that `data` describes
    """

    model: str
    data: DataConfig
    part: Part = "all"
    device: str = "auto"
    dtype: Literal["float32", "float64"] = "float32"


def unusual(config: dict[str, Any], request: type[StrictModel]) -> dict[str, Any]:
    """Device, precision and backend of a stored request where they are not the defaults: a command has to name them."""
    return {name: config[name] for name in ("device", "dtype", "backend")
            if name in config and config[name] != request.model_fields[name].default}
