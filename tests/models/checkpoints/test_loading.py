"""Weights of ours and of transformers, whole, damaged, and of the wrong shape."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.models.examples import FEATURE_WIDTH, MODELS, VOCAB, random_batch, small_encoder
from tests.models.peers import BARE, WITH_HEADS, Sizes, config_of, shaken
from vlp.models import build, export_weights, load_weights, read_record
from vlp.models.checkpoints.loading import KNOWN

SIZES = {"bert": Sizes((2,)), "visualbert": Sizes((2,)), "lxmert": Sizes((1, 1, 1))}
RECORD = {"model": {"name": "uniter"}, "size": "tiny", "vocab_size": VOCAB, "features": {"width": FEATURE_WIDTH}}


def same_weights(first, second):
    return all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def message(error) -> str:
    return str(error.value)


def save_lightning(encoder, path, **more):
    """What a Lightning checkpoint of ours holds."""
    state = {f"encoder.{key}": value for key, value in encoder.state_dict().items()}
    state["objectives.mlm.head.bias"] = torch.zeros(3)
    torch.save({"state_dict": state | more, "global_step": 7, "vlp": RECORD}, path)


class TestOurs:
    @pytest.mark.parametrize("name", MODELS)
    def test_a_checkpoint_comes_back_whole(self, name, tmp_path):
        trained, fresh = small_encoder(name, 0), small_encoder(name, 1)
        save_lightning(trained, tmp_path / "last.ckpt")
        report = load_weights(fresh, tmp_path / "last.ckpt")
        assert (report.missing, report.unexpected, report.source) == ((), (), "vlp")
        assert same_weights(trained, fresh)

    @pytest.mark.parametrize("name", MODELS)
    def test_an_export_comes_back_whole_with_its_record(self, name, tmp_path):
        trained, fresh = small_encoder(name, 0), small_encoder(name, 1)
        export_weights(trained, tmp_path / "model.safetensors", RECORD)
        assert load_weights(fresh, tmp_path).source == "vlp"
        assert same_weights(trained, fresh)
        has_behaviour = trained.embeddings.released_behaviour is not None
        assert read_record(tmp_path) == (RECORD | {"released_behaviour": False} if has_behaviour else RECORD)

    def test_the_record_of_a_checkpoint_is_read(self, tmp_path):
        save_lightning(small_encoder("uniter"), tmp_path / "last.ckpt")
        assert read_record(tmp_path / "last.ckpt") == RECORD

    def test_what_is_neither_encoder_nor_head_is_unexpected(self, tmp_path):
        encoder = small_encoder("uniter")
        save_lightning(encoder, tmp_path / "last.ckpt", **{"encoder.extra.weight": torch.zeros(1)})
        with pytest.raises(ValueError) as error:
            load_weights(encoder, tmp_path / "last.ckpt")
        assert message(error) == (
            f"{tmp_path / 'last.ckpt'} (our uniter) does not fit model 'uniter': 0 missing, "
            "1 unexpected (encoder.extra.weight); strict=False loads what fits"
        )
        assert load_weights(encoder, tmp_path / "last.ckpt", strict=False).unexpected == ("encoder.extra.weight",)


class TestTransformers:
    @pytest.mark.parametrize("name", WITH_HEADS)
    def test_a_model_with_heads_loads_as_its_encoder_does(self, name, tmp_path):
        peer = shaken(WITH_HEADS[name](config_of(name, SIZES[name])))
        peer.save_pretrained(tmp_path)
        encoder = build(name, **SIZES[name].ours())
        report = load_weights(encoder, tmp_path)
        assert (report.missing, report.unexpected, report.source) == ((), (), "huggingface")
        bare = build(name, **SIZES[name].ours())
        peer.base_model.save_pretrained(tmp_path / "bare")
        load_weights(bare, tmp_path / "bare" / "model.safetensors")
        assert same_weights(encoder, bare)

    def test_old_norm_names_and_buffers_are_understood(self, tmp_path):
        peer = shaken(BARE["bert"](config_of("bert", SIZES["bert"])))
        old = {
            key.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
            for key, value in peer.state_dict().items()
        }
        old["embeddings.position_ids"] = torch.arange(24)[None]
        torch.save(old, tmp_path / "pytorch_model.bin")
        report = load_weights(encoder := build("bert", **SIZES["bert"].ours()), tmp_path)
        assert (report.missing, report.unexpected) == ((), ())
        assert torch.equal(encoder.embeddings.text.norm.weight, peer.embeddings.LayerNorm.weight)

    def test_half_precision_is_cast(self, tmp_path):
        peer = BARE["bert"](config_of("bert", SIZES["bert"])).half()
        peer.save_pretrained(tmp_path)
        encoder = build("bert", **SIZES["bert"].ours())
        load_weights(encoder, tmp_path)
        assert encoder.word_embeddings.weight.dtype == torch.float32

    def test_another_architecture_is_refused_by_name(self, tmp_path):
        BARE["bert"](config_of("bert", SIZES["bert"])).save_pretrained(tmp_path)
        encoder = build("uniter", **SIZES["bert"].ours())
        with pytest.raises(ValueError) as error:
            load_weights(encoder, tmp_path)
        assert message(error) == (
            f"{tmp_path / 'model.safetensors'} (transformers' BERT) does not fit model 'uniter': 11 missing "
            "(embeddings.features.weight, embeddings.features.bias, embeddings.features_norm.weight, "
            "embeddings.features_norm.bias, embeddings.location.weight, ...), 0 unexpected; "
            "strict=False loads what fits"
        )

    def test_missing_layers_are_reported_by_our_names_and_spare_ones_by_theirs(self, tmp_path):
        BARE["bert"](config_of("bert", SIZES["bert"])).save_pretrained(tmp_path)
        longer = build("bert", **{**SIZES["bert"].ours(), "layers": 3})
        report = load_weights(longer, tmp_path, strict=False)
        assert report.missing[0] == "stack.layers.2.attention.query.weight"
        assert len(report.missing) == 16
        shorter = build("bert", **{**SIZES["bert"].ours(), "layers": 1})
        report = load_weights(shorter, tmp_path, strict=False)
        assert "encoder.layer.1.attention.self.query.weight" in report.unexpected
        assert len(report.unexpected) == 16


class TestShapes:
    def test_another_width_names_the_tensor_and_the_size(self, tmp_path):
        export_weights(build("bert", vocab_size=VOCAB), tmp_path / "model.safetensors")
        with pytest.raises(ValueError) as error:
            load_weights(build("bert", size="small", vocab_size=VOCAB), tmp_path)
        assert message(error) == (
            f"embeddings.text.words.weight is ({VOCAB}, 128) in {tmp_path / 'model.safetensors'} and ({VOCAB}, 256) in "
            "model 'bert': the file's width is 128, as in size=tiny"
        )

    def test_another_vocabulary_names_its_size(self, tmp_path):
        export_weights(build("bert", vocab_size=77), tmp_path / "model.safetensors")
        with pytest.raises(ValueError) as error:
            load_weights(build("bert", vocab_size=VOCAB), tmp_path)
        assert message(error).endswith(": build the model with vocab_size=77")

    def test_another_feature_width_names_it(self, tmp_path):
        export_weights(build("uniter", vocab_size=VOCAB, feature_width=12), tmp_path / "model.safetensors")
        with pytest.raises(ValueError) as error:
            load_weights(build("uniter", vocab_size=VOCAB, feature_width=10), tmp_path)
        assert message(error).endswith(": build the model with feature_width=12")


class TestBadFiles:
    def test_nothing_there(self, tmp_path):
        with pytest.raises(FileNotFoundError) as error:
            load_weights(small_encoder("bert"), tmp_path / "nowhere.pt")
        assert message(error) == f"there are no weights at {tmp_path / 'nowhere.pt'}"

    def test_a_folder_without_weights(self, tmp_path):
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
        with pytest.raises(FileNotFoundError) as error:
            load_weights(small_encoder("bert"), tmp_path)
        assert message(error) == (
            f"the folder {tmp_path} holds neither model.safetensors nor pytorch_model.bin; found config.json"
        )

    @pytest.mark.parametrize("name", ["last.ckpt", "model.safetensors", "old.pt"])
    @pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
    def test_a_file_cut_short(self, name, share, tmp_path):
        encoder, file = small_encoder("uniter"), tmp_path / name
        if name == "last.ckpt":
            save_lightning(encoder, file)
        elif name == "old.pt":
            torch.save(encoder.state_dict(), file, _use_new_zipfile_serialization=False)
        else:
            export_weights(encoder, file)
        whole = file.read_bytes()
        file.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(ValueError) as error:
            load_weights(encoder, file)
        assert message(error).startswith(f"{file} is cut short")

    def test_a_format_nobody_knows(self, tmp_path):
        save_file(
            {"blocks.0.attn.weight": torch.zeros(2, 2), "head.weight": torch.zeros(2)}, tmp_path / "timm.safetensors"
        )
        with pytest.raises(ValueError) as error:
            load_weights(small_encoder("bert"), tmp_path / "timm.safetensors")
        assert message(error) == (
            f"{tmp_path / 'timm.safetensors'} is in no format we know ({KNOWN}): "
            "it has 2 tensors, the first being blocks.0.attn.weight, head.weight"
        )

    def test_code_in_a_pickle_is_not_run(self, tmp_path):
        ran = tmp_path / "ran"
        torch.save({"state_dict": Hostile(ran)}, tmp_path / "hostile.pt")
        with pytest.raises(ValueError) as error:
            load_weights(small_encoder("bert"), tmp_path / "hostile.pt")
        assert message(error).startswith(
            f"{tmp_path / 'hostile.pt'} holds no plain tensors, or objects that would run code"
        )
        assert not ran.exists()

    def test_no_tensors(self, tmp_path):
        torch.save({"global_step": 3}, tmp_path / "empty.pt")
        with pytest.raises(ValueError) as error:
            load_weights(small_encoder("bert"), tmp_path / "empty.pt")
        assert message(error) == f"{tmp_path / 'empty.pt'} holds no tensors"

    def test_a_failed_load_leaves_the_model_as_it_was(self, tmp_path):
        encoder, twin = small_encoder("bert"), small_encoder("bert")
        tensors = {key: torch.zeros_like(value) for key, value in encoder.state_dict().items()}
        del tensors["pooler.dense.bias"]
        save_file(tensors, tmp_path / "model.safetensors")
        assert "pooler.dense.bias" not in load_file(tmp_path / "model.safetensors")
        with pytest.raises(ValueError) as error:
            load_weights(encoder, tmp_path)
        assert "1 missing (pooler.dense.bias)" in message(error)
        assert same_weights(encoder, twin)


class Hostile:
    """Unpickling it would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_weights_of_ours_give_the_same_answers(tmp_path):
    trained, fresh = small_encoder("lxmert", 0), small_encoder("lxmert", 1)
    save_lightning(trained, tmp_path / "last.ckpt")
    load_weights(fresh, tmp_path / "last.ckpt")
    assert torch.equal(trained(random_batch()).pooled, fresh(random_batch()).pooled)
