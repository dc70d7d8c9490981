"""Imports go one way, form no cycle, and cost nothing before they are needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = (
    {"durable"},
    {"configs"},
    {"data"},
    {"models"},
    {"observe"},
    {"metrics"},
    {"objectives"},
    {"results"},
    {"published"},
    {"nonfinite", "optimisation"},
    {"pretraining"},
    {"probes", "finetuning", "monitoring", "checkpointing"},
    {"report"},
    {"commands"},
    {"reproduce", "doctor"},
)
HEAVY = {
    "torch",
    "transformers",
    "timm",
    "pytorch_lightning",
    "torchmetrics",
    "matplotlib",
    "wandb",
    "pandas",
    "sklearn",
}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(ROOT.glob("vlp/**/*.py")) if "conf" not in path.parts}


def imports_of(module: str, path: Path) -> Iterator[str]:
    """Yield every module of ours that ``path`` names in an import, inside functions and under TYPE_CHECKING as well."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "vlp")
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            source = ".".join([*above, *filter(None, [node.module])])
            if source.split(".")[0] == "vlp":
                names = (f"{source}.{alias.name}" for alias in node.names)
                yield from (name if name in MODULES else source for name in names)


IMPORTS = {module: set(imports_of(module, path)) for module, path in MODULES.items()}


def layer_of(module: str) -> int | None:
    part = module.split(".")[1] if "." in module else ""
    return next((rank for rank, names in enumerate(LAYERS) if part in names), None)


def test_every_module_stands_in_a_layer():
    assert [module for module in MODULES if module != "vlp" and layer_of(module) is None] == []


def test_a_lower_layer_never_imports_a_higher_one():
    def allowed(importer: str, imported: str) -> bool:
        below, above = layer_of(imported), layer_of(importer)
        same_part = importer.split(".")[1] == imported.split(".")[1]
        return below is None or above is None or below < above or same_part

    wrong = [(a, b) for a, imported in IMPORTS.items() for b in sorted(imported) if not allowed(a, b)]
    assert wrong == []


def test_no_module_imports_the_package_root():
    assert [module for module, imported in IMPORTS.items() if "vlp" in imported] == []


def test_no_import_cycle_is_hidden_anywhere():
    # A package that re-exports depends on its modules; a module that imports its own package closes a cycle.
    try:
        TopologicalSorter(IMPORTS).prepare()
    except CycleError as error:
        pytest.fail(f"modules import each other: {' -> '.join(error.args[1])}")


def test_the_sweeper_imports_nothing_of_ours_that_loads_torch():
    # Hydra loads every plug-in at every start.
    script = """
import importlib, pkgutil
import hydra_plugins.vlp_sweeper as package
for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    importlib.import_module(found.name)
"""
    assert heavy_modules_after(script) == set()


def test_importing_the_package_and_its_configs_loads_no_heavy_library():
    assert heavy_modules_after("import vlp, vlp.configs, vlp.commands") == set()


@pytest.mark.parametrize("command", ["train.py", "probe.py"])
def test_help_loads_no_heavy_library(command: str):
    script = f"""
import runpy, sys
sys.argv = [{command!r}, "--help"]
sys.path.insert(0, ".")
try:
    runpy.run_path({command!r}, run_name="__main__")
except SystemExit as stop:
    assert not stop.code, stop.code
"""
    assert heavy_modules_after(script) == set()


def heavy_modules_after(script: str) -> set[str]:
    script += "\nimport sys\nprint('\\n' + ' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return HEAVY & set(done.stdout.splitlines()[-1].split())
