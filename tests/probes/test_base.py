"""What all probes share."""

from __future__ import annotations

import re

import pytest
import torch

from tests.probes.subjects import encoder
from vlp.metrics.estimates import SampleMean
from vlp.probes.base import Probe, estimated_row
from vlp.probes.nmi import NMIProbe
from vlp.results import Row


def probe() -> Probe:
    return NMIProbe(encoder(seed=0), encoder(seed=1))


def test_encoders_stay_frozen_and_in_eval():
    fitted = probe().train()
    assert fitted.training
    assert not any(module.training for model in (fitted.encoder, fitted.control) for module in model.modules())
    assert not any(parameter.requires_grad for parameter in fitted.parameters())


def test_rows_before_a_test_are_refused():
    with pytest.raises(RuntimeError, match=f"^{re.escape('NMIProbe.rows() was asked for before trainer.test')}$"):
        probe().rows()


def test_frozen_encoders_stay_out_of_checkpoints():
    checkpoint = {"state_dict": {"encoder.a": 1, "control.b": 2, "classifier.c": 3}}
    probe().on_save_checkpoint(checkpoint)
    assert checkpoint["state_dict"] == {"classifier.c": 3}


def test_an_estimates_entry_becomes_a_row():
    mean = SampleMean((2,))
    mean.update(torch.tensor([[0.25, 1.0], [0.75, float("nan")]]))
    half = 1.959963984540054 * 0.25
    first = estimated_row("model", "nmi", mean.compute(), 0, stage="joint", layer=3)
    assert (first.ci_low, first.ci_high) == pytest.approx((0.5 - half, 0.5 + half))
    assert estimated_row("model", "nmi", mean.compute(), 1) == Row("model", "nmi", 1.0, 1)  # no interval of one sample
    assert (first.value, first.n, first.stage, first.layer) == (0.5, 2, "joint", 3)


def test_an_entry_without_samples_is_an_error():
    mean = SampleMean()
    mean.update(torch.tensor([float("nan")] * 3))
    with pytest.raises(ValueError, match=r"^nmi of model: none of 3 samples has a value$"):
        estimated_row("model", "nmi", mean.compute())


def test_the_interval_of_a_fraction_ends_at_0_and_1_and_that_of_bits_does_not():
    mean = SampleMean(shape=(2,))
    mean.update(torch.tensor([[0.0, 1.0], [0.0, 1.0], [0.3, 0.7]]))
    low, high = (estimated_row("model", "nmi", mean.estimate(), index) for index in (0, 1))
    assert low.ci_low == 0 and high.ci_high == 1
    assert estimated_row("model", "bits", mean.estimate(), 0).ci_low < 0
