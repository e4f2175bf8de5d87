"""The convolution in plain torch: the numbers every other backend is compared with.

For each centre i:  out_i^(path) = Σ_{j ∈ N(i)} w_ij^(path) · [x_j ⊗ Y(r̂_ij)]^(path), path by path, channel by channel
(Batzner et al., Nat. Commun. 13, 2453 (2022), eq. 7–8).
"""

from __future__ import annotations

import torch
from torch import Tensor

from toolkit.kernels.edges import EdgeList
from toolkit.kernels.paths import PathTable


class ReferenceConvolution(torch.nn.Module):
    """Gather, tensor product with per-edge weights, sum over neighbours.

    The harmonics are first contracted with the Wigner symbols of all paths that leave one input irrep, which turns
    the tensor product into one small matrix product per edge instead of one contraction per path.
    """

    def __init__(self, table: PathTable) -> None:
        super().__init__()
        self.table = table
        self._groups = []
        row_counts = []
        for index, (channels, irrep_in) in enumerate(table.irreps_in):
            paths = [path for path in table.paths if path.index_in == index]
            rows = [path.irrep_out.dim for path in paths]
            row_counts.append(rows)
            self._groups.append((channels, irrep_in.dim, len(paths)))
            coupling = torch.zeros((table.l_max_sh + 1) ** 2, sum(rows), irrep_in.dim, dtype=torch.float64)
            start = 0
            for path, num_rows in zip(paths, rows, strict=True):
                first, last = path.l_sh**2, (path.l_sh + 1) ** 2
                coupling[first:last, start:start + num_rows] = path.coefficients()
                start += num_rows
            self.register_buffer(f"coupling_{index}", coupling.flatten(1), persistent=False)
            row_to_path = torch.repeat_interleave(torch.arange(len(paths)), torch.tensor(rows, dtype=torch.int64))
            self.register_buffer(f"row_to_path_{index}", row_to_path, persistent=False)
        self._row_counts = row_counts

    def forward(self, features: list[Tensor], harmonics: Tensor, weights: Tensor, edges: EdgeList) -> list[Tensor]:
        """Convolve.

        features : one (N, 2l+1, C) per irrep of `table.irreps_in`;  harmonics : (E, (l_max_sh+1)²)
        weights : (E, num_weights);  edges : centres and neighbours
        Returns one (N, 2l+1, C') per irrep of `table.irreps_out`.
        """
        outputs: dict = {mul_ir.ir: [] for mul_ir in self.table.irreps_out}
        first = 0
        for index, (channels, dim_in, num_paths) in enumerate(self._groups):
            if num_paths == 0:
                continue
            weight = weights[:, first:first + num_paths * channels].unflatten(1, (num_paths, channels))
            first += num_paths * channels
            # 1. harmonics × Wigner symbols: (E, (l_max_sh+1)²) -> (E, rows, 2l1+1)
            coupling = (harmonics @ getattr(self, f"coupling_{index}")).unflatten(1, (-1, dim_in))
            # 2. tensor product with the neighbour's features: (E, rows, 2l1+1) @ (E, 2l1+1, C) -> (E, rows, C)
            message = torch.bmm(coupling, features[index].index_select(0, edges.neighbor))
            # 3. per-edge weights, one per path and channel
            message = message * weight.index_select(1, getattr(self, f"row_to_path_{index}"))
            # 4. sum over neighbours: (E, rows, C) -> (N, rows, C)
            summed = message.new_zeros(edges.num_atoms, *message.shape[1:]).index_add(0, edges.center, message)
            self._distribute(summed, index, outputs)
        return [torch.cat(outputs[mul_ir.ir], dim=2) for mul_ir in self.table.irreps_out]

    def _distribute(self, summed: Tensor, index: int, outputs: dict) -> None:
        paths = [path for path in self.table.paths if path.index_in == index]
        for path, part in zip(paths, summed.split(self._row_counts[index], dim=1), strict=True):
            outputs[path.irrep_out].append(part)
