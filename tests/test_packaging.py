"""The project works as a clone, an editable install and a wheel, and its pinned versions are ones it allows."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from fnmatch import fnmatch
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
EXTRAS_WITHOUT_PINS = {"store", "parse"}


def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(delimiters=("=",))
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def requirements() -> list[Requirement]:
    config = setup_cfg()
    extras = [lines for name, lines in config["options.extras_require"].items() if name not in EXTRAS_WITHOUT_PINS]
    lines = "\n".join([config["options"]["install_requires"], *extras]).splitlines()
    return [Requirement(line) for line in lines if line.strip() and not line.startswith("#")]


def data_files() -> list[str]:
    files = [path for path in (ROOT / "vlp").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    files += [ROOT / "vlp/conf" / path.relative_to(ROOT / "conf") for path in (ROOT / "conf").rglob("*.yaml")]
    ignored = ("vlp/conf/paths/local.yaml", "*.md", "*.py")
    names = {str(path.relative_to(ROOT)) for path in files}
    return sorted(name for name in names if not any(fnmatch(name, pattern) for pattern in ignored))


def test_every_requirement_is_pinned_to_a_version_it_allows():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    pinned = {canonicalize_name(name): version for name, version in pins.items()}
    wanted = {canonicalize_name(requirement.name): requirement.specifier for requirement in requirements()}
    assert set(wanted) <= set(pinned)
    assert [name for name, ranges in wanted.items() if not ranges.contains(pinned[name])] == []


def test_every_data_file_matches_a_pattern_that_ships():
    patterns = setup_cfg()["options.package_data"]["*"].split()
    names = data_files()
    assert "vlp/conf/model/uniter.yaml" in names
    assert [name for name in names if not any(fnmatch(Path(name).name, pattern) for pattern in patterns)] == []


def run(*command: str | Path, cwd: Path) -> str:
    """Run ``command`` where nothing leads to this clone by accident, and return its output."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run([*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy what git has or would have, links as links: what a clone of this state would be."""
    folder = tmp_path_factory.mktemp("source")
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", cwd=ROOT).split("\0")
    for name in filter(None, listed):
        if os.path.lexists(ROOT / name):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(source, tmp_path_factory.mktemp("wheel"))


def build_wheel(source: Path, folder: Path) -> Path:
    options = ("--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", folder)
    run(sys.executable, "-m", "pip", "wheel", *options, source, cwd=folder)
    return next(folder.glob("*.whl"))


def build(kind: str, source: Path, folder: Path) -> Path:
    """Have setuptools build a ``sdist``, ``wheel`` or ``editable`` (what pip installs for ``-e``) into ``folder``."""
    script = f"import sys; from setuptools.build_meta import build_{kind}; print(build_{kind}(sys.argv[1]))"
    return folder / run(sys.executable, "-c", script, folder, cwd=source).splitlines()[-1]


def environment_with(folder: Path, wheel: Path | None) -> Path:
    """Make an environment with our dependencies and ``wheel``, and return the folder of its programs."""
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin/python"
    if wheel is not None:
        run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--quiet", wheel, cwd=folder)
    # A path in a .pth file is searched, but the .pth files there (our editable install) are not read.
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    (Path(site) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return folder / "bin"


@pytest.mark.slow
def test_the_wheel_ships_configs_data_files_and_the_plugin_and_nothing_else(wheel: Path):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert set(data_files()) - names == set()
    assert "vlp/conf/__init__.py" in names
    assert any(name.startswith("hydra_plugins/vlp_sweeper/") for name in names)
    assert "hydra_plugins/__init__.py" not in names
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"vlp", "hydra_plugins"}
    assert [name for name in names if "__pycache__" in name] == []


@pytest.mark.slow
def test_a_source_archive_gives_the_same_wheel(source: Path, wheel: Path, tmp_path: Path):
    rebuilt = build_wheel(build("sdist", source, tmp_path), tmp_path)
    assert sorted(zipfile.ZipFile(rebuilt).namelist()) == sorted(zipfile.ZipFile(wheel).namelist())


@pytest.mark.slow
@pytest.mark.parametrize("way", ["clone", "editable", "wheel"])
def test_the_commands_find_configs_and_sweeper_however_we_are_installed(
    way: str, source: Path, wheel: Path, tmp_path: Path
):
    installed = None if way == "clone" else wheel if way == "wheel" else build("editable", source, tmp_path)
    programs = environment_with(tmp_path / "environment", installed)
    python = programs / "python"
    train = (python, source / "train.py") if way == "clone" else (programs / "vlp-train",)
    probe = (python, source / "probe.py") if way == "clone" else (programs / "vlp-probe",)
    assert "uniter" in run(*train, "--help", cwd=tmp_path)
    assert "name: uniter" in run(*train, "--cfg", "job", "--resolve", cwd=tmp_path)
    assert "vlp_sweeper" in run(*probe, "--cfg", "hydra", cwd=tmp_path)
    if way != "clone":
        assert "usage" in run(programs / "vlp-report", "--help", cwd=tmp_path).lower()
        home = run(python, "-c", "import vlp; print(vlp.__file__)", cwd=tmp_path).strip()
        assert Path(home).is_relative_to(source if way == "editable" else tmp_path)
