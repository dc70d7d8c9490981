"""Files of torch: plain data comes back, anything else is refused in one line that names the file."""

import os
import re
from collections import OrderedDict
from pathlib import Path

import pytest
import torch

from tests.faults import forging
from tests.faults.forging import Call, tensor
from vlp.durable.digests import write_sidecar
from vlp.models.checkpoints.files import load_plain, read_contents

LIGHTNING = {
    "state_dict": OrderedDict(weight=torch.arange(6.0).reshape(2, 3).t(), half=torch.ones(2, dtype=torch.bfloat16)),
    "optimizer_states": [{"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"betas": (0.9, 0.99)}]}],
    "loops": {"fit": None, "done": True, "time": 1.5, "names": ["a", "é"]},
    "others": (torch.Size([2]), torch.float16, torch.device("cpu"), {1: "key"}),
    "vlp": {"model": {"name": "bert"}},
}


@pytest.mark.parametrize("is_zip", [True, False])
def test_what_a_training_saves_comes_back(tmp_path, is_zip):
    LIGHTNING["state_dict"]._metadata = OrderedDict({"": {"version": 1}})
    torch.save(LIGHTNING, tmp_path / "last.ckpt", _use_new_zipfile_serialization=is_zip)
    loaded = load_plain(tmp_path / "last.ckpt")
    for name, value in LIGHTNING["state_dict"].items():
        assert torch.equal(loaded["state_dict"][name], value)
        assert loaded["state_dict"][name].dtype == value.dtype
    assert loaded["state_dict"]._metadata == {"": {"version": 1}}
    for name in ("optimizer_states", "loops", "others", "vlp"):
        assert loaded[name] == LIGHTNING[name]


def test_parameters_and_weights_that_are_shared_come_back(tmp_path):
    shared = torch.nn.Parameter(torch.rand(4))
    torch.save({"a": shared, "b": shared, "c": shared.data[1:3]}, tmp_path / "tied.pt")
    loaded = load_plain(tmp_path / "tied.pt")
    assert torch.equal(loaded["a"], loaded["b"])
    assert torch.equal(loaded["c"], shared.data[1:3])


def test_the_tensors_of_a_zip_file_stay_on_disk(tmp_path):
    torch.save({"a": torch.zeros(1_000_000)}, tmp_path / "large.pt")
    load_plain(tmp_path / "large.pt")
    loaded = load_plain(tmp_path / "large.pt")
    mapped = [line for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith("large.pt")]
    assert mapped
    assert loaded["a"].sum() == 0


FORMATS = {
    "zip": lambda file, value: forging.forge_checkpoint(file, forging.pickled(value)),
    "legacy": lambda file, value: forging.forge_legacy(file, forging.pickled(value, legacy=True)),
}
RUNS_CODE = "holds no plain tensors, or objects that would run code:"


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Call(os.mkdir, "ran"), f"{RUNS_CODE} posix.mkdir"),
        (Call(bytearray, 10**12), f"{RUNS_CODE} __builtin__.bytearray"),
        (Call(torch.FloatTensor, 10**12), f"{RUNS_CODE} torch.FloatTensor"),
        (
            {"weight": tensor(4, (10**12,), (0,))},
            r"claims a tensor of 4,000,000,000,000 bytes, shape \(",
        ),
        ({"weight": tensor(10**13, (10**13,))}, "is cut short or damaged: "),
        ({"weight": tensor(4, (10**13,))}, "is cut short or damaged: "),
        ({"a": forging.Storage(4)}, "holds a TypedStorage, expected tensors and plain data"),
    ],
    ids=range(7),
)
def test_a_pickle_may_hold_plain_data_no_larger_than_the_file(tmp_path, monkeypatch, form, value, message):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "hostile.pt"
    FORMATS[form](file, value)
    with pytest.raises(ValueError, match=f"^{re.escape(str(file))} {message}") as error:
        load_plain(file)
    assert str(error.value).isprintable()
    assert "weights_only" not in str(error.value)
    assert not (tmp_path / "ran").exists()


def test_a_compressed_file_is_refused_before_it_is_unpacked(tmp_path):
    forging.forge_checkpoint(tmp_path / "bomb.pt", forging.pickled("x" * 10**6), compression=8)
    with pytest.raises(ValueError) as error:
        load_plain(tmp_path / "bomb.pt")
    assert str(error.value) == f"{tmp_path / 'bomb.pt'} is compressed, which torch.save never does"


def test_a_member_that_is_there_twice_is_refused_whatever_its_case(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "twice.pt")
    members = forging.zip_members(tmp_path / "twice.pt")
    forging.write_zip(tmp_path / "twice.pt", {**members, "twice/DATA.pkl": b"."})
    with pytest.raises(ValueError) as error:
        load_plain(tmp_path / "twice.pt")
    assert str(error.value) == f"{tmp_path / 'twice.pt'} holds 'twice/data.pkl' 2 times"


def test_what_follows_the_end_of_a_zip_file_is_noticed(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "longer.pt")
    with (tmp_path / "longer.pt").open("ab") as file:
        file.write(bytes(30))
    with pytest.raises(ValueError) as error:
        load_plain(tmp_path / "longer.pt")
    expected = "is cut short: a zip file without its directory, which stands at the end"
    assert str(error.value) == f"{tmp_path / 'longer.pt'} {expected}"


def test_a_file_that_is_not_what_its_sidecar_says_is_refused(tmp_path):
    file = tmp_path / "last.ckpt"
    torch.save({"a": torch.zeros(1)}, file)
    write_sidecar(file, "0" * 64)
    with pytest.raises(ValueError, match=f"^{re.escape(str(file))} is damaged: its sha256 is "):
        read_contents(file)


def test_a_missing_file_keeps_its_own_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path / "gone.pt"))):
        load_plain(tmp_path / "gone.pt")
