"""Data sets inside the package: aspirin and ethanol at GFN2-xTB, made by scripts/make_embedded_data.py."""

from __future__ import annotations

from pathlib import Path

from toolkit.errors import DataError

PREFIX = "embedded:"
FOLDER = Path(__file__).with_name("embedded")


def embedded_names() -> list[str]:
    """Names that may follow `embedded:`."""
    return sorted(path.stem for path in FOLDER.glob("*.npz"))


def embedded_path(name: str) -> Path:
    """The file of an embedded data set. Raises DataError for an unknown name."""
    if name not in embedded_names():
        raise DataError(f"found the embedded data set {name!r}, expected one of {embedded_names()}",
                        "or give the path of a file")
    return FOLDER / f"{name}.npz"
