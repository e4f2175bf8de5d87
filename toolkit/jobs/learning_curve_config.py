"""What a learning curve is made of: a recipe, and the few of its fields that vary from run to run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator
from typing_extensions import Self

from toolkit.config import ModelConfig, StrictModel, TrainConfig, parse_config
from toolkit.errors import ConfigError
from toolkit.training.schedule import choose_batch_size


@dataclass(frozen=True)
class Point:
    """One training run of the grid."""

    l_max: int
    num_train: int
    seed: int

    @property
    def name(self) -> str:
        """Name of its folder and of its kept result."""
        return f"l{self.l_max}-n{self.num_train}-s{self.seed}"


class CurveRecipe(StrictModel):
    """What all runs of a folder share.

    equal : "steps", all sizes get as many optimiser steps as the recipe makes on all its training frames: else small
        sets would also be trained less, and the curve would show that. "epochs": each frame is seen equally often.
    """

    recipe: TrainConfig
    equal: Literal["steps", "epochs"] = "steps"


class LearningCurveRequest(CurveRecipe):
    """A recipe trained on fewer and fewer of its training frames, for several l_max and seeds.

    A seed is that of the weights, of the batch order, and of the order in which training frames are drawn: the first n
    of one order are the set of size n, so that the sets of a seed are nested.
    """

    train_sizes: tuple[int, ...] = Field((50, 100, 200, 400, 950), min_length=2)
    l_max: tuple[int, ...] = Field((0, 1, 2, 3), min_length=1)
    seeds: tuple[int, ...] = Field((0,), min_length=1)

    @field_validator("train_sizes", "l_max", "seeds", mode="before")
    @classmethod
    def _from_words(cls, value: Any) -> Any:
        """What the command line says: numbers separated by commas."""
        return value.split(",") if isinstance(value, str) else value

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        for name, least in (("train_sizes", 1), ("l_max", 0), ("seeds", 0)):
            values = getattr(self, name)
            if len(set(values)) < len(values) or min(values) < least:
                raise ValueError(f"{name} is {list(values)}, expected different numbers from {least} on")
        if self.recipe.start_from is not None:
            raise ValueError("the recipe has start_from, whose network has one l_max and has learned already: "
                             "a learning curve begins with random weights")
        for l_max in self.l_max:
            self._model(l_max, seed=0)
        return self

    @property
    def shared(self) -> CurveRecipe:
        """The part that another request for the same folder must have too."""
        return CurveRecipe(recipe=self.recipe, equal=self.equal)

    def points(self) -> list[Point]:
        """The runs, in the order of work: whole curves of the first seed come before any repetition."""
        return [Point(l_max, n, seed) for seed in self.seeds for l_max in self.l_max for n in self.train_sizes]

    def run_config(self, point: Point, num_pool: int, index_file: str) -> TrainConfig:
        """The recipe of one run. num_pool : training frames of the whole recipe; index_file : the frames of this run"""
        recipe, optimizer = self.recipe, self.recipe.optimizer
        batch_size = choose_batch_size(recipe.batch_size, num_pool)
        longer = 1.0
        if self.equal == "steps":
            longer = math.ceil(num_pool / batch_size) / math.ceil(point.num_train / batch_size)
        patience = recipe.early_stop_patience_epochs
        split = recipe.data.split.model_copy(update={"method": "indices", "index_file": index_file, "num_train": None})
        return recipe.model_copy(update={
            "data": recipe.data.model_copy(update={"split": split}),
            "model": self._model(point.l_max, point.seed),
            "optimizer": optimizer.model_copy(update={
                "warmup_epochs": round(longer * optimizer.warmup_epochs),
                "plateau_patience_epochs": max(1, round(longer * optimizer.plateau_patience_epochs))}),
            "batch_size": batch_size, "seed": point.seed,
            "max_epochs": max(1, round(longer * recipe.max_epochs)),
            "validate_every_epochs": max(1, round(longer * recipe.validate_every_epochs)),
            "early_stop_patience_epochs": None if patience is None else max(1, round(longer * patience)),
        })

    def _model(self, l_max: int, seed: int) -> ModelConfig:
        """Raises ConfigError when the recipe has channels for fewer l than asked for."""
        model = self.recipe.model
        features = model.num_features
        if isinstance(features, tuple):
            if len(features) <= l_max:
                raise ConfigError(f"found num_features {list(features)} for l_max {l_max}, expected "
                                  f"{l_max + 1} numbers or more", "give more numbers, or one for all l")
            features = features[:l_max + 1]
        changes = {"l_max": l_max, "num_features": features, "seed": seed}
        return parse_config(ModelConfig, model.model_dump(mode="json") | changes)
