"""What a checkpoint says of itself: plain, of bounded size, each value of its kind."""

import pytest
import torch

from vlp.models.checkpoints.records import checked_record

RECORD = {
    "model": {"name": "bert", "stack": {"layers": 2}},
    "size": "tiny",
    "vocab_size": 60,
    "feature_width": None,
    "num_classes": 29,
    "tokenizer": None,
    "features": {},
    "objective": {"combine": "sum", "parts": {}},
    "seed": 0,
    "of another version": [1, 2.5, "x"],
}


def test_a_record_of_ours_comes_back():
    assert checked_record(RECORD, "FILE, record") == RECORD
    assert checked_record({}, "FILE, record") == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": [1]}, "key model: found [1], expected a mapping"),
        ({"features": "x"}, "key features: found 'x', expected a mapping"),
        ({"tokenizer": 3}, "key tokenizer: found 3, expected a text"),
        ({"vocab_size": 10**12}, "key vocab_size: found 1000000000000, expected a whole number from 1 to 1,000,000"),
        ({"num_classes": True}, "key num_classes: found True, expected a whole number from 1 to 1,000,000"),
        ({"feature_width": 0}, "key feature_width: found 0, expected a whole number from 1 to 1,000,000"),
        ({"features": {"mean": torch.zeros(1)}}, "key features.mean: found a Tensor, expected plain data"),
        ({"size": "\ud800"}, r"key size: half a character in '\ud800', expected UTF-8"),
    ],
)
def test_a_value_of_another_kind_is_named_by_its_key(changes, message):
    with pytest.raises(ValueError) as error:
        checked_record({**RECORD, **changes}, "FILE, record")
    assert str(error.value) == f"FILE, record, {message}"


def test_a_list_is_no_record():
    with pytest.raises(ValueError) as error:
        checked_record([1], "FILE, record")
    assert str(error.value) == "FILE, record: found [1], expected a mapping"
