"""Every option of ``conf/prober`` builds a prober that learns."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.probes.probers.examples import thirds
from vlp.configs import instantiate, option_names, read_option, resolve
from vlp.probes.probers import fit

SHAPES = {"attention": (2, 3, 2), "states": (2, 2, 6), "features": (2, 6)}


def option(name: str) -> Any:
    """Return what a probe gets, with the optimiser that probes have and what else it refers to."""
    tree = {
        "prober": {**read_option("prober", name), "fitting": read_option("prober/fitting", "default")},
        "optimizer": read_option("optimizer", "prober"),
        "trainer": {"accelerator": "cpu"},
        "size": {"width": 12},
    }
    return instantiate(resolve(tree)["prober"], _key_="prober")


@pytest.mark.parametrize("name", option_names("prober"))
def test_an_option_learns_which_sign_a_product_has(name: str):
    prober = option(name)
    shape = SHAPES[prober.func.reads]
    inputs = torch.randn(6000, *shape, generator=torch.Generator().manual_seed(0))
    product = inputs[:, 1, 2, 1] if prober.func.reads == "attention" else inputs[..., 0, 0] * inputs[..., 1, 0]
    label = (product.reshape(6000, -1)[:, -1] > 0).long()
    train, val, test = thirds(inputs, label)
    fitted = fit(prober, train, val, 2)
    assert (fitted.predict(test).label == test.labels).double().mean(1)[-3:].min() > 0.85  # three seeds


def test_the_usual_settings_are_the_references():
    fitting = option("embedding").keywords["fitting"]
    assert (fitting.seeds, fitting.batch_size, fitting.max_epochs, fitting.patience) == ([0, 1, 2], 256, 50, 3)
    (group,) = option("embedding").keywords["optimizer"]([torch.nn.Parameter(torch.zeros(2))]).param_groups
    assert (group["lr"], group["fused"]) == (1e-3, True)
