"""Muon: steps of weight matrices made orthogonal, so that no direction of a layer is left behind.

Keller Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024); step lengths matched to those of
Adam as in Liu et al., "Muon is scalable for LLM training", arXiv:2502.16982 (2025).
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import torch
from torch import Tensor

MOMENTUM = 0.95
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""a, b, c of X ← aX + b(XXᵀ)X + c(XXᵀ)²X, chosen by Jordan et al. for speed: singular values end in about 0.7 … 1.2."""
NEWTON_SCHULZ_STEPS = 5
ADAM_LIKE_RMS = 0.2
"""Root mean square of an entry of the step over the learning rate, near that of Adam."""
SMALLEST_SIDE = 8
"""Smaller matrices and vectors are stepped by Adam."""
ADAM_BETAS, ADAM_EPS = (0.9, 0.999), 1e-8


class Muon(torch.optim.Optimizer):
    """W ← (1 − lr · weight_decay) W − lr · 0.2 √max(m, n) · orthogonal part of the momentum, for an (m, n) matrix.

    A tensor of more than two dimensions is a stack of matrices, such as those of a self-connection, (D, in, out).
    What has a side below 8 is stepped by Adam.

    lr : a number, or a tensor on the device of the parameters; nothing in a step waits for the host
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float | Tensor, weight_decay: float = 0.0) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        """One step along the gradients of all parameters that have one."""
        for group in self.param_groups:
            lr, decay = group["lr"], group["weight_decay"]
            present = [p for p in group["params"] if p.grad is not None]
            if decay:
                torch._foreach_mul_(present, 1.0 - lr * decay)
            self._step_by_adam([p for p in present if not _is_matrix(p)], lr)
            by_shape: dict[torch.Size, list[Tensor]] = {}
            for p in present:
                if _is_matrix(p):
                    by_shape.setdefault(p.shape[-2:], []).append(p)
            for matrices in by_shape.values():
                self._step_matrices(matrices, lr)

    def _step_matrices(self, parameters: list[Tensor], lr: float | Tensor) -> None:
        """parameters : (…, m, n) each, m and n the same for all"""
        momenta = [self._zeros(p, "momentum") for p in parameters]
        gradients = [p.grad for p in parameters]
        torch._foreach_lerp_(momenta, gradients, 1.0 - MOMENTUM)
        ahead = torch._foreach_lerp(gradients, momenta, MOMENTUM)  # Nesterov
        stack = torch.cat([x.view(-1, *x.shape[-2:]) for x in ahead])
        steps = orthogonalize(stack) * (-lr * ADAM_LIKE_RMS * max(stack.shape[1:]) ** 0.5)
        each = steps.split([p.numel() // steps[0].numel() for p in parameters])
        torch._foreach_add_(parameters, [x.view_as(p) for x, p in zip(each, parameters, strict=True)])

    def _step_by_adam(self, parameters: list[Tensor], lr: float | Tensor) -> None:
        if not parameters:
            return
        (beta_1, beta_2), gradients = ADAM_BETAS, [p.grad for p in parameters]
        means, squares = ([self._zeros(p, name) for p in parameters] for name in ("mean", "square"))
        counts = [self._zeros(p, "count", ()) for p in parameters]
        torch._foreach_add_(counts, 1.0)
        torch._foreach_lerp_(means, gradients, 1.0 - beta_1)
        torch._foreach_lerp_(squares, torch._foreach_mul(gradients, gradients), 1.0 - beta_2)
        for p, mean, square, count in zip(parameters, means, squares, counts, strict=True):
            unbiased_mean, unbiased_square = mean / (1.0 - beta_1**count), square / (1.0 - beta_2**count)
            p.sub_(lr * unbiased_mean / (unbiased_square.sqrt() + ADAM_EPS))

    def _zeros(self, parameter: Tensor, name: str, shape: tuple[int, ...] | None = None) -> Tensor:
        """The named state of a parameter; zeros, of its shape unless told, when there is none yet."""
        state = self.state[parameter]
        if name not in state:
            state[name] = parameter.new_zeros(parameter.shape if shape is None else shape)
        return state[name]


def orthogonalize(matrices: Tensor) -> Tensor:
    """Matrices (B, m, n) with their singular values brought near 1 by Newton–Schulz iteration; zero stays zero.

    Iterated in bfloat16, as Jordan et al. do, where the CPU multiplies that several times as fast as float32: its errors of
    1 % are small beside the 30 % by which the iteration itself leaves the singular values.
    """
    a, b, c = NEWTON_SCHULZ
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.transpose(1, 2) if tall else matrices
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)
    if x.dtype == torch.float32 and x.device.type == "cpu" and _cpu_multiplies_bfloat16():
        x = x.to(torch.bfloat16)
    for _ in range(NEWTON_SCHULZ_STEPS):
        square = x @ x.transpose(1, 2)
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return (x.transpose(1, 2) if tall else x).to(matrices.dtype)


@cache
def _cpu_multiplies_bfloat16() -> bool:
    """Whether it has instructions for it; without them bfloat16 is slower than float32."""
    capabilities = getattr(torch.cpu, "get_capabilities", dict)()  # older torch has no such question: float32 then
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def _is_matrix(parameter: Tensor) -> bool:
    return parameter.ndim > 1 and min(parameter.shape[-2:]) >= SMALLEST_SIDE
