"""What the commands say to good and to bad input, and that none of it needs a traceback."""

from __future__ import annotations

from pathlib import Path

import hydra
import pytest
from omegaconf import OmegaConf

from tests.commands.conftest import SMALLEST, Command
from vlp.commands.plans import plain
from vlp.configs import option_names

GROUPS = {
    "train": ("model", "size", "dataset", "objective", "optimizer", "trainer", "callbacks", "logger", "debug"),
    "probe": ("model", "size", "dataset", "probe", "optimizer", "trainer", "callbacks", "logger", "debug"),
}


def rows(entry: str) -> list[tuple[str, ...]]:
    """Return overrides that between them choose every option of the command's groups at least once."""
    options = {group: option_names(group) for group in GROUPS[entry]}
    length = max(map(len, options.values()))
    return [tuple(f"{group}={names[row % len(names)]}" for group, names in options.items()) for row in range(length)]


@pytest.mark.parametrize(("entry", "row"), [(entry, row) for entry in GROUPS for row in rows(entry)])
def test_every_option_composes_and_resolves(entry: str, row: tuple[str, ...]):
    with hydra.initialize_config_module("vlp.conf", version_base="1.3"):
        config = hydra.compose(entry, list(row))
    assert plain(config)["entry"] == entry


@pytest.mark.parametrize("name", option_names("experiment"))
def test_every_experiment_says_which_command_it_is_for(name: str):
    with hydra.initialize_config_module("vlp.conf", version_base="1.3"):
        config = hydra.compose("train", [f"experiment={name}"])
    assert config.entry in ("train", "probe")


@pytest.mark.parametrize("entry", ["train", "probe"])
def test_the_resolved_config_is_shown(entry: str, command: Command):
    shown = command(entry, "--cfg", "job", "--resolve")
    assert shown.status == 0
    assert "???" not in shown.out
    assert OmegaConf.create(shown.out).entry == entry


@pytest.mark.parametrize("entry", ["train", "probe"])
def test_help_shows_groups_and_lines_to_copy(entry: str, command: Command):
    shown = command(entry, "--help")
    assert shown.status == 0
    assert f"python {entry}.py" in shown.out
    assert f"model: {', '.join(option_names('model'))}" in shown.out


BAD = {
    "model=unitr": "model=unitr is not an option; did you mean uniter?",
    "trainer.max_stepz=3": "there is no key trainer.max_stepz; did you mean trainer.max_steps or trainer.max_time",
    "modle=uniter": "there is no key modle; did you mean model?",
    "dataset.szie=3": "there is no key dataset.szie; did you mean dataset.size or",
    "experiment=scenes": "experiment=scenes is for train.py; it was given to probe.py",
    "experiment=sceens": "experiment=sceens is not an option; did you mean scenes?",
    "weights=randm": "weights=randm: no such file or folder; did you mean random?",
    "weights=some/where.ckpt": "weights=some/where.ckpt: no such file or folder",
    "weights=recipe:scens": "experiment=scens is not an option; did you mean scenes?",
    "weights={lxmert:a.pt}": "weights= maps lxmert, not model uniter",
    "size=tiny,base": "Ambiguous value for argument 'size=tiny,base'; 1. To use it as a list",
    "foo": "cannot read the override 'foo': Error parsing override 'foo'",
    "seed=one": "seed=one: expected a whole number from 0 to 4294967295",
    "dataset.batch_size=0": "dataset.batch_size=0: expected a whole number from 1",
    "dataset.batch_size=many": "dataset.batch_size=many: expected a whole number from 1",
    "dataset.num_workers=-1": "dataset.num_workers=-1: expected a whole number from 0",
    "logger=null": "logger=null: a group has no option null; there is csv, tensorboard, wandb; ~logger on the command "
    "line leaves it out",
    "trainer._target_=os.system": "os.system is not allowed at trainer",
    "+hydra.callbacks.x._target_=torch.load": "torch.load is not allowed at hydra.callbacks.x",
    "force=flase": "force=flase: expected true or false",
    "debug=one_btach": "debug=one_btach is not an option; did you mean one_batch?",
    "weights=": "weights= is empty; give auto, random, a path or recipe:NAME",
    "prober=attention": "probe nmi trains no prober, but prober=attention was chosen",
    "+prober=7": "prober=7 is not an option; there is attention, embedding",
}


@pytest.mark.parametrize(("argument", "message"), BAD.items())
def test_a_mistake_is_answered_in_one_line(argument: str, message: str, command: Command):
    answer = command("probe", argument, *(["weights=random"] if "weights" not in argument else []))
    assert answer.status == 1
    assert answer.error.startswith(f"error: {message}")
    assert "Traceback" not in answer.err
    assert not Path("outputs/cells").exists()


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("resume=aut", "resume=aut is not an option; did you mean auto?"),
        ("objective=uniterr", "objective=uniterr is not an option; did you mean uniter or uniter_ctrl?"),
        ("seed=one", "seed=one: expected a whole number from 0 to 4294967295"),
    ],
)
def test_a_mistake_in_what_names_a_trainings_folder_is_answered_as_any(argument: str, message: str, command: Command):
    assert command("train", argument).error == f"error: {message}"


def test_auto_weights_say_what_to_give_where_there_is_no_recipe(command: Command):
    assert command("probe", "size=small").error == (
        "error: weights=auto has nothing for size=small dataset=scenes (it is recipe:scenes at size=tiny "
        "dataset=scenes): give weights=PATH, weights=recipe:NAME or weights=random"
    )


def test_a_missing_root_is_named(command: Command):
    answer = command("probe", "dataset=nlvr", "weights=random", "trainer.accelerator=cpu")
    assert answer.status == 1
    assert answer.error.startswith("error: dataset nlvr reads official files and has no folder: give dataset.root=DIR")


def test_an_argument_the_probe_does_not_take_is_named(command: Command):
    answer = command("probe", "weights=random", "+probe.num_restart=3", *SMALLEST)
    assert answer.error == ("error: probe: vlp.probes.nmi.NMIProbe takes no num_restart; did you mean num_restarts?")


def test_a_model_the_probe_cannot_be_put_to_is_named(command: Command):
    answer = command("probe", "weights=random", "model=bert", *SMALLEST)
    assert answer.status == 1
    assert answer.error.startswith("error: probe nmi cannot be put to model bert")


def test_the_traceback_comes_when_it_is_asked_for(command: Command, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    answer = command("probe", "weights=randm")
    assert answer.error == "error: weights=randm: no such file or folder; did you mean random?"
    assert "Traceback (most recent call last)" in answer.err


def test_a_probe_experiment_is_refused_by_train(command: Command, in_temporary_folder: Path):
    folder = in_temporary_folder / "mine" / "experiment"
    folder.mkdir(parents=True)
    (folder / "look.yaml").write_text("# @package _global_\nentry: probe\n")
    answer = command("train", "--config-dir", "mine", "experiment=look")
    assert answer.error == "error: experiment=look is for probe.py; it was given to train.py"


def test_a_config_given_to_the_other_command_is_refused(command: Command):
    assert command("train", "entry=probe").error == (
        "error: this configuration is for probe.py; it was given to train.py"
    )
