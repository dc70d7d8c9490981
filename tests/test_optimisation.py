import pytest
import torch

from tests.models.examples import small_encoder
from tests.test_pretraining import config, same, weights
from vlp.commands.train import train
from vlp.optimisation import Milestones, linear_schedule, parameter_groups, stepped_schedule, warmup_steps

PARSER = "embeddings.parser"


class Trained(torch.nn.Module):
    """An encoder and a head, named as in a pre-training."""

    def __init__(self):
        super().__init__()
        self.encoder = small_encoder("swin_vlp")
        self.objectives = torch.nn.ModuleDict({"itm": torch.nn.Linear(3, 2)})


def test_matrices_are_decayed_and_vectors_are_not():
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
    decayed, spared = parameter_groups(module, {})
    assert [tuple(p.shape) for p in decayed["params"]] == [(2, 3)]
    assert [tuple(p.shape) for p in spared["params"]] == [(2,), (2,), (2,)]
    assert spared["weight_decay"] == 0
    assert "lr" not in decayed


def test_swins_tables_of_biases_are_not_decayed():
    module = Trained()
    tables = [p for name, p in module.named_parameters() if name.endswith("relative_position_bias_table")]
    assert [p.ndim for p in tables] == [2, 2]
    decayed, spared = parameter_groups(module, {})
    assert {id(p) for p in tables} <= {id(p) for p in spared["params"]}
    assert not {id(p) for p in tables} & {id(p) for p in decayed["params"]}


def test_a_part_has_its_own_rate_and_every_parameter_stands_in_one_group():
    module = Trained()
    rates = {PARSER: 5e-6, f"{PARSER}.network.patch_embed": 1e-6, "objectives.itm": 1e-2}
    groups = parameter_groups(module, rates)
    names = {id(p): name for name, p in module.named_parameters()}
    found = {names[id(p)]: group.get("lr") for group in groups for p in group["params"]}
    assert sum(len(group["params"]) for group in groups) == len(found) == len(names)
    for name, rate in found.items():
        expected = 1e-2 if name.startswith("objectives.itm.") else None
        if name.startswith(f"encoder.{PARSER}."):
            expected = 1e-6 if "patch_embed" in name else 5e-6
        assert rate == expected, name


def test_a_rate_counts_alike_whether_a_part_s_name_is_written_with_dots_or_with_maps():
    module = Trained()
    dots, maps = (
        [(group.get("lr"), [id(p) for p in group["params"]]) for group in parameter_groups(module, rates)]
        for rates in ({PARSER: 5e-6}, {"embeddings": {"parser": 5e-6}})
    )
    assert dots == maps
    assert {rate for rate, _ in maps} == {None, 5e-6}


def test_a_rate_that_is_no_number_is_refused():
    with pytest.raises(ValueError) as error:
        parameter_groups(Trained(), {"embeddings": {"parser": "slow"}})
    assert str(error.value) == "learning_rates.embeddings.parser='slow': expected a number, null, or a map to such"


def test_a_part_of_null_has_the_rate_of_all_others():
    assert all("lr" not in group for group in parameter_groups(Trained(), {PARSER: None}))


def test_a_part_that_is_not_there_is_refused_with_the_nearest():
    with pytest.raises(ValueError) as error:
        parameter_groups(Trained(), {"embedings.parser": 5e-6})
    message = "learning_rates: no parameter's name begins with embedings.parser; did you mean embeddings.parser?"
    assert str(error.value) == message


def test_the_learning_rate_rises_over_warm_up_and_falls_to_zero():
    factors = [linear_schedule(step, warmup=4, total=10) for step in range(11)]
    assert factors == pytest.approx([0.25, 0.5, 0.75, 1, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6, 0])


def test_the_learning_rate_rises_over_warm_up_and_falls_at_milestones():
    factors = [stepped_schedule(step, warmup=4, falls=[6, 8], factor=0.1) for step in range(10)]
    assert factors == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1, 0.1, 0.1, 0.01, 0.01])


@pytest.mark.parametrize(("warmup", "steps"), [(0, 1), (0.1, 20), (0.0001, 1), (1, 1), (500, 500), (500.0, 500)])
def test_warm_up_is_a_share_of_the_steps_or_a_number_of_them(warmup, steps):
    assert warmup_steps(warmup, total=200) == steps


@pytest.mark.parametrize("warmup", [-0.1, 1.5])
def test_warm_up_that_is_neither_is_refused(warmup):
    with pytest.raises(ValueError) as error:
        warmup_steps(warmup, total=200)
    assert str(error.value) == f"warmup={warmup}: expected a share below 1 or a number of steps"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([35, 25], 0.1), "milestones.epochs=[35, 25]: expected rising numbers from 0 on"),
        (([-1], 0.1), "milestones.epochs=[-1]: expected rising numbers from 0 on"),
        (([25], 10), "milestones.factor=10: expected a share from 0 to 1"),
    ],
)
def test_impossible_milestones_are_refused(arguments, message):
    with pytest.raises(ValueError) as error:
        Milestones(*arguments)
    assert str(error.value) == message


EPOCHS = (
    *("model=swin_vlp", "trainer.max_epochs=3", "trainer.max_steps=-1", "trainer.accumulate_grad_batches=4"),
    *("warmup=2", "milestones={epochs:[1,2],factor:0.1}", "learning_rates={embeddings.parser:1e-5}"),
    *("checkpoint.every_n_steps=1", "checkpoint.keep=9", "optimizer.lr=1e-3"),
)
"""Three epochs of 6 batches, which are 2 steps each: 4 batches and 2."""


@pytest.fixture(scope="module")
def epochs(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("epochs")
    train(config(*EPOCHS), run_dir)
    return run_dir


def test_rates_fall_at_the_first_step_of_an_epoch_though_batches_are_accumulated(epochs):
    rates = {}
    for path in epochs.glob("checkpoints/step-*.ckpt"):
        state = torch.load(path, weights_only=True)
        groups = state["optimizer_states"][0]["param_groups"]
        rates[state["global_step"]] = sorted({group["lr"] for group in groups})
    assert rates.keys() == set(range(1, 7))
    for step, factor in {1: 1, 2: 0.1, 3: 0.1, 4: 0.01, 5: 0.01}.items():  # of the step that comes next, from 0
        assert rates[step] == pytest.approx([1e-5 * factor, 1e-3 * factor])


def test_a_run_with_milestones_that_was_resumed_in_an_epoch_ends_where_an_uninterrupted_one_does(epochs, tmp_path):
    resumed = train(config(*EPOCHS, f"ckpt_path={epochs}/checkpoints/step-0000003.ckpt"), tmp_path)
    assert same(weights(resumed), weights(epochs / "checkpoints" / "last.ckpt"))
