"""Reads the bytes of a scene as the viewer's frames.js does."""

from __future__ import annotations

import json
from typing import Any

import numpy as np


def unpack(data: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """The header, and by name: numbers (T,), positions, cells, arrows [(starts, vectors)], colorings [values]."""
    length = int.from_bytes(data[:4], "little")
    header = json.loads(data[4:4 + length])
    rest = np.frombuffer(data[4 + length:], dtype="<f4").reshape(header["frames"], -1)

    def take(*shape: int) -> np.ndarray:
        nonlocal rest
        values, rest = np.split(rest, [int(np.prod(shape))], axis=1)
        return values.reshape(-1, *shape)

    atoms = len(header["symbols"])
    parts: dict[str, Any] = {"numbers": take(1)[:, 0], "positions": take(atoms, 3)}
    parts["cells"] = take(3, 3) if header["periodic"] else None
    parts["arrows"] = [(take(arrows["count"], 3), take(arrows["count"], 3)) for arrows in header["arrows"]]
    parts["colorings"] = [take(atoms) for _ in header["colorings"]]
    assert rest.size == 0
    return header, parts
