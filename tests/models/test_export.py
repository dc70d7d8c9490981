"""Exports: what is written is what was there, for us and for transformers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers

from tests.models.checkpoints import released
from tests.models.examples import batch_for, random_batch
from tests.models.peers import ACTIVATIONS, BARE, Sizes
from vlp.configs import read_option, resolve
from vlp.durable.digests import check_digest
from vlp.models import build, build_from_config, export_weights, load_weights, read_record
from vlp.models.export import main
from vlp.observe import record

FEATURE_WIDTH, VOCAB = 20, 80
TINY = Sizes((2,), width=128, heads=4, feed_forward=512, positions=128, vocab=VOCAB, feature_width=FEATURE_WIDTH)


def config_of(name: str, **numbers: object) -> dict[str, object]:
    size = {**read_option("size", "tiny"), "width": 64, "feed_forward": 96, "positions": 24, **numbers}
    return resolve({"model": read_option("model", name), "size": size})["model"]


@pytest.fixture
def checkpoint(tmp_path: Path):
    """A checkpoint as train.py leaves it, of a model by name, and the model."""

    def make(name: str):
        torch.manual_seed(0)
        described = {"model": config_of(name), "size": "tiny", "vocab_size": VOCAB, "feature_width": FEATURE_WIDTH}
        encoder = build_from_config(described["model"], FEATURE_WIDTH, VOCAB)
        for parameter in encoder.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
        state = {f"encoder.{key}": value for key, value in encoder.state_dict().items()}
        torch.save({"state_dict": {**state, "objectives.mlm.head.bias": torch.zeros(3)}, "vlp": described}, "last.ckpt")
        return tmp_path / "last.ckpt", encoder

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        yield make


@pytest.mark.parametrize("name", BARE)
def test_transformers_loads_what_we_trained_and_says_the_same(checkpoint, name, tmp_path):
    path, encoder = checkpoint(name)
    assert main([str(path), str(tmp_path / "theirs"), "--format", "huggingface"]) == 0
    theirs, found = BARE[name].from_pretrained(
        tmp_path / "theirs", attn_implementation="eager", output_loading_info=True
    )
    assert {key: set(found[key]) for key in ("missing_keys", "unexpected_keys")} == {
        "missing_keys": set(),
        "unexpected_keys": set(),
    }
    batch = random_batch(feature_width=FEATURE_WIDTH)
    expected = record(encoder, batch)
    activations = ACTIVATIONS[name](theirs, replace(batch, token_types=batch.token_types))
    for site, value in {**expected.hidden, **expected.attention}.items():
        torch.testing.assert_close(activations[site], value, rtol=1e-5, atol=1e-5)
    assert type(transformers.AutoModel.from_pretrained(tmp_path / "theirs")) is BARE[name]


@torch.no_grad()
def test_transformers_vilt_says_what_ours_does(checkpoint, tmp_path):
    path, encoder = checkpoint("vilt")
    assert main([str(path), str(tmp_path / "theirs"), "--format", "huggingface"]) == 0
    theirs = transformers.AutoModel.from_pretrained(tmp_path / "theirs", attn_implementation="eager")
    batch = batch_for(encoder)
    found = encoder(batch)
    expected = theirs(
        input_ids=batch.input_ids,
        attention_mask=batch.text_mask.long(),
        token_type_ids=batch.token_types,
        pixel_values=batch.pixels,
        pixel_mask=batch.pixel_mask.long(),
    )
    real = batch.text_mask  # transformers puts patches in a random order, which words do not see
    states = expected.last_hidden_state[:, : real.shape[1]]
    torch.testing.assert_close(found.text[real], states[real], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.pooled, expected.pooler_output, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["bert", "uniter"])
def test_an_export_of_ours_keeps_weights_and_record(checkpoint, name, tmp_path, capsys):
    path, encoder = checkpoint(name)
    assert main([str(path), str(tmp_path / "ours")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'ours'}: model {name}, format vlp\n"
    assert read_record(tmp_path / "ours") == read_record(path)
    assert check_digest(tmp_path / "ours" / "model.safetensors")
    again = build_from_config(config_of(name), FEATURE_WIDTH, VOCAB)
    assert load_weights(again, tmp_path / "ours").source == "vlp"
    own, others = encoder.state_dict(), again.state_dict()
    assert all(torch.equal(own[key], others[key]) for key in own)


def test_a_released_file_becomes_ours_and_says_what_it_is(tmp_path):
    torch.save(released.uniter(replace(TINY, layers=(4,))), tmp_path / "uniter-tiny.pt")
    assert main([str(tmp_path / "uniter-tiny.pt"), str(tmp_path / "ours")]) == 0
    kept = read_record(tmp_path / "ours")
    assert kept is not None
    assert {key: kept[key] for key in ("size", "vocab_size", "feature_width")} == {
        "size": "tiny",
        "vocab_size": VOCAB,
        "feature_width": FEATURE_WIDTH,
    }
    encoder = build_from_config(kept["model"], kept["feature_width"], kept["vocab_size"])
    assert encoder.name == "uniter"
    assert load_weights(encoder, tmp_path / "ours").missing == ()


def test_lxmert_as_voltas_paper_first_presents_it_is_built_with_the_keys_that_it_asks_for(tmp_path):
    size = read_option("size", "tiny")
    layers = tuple(size[key] for key in ("text_layers", "vision_layers", "cross_layers"))
    torch.save(released.volta("lxmert", replace(TINY, layers=layers), pooled=128), tmp_path / "pytorch_model_19.bin")
    assert main([str(tmp_path / "pytorch_model_19.bin"), str(tmp_path / "ours")]) == 0
    kept = read_record(tmp_path / "ours")
    assert kept["model"]["embeddings"]["global_region"] is None
    encoder = build_from_config(kept["model"], kept["feature_width"], kept["vocab_size"])
    assert load_weights(encoder, tmp_path / "ours").missing == ()
    assert (encoder.name, encoder.first_region, encoder.pooled_width) == ("lxmert_ctrl", 0, 128)


def test_a_converted_file_keeps_the_behaviour_it_was_trained_with(tmp_path, caplog):
    sizes = replace(TINY, layers=(4,))
    torch.save(released.volta("vl_bert_ctrl", sizes, pooled=192), tmp_path / "pytorch_model_9.bin")
    assert main([str(tmp_path / "pytorch_model_9.bin"), str(tmp_path / "ours")]) == 0
    kept = read_record(tmp_path / "ours")
    assert kept["released_behaviour"] is True
    assert kept["tokenizer"] == "bert-base-uncased"  # of the public file of this name and format
    encoder = build_from_config(kept["model"], kept["feature_width"], kept["vocab_size"])
    load_weights(encoder, tmp_path / "ours")
    assert encoder.released_behaviour
    export_weights(encoder, tmp_path / "again.safetensors")  # without a record of its own
    other = build("vl_bert_ctrl", feature_width=FEATURE_WIDTH, vocab_size=VOCAB)
    load_weights(other, tmp_path / "again.safetensors")
    assert other.released_behaviour
    assert caplog.records == []
    right = build("vl_bert_ctrl", feature_width=FEATURE_WIDTH, vocab_size=VOCAB, released_behaviour=False)
    load_weights(right, tmp_path / "ours")
    assert len(caplog.records) == 1
    assert not right.released_behaviour


@pytest.mark.parametrize("asked", [None, True, False])
def test_a_checkpoint_of_ours_says_how_it_was_trained(asked, tmp_path, caplog):
    config = {**config_of("vl_bert_ctrl"), "released_behaviour": asked}
    trained = build_from_config(config, FEATURE_WIDTH, VOCAB)
    state = {f"encoder.{key}": value for key, value in trained.state_dict().items()}
    described = {"model": config, "vocab_size": VOCAB, "feature_width": FEATURE_WIDTH}
    torch.save({"state_dict": state, "vlp": described}, tmp_path / "last.ckpt")
    fresh = build_from_config(config_of("vl_bert_ctrl"), FEATURE_WIDTH, VOCAB)
    fresh.follow(not asked)
    load_weights(fresh, tmp_path / "last.ckpt")
    assert fresh.released_behaviour is bool(asked)
    assert main([str(tmp_path / "last.ckpt"), str(tmp_path / "ours")]) == 0
    fresh.follow(not asked)
    load_weights(fresh, tmp_path / "ours")
    assert fresh.released_behaviour is bool(asked)
    assert caplog.records == []


@pytest.mark.parametrize("trained", [True, False])
def test_an_export_says_how_its_weights_were_trained_whatever_the_model_was_told(trained, tmp_path):
    sizes = {"feature_width": FEATURE_WIDTH, "vocab_size": VOCAB, "layers": 1}
    export_weights(build("vl_bert_ctrl", released_behaviour=trained, **sizes), tmp_path / "first.safetensors")
    told = build("vl_bert_ctrl", released_behaviour=not trained, **sizes)
    load_weights(told, tmp_path / "first.safetensors")
    assert told.released_behaviour is not trained
    export_weights(told, tmp_path / "second.safetensors")
    assert read_record(tmp_path / "second.safetensors") == {"released_behaviour": trained}


@pytest.mark.parametrize("record", [{"released_behaviour": "false"}, {"model": {"released_behaviour": "false"}}])
def test_a_behaviour_that_is_neither_true_nor_false_is_refused(record, tmp_path):
    encoder = build("bert", vocab_size=VOCAB, layers=1)
    export_weights(encoder, tmp_path / "odd.safetensors", record)
    with pytest.raises(ValueError) as error:
        load_weights(encoder, tmp_path / "odd.safetensors")
    assert str(error.value) == (
        f"{tmp_path / 'odd.safetensors'}, record, key released_behaviour: found 'false', expected true, false or null"
    )


def test_a_model_without_such_a_behaviour_is_not_warned_of_it(tmp_path, caplog):
    encoder = build("bert", vocab_size=VOCAB, layers=1)
    export_weights(encoder, tmp_path / "odd.safetensors", {"released_behaviour": True})
    load_weights(encoder, tmp_path / "odd.safetensors")
    assert not encoder.released_behaviour
    assert caplog.records == []


class TestRefusals:
    def said(self, capsys, *arguments: object) -> str:
        assert main([str(argument) for argument in arguments]) == 2
        return capsys.readouterr().err

    def test_a_model_that_transformers_does_not_have(self, checkpoint, tmp_path, capsys):
        path, _ = checkpoint("uniter")
        said = self.said(capsys, path, tmp_path / "out", "--format", "huggingface")
        assert said == "vlp.models.export: transformers has no uniter; it has bert, lxmert, visualbert, vilt\n"
        assert not (tmp_path / "out").exists()

    def test_a_folder_with_something_in_it(self, checkpoint, tmp_path, capsys):
        path, _ = checkpoint("bert")
        said = self.said(capsys, path, tmp_path)
        assert said == f"vlp.models.export: {tmp_path} is not empty, and an export replaces nothing\n"

    def test_weights_of_ours_without_a_record(self, checkpoint, tmp_path, capsys):
        _, encoder = checkpoint("bert")
        export_weights(encoder, tmp_path / "bare.safetensors")
        said = self.said(capsys, tmp_path / "bare.safetensors", tmp_path / "out")
        assert said == (
            f"vlp.models.export: {tmp_path / 'bare.safetensors'} (our unnamed) does not say what model it is of: "
            "give --model\n"
        )

    def test_a_width_that_no_size_has(self, tmp_path, capsys):
        sizes = replace(TINY, width=24)
        torch.save(released.uniter(sizes), tmp_path / "odd.pt")
        said = self.said(capsys, tmp_path / "odd.pt", tmp_path / "out")
        assert said == (
            f"vlp.models.export: {tmp_path / 'odd.pt'} is 24 wide, which no size is "
            "(base 768, small 256, tiny 128): give --size\n"
        )

    def test_nothing_there(self, tmp_path, capsys):
        said = self.said(capsys, tmp_path / "nowhere", tmp_path / "out")
        assert said == f"vlp.models.export: there are no weights at {tmp_path / 'nowhere'}\n"
