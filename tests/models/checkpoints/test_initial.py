import logging

import huggingface_hub
import pytest
import timm
import torch
import transformers
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

from tests.models.peers import Sizes, config_of
from vlp.models import VLEncoder, build
from vlp.models.checkpoints.initial import load_initial_weights, local_path

SIZES = Sizes((3,), width=32, heads=4, feed_forward=48, positions=16, vocab=60)
SWIN = "swin_tiny_patch4_window7_224"
OPTIONS = {"embed_dim": 16, "depths": [1, 2], "num_heads": [1, 2]}
PARSER = "embeddings.parser"


def encoder(model: str = "swin_vlp", **more: object) -> VLEncoder:
    torch.manual_seed(0)
    numbers = {**SIZES.ours(), "layers": 2, "text_layers": 1, "vision_layers": 1, "cross_layers": 1}
    return build(model, **numbers, swin_vlp={"image_size": 32, "parser": SWIN, "options": OPTIONS}, **more)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The folder of a BERT of 3 layers, and the file of a Swin."""
    folder = tmp_path_factory.mktemp("released")
    torch.manual_seed(1)
    transformers.BertForPreTraining(config_of("bert", SIZES)).save_pretrained(folder / "bert")
    torch.save(timm.create_model(SWIN, img_size=32, window_size=4, **OPTIONS).state_dict(), folder / "swin.pth")
    return folder


def moved(model: VLEncoder) -> set[str]:
    """The names of weights that are not those drawn."""
    drawn = encoder(model.name).state_dict()
    return {name for name, value in model.state_dict().items() if not torch.equal(value, drawn[name])}


def test_a_bert_goes_into_the_text_embedding_and_the_first_layers(files, caplog):
    model, peer = encoder(), transformers.BertModel.from_pretrained(files / "bert")
    with caplog.at_level(logging.INFO):
        load_initial_weights(model, {"encoder": str(files / "bert")})
    assert torch.equal(model.word_embeddings.weight, peer.embeddings.word_embeddings.weight)
    for ours, theirs in zip(model.stack.layers, peer.encoder.layer, strict=False):
        assert torch.equal(ours.attention.query.weight, theirs.attention.self.query.weight)
        assert torch.equal(ours.feed_forward.contract.weight, theirs.output.dense.weight)
    assert all(name.startswith(("embeddings.text.", "stack.layers.")) for name in moved(model))
    assert "18 of the file are left out (bert.encoder.layer.2." in caplog.text  # a layer has 16, the pooler 2
    assert "weights stay as they are (embeddings.parser.network." in caplog.text


def test_a_part_takes_weights_of_its_own_whatever_the_whole_takes(files, tmp_path):
    torch.save(shaken(encoder()).state_dict(), tmp_path / "whole.pt")
    model = encoder()
    load_initial_weights(model, {PARSER: str(files / "swin.pth"), "encoder": str(tmp_path / "whole.pt")})
    theirs, whole = (torch.load(path, weights_only=True) for path in (files / "swin.pth", tmp_path / "whole.pt"))
    for name, value in model.state_dict().items():
        own = theirs.get(name.removeprefix(f"{PARSER}.network."))
        assert torch.equal(value, whole[name] if own is None else own), name


def shaken(model: VLEncoder) -> VLEncoder:
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def test_null_is_nothing():
    model = encoder()
    load_initial_weights(model, {"encoder": None, PARSER: None})
    load_initial_weights(model, {"embeddings": {"parser": "timm:none"}})
    load_initial_weights(model, None)
    assert moved(model) == set()


def test_a_part_s_name_may_be_written_with_maps(files):
    dots, maps = encoder(), encoder()
    load_initial_weights(dots, {PARSER: str(files / "swin.pth")})
    load_initial_weights(maps, {"embeddings": {"parser": str(files / "swin.pth")}})
    assert moved(dots) == moved(maps) != set()
    assert all(torch.equal(value, dots.state_dict()[name]) for name, value in maps.state_dict().items())


def test_a_misspelt_part_is_refused_before_anything_is_read(monkeypatch):
    asked = on_the_hub(monkeypatch, {})
    with pytest.raises(ValueError) as error:
        load_initial_weights(encoder(), {"encoder": "hf:a/b", "embeddings.parserr": "missing.pth"})
    assert str(error.value).startswith(
        "model 'swin_vlp' has no part 'embeddings.parserr'; did you mean embeddings.parser "
    )
    assert asked == []


@pytest.mark.parametrize("part", [PARSER, "encoder"])
def test_weights_that_are_not_finite_are_refused_by_name(part, tmp_path):
    state = encoder().state_dict()
    name = next(name for name in state if name.endswith("patch_embed.proj.bias"))
    state[name][1] = float("nan")
    if part == PARSER:
        state = {key.removeprefix(f"{PARSER}.network."): value for key, value in state.items() if PARSER in key}
    torch.save(state, tmp_path / "weights.pth")
    with pytest.raises(ValueError) as error:
        load_initial_weights(encoder(), {part: str(tmp_path / "weights.pth")})
    assert str(error.value) == f"{tmp_path}/weights.pth: 1 weights are not finite ({name})"


@pytest.mark.parametrize(
    ("part", "file", "message"),
    [
        ("embedings.parser", "swin.pth", "model 'swin_vlp' has no part 'embedings.parser'; did you mean"),
        ("encoder", "swin.pth", "swin.pth (timm's Swin) holds embeddings.parser.network. alone"),
        (PARSER, "bert", "bert/model.safetensors (transformers' BERT) does not fit model 'swin_vlp'"),
        (
            "stack",
            "bert",
            "bert/model.safetensors (transformers' BERT) does not fit model 'swin_vlp': 0 missing, 16",
        ),
    ],
)
def test_weights_that_are_not_of_a_part_are_refused(part, file, message, files):
    with pytest.raises(ValueError) as error:
        load_initial_weights(encoder(), {part: str(files / file)})
    assert message in str(error.value)


def on_the_hub(monkeypatch, there):
    """Have the hub hold ``there``, files by repository and name; return what was asked for."""
    asked = []

    def download(repository, file):
        asked.append((repository, file))
        found = there.get((repository, file), EntryNotFoundError("404"))
        if isinstance(found, Exception):
            raise found
        return str(found)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    return asked


def test_weights_of_the_hub_are_fetched(files, monkeypatch):
    name = f"timm/{SWIN}.ms_in1k"
    asked = on_the_hub(monkeypatch, {(name, "pytorch_model.bin"): files / "swin.pth"})
    model = encoder()
    load_initial_weights(model, {PARSER: f"timm:{SWIN}.ms_in1k"})
    assert asked == [(name, "model.safetensors"), (name, "pytorch_model.bin")]
    assert moved(model)
    assert all(name.startswith(PARSER) for name in moved(model))


@pytest.mark.parametrize(
    ("source", "there", "message"),
    [
        ("timm:swin_base", {}, "timm:swin_base has no tag (as in NAME.ms_in1k): which of timm's weights are meant?"),
        ("hf:a/b", {}, "hf:a/b has neither model.safetensors nor pytorch_model.bin on the hub"),
        (
            "hf:a/b",
            {("a/b", "model.safetensors"): LocalEntryNotFoundError("no network\nand more")},
            "hf:a/b cannot be had from the hub, give a file in its place: no network",
        ),
        (
            "hf:a/b",
            {("a/b", "model.safetensors"): OSError("401 of a private repository")},
            "hf:a/b cannot be had from the hub, give a file in its place: 401 of a private repository",
        ),
    ],
)
def test_what_the_hub_does_not_give_is_told(source, there, message, monkeypatch):
    on_the_hub(monkeypatch, there)
    with pytest.raises(ValueError) as error:
        local_path(source)
    assert str(error.value) == message


def test_a_name_that_is_none_of_the_hub_s_is_told():
    with pytest.raises(ValueError) as error:
        local_path("hf:a/b/c")
    assert str(error.value).startswith("hf:a/b/c cannot be had from the hub, give a file in its place: Repo id must")
