"""The tensor product of what every edge carries with what its centre sees, in plain torch.

For each edge (i, j):  out_ij^(path) = [V_ij ⊗ Γ_i]^(path), path by path, channel by channel ("uuu"; Musaelian et al.,
Nat. Commun. 14, 579 (2023), eq. 9). Both factors have channels, so this is not the convolution of `trilinear`, whose
harmonics have none. It is linear in each of its two arguments.

Features are stored components first, (2l+1, E, C): the Wigner symbols then act from the left, and the mixing of
channels from the right, in one matrix product each over all edges.
"""

from __future__ import annotations

import torch
from torch import Tensor

from toolkit.kernels.edges import EdgeList
from toolkit.kernels.paths import Path, PathTable


class EdgeProduct(torch.nn.Module):
    """The couplings of `table` between edge features (its irreps_in) and environments (in place of its harmonics)."""

    def __init__(self, table: PathTable) -> None:
        super().__init__()
        self.table = table
        self._groups: list[tuple[Path, ...]] = []
        for index in range(len(table.irreps_in)):
            for degree in range(table.l_max_sh + 1):
                paths = tuple(path for path in table.paths if (path.index_in, path.l_sh) == (index, degree))
                if paths:
                    # (rows, 2l2+1, 2l1+1)
                    coupling = torch.cat([path.coefficients().transpose(0, 1) for path in paths])
                    self.register_buffer(f"coupling_{len(self._groups)}", coupling.flatten(1), persistent=False)
                    self._groups.append(paths)

    def forward(self, features: list[Tensor], environment: list[Tensor], edges: EdgeList) -> list[Tensor]:
        """Multiply.

        features : one (2l+1, E, C) per irrep of table.irreps_in;  environment : one (2l+1, N, C) per l = 0 … l_max_sh
        edges : centres and neighbours. Returns one (2l+1, E, C') per irrep of table.irreps_out.
        """
        outputs: dict = {mul_ir.ir: [] for mul_ir in self.table.irreps_out}
        # 1. what the centre sees: (2l+1, N, C) -> (2l+1, E, C)
        seen = [x.index_select(1, edges.center) for x in environment]
        for number, paths in enumerate(self._groups):
            # 2. all products of components: (2l2+1, 1, E, C) × (1, 2l1+1, E, C) -> ((2l2+1)(2l1+1), E · C)
            mine = features[paths[0].index_in]
            products = (seen[paths[0].l_sh].unsqueeze(1) * mine.unsqueeze(0)).flatten(0, 1)
            # 3. Wigner symbols: -> (2l3+1, E, C) for each path
            coupled = getattr(self, f"coupling_{number}") @ products.flatten(1)
            rows = coupled.view(len(coupled), *mine.shape[1:])
            for path, part in zip(paths, rows.split([path.irrep_out.dim for path in paths]), strict=True):
                outputs[path.irrep_out].append(part)
        return [torch.cat(outputs[mul_ir.ir], dim=2) for mul_ir in self.table.irreps_out]
