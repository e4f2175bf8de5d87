"""The shape of a molecule frame by frame: deviation from a reference after superposition, radius of gyration."""

from __future__ import annotations

import numpy as np

from toolkit.errors import DataError


def superposition_rotations(centered: np.ndarray, reference: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Proper rotations (T, 3, 3) R that minimise Σ w |R x − y|²; never a reflection.

    From the singular value decomposition of Σ w y xᵀ (Kabsch, Acta Cryst. A 32, 922 (1976); 34, 827 (1978)).
    centered : (T, N, 3) and reference : (N, 3), both about their weighted centres;  weights : (N,)
    """
    left, _, right = np.linalg.svd(np.einsum("n,na,tnb->tab", weights, reference, centered))
    left[:, :, 2] *= np.linalg.det(left @ right)[:, None]
    return left @ right


def kabsch_rmsd(frames: np.ndarray, reference: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Root-mean-square deviation of frames (T, N, 3) from a reference (N, 3) after the best superposition, (T,), Å.

    weights : (N,), for example masses; default all alike. A mirror image is not superposed by reflection.
    Raises DataError for frames of another shape than the reference.
    """
    frames, reference = np.asarray(frames, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    if frames.shape[1:] != reference.shape:
        raise DataError(f"found frames of shape {frames.shape}, expected (T, {len(reference)}, 3) as the reference")
    weights = np.ones(len(reference)) if weights is None else np.asarray(weights, dtype=np.float64)
    share = weights / weights.sum()
    centered = frames - np.einsum("n,tna->ta", share, frames)[:, None]
    target = reference - share @ reference
    turned = np.einsum("tab,tnb->tna", superposition_rotations(centered, target, share), centered)
    return np.sqrt(np.einsum("n,tna->t", share, (turned - target) ** 2))


def radius_of_gyration(frames: np.ndarray, masses: np.ndarray) -> np.ndarray:
    """√(Σ m |r − r_cm|² / Σ m) of frames (T, N, 3), (T,), Å. masses : (N,)"""
    share = np.asarray(masses, dtype=np.float64) / np.sum(masses)
    centered = np.asarray(frames, dtype=np.float64)
    centered = centered - np.einsum("n,tna->ta", share, centered)[:, None]
    return np.sqrt(np.einsum("n,tna->t", share, centered**2))
