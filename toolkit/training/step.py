"""One optimiser step, from the forward pass to the moving average of the weights. Nothing in it waits for the host."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from toolkit.config import LossConfig, OptimizerConfig
from toolkit.data.graph import AtomicGraph
from toolkit.models.base import AtomisticModel, ModelOutput
from toolkit.models.derivatives import evaluate
from toolkit.training.ema import ExponentialMovingAverage
from toolkit.training.loss import training_loss
from toolkit.training.muon import Muon


class TrainStep:
    """Changes the weights of `model`; owns the optimiser and the moving average.

    On CUDA the optimiser keeps its state and learning rate on the device, so that a whole step can be recorded.
    """

    def __init__(self, model: AtomisticModel, loss: LossConfig, options: OptimizerConfig) -> None:
        self.model = model
        self.loss = loss
        self._limit = math.inf if options.gradient_clip_norm is None else options.gradient_clip_norm
        parameters = [p for p in model.parameters() if p.requires_grad]
        self.device = parameters[0].device
        on_cuda = self.device.type == "cuda"
        rate = torch.tensor(options.learning_rate, device=self.device) if on_cuda else options.learning_rate
        if options.name == "muon":
            self.optimizer: torch.optim.Optimizer = Muon(parameters, rate, options.weight_decay)
        else:
            optimizer_class = torch.optim.AdamW if options.name == "adamw" else torch.optim.Adam
            self.optimizer = optimizer_class(parameters, lr=rate, weight_decay=options.weight_decay,
                                             amsgrad=options.amsgrad, capturable=on_cuda)
        self.ema = ExponentialMovingAverage(parameters, options.ema_decay)

    def prepare(self, learning_rate: float, step: int) -> None:
        """Set the learning rate and the decay of the average for optimiser step number `step` (0, 1, …)."""
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(learning_rate)
            else:
                group["lr"] = learning_rate
        self.ema.set_step(step)

    def __call__(self, parts: Iterable[AtomicGraph], counts: Mapping[str, int] | None = None) -> Tensor:
        """Do the step on a batch, given whole or in parts (then with `counts`, the labels known in all of them).

        Returns the loss and the norm of the gradient before clipping, (2,), on the device. Where one of them is not
        finite, neither are the weights any more.
        """
        self.optimizer.zero_grad(set_to_none=True)
        losses = []
        for part in parts:
            graph = part.to(self.device)
            loss = training_loss(self.outputs(graph), graph, self.loss, counts)
            loss.backward()
            losses.append(loss.detach())
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self._limit)
        self.optimizer.step()
        self.ema.update()
        loss = torch.stack(losses).sum()
        return torch.stack([loss, norm.to(loss.dtype)])

    def outputs(self, graph: AtomicGraph) -> ModelOutput:
        """Energy and what else the loss asks for, with the graph of their derivatives."""
        return evaluate(self.model, graph, forces=self.loss.forces_weight > 0, stress=self.loss.stress_weight > 0,
                        create_graph=True)

    def remember(self) -> Callable[[], None]:
        """A function that puts back weights, optimiser state and averages as they are now, bit for bit and in place.

        State that the optimiser makes later began as zeros, and goes back to zeros.
        """
        saved = {name: tensor.clone() for name, tensor in self.state().items()}

        @torch.no_grad()
        def put_back() -> None:
            for name, tensor in self.state().items():
                if name in saved:
                    tensor.copy_(saved[name])
                else:
                    tensor.zero_()

        return put_back

    def state(self) -> dict[str, Tensor]:
        """All that the next step depends on, by name: weights, averages, optimiser state."""
        tensors = {f"model.{key}": value for key, value in self.model.state_dict().items()}
        tensors |= {f"ema.{i}": value for i, value in enumerate(self.ema.averages)}
        for i, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{name}": value for name, value in state.items()}
        return tensors

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from the `state` of an earlier run."""
        self.model.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")})
        for i, average in enumerate(self.ema.averages):
            average.copy_(tensors[f"ema.{i}"])
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith("optimizer."):
                _, index, name = key.split(".")
                state.setdefault(int(index), {})[name] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
