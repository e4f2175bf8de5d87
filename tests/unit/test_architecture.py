"""The house rules that a machine can check: imports go downwards, only `ui` knows Streamlit, nothing is unpickled."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

LEVELS = [{"units", "errors", "storage", "progress", "config_base", "config_md", "config_model", "config"},
          {"data", "kernels"}, {"nn"}, {"models"},
          {"training", "md", "checks", "interfaces"}, {"jobs", "bench"}, {"api", "console"}, {"commands"}, {"ui", "cli", "__main__"}]
FREE = {"analysis", "figures"}
LEVEL_OF = {name: level for level, names in enumerate(LEVELS) for name in names}


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
    return found


def _forbidden(room: str, imported: str) -> bool:
    parts = imported.split(".")
    if parts[0] == "streamlit":
        return room != "ui"
    if parts[0] != "toolkit" or len(parts) == 1 or parts[1] == room:
        return False
    other = parts[1]
    if room in FREE:
        return LEVEL_OF.get(other, 99) > 0
    if other in FREE:
        return LEVEL_OF[room] < LEVEL_OF["checks"]
    return LEVEL_OF[other] > LEVEL_OF[room]


def _modules(root: Path) -> list[tuple[str, Path]]:
    files = sorted((root / "toolkit").rglob("*.py"))
    pairs = [(p.relative_to(root / "toolkit").parts[0].removesuffix(".py"), p) for p in files]
    return [(room, path) for room, path in pairs if room != "__init__"]


def test_imports_go_downwards_and_streamlit_stays_in_ui(root):
    modules = _modules(root)
    assert len(modules) > 30
    assert [f"{path}: {name}" for room, path in modules for name in _imports(path) if _forbidden(room, name)] == []


@pytest.mark.parametrize(("room", "imported"), [
    ("nn", "toolkit.models.base"), ("models", "streamlit"), ("analysis", "toolkit.md.state"), ("data", "toolkit.nn.mlp"),
    ("jobs", "toolkit.ui.viewer"), ("models", "toolkit.analysis.rdf")])
def test_forbidden_arrows_are_recognised(room, imported):
    assert _forbidden(room, imported)


def _unsafe(source: str) -> list[str]:
    """Calls that run or unpickle what a file says."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom) and "pickle" in ast.unparse(node):
            found.append(ast.unparse(node))
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            arguments = {k.arg: ast.unparse(k.value) for k in node.keywords}
            if name in ("eval", "exec", "torch.load", "yaml.load", "joblib.load") or arguments.get("allow_pickle") == "True":
                found.append(ast.unparse(node))
    return found


def test_nothing_is_unpickled_or_evaluated(root):
    sources = [*(root / "toolkit").rglob("*.py"), *(root / "pages").glob("*.py"), root / "app.py"]
    assert [(str(path), call) for path in sources for call in _unsafe(path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize("source", ["import pickle", "np.load(p, allow_pickle=True)", "torch.load(p)", "eval(text)"])
def test_unsafe_calls_are_recognised(source):
    assert _unsafe(source)


def test_package_inits_are_empty(root):
    for path in (root / "toolkit").glob("*/__init__.py"):
        assert path.read_text() == "", path


def test_importing_the_package_loads_neither_torch_nor_streamlit():
    code = "import sys, toolkit; assert 'torch' not in sys.modules and 'streamlit' not in sys.modules; toolkit.MDConfig"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_run_folder_modules_import_no_torch():
    code = "import sys, toolkit.jobs.launcher, toolkit.jobs.run_dir; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
