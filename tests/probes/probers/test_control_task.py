"""Control tasks."""

from __future__ import annotations

import torch

from tests.probes.probers.examples import factory, thirds
from vlp.probes.probers import OneSidedProber, fit
from vlp.probes.probers.control_task import control_labels


def test_a_type_has_one_label_whichever_types_there_are_beside_it():
    pair_type, label = torch.arange(40).repeat(3), torch.arange(60) % 3
    labels = control_labels(pair_type, label).view(3, 40)
    assert (labels == labels[0]).all()
    assert control_labels(torch.tensor([7, 3]), label).tolist() == [labels[0, 7], labels[0, 3]]
    assert (control_labels(pair_type, label, seed=1).view(3, 40)[0] != labels[0]).any()


def test_labels_are_as_frequent_as_the_true_ones_and_none_is_new():
    label = torch.tensor([0] * 6 + [2] * 3 + [3])
    drawn = torch.bincount(control_labels(torch.arange(20000), label)) / 20000
    torch.testing.assert_close(drawn, torch.tensor([0.6, 0, 0.3, 0.1]), rtol=0, atol=0.015)


def test_a_prober_that_learns_types_by_heart_is_not_selective():
    generator = torch.Generator().manual_seed(0)
    pair_type = torch.randint(0, 12, (1800,), generator=generator)
    states = torch.nn.functional.one_hot(pair_type, 12).float()[:, None, None].expand(-1, 1, 2, -1)
    label = pair_type % 2
    control = control_labels(pair_type, label)
    found = []
    for asked in (label, control):
        train, val, test = thirds(states, asked)
        predicted = fit(factory(OneSidedProber), train, val, 2).predict(test).label
        found.append((predicted == test.labels).double().mean().item())
    assert found == [1.0, 1.0]
