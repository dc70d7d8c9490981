"""What the doctor says of heads that are right, turned round, or blind, by construction."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.data.worlds import HandMade
from tests.probes.subjects import RELEASED, TOKENIZER, encoder, pretrained, released_weights, save
from vlp.doctor.findings import FAILED, NOTE, OK, Finding
from vlp.doctor.heads import HALF, examine_heads, judged
from vlp.pretraining import PretrainingModule
from vlp.probes.pretraining_heads import PretrainingProbe
from vlp.results import Row

DATA = HandMade(size=12)  # fewer pairs than the model's width, so that a linear head can know them all


def examined(module: PretrainingModule, folder: Path) -> dict[str, Finding]:
    found = examine_heads(module.encoder, encoder(seed=7), save(module, folder / "a.ckpt"), DATA, TOKENIZER)
    return {finding.subject: finding for finding in found}


def plant(module: PretrainingModule, folder: Path, sign: float) -> None:
    """Make the head of matching right on every pair of `DATA`, or wrong on every one where ``sign`` is -1."""
    probe = PretrainingProbe(module.encoder, encoder(seed=7), weights=save(module, folder / "before.ckpt"))
    asked = [batch for batch in probe.loader(DATA, TOKENIZER, batch_size=12) if batch.concerns("itm")]
    pooled_BD = torch.cat([module.encoder(batch.inputs).pooled for batch in asked]).detach().double()
    is_matched = torch.cat([batch.is_matched for batch in asked]).double()
    weight_D = torch.linalg.lstsq(pooled_BD, (2 * is_matched - 1)[:, None]).solution[:, 0].float()
    dense = module.objectives["itm"].head.dense
    dense.weight.data, dense.bias.data = sign * torch.stack([-weight_D, weight_D]), torch.zeros(2)


def test_a_head_that_is_right_is_ok_and_one_turned_round_fails(tmp_path: Path):
    module = pretrained()
    for sign, state, told in ((1.0, OK, "1.00 [1.00, 1.00] of 12 pairs"), (-1.0, FAILED, "0.00 [0.00, 0.00] of 12")):
        plant(module, tmp_path, sign)
        found = examined(module, tmp_path)["matching"]
        assert (found.state, found.found[: len(told)]) == (state, told)


def test_a_head_that_always_says_the_same_is_suspicious(tmp_path: Path):
    module = pretrained()
    dense = module.objectives["itm"].head.dense
    dense.weight.data, dense.bias.data = torch.zeros_like(dense.weight), torch.tensor([1.0, 0.0])
    found = examined(module, tmp_path)["matching"]
    assert found.state == NOTE
    assert found.found.endswith("suspicious: no better than without looking")


def test_hidden_words_of_a_model_that_sees_no_image_are_suspicious(tmp_path: Path):
    module = pretrained()
    module.encoder.embeddings.features.weight.data.zero_()
    found = examined(module, tmp_path)["hidden words"]
    assert found.state == NOTE
    assert "0.00 [0.00, 0.00] more" in found.found


@pytest.mark.parametrize(
    ("ends", "state"), [((0.6, 0.9), OK), ((0.1, 0.4), FAILED), ((0.4, 0.6), NOTE), ((0.3, 0.48), NOTE), ((), NOTE)]
)
def test_the_interval_decides(ends: tuple[float, ...], state: str):
    low, high = ends or (None, None)
    row = Row("model", "accuracy", 0.5, 8, ci_low=low, ci_high=high)
    assert judged("matching", "half of them", row, HALF).state == state


def test_weights_without_heads_are_told_and_not_tried(tmp_path: Path):
    path = tmp_path / "encoder.ckpt"
    torch.save({"state_dict": encoder().state_dict()}, path)
    (found,) = examine_heads(encoder(), encoder(seed=7), path, DATA, TOKENIZER)
    assert (found.state, found.subject, found.advice) == (NOTE, "behaviour", "")
    assert found.found.startswith(f"not tried: {path} has no pre-training heads")


@pytest.mark.parametrize("name", RELEASED)
def test_released_weights_are_asked_too(name: str, tmp_path: Path):
    model, path = released_weights(name, tmp_path)
    found = list(examine_heads(model, encoder(model.name, seed=7), path, DATA, TOKENIZER))
    assert [finding.subject for finding in found] == ["matching", "hidden words"]
    assert "of 12 pairs told right" in found[0].found
    assert "with the mean image" in found[1].found


@pytest.mark.parametrize("lost", ["cls.predictions.bias", "cls.predictions.transform."])
def test_half_a_head_fails_and_the_other_is_asked(lost: str, tmp_path: Path):
    model, path = released_weights("uniter", tmp_path)
    torch.save({name: tensor for name, tensor in torch.load(path).items() if not name.startswith(lost)}, path)
    half, other = examine_heads(model, encoder(seed=7), path, DATA, TOKENIZER)
    assert (half.state, half.subject) == (FAILED, "head mlm")
    assert half.found.startswith(f"not whole in {path}, without mlm.head.")
    assert (other.subject, "of 12 pairs told right" in other.found) == ("matching", True)


def test_heads_of_which_none_is_whole_fail(tmp_path: Path):
    module = pretrained("uniter", "itm")
    state = {key: tensor for key, tensor in module.state_dict().items() if key != "objectives.itm.head.dense.bias"}
    torch.save({"state_dict": state, "vlp": module.record}, tmp_path / "a.ckpt")
    (found,) = examine_heads(module.encoder, encoder(seed=7), tmp_path / "a.ckpt", DATA, TOKENIZER)
    assert (found.state, found.found.endswith("its record lists: itm.head.dense.bias")) == (FAILED, True)


def test_of_a_model_without_matching_hidden_words_are_asked(tmp_path: Path):
    found = examined(pretrained("vl_bert", "mlm"), tmp_path)
    assert found["matching"] == Finding(NOTE, "matching", f"not asked: {tmp_path / 'a.ckpt'} has no head of itm")
    assert "with the mean image" in found["hidden words"].found


def test_of_a_model_without_masked_words_matching_is_asked(tmp_path: Path):
    found = examined(pretrained("uniter", "itm"), tmp_path)
    assert "of 12 pairs told right" in found["matching"].found
    assert found["hidden words"].found.endswith("has no head of mlm")


def test_a_model_of_text_is_told_as_such(tmp_path: Path):
    path = save(pretrained("bert", "mlm"), tmp_path / "a.ckpt")
    (found,) = examine_heads(encoder("bert"), encoder("bert"), path, DATA, TOKENIZER)
    assert found.found == "not tried: probe pretraining asks what the image is worth, and model bert reads none"
