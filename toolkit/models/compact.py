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
BY_ELEMENT, BY_CHANNEL = 0, 1
"""Axes of an embedding, (S, D)."""


def compact_weights(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same state of a model with its self-connections by element, where that is smaller."""
    return {**weights, **{key: _product(embedding, weights[key]) for key, embedding in _connections(weights, BY_CHANNEL)}}


def expand_weights(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state of a model from what `compact_weights` made of it, in float64; else as it is."""
    return {**weights, **{key: _product(torch.linalg.pinv(embedding.double()), weights[key].double())
                          for key, embedding in _connections(weights, BY_ELEMENT)}}


def expanded_shapes(shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """The shapes that `expand_weights` gives tensors of these shapes."""
    meta = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    return {**shapes, **{key: (embedding.shape[1], *shapes[key][1:]) for key, embedding in _connections(meta, BY_ELEMENT)}}


def _connections(weights: dict[str, Tensor], axis: int) -> Iterator[tuple[str, Tensor]]:
    """Keys of self-connections with a matrix for each index of that axis of the embedding, and the embedding, (S, D).

    None where an embedding has as many elements as channels or more: that is not made smaller.
    """
    for name in (key for key in weights if key.endswith(EMBEDDING) and weights[key].ndim == 2):
        prefix, embedding = name.removesuffix(EMBEDDING), weights[name]
        if embedding.shape[0] < embedding.shape[1]:
            yield from ((key, embedding) for key in weights if key.startswith(f"{prefix}layers.") and CONNECTION in key
                        and weights[key].shape[:1] == embedding.shape[axis:axis + 1])


def _product(matrix: Tensor, stack: Tensor) -> Tensor:
    """Σ_d matrix_sd stack_d, summed in float64."""
    return torch.tensordot(matrix.double(), stack.double(), dims=1).to(stack.dtype)
