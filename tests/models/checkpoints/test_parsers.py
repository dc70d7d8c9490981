"""Files of pixel models: ViLT of transformers and as released, visual parsers of timm and Microsoft."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
import transformers
from torch import Tensor, nn

from tests.models.checkpoints import released
from tests.models.examples import batch_for, pixel_batch
from tests.models.peers import shaken
from vlp.models import VLEncoder, build, load_weights
from vlp.models.checkpoints.files import Contents
from vlp.models.checkpoints.loading import load_contents
from vlp.models.checkpoints.naming import A_BUFFER
from vlp.models.checkpoints.parsers import A_CLASSIFIER, PARSER

VILT = {"image_size": 12, "longest": None, "patch": 4, "grid": 3, "positions": 16}
NUMBERS = {"width": 32, "heads": 4, "feed_forward": 48, "layers": 2, "vocab_size": 60}
SWIN = "swin_tiny_patch4_window7_224"
SWIN_OPTIONS = {"embed_dim": 16, "depths": [1, 2, 2], "num_heads": [1, 2, 4]}
RESNET_OPTIONS = {"channels": [8, 16, 24, 32], "layers": [1, 1, 1, 1]}
SOHO_SIZE = {
    "image_size": 64,
    "longest": None,
    "entries": 8,
    "momentum": 0.9,
    "parser": "resnet18",
    "stage": 4,
    "options": RESNET_OPTIONS,
}
COUNTED = "num_batches_tracked"
"""How many batches a BatchNorm has averaged over: what it says in evaluation does not depend on it."""
SWIN_SIZE = {"image_size": 96, "parser": SWIN, "options": SWIN_OPTIONS}


def vilt_of_transformers(**more: object) -> nn.Module:
    config = transformers.ViltConfig(
        vocab_size=60,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=16,
        image_size=12,
        patch_size=4,
        **more,
    )
    torch.manual_seed(0)
    return shaken(transformers.ViltForMaskedLM(config))


def vilt(**more: object) -> VLEncoder:
    return build("vilt", **NUMBERS, vilt=VILT, **more)


class TestVilt:
    def test_transformers_file_loads_and_says_the_same(self, tmp_path):
        peer = vilt_of_transformers()
        peer.save_pretrained(tmp_path)
        encoder = vilt()
        report = load_weights(encoder, tmp_path)
        assert (report.missing, report.unexpected, report.source) == ((), (), "huggingface")
        assert set(report.heads) == {
            f"mlm.head.transform.{n}.{p}" for n in ("dense", "norm") for p in ("weight", "bias")
        } | {"mlm.head.bias"}
        batch = pixel_batch(encoder.pixel_input)
        with torch.no_grad():
            found = encoder(batch)
            theirs = peer.vilt(
                input_ids=batch.input_ids,
                attention_mask=batch.text_mask.long(),
                token_type_ids=batch.token_types,
                pixel_values=batch.pixels,
                pixel_mask=batch.pixel_mask.long(),
            )
        length = batch.input_ids.shape[1]
        real = batch.text_mask
        expected = theirs.last_hidden_state[:, :length]
        torch.testing.assert_close(found.text[real], expected[real], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(found.pooled, theirs.pooler_output, rtol=1e-5, atol=1e-5)

    def test_a_bare_model_loads_as_its_encoder_does(self, tmp_path):
        peer = vilt_of_transformers()
        peer.save_pretrained(tmp_path / "heads")
        peer.vilt.save_pretrained(tmp_path / "bare")
        first, second = vilt(), vilt()
        load_weights(first, tmp_path / "heads")
        load_weights(second, tmp_path / "bare")
        own, others = first.state_dict(), second.state_dict()
        assert all(torch.equal(own[key], others[key]) for key in own)

    def test_the_released_projection_is_queries_then_keys_then_values(self, tmp_path):
        from tests.models.peers import Sizes

        tensors = released.vilt(Sizes((2,), width=32, heads=4, feed_forward=48, positions=16, vocab=60))
        torch.save({"state_dict": tensors, "global_step": 7}, tmp_path / "vilt.ckpt")
        encoder = vilt()
        load_weights(encoder, tmp_path / "vilt.ckpt")
        attention = encoder.stack.layers[1].attention
        ours = torch.cat([part.weight for part in (attention.query, attention.key, attention.value)])
        assert torch.equal(ours, tensors["transformer.blocks.1.attn.qkv.weight"])
        assert torch.equal(encoder.embeddings.positions.weight, tensors["transformer.pos_embed"][0])

    def test_nlvr2s_three_modalities_say_how_to_build_the_model(self, tmp_path):
        vilt_of_transformers(modality_type_vocab_size=3).save_pretrained(tmp_path)
        with pytest.raises(ValueError) as error:
            load_weights(vilt(), tmp_path)
        assert str(error.value).endswith("in model 'vilt': build the model with model.embeddings.modalities=3")


def swin_vlp() -> VLEncoder:
    return build("swin_vlp", **NUMBERS, swin_vlp=SWIN_SIZE)


def soho() -> VLEncoder:
    return build("soho", **NUMBERS, soho=SOHO_SIZE)


def silent(encoder: VLEncoder, tensors: dict[str, Tensor]) -> list[str]:
    """The endings of tensors that may change without the grid's changing; those that are left out are not asked."""
    pixels = torch.randn(2, 3, *[encoder.pixel_input.shortest] * 2, generator=torch.Generator().manual_seed(1))

    @torch.no_grad()
    def grid(tensors: dict[str, Tensor]) -> Tensor:
        report = load_contents(encoder, Contents(Path("parser.pth"), tensors), part=PARSER)
        asked.update(tensors.keys() - report.left_out.keys())
        return encoder.embeddings.parser(pixels)

    asked: set[str] = set()
    before = grid(tensors)
    same = [
        key
        for key in sorted(asked)
        if torch.equal(grid({**tensors, key: tensors[key] * 1.5 + tensors[key].new_ones(())}), before)
    ]
    return sorted({key.rpartition(".")[2] for key in same})


def timms_swin() -> nn.Module:
    torch.manual_seed(3)
    return shaken(timm.create_model(SWIN, img_size=96, window_size=6, num_classes=7, **SWIN_OPTIONS))


class TestParsers:
    @pytest.mark.parametrize("source", ["timm", "swin"])
    def test_a_swin_file_goes_into_the_parser_alone(self, source, tmp_path):
        theirs = timms_swin()
        tensors = theirs.state_dict()
        if source == "swin":
            tensors = {"model": released.microsofts_swin(tensors)}
        torch.save(tensors, tmp_path / "swin.pth")
        encoder = swin_vlp()
        words = encoder.word_embeddings.weight.clone()
        report = load_weights(encoder, tmp_path / "swin.pth", part=PARSER)
        assert (report.missing, report.unexpected, report.source) == ((), (), source)
        assert set(report.left_out.values()) == ({A_CLASSIFIER} if source == "timm" else {A_CLASSIFIER, A_BUFFER})
        pixels = batch_for(encoder).pixels
        with torch.no_grad():
            torch.testing.assert_close(encoder.embeddings.parser(pixels), theirs.forward_features(pixels))
        assert torch.equal(words, encoder.word_embeddings.weight)

    @pytest.mark.filterwarnings("ignore::UserWarning:timm")  # its interpolation indexes by a list
    @pytest.mark.parametrize("source", ["timm", "swin"])
    def test_tables_for_other_windows_are_interpolated_as_timm_does(self, source, tmp_path):
        tensors = timms_swin().state_dict()
        torch.save({"model": released.microsofts_swin(tensors)} if source == "swin" else tensors, tmp_path / "swin.pth")
        encoder = build("swin_vlp", **NUMBERS, swin_vlp={**SWIN_SIZE, "image_size": 192})
        report = load_weights(encoder, tmp_path / "swin.pth", part=PARSER)
        assert (report.missing, report.unexpected) == ((), ())
        network = encoder.embeddings.parser.network
        expected = timm.models.swin_transformer.checkpoint_filter_fn(tensors, network)
        for key, value in network.state_dict().items():
            torch.testing.assert_close(value, expected[key])
        table = network.layers[2].blocks[1].attn.relative_position_bias_table
        assert (len(tensors["layers.2.blocks.1.attn.relative_position_bias_table"]), len(table)) == (11 * 11, 23 * 23)

    def test_a_swin_of_another_size_names_the_right_one(self):
        with torch.device("meta"):
            theirs = timm.create_model(SWIN).state_dict()
        with pytest.raises(ValueError) as error:
            load_contents(swin_vlp(), Contents(Path("swin.pth"), theirs), part=PARSER)
        assert str(error.value).endswith("in model 'swin_vlp': the file's parser is that of size=small")

    def test_without_its_part_the_file_is_refused(self, tmp_path):
        torch.save(timms_swin().state_dict(), tmp_path / "swin.pth")
        with pytest.raises(ValueError) as error:
            load_weights(swin_vlp(), tmp_path / "swin.pth")
        assert str(error.value) == (
            f"{tmp_path / 'swin.pth'} (timm's Swin) holds {PARSER} alone, the rest would stay as it is: "
            f"load_weights(model, path, part='{PARSER}') loads it there"
        )

    def test_a_resnet_of_timm_goes_into_sohos_parser(self, tmp_path):
        torch.manual_seed(4)
        theirs = shaken(timm.create_model("resnet18", **RESNET_OPTIONS))
        torch.save(theirs.state_dict(), tmp_path / "resnet.pth")
        encoder = soho()
        report = load_weights(encoder, tmp_path / "resnet.pth", part=PARSER)
        assert (report.missing, report.unexpected) == ((), ())
        assert report.left_out == {"fc.weight": A_CLASSIFIER, "fc.bias": A_CLASSIFIER}
        pixels = torch.randn(2, 3, 64, 64)
        with torch.no_grad():
            grid = nn.functional.max_pool2d(theirs.forward_features(pixels), encoder.embeddings.parser.pool)
            torch.testing.assert_close(encoder.embeddings.parser(pixels), grid.permute(0, 2, 3, 1))

    @pytest.mark.parametrize("source", ["timm", "swin"])
    def test_changing_any_tensor_of_a_swin_changes_the_grid(self, source):
        theirs = timms_swin().state_dict()
        assert silent(swin_vlp(), released.microsofts_swin(theirs) if source == "swin" else theirs) == []

    def test_changing_any_tensor_of_a_resnet_changes_the_grid(self):
        torch.manual_seed(4)
        theirs = shaken(timm.create_model("resnet18", **RESNET_OPTIONS))
        assert silent(soho(), theirs.state_dict()) == [COUNTED]

    def test_a_name_beside_the_classifiers_is_unexpected(self):
        strange = {**timms_swin().state_dict(), "head.more.weight": torch.zeros(1)}
        report = load_contents(swin_vlp(), Contents(Path("swin.pth"), strange), strict=False, part=PARSER)
        assert report.unexpected == ("head.more.weight",)

    def test_one_part_of_a_whole_model_is_loaded_and_all_else_kept(self, tmp_path):
        first, second = swin_vlp(), swin_vlp()
        before = {key: value.clone() for key, value in second.state_dict().items()}
        torch.save(first.state_dict(), tmp_path / "whole.pt")
        assert load_weights(second, tmp_path / "whole.pt", part="embeddings.parser").unexpected == ()
        for key, value in second.state_dict().items():
            wanted = first.state_dict() if key.startswith("embeddings.parser") else before
            assert torch.equal(value, wanted[key])


@pytest.mark.slow
@pytest.mark.parametrize("source", ["timm", "swin"])
def test_swin_base_of_384_pixels_goes_into_the_parser_of_base_size(source, tmp_path):
    theirs = timm.create_model("swin_base_patch4_window12_384")
    tensors = theirs.state_dict()
    assert len(tensors) == 329
    assert sum(tensor.numel() for tensor in tensors.values()) == 87_903_584
    if source == "swin":
        tensors = {"model": released.microsofts_swin(tensors)}
    torch.save(tensors, tmp_path / "swin.pth")
    encoder = build("swin_vlp", size="base")
    report = load_weights(encoder, tmp_path / "swin.pth", part="embeddings.parser")
    assert (report.missing, report.unexpected, report.source) == ((), (), source)
    own = encoder.embeddings.parser.network.state_dict()
    assert all(torch.equal(own[key], value) for key, value in theirs.state_dict().items() if not key.startswith("head"))
    assert without_gradient(encoder) == []


@pytest.mark.slow
def test_resnet_101_goes_into_the_parser_of_base_size(tmp_path):
    theirs = shaken(timm.create_model("resnet101"))  # its last BatchNorms begin at 0, which lets nothing through
    torch.save(theirs.state_dict(), tmp_path / "resnet.pth")
    encoder = build("soho", size="base")
    report = load_weights(encoder, tmp_path / "resnet.pth", part=PARSER)
    assert (report.missing, report.unexpected, report.source) == ((), (), "timm")
    assert without_gradient(encoder) == []


def without_gradient(encoder: VLEncoder) -> list[str]:
    """The parser's parameters that a random projection of its grid gives no gradient."""
    parser = encoder.embeddings.parser
    side = encoder.pixel_input.shortest
    grid = parser(torch.randn(1, 3, side, side))
    (grid * torch.randn_like(grid)).sum().backward()
    found = {name: parameter.grad for name, parameter in parser.named_parameters()}
    return [name for name, grad in found.items() if grad is None or not grad.any() or not grad.isfinite().all()]
