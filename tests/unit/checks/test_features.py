"""Energies, forces and features follow motions to rounding, a planted fault does not; predictions are Wigner's."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from e3nn import o3
from torch import Tensor

from toolkit.checks.features import break_symmetry, follow_features, hidden_features, wigner_matrix
from toolkit.checks.motions import Followed, Motion, follow_answers, rotation_matrix
from toolkit.checks.result import CRITERIA
from toolkit.config import ModelConfig
from toolkit.data.graph import AtomicGraph
from toolkit.errors import ModelError
from toolkit.models.nequip import NequIP
from toolkit.models.potential import Potential, build_potential
from toolkit.models.zbl import ZBL

TURNED = rotation_matrix((20.0, -35.0, 70.0))
MOTIONS = {
    "rotation": Motion(TURNED),
    "mirror": Motion(rotation_matrix((20.0, -35.0, 70.0), mirror=True)),
    "inversion": Motion(rotation_matrix((0.0, 0.0, 0.0), invert=True)),
    "everything": Motion(rotation_matrix((20.0, -35.0, 70.0), mirror=True, invert=True), (1.5, -1.0, 0.5), True),
}
IRREPS = ("0e", "0o", "1o", "1e", "2e", "2o", "3o", "4e")


@pytest.fixture
def potential(small_config: ModelConfig) -> Potential:
    """Untrained, with features of both parities up to l = 2 and a core repulsion beside the network."""
    return build_potential(small_config.model_copy(update={"zbl": True}), dtype="float64")


def worst(stages: list[dict[str, Followed]]) -> float:
    return max(followed.relative_error for stage in stages for followed in stage.values())


# --- the predictions ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("irrep", IRREPS)
def test_wigner_matrices_are_a_representation_and_agree_with_e3nn(irrep: str) -> None:
    improper = rotation_matrix((-10.0, 50.0, 5.0), mirror=True)
    first, second = wigner_matrix(irrep, TURNED), wigner_matrix(irrep, improper)
    np.testing.assert_allclose(first @ second, wigner_matrix(irrep, TURNED @ improper), atol=1e-13)
    np.testing.assert_allclose(second @ second.T, np.eye(len(second)), atol=1e-13)
    published = o3.Irrep(irrep).D_from_matrix(torch.as_tensor(improper)).numpy()
    np.testing.assert_allclose(second, published, atol=5e-6)  # what e3nn's way through Euler angles leaves


def test_vectors_turn_by_the_matrix_itself_and_axial_ones_keep_their_sign_under_inversion() -> None:
    np.testing.assert_allclose(wigner_matrix("1o", TURNED), TURNED, atol=1e-14)
    np.testing.assert_allclose(wigner_matrix("1e", -TURNED), TURNED, atol=1e-14)
    assert wigner_matrix("0o", -TURNED).item() == pytest.approx(-1.0)


def test_a_motion_keeps_distances_and_the_place_of_the_centre(triclinic: Atoms) -> None:
    motion = MOTIONS["everything"]
    moved = motion.apply(triclinic)
    way = moved.positions.mean(axis=0) - triclinic.positions.mean(axis=0)
    np.testing.assert_allclose(way, motion.shift_A, atol=1e-12)
    np.testing.assert_allclose(moved.get_all_distances(mic=True), triclinic.get_all_distances(mic=True), atol=1e-12)
    assert np.linalg.det(motion.matrix) == pytest.approx(1.0)  # a mirror and an inversion are a rotation
    assert np.linalg.det(MOTIONS["mirror"].matrix) == pytest.approx(-1.0)
    assert sorted(motion.order(7)) == list(range(7)) != motion.order(7).tolist()


# --- what follows, and what does not ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MOTIONS)
def test_energy_forces_and_features_follow(name: str, potential: Potential, structure: Atoms) -> None:
    energy, forces = follow_answers(potential, structure, MOTIONS[name])
    assert np.abs(forces.before).max() > 1e-2 and not np.allclose(forces.before, forces.expected)
    assert energy.error < 1e-10 and forces.relative_error < 1e-10
    stages = follow_features(potential, structure, MOTIONS[name])
    assert [sorted(stage) for stage in stages[:2]] == [["0e"], ["0e", "1o", "2e"]]
    assert set(stages[2]) == {"0e", "1o", "1e", "2e", "2o"} and list(stages[3]) == ["0e"]
    assert all(np.abs(followed.before).max() > 1e-6 for stage in stages for followed in stage.values())
    assert worst(stages) < 1e-10


@pytest.mark.parametrize("name", MOTIONS)
def test_the_broken_copy_is_rejected(name: str, potential: Potential, structure: Atoms) -> None:
    broken = break_symmetry(potential, 0.1)
    energy, forces = follow_answers(broken, structure, MOTIONS[name])
    assert energy.error > 1e-4 and forces.relative_error > 1e-3
    embedding, *layers = follow_features(broken, structure, MOTIONS[name])
    assert worst([embedding]) < 1e-14  # what an atom knows before it hears from others has no direction yet
    assert all(followed.relative_error > 1e-3 for stage in layers for followed in stage.values())


def test_without_a_fault_the_broken_copy_is_the_network_and_the_network_is_never_touched(
        potential: Potential, ethanol: Atoms) -> None:
    before = potential.predict(ethanol)["forces"]
    weights = {name: value.clone() for name, value in potential.model.state_dict().items()}
    healthy, broken = break_symmetry(potential, 0.0), break_symmetry(potential, 0.2)
    assert np.abs(broken.predict(ethanol)["forces"] - before).max() > 1e-2
    np.testing.assert_array_equal(healthy.predict(ethanol)["forces"], before)
    np.testing.assert_array_equal(potential.predict(ethanol)["forces"], before)
    assert all(torch.equal(value, weights[name]) for name, value in potential.model.state_dict().items())


def test_only_improper_motions_find_a_flipped_parity_label(potential: Potential, ethanol: Atoms,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    honest = NequIP.layer_features

    def mislabelled(self: NequIP, graph: AtomicGraph, vectors: Tensor) -> Iterator[tuple[o3.Irreps, list[Tensor]]]:
        for irreps, features in honest(self, graph, vectors):
            yield o3.Irreps([(n, (ir.l, -ir.p if ir.l == 1 else ir.p)) for n, ir in irreps]), features

    monkeypatch.setattr(NequIP, "layer_features", mislabelled)
    assert worst(follow_features(potential, ethanol, MOTIONS["rotation"])) < 1e-10
    found = follow_features(potential, ethanol, MOTIONS["inversion"])[1]
    assert found["1e"].relative_error == pytest.approx(2.0) and found["2e"].relative_error < 1e-10


def test_float32_follows_to_rounding(small_config: ModelConfig, ethanol: Atoms) -> None:
    potential = build_potential(small_config, dtype="float32")
    energy, forces = follow_answers(potential, ethanol, MOTIONS["rotation"])
    assert 1e-12 < forces.relative_error < 1e-5 and energy.error < 1e-4
    assert 1e-12 < worst(follow_features(potential, ethanol, MOTIONS["rotation"])) < 1e-5


def test_rows_stay_with_their_atoms_when_these_are_renumbered(potential: Potential, ethanol: Atoms) -> None:
    plain, shuffled = (follow_features(potential, ethanol, motion)[2]["1o"]
                       for motion in (Motion(TURNED), Motion(TURNED, shuffled=True)))
    np.testing.assert_allclose(shuffled.found, plain.found, atol=1e-12)
    one = shuffled.of_atom(3)
    np.testing.assert_array_equal(one.transposed().found, shuffled.found[3].T)
    assert one.found.shape == (1, *shuffled.found.shape[1:])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_symmetry_makes_zero_follows_too(small_config: ModelConfig, dtype: str) -> None:
    """Forces of a perfect crystal, arrows inside its atoms: rounding errors alone, which turn as they like."""
    diamond = bulk("C", cubic=True)
    potential = build_potential(small_config, dtype=dtype)
    followed = [follow_answers(potential, diamond, MOTIONS["rotation"])[1],
                *(each.of_atom(0) for stage in follow_features(potential, diamond, MOTIONS["rotation"]) for each in stage.values())]
    limit = getattr(CRITERIA["rotation"], dtype)
    assert any(each.vanishes for each in followed) and all(each.relative_error < limit for each in followed)
    broken = break_symmetry(potential, 0.2)
    assert follow_answers(broken, diamond, MOTIONS["rotation"])[1].relative_error > limit


def test_errors_are_the_longest_deviation_and_the_relative_rms() -> None:
    expected = np.array([[3.0, 0.0, 0.0], [0.0, 4.0, 0.0]])
    followed = Followed(expected, expected, expected + [[0.0, 0.3, 0.4], [0.0, 0.0, 0.0]])
    assert followed.error == pytest.approx(0.5) and followed.relative_error == pytest.approx(0.1)


def test_a_model_without_features_is_named(potential: Potential, small_config: ModelConfig, ethanol: Atoms) -> None:
    bare = copy(potential)
    bare.model = ZBL(small_config)
    with pytest.raises(ModelError, match="ZBL has no layers"):
        hidden_features(bare, ethanol)
    with pytest.raises(ModelError, match="ZBL has no layers"):
        follow_features(break_symmetry(bare), ethanol, MOTIONS["rotation"])
