"""Smaller weight files: a self-connection by element instead of by channel of the species embedding.

NequIP mixes a layer's channels with Σ_d z_sd W_d for an atom of species s, where z, (S, D), are the embeddings. Only S such
sums exist, so that they are stored, (S, C_in, C_out), in place of the D matrices W_d when S < D. They come back as
W = z⁺ (z W), z⁺ the pseudoinverse: the smallest matrices with these sums, and so the same potential.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

EMBEDDING, CONNECTION = "species_embedding", "self_connection.weights."


def compact_weights(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same state of a model with its self-connections by element, where that is smaller."""
    return {**weights, **{key: _product(embedding, weights[key]) for key, embedding in _connections(weights)
                          if embedding.shape[0] < embedding.shape[1] == weights[key].shape[0]}}


def expand_weights(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state of a model from what `compact_weights` made of it, in float64; else as it is."""
    return {**weights, **{key: _product(torch.linalg.pinv(embedding.double()), weights[key].double())
                          for key, embedding in _connections(weights)
                          if weights[key].shape[0] == embedding.shape[0] < embedding.shape[1]}}


def expanded_shapes(shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """The shapes that `expand_weights` gives tensors of these shapes."""
    meta = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    return {**shapes, **{key: (embedding.shape[1], *shapes[key][1:]) for key, embedding in _connections(meta)
                         if meta[key].ndim and shapes[key][0] == embedding.shape[0] < embedding.shape[1]}}


def _connections(weights: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Keys of self-connections, each with the embedding, (S, D), that it is contracted with."""
    for name in (key for key in weights if key.endswith(EMBEDDING) and weights[key].ndim == 2):
        prefix = name.removesuffix(EMBEDDING)
        yield from ((key, weights[name]) for key in weights if key.startswith(f"{prefix}layers.") and CONNECTION in key)


def _product(matrix: Tensor, stack: Tensor) -> Tensor:
    """Σ_d matrix_sd stack_d, summed in float64."""
    return torch.tensordot(matrix.double(), stack.double(), dims=1).to(stack.dtype)
