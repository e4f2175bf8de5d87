"""Feature irreps as a pure function of the hyper-parameters."""

from __future__ import annotations

from e3nn import o3


def feature_irreps(channels: tuple[int, ...], parity: bool) -> o3.Irreps:
    """Hidden irreps for `channels[l]` channels per l = 0 … l_max.

    Without `parity` only the natural parity (−1)^l is kept (0e, 1o, 2e, …); with it both, e.g. 0e, 0o, 1o, 1e, …
    """
    parities = (lambda l: (1, -1)) if parity else (lambda l: ((-1) ** l,))
    return o3.Irreps([(c, (l, p)) for l, c in enumerate(channels) for p in parities(l)])
