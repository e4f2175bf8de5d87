"""The Equivariance page says what follows a motion and what does not, and shows the passport it finds or makes."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from tests.pages.conftest import choose_on_server
from tests.pages.test_pages import fake_run
from toolkit.checks.result import CRITERIA
from toolkit.config import ModelConfig
from toolkit.jobs import launcher
from toolkit.jobs.requests import PassportRequest
from toolkit.jobs.run_dir import create_run_dir
from toolkit.jobs.tasks import run_task
from toolkit.models.checkpoint import save_model
from toolkit.models.potential import build_potential

PAGE = "pages/5_Equivariance.py"
FOLLOWS, FAILS = "✔ follows", "✘"


@pytest.fixture
def models_folder(tmp_path: Path) -> Path:
    """A folder of shipped models that a test may change, with one of three layers and l up to 2."""
    config = ModelConfig(species=("H", "C", "O"), r_max=3.0, num_layers=3, l_max=2, num_features=2, radial_mlp_width=4,
                         avg_num_neighbors=8.0)
    potential = build_potential(config)
    save_model(potential.model, potential.config, tmp_path / "models" / "aspirin")
    return tmp_path / "models"


def texts(at: AppTest) -> list[str]:
    """Everything a reader of the page sees as text, one entry an element."""
    kinds = (at.markdown, at.caption, at.info, at.warning, at.success, at.error, at.code)
    return [str(element.value) for kind in kinds for element in kind]


def verdicts(at: AppTest) -> dict[str, str]:
    """Title above each 3D view after the motion -> what it says."""
    lines = [text.strip("*").split(" · ") for text in texts(at) if ", after · " in text]
    return {name.removesuffix(", after"): verdict for name, verdict in lines}


def legends(at: AppTest) -> list[str]:
    """Names of the curves in the feature plots."""
    plots = [json.loads(chart.proto.spec)["data"] for chart in at.get("plotly_chart")]
    return [trace["name"] for plot in plots for trace in plot if trace.get("name")]


def errors(at: AppTest, quantity: str) -> list[float]:
    """The numbers behind a formula, this network first."""
    joined = "\n".join(texts(at)).replace("\\", "")
    return [float(number) for number in re.findall(re.escape(quantity) + r"\$ = (\S+) eV", joined)]


def test_the_network_follows_and_the_broken_copy_does_not(open_page) -> None:
    at = open_page(PAGE)
    assert not at.exception and not at.error
    assert verdicts(at)["This network"].startswith(FOLLOWS) and verdicts(at)["The broken copy"].startswith(FAILS)
    ours, broken = errors(at, "|E(Qx) - E(x)|")
    assert ours < 1e-9 < 1e-4 < broken
    ours, broken = errors(at, "max|F(Qx) - Q,F(x)|")
    assert ours < 1e-9 < 1e-3 < broken
    assert len(at.get("bidi_component")) == 3 and len(at.get("plotly_chart")) == 3
    names = legends(at)
    assert len(names) == 6 and all((FOLLOWS in name) == name.startswith("This network") for name in names)


def test_points_of_the_network_lie_on_the_diagonal(open_page) -> None:
    at = open_page(PAGE)
    for toggle in ("mirror", "shift", "shuffle"):
        at.toggle(key=f"equivariance.{toggle}").set_value(True)
    at.toggle(key="equivariance.vectors").set_value(True).run()
    assert not at.exception and len(at.get("bidi_component")) == 6
    assert verdicts(at)["This network"].startswith(FOLLOWS) and verdicts(at)["The broken copy"].startswith(FAILS)
    assert all((FOLLOWS in name) == name.startswith("This network") for name in legends(at))


def test_without_a_planted_fault_both_follow_and_float32_rounds_more(open_page) -> None:
    at = open_page(PAGE)
    at.slider(key="equivariance.fault").set_value(0)
    at.segmented_control(key="equivariance.dtype").set_value("float32").run()
    assert not at.exception and all(verdict.startswith(FOLLOWS) for verdict in verdicts(at).values())
    ours, broken = errors(at, "max|F(Qx) - Q,F(x)|")
    assert ours == broken and 1e-10 < ours < 1e-3


def test_the_last_layer_keeps_only_numbers(open_page) -> None:
    at = open_page(PAGE)
    at.segmented_control(key="equivariance.layer.3").set_value(3).run()
    assert not at.exception and len(at.get("plotly_chart")) == 1 and "2 numbers: they stay" in "\n".join(texts(at))
    assert not [toggle for toggle in at.toggle if toggle.key == "equivariance.vectors"]


def test_structures_that_do_not_fit_end_in_a_red_box(open_page, tmp_path: Path,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLKIT_DATA", str(tmp_path))
    at = open_page(PAGE)
    for name, content, said in (("gold.xyz", "1\n\nAu 0 0 0\n", "knows only"), ("many.xyz", _chain(301), "301 atoms")):
        (tmp_path / name).write_text(content)
        choose_on_server(at, "equivariance", name)
        assert not at.exception and said in at.error[0].value.replace("\\", "") and "Passport" in at.subheader[-1].value


def _chain(num_atoms: int) -> str:
    return "\n".join([str(num_atoms), "", *(f"C {1.4 * k} 0 0" for k in range(num_atoms))]) + "\n"


# --- passport -------------------------------------------------------------------------------------------------------


def write_passport(folder: Path, **changes: Any) -> None:
    """A passport in which all but the named changes are fine."""
    checks = {f"{name}.float64.reference": {"value": 1e-12, "threshold": 1e-10, "passed": True, "dtype": "float64",
                                            "backend": "reference", "problem": ""} for name in CRITERIA}
    passport = {"passed": True, "complete": True, "weights_sha256": "0", "device": "CPU", "checks": checks} | changes
    (folder / "aspirin" / "passport.json").write_text(json.dumps(passport))


def test_without_a_passport_the_page_says_how_to_make_one(open_page) -> None:
    at = open_page(PAGE)
    assert "python -m toolkit passport aspirin" in [code.value for code in at.code] and len(at.table) == 0


def test_a_passport_is_shown_with_laws_and_numbers(open_page, models_folder: Path) -> None:
    write_passport(models_folder)
    at = open_page(PAGE)
    assert f"All {len(CRITERIA)} checks passed" in at.success[0].value and "other weights" in at.warning[0].value
    table = at.table[0].value
    assert list(table["what it asks"]) == [criterion.sentence for criterion in CRITERIA.values()]
    assert set(table["float64"]) == {"✔ 1.0e‑12 ≤ 1e‑10"}
    assert len(at.get("download_button")) == 1


def test_a_failed_check_is_red_and_foreign_text_is_not_markdown(open_page, models_folder: Path) -> None:
    bad = {"value": 0.5, "threshold": 1e-10, "passed": False, "dtype": "float64", "backend": "reference",
           "problem": "![x](http://a.b/c.png)"}
    write_passport(models_folder, checks={"rotation.float64.reference": bad, "odd": 3, "empty": {}})
    at = open_page(PAGE)
    assert not at.exception and "2 of 2 checks failed" in at.error[0].value and len(at.success) == 0
    cell = at.table[0].value["float64"].iloc[0]
    assert cell.startswith("✘ 5.0e‑01 > 1e‑10") and "![" not in cell and "\\!\\[" in cell


@pytest.mark.parametrize("content", ["[]", "{", '{"checks": 3}', '{"checks": {"a": []}, "structures": 1}'])
def test_damaged_passports_do_no_harm(content: str, open_page, models_folder: Path) -> None:
    (models_folder / "aspirin" / "passport.json").write_text(content)
    at = open_page(PAGE)
    assert not at.exception and verdicts(at)["This network"].startswith(FOLLOWS)


def test_the_buttons_start_jobs(open_page, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Path] = []
    monkeypatch.setattr(launcher, "_spawn", lambda run_dir, resume: started.append(run_dir))
    for button, expected in (("check", ("embedded:aspirin", 0.0, False)), ("full", (None, 20.0, True))):
        at = open_page(PAGE)
        at.button(key=f"equivariance.{button}").click().run()
        assert not at.exception and at.query_params["run"] == started[-1].name
        config = json.loads((started[-1] / "config.json").read_text())
        assert (config["structure"], config["nve_ps"], config["keep"]) == expected


def test_a_battery_on_this_structure_is_shown_and_leaves_the_model_folder_alone(open_page, models_folder: Path) -> None:
    request = PassportRequest(model="aspirin", structure="embedded:ethanol", nve_ps=0.0)
    run_dir = create_run_dir("passport")
    result = run_task("passport", request.model_dump(mode="json"), run_dir)
    assert result["passed"] and result["structures"]["data"] == "C2H6O, not periodic"
    assert not (models_folder / "aspirin" / "passport.json").exists()
    at = open_page(PAGE, run=run_dir.name)
    assert not at.exception and f"All {len(result['checks'])} checks passed" in at.success[0].value
    assert "rotation" in list(at.table[0].value["check"]) and len(at.get("download_button")) == 1


def test_a_check_says_which_model_it_is_of(open_page, models_folder: Path) -> None:
    request = PassportRequest(model="aspirin", structure="embedded:ethanol", nve_ps=0.0)
    run_dir = create_run_dir("passport")
    run_task("passport", request.model_dump(mode="json"), run_dir)
    shutil.copytree(models_folder / "aspirin", models_folder / "other")
    at = open_page(PAGE, run=run_dir.name)
    assert "Model and structure: aspirin · embedded" in " ".join(texts(at)).replace("\\", "")
    assert not any("another model" in warning.value for warning in at.warning)
    at.selectbox(key="equivariance.model").select("other (shipped)").run()
    assert any("another model" in warning.value for warning in at.warning)


def test_the_run_in_the_address_chooses_the_model_once(open_page, models_folder: Path) -> None:
    shutil.copytree(models_folder / "aspirin", models_folder / "other")
    request = PassportRequest(model="other", structure="embedded:ethanol", nve_ps=0.0)
    run_dir = fake_run("passport", "finished", request.model_dump(mode="json"))
    at = open_page(PAGE, run=run_dir.name)
    assert at.selectbox(key="equivariance.model").value == "other (shipped)" and not at.exception
    at.selectbox(key="equivariance.model").select("aspirin (shipped)").run()
    assert at.selectbox(key="equivariance.model").value == "aspirin (shipped)"
