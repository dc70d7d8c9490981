"""One fit of all groups is each of them fitted alone."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
import pytorch_lightning as pl
import torch

from tests.probes.probers.examples import factory, settings, thirds
from vlp.probes.probers import AttentionProber, EmbeddingProber, Examples, fit
from vlp.probes.probers.stopping import FIRST_RATE, Monitor, StopGroups


@pytest.fixture(scope="module")
def pairs() -> tuple[torch.Tensor, torch.Tensor]:
    """States of three layers, of which each tells the label more clearly than the one before."""
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(1500, 3, 2, 6, generator=generator)
    label = (states[:, 2, 0] * states[:, 2, 1]).sum(-1) > 0
    states[:, 1] = states[:, 2] + 0.5 * torch.randn(1500, 2, 6, generator=generator)
    return states, label.long()


@pytest.mark.parametrize("monitor", get_args(Monitor))
def test_a_layer_and_seed_end_the_same_whatever_is_fitted_beside_them(
    pairs: tuple[torch.Tensor, torch.Tensor], monitor: Monitor
):
    states, label = pairs
    train, val, test = thirds(states, label)
    together = fit(factory(EmbeddingProber, seeds=[0, 1], lr=3e-3), train, val, 2, 5, monitor)
    said = together.predict(test)
    assert len(set(together.best_epoch.tolist())) > 1  # groups stop at different times
    for layer, prober_seed in [(0, 0), (2, 1)]:
        group = 2 * layer + prober_seed
        train, val, test = thirds(states[:, [layer]], label)
        alone = fit(factory(EmbeddingProber, seeds=[prober_seed], lr=3e-3), train, val, 2, 5, monitor)
        assert alone.best_epoch.item() == together.best_epoch[group].item()
        for one, all_ in zip(alone.prober.parameters(), together.prober.parameters(), strict=True):
            torch.testing.assert_close(one[0], all_[group], rtol=0, atol=1e-5)
        torch.testing.assert_close(alone.predict(test).log_prob[0], said.log_prob[group], rtol=0, atol=1e-4)


def test_predictions_are_the_likeliest_class_and_the_true_ones_log_probability():
    attention = torch.rand(50, 1, 2, 2)
    examples = Examples(attention, torch.arange(50) % 3)
    fitted = fit(factory(AttentionProber, seeds=[0, 1], max_epochs=1, batch_size=16), examples, examples, 3)
    logits = fitted.prober(attention[None])
    label, log_prob = fitted.predict(examples)
    assert (label == logits.argmax(-1)).all()
    chosen = logits.log_softmax(-1).gather(-1, examples.labels.expand(2, -1)[..., None])[..., 0]
    torch.testing.assert_close(log_prob, chosen)


def test_each_group_is_left_at_its_best_epoch():
    """A prober that learns what the validation items contradict is best at its first epoch."""
    features = torch.randn(600, 1, 1, 2)
    truth = (features[:, 0, 0, 0] > 0).long()
    train, val = Examples(features[:300], truth[:300]), Examples(features[300:], 1 - truth[300:])
    kept = fit(factory(AttentionProber), train, val, 2)
    short = fit(factory(AttentionProber, max_epochs=int(kept.best_epoch)), train, val, 2)
    assert kept.best_epoch.item() == 1
    torch.testing.assert_close(kept.prober.weight, short.prober.weight, rtol=0, atol=0)


def test_where_nothing_is_to_be_learnt_a_prober_stopped_by_loss_is_left_at_its_start():
    features = torch.randn(600, 1, 1, 2, generator=torch.Generator().manual_seed(0))
    truth = (features[:, 0, 0, 0] > 0).long()
    train, val = Examples(features[:300], truth[:300]), Examples(features[300:], 1 - truth[300:])
    kept = fit(factory(AttentionProber), train, val, 2, monitor="loss")
    assert kept.best_epoch.item() == 0
    assert not kept.prober.weight.any()


def test_the_steps_of_a_prober_stopped_by_loss_grow_until_they_are_whole():
    """Of one batch an epoch: Adam's first step is the learning rate, and the gain of linear probers 10 of them."""
    features = torch.randn(600, 1, 1, 2, generator=torch.Generator().manual_seed(0))
    examples = Examples(features, (features[:, 0, 0, 0] > 0).long())
    moved = [
        fit(
            factory(AttentionProber, batch_size=600, min_batches=1, max_epochs=epochs), examples, examples, 2, 0, "loss"
        )
        for epochs in (1, 2, 5)
    ]
    first, second, fifth = (fitted.prober.weight[0, 0, 1].item() / 1e-3 for fitted in moved)
    assert first == pytest.approx(FIRST_RATE, rel=0.01)
    assert second == pytest.approx(3 * FIRST_RATE, rel=0.01)
    assert fifth == pytest.approx(31 * FIRST_RATE, rel=0.02)


def test_of_equal_accuracy_the_lower_loss_is_better():
    label = torch.arange(400) % 2
    train = Examples(label[:, None, None, None].expand(-1, 1, 1, 2).float(), label)
    accurate = fit(factory(AttentionProber, max_epochs=12), train, train, 2)
    assert accurate.best_epoch.item() == 12  # right from the first epoch on, and surer in each


def test_inputs_are_standardised_by_the_training_items():
    attention = torch.rand(300, 1, 2, 2)
    train, val = Examples(attention, torch.arange(300) % 2), Examples(attention * 7 + 3, torch.arange(300) % 2)
    prober = fit(factory(AttentionProber, max_epochs=1), train, val, 2).prober
    torch.testing.assert_close(prober.mean, attention.flatten(1).mean(0, keepdim=True))
    torch.testing.assert_close(1 / prober.scale, attention.flatten(1).std(0, keepdim=True, correction=0))


def test_the_seed_of_the_probe_changes_the_first_parameters():
    first, second = (factory(EmbeddingProber)(item_shape=(1, 2, 4), num_classes=2, seed=seed) for seed in (0, 1))
    assert not torch.equal(first.first, second.first)
    assert first.first.abs().max() <= 0.5  # as nn.Linear draws from 4 inputs
    assert not torch.equal(first.first, first.second)


def test_half_precision_arithmetic_finds_the_same(pairs: tuple[torch.Tensor, torch.Tensor]):
    train, val, test = thirds(*pairs)
    found = [
        (fit(factory(EmbeddingProber, lr=3e-3, precision=precision), train, val, 2).predict(test).label == test.labels)
        for precision in ("32-true", "bf16-mixed")
    ]
    single, half = (correct.double().mean(1) for correct in found)
    torch.testing.assert_close(single, half, rtol=0, atol=0.04)


def test_a_fit_is_of_one_process_wherever_it_runs(monkeypatch: pytest.MonkeyPatch):
    """What a scheduler or torchrun says of other processes is not its concern."""
    examples = Examples(torch.rand(60, 1, 2, 2, generator=torch.Generator().manual_seed(0)), torch.arange(60) % 2)
    alone = fit(factory(AttentionProber, max_epochs=2), examples, examples, 2)
    slurm = {"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_JOB_NAME": "cell", "SLURM_PROCID": "1"}
    torchrun = {"TORCHELASTIC_RUN_ID": "0", "WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"}
    for name, value in {**slurm, **torchrun}.items():
        monkeypatch.setenv(name, value)
    beside = fit(factory(AttentionProber, max_epochs=2), examples, examples, 2)
    torch.testing.assert_close(beside.prober.weight, alone.prober.weight, rtol=0, atol=0)
    torch.testing.assert_close(beside.predict(examples), alone.predict(examples), rtol=0, atol=0)


def test_activations_that_are_no_numbers_are_named_in_validation_and_test():
    inputs = torch.rand(40, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    good, spoilt = Examples(inputs, torch.arange(40) % 2), Examples(inputs.clone(), torch.arange(40) % 2)
    spoilt.inputs[33, 0, 1, 0] = torch.nan
    prober = factory(AttentionProber, batch_size=16, max_epochs=1)
    for kind, ask in (
        ("validation", lambda: fit(prober, good, spoilt, 2)),
        ("test", lambda: fit(prober, good, good, 2).predict(spoilt)),
    ):
        with pytest.raises(ValueError) as caught:
            ask()
        assert str(caught.value) == f"item 33 of the {kind} items holds NaN or infinite activations"


def test_a_fit_that_leaves_all_bounds_is_an_error():
    states = torch.randn(60, 2, 2, 4, generator=torch.Generator().manual_seed(0))
    examples = Examples(states, torch.arange(60) % 2)
    with pytest.raises(ValueError) as caught:
        fit(factory(EmbeddingProber, seeds=[0, 7], lr=1e20), examples, examples, 2)
    assert str(caught.value) == (
        "layer 0 (from 0 to 1), prober seed 0: the loss of item 0 of the validation items is not finite, while its "
        "activations are; is optimizer.lr too high?"
    )


def test_figures_are_summed_on_the_processor_wherever_the_prober_is():
    """Apple's GPUs have no double precision; torch's device without memory stands for them."""
    prober = factory(AttentionProber)(item_shape=(1, 2, 2), num_classes=2).to("meta")
    stopping = StopGroups(1, "accuracy")
    stopping.on_fit_start(pl.Trainer(logger=False), prober)
    stopping.on_validation_epoch_start(pl.Trainer(logger=False), prober)
    assert {each.device.type for each in (stopping.best, stopping.sums, stopping.waited)} == {"cpu"}


def test_logits_are_in_single_precision_whatever_the_arithmetic():
    prober = factory(EmbeddingProber)(item_shape=(1, 2, 4), num_classes=3)
    with torch.autocast("cpu", torch.bfloat16):
        assert prober(torch.rand(1, 5, 1, 2, 4)).dtype == torch.float32


def test_parameters_in_half_precision_are_refused():
    with pytest.raises(ValueError) as caught:
        settings(precision="bf16-true")
    assert str(caught.value) == "a prober needs precision 32-true or bf16-mixed, got precision=bf16-true"


def test_a_label_that_is_no_class_is_refused():
    good = Examples(torch.rand(8, 1, 1, 2), torch.arange(8) % 2)
    with pytest.raises(ValueError) as caught:
        fit(factory(AttentionProber), good, replace(good, label=good.label * 2), 2)
    assert str(caught.value) == "validation labels must be 0 to 1, found 0 to 2"
