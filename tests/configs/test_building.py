"""Building from a config: arguments, nesting, partials, and errors that name the key."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from vlp.configs import instantiate

LINEAR = {"_target_": "torch.nn.Linear", "in_features": 3, "out_features": 2}


def test_arguments_given_win_over_the_config():
    assert instantiate(LINEAR, out_features=5).out_features == 5


def test_a_node_that_is_given_is_not_built_from_the_config():
    config = {
        "_target_": "torch.nn.TransformerEncoder",
        "encoder_layer": {"_target_": "torch.nn.Linear"},
        "num_layers": 1,
    }
    layer = nn.TransformerEncoderLayer(4, 2, dropout=0.0)
    assert instantiate(config, encoder_layer=layer, enable_nested_tensor=False).num_layers == 1


def test_nested_nodes_are_built_first():
    built = instantiate({"_target_": "torch.nn.Sequential", "_args_": [LINEAR, {"_target_": "torch.nn.GELU"}]})
    assert [type(part) for part in built] == [nn.Linear, nn.GELU]


def test_an_object_given_arrives_uncopied():
    weight = nn.Parameter(torch.zeros(2))
    built = instantiate({"_target_": "torch.optim.SGD", "lr": 0.1}, [weight])
    assert built.param_groups[0]["params"][0] is weight


def test_a_partial_waits_for_the_rest():
    built = instantiate({"_target_": "torch.nn.Linear", "_partial_": True, "in_features": 3})
    assert isinstance(built, partial)
    assert built(out_features=4).weight.shape == (4, 3)


def test_lists_and_dicts_stay_plain():
    built = instantiate({"_target_": "torch.optim.AdamW", "_partial_": True, "betas": [0.9, 0.98]})
    assert type(built.keywords["betas"]) is list


def test_an_argument_that_the_target_does_not_take_is_named():
    with pytest.raises(ValueError) as caught:
        instantiate({**LINEAR, "in_feature": 4}, _key_="model.head")
    expected = (
        "model.head: torch.nn.modules.linear.Linear takes no in_feature; did you mean in_features or out_features?"
    )
    assert str(caught.value) == expected


def test_an_argument_that_is_missing_is_named():
    with pytest.raises(ValueError) as caught:
        instantiate({"_target_": "torch.nn.Linear", "in_features": 4}, _key_="model.head")
    assert (
        str(caught.value) == "model.head: torch.nn.modules.linear.Linear is missing a required argument: 'out_features'"
    )


def test_what_a_nested_constructor_raises_comes_with_its_key():
    embedding = {"_target_": "torch.nn.Embedding", "num_embeddings": 3, "embedding_dim": 2, "padding_idx": 7}
    config = {"_target_": "torch.nn.TransformerEncoder", "encoder_layer": embedding, "num_layers": 1}
    with pytest.raises(ValueError) as caught:
        instantiate(config, _key_="model")
    assert str(caught.value) == "model.encoder_layer: Padding_idx must be within num_embeddings"


def test_a_config_without_target_says_what_it_has():
    with pytest.raises(ValueError) as caught:
        instantiate({"lr": 1}, _key_="optimizer")
    assert str(caught.value) == "optimizer has no _target_; found lr"


@pytest.mark.parametrize("text", ["${oc.env:HOME}", "x${in_features}", "${"])
def test_what_is_left_to_be_filled_in_is_refused_by_its_key(text):
    config = {"_target_": "torch.nn.Sequential", "_args_": [{**LINEAR, "device": text}]}
    with pytest.raises(ValueError) as caught:
        instantiate(config, _key_="model")
    expected = "expected what has nothing left to be filled in"
    assert str(caught.value) == f"model._args_[0].device: found {text!r}, {expected}"


def test_what_is_no_plain_data_is_refused_by_its_key():
    with pytest.raises(ValueError) as caught:
        instantiate({**LINEAR, "device": object()}, _key_="model")
    assert str(caught.value) == "model, key device: found a object, expected plain data"
