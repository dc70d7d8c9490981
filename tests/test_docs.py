"""What the pages say works: README's commands, snippets and example files run as printed; what they name exists."""

from __future__ import annotations

import doctest
import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "vlp").glob("*/README.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
FILE_BLOCK = re.compile(r"\A# (\S+/\S+\.(?:py|yaml))\b[^\n]*\n")
TINY = {
    "train.py": ("trainer.max_steps=2", "trainer.val_check_interval=2", "trainer.limit_val_batches=1"),
    "probe.py": (),
}
TINY_SCENES = ("dataset.size=64", "dataset.batch_size=8")
SHARED_NLVR = ROOT.parent / "shared/data/nlvr"


def blocks(language: str) -> list[str]:
    return [body for found, body in BLOCK.findall(README) if found == language]


def files() -> dict[str, str]:
    """Return README's example files: blocks whose first line is a comment with a path."""
    named = [(FILE_BLOCK.match(body), body) for body in [*blocks("python"), *blocks("yaml")]]
    return {match[1]: body for match, body in named if match}


def commands() -> list[str]:
    lines = "".join(blocks("bash")).replace("\\\n", " ").splitlines()
    return [line.split("  #")[0].strip() for line in lines if line.strip() and not line.startswith("#")]


def test_readme_is_read_in_one_sitting():
    assert len(README.splitlines()) < 200


def test_every_example_file_is_under_30_lines():
    lengths = {name: len(body.splitlines()) for name, body in files().items()}
    assert len(lengths) >= 4
    assert {name: length for name, length in lengths.items() if length >= 30} == {}


def test_make_targets_and_pages_name_the_same_things():
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"`make ([a-z-]+)", README))
    assert named == targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_paths_lead_somewhere(page: Path):
    text = page.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in link]
    paths = re.findall(r"`((?:vlp|conf|tests|benchmarks|hydra_plugins)/[\w./-]*)`", text)
    missing = [name for name in links if not (page.parent / name).exists()]
    written_by_users = ("NAME", "local.yaml")
    paths = [name for name in paths if not any(word in name for word in written_by_users)]
    missing += [name for name in paths if not (ROOT / name).exists()]
    assert missing == []


def test_python_snippets_run_as_printed(in_temporary_folder: Path):
    snippets = [body for body in blocks("python") if not FILE_BLOCK.match(body)]
    assert snippets
    namespace: dict[str, object] = {}
    for body in snippets:
        exec(compile(body, "README.md", "exec"), namespace)


def test_docstring_examples_run():
    modules = [path for path in (ROOT / "vlp").rglob("*.py") if ">>> " in path.read_text(encoding="utf-8")]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in modules]
    failed = {name: doctest.testmod(importlib.import_module(name)).failed for name in names}
    assert {name: count for name, count in failed.items() if count} == {}


def test_commands_run_in_the_order_of_the_page(tmp_path: Path):
    for name, body in files().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(body, encoding="utf-8")
    write_pictures(tmp_path / "path/to/pictures")
    assert {command.split()[1] for command in commands()} == {"train.py", "probe.py", "-m"}
    for command in commands():
        if "dataset=nlvr" not in command or SHARED_NLVR.is_dir():  # real files need not be there
            run_tiny(command.replace("path/to/nlvr", str(SHARED_NLVR)), tmp_path)


def write_pictures(folder: Path) -> None:
    folder.mkdir(parents=True)
    colours = ["red", "green", "blue", "yellow", "purple"] * 20
    for number, colour in enumerate(colours):
        Image.new("RGB", (48, 32), colour).save(folder / f"{number}.png")
    lines = [f"{number}.png,a {colour} card" for number, colour in enumerate(colours)]
    (folder / "captions.csv").write_text("\n".join(["image_id,caption", *lines]), encoding="utf-8")


def run_tiny(command: str, folder: Path) -> None:
    """Run one line of the page with settings that make it short; probes look at what the page's first training left."""
    _, script, *arguments = shlex.split(command)
    if script in TINY:
        arguments += TINY[script]
        arguments += TINY_SCENES if "dataset=" not in command else ("dataset.batch_size=8",)
    if script == "probe.py" and "weights=" not in command:
        arguments.append(f"weights={first_checkpoint(folder)}")
    program = [script] if script == "-m" else [str(ROOT / script)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = [sys.executable, *program, *arguments]
    done = subprocess.run(process, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}{done.stderr[-4000:]}"


def first_checkpoint(folder: Path) -> Path:
    return min(folder.glob("outputs/train/*/checkpoints/last.ckpt"), key=lambda path: path.stat().st_mtime)
