"""What makes the command line comfortable: help to copy from, completion, hints; all of it without torch."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import hydra
import pytest

from tests.commands.conftest import Command
from vlp.commands.plans import plain

ROOT = Path(__file__).parents[2]


def copied(entry: str) -> list[list[str]]:
    """Return the overrides of the lines to copy in a command's help that call the command itself."""
    page = (ROOT / f"conf/hydra/help/{entry}.yaml").read_text(encoding="utf-8")
    lines = re.findall(rf"^    python {entry}\.py(.*)$", page, re.MULTILINE)
    return [shlex.split(re.split(r" {2,}", line.strip())[0]) for line in lines]


@pytest.mark.parametrize("entry", ["train", "probe"])
def test_the_lines_of_help_compose(entry: str):
    assert len(copied(entry)) >= 5
    with hydra.initialize_config_module("vlp.conf", version_base="1.3"):
        for words in copied(entry):
            parts = [word.partition("=") for word in words if "=" in word and not word.startswith("hydra/")]
            last = [f"{key}={value if value[:1] == '{' else value.split(',')[-1]}" for key, _, value in parts]
            assert plain(hydra.compose(entry, last))["entry"] == entry


@pytest.mark.parametrize("entry", ["train", "probe"])
def test_completion_is_offered_and_answers(entry: str, command: Command, monkeypatch: pytest.MonkeyPatch):
    installed = command(entry, "-sc", "install=bash")
    assert installed.status == 0
    assert f'eval "$(vlp-{entry} -sc install=bash)"' in command(entry, "--help").out
    assert "complete -o nospace -o default -F hydra_bash_completion" in installed.out
    for line, answer in (
        (f"vlp-{entry} model=un", "model=uniter"),
        (f"vlp-{entry} trainer.max_st", "trainer.max_steps="),
    ):
        monkeypatch.setenv("COMP_LINE", line)
        assert answer in command(entry, "-sc", "query=bash").out.split()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["probe=vrc", "prober=embeding"], "prober=embeding is not an option; did you mean embedding?"),
        (["probe=vrc", "cache=of"], "cache=of is not an option; did you mean off?"),
        (["probe=vrc", "cache.dri=a"], "there is no key cache.dri; did you mean cache.dir"),
        (["probe=vrk"], "probe=vrk is not an option; did you mean"),
    ],
)
def test_a_misspelt_option_or_key_is_answered_with_the_nearest(arguments: list[str], message: str, command: Command):
    answer = command("probe", "weights=random", *arguments)
    assert answer.status == 1
    assert answer.error.startswith(f"error: {message}")


def test_a_key_of_what_is_swept_over_is_given_with_pluses(command: Command):
    cells = ("-m", "probe=vrc,vcc", "weights=random")
    answer = command("probe", *cells, "probe.resamples=100")
    assert answer.status == 1
    assert answer.error == "error: in a sweep over probe= keys of its options take ++: write ++probe.resamples=VALUE"
    misspelt = command("probe", *cells, "probe.resampels=100")
    assert misspelt.error.startswith("error: there is no key probe.resampels; did you mean probe.resamples")


def test_a_name_with_a_dot_in_it_is_given_in_a_map(command: Command):
    answer = command("train", "experiment=visual_parsing/pretrain", "initial_weights.embeddings.parser=swin.pth")
    assert answer.status == 1
    assert answer.error == (
        "error: embeddings.parser is one name, which --cfg shows in initial_weights: "
        "write 'initial_weights={embeddings.parser:VALUE}'"
    )


def test_the_config_is_shown_without_torch():
    script = """
import sys
sys.argv = ["probe.py", "--cfg", "job", "probe=vrc"]
from vlp.commands.app import probe_main
probe_main()
print("loaded", sorted({"torch", "pytorch_lightning", "transformers", "matplotlib", "wandb"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("loaded []\n")
    assert "vlp.probes.relations.RelationProbe" in done.stdout
