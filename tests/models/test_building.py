import pytest
import torch

from tests.models.examples import MODELS
from vlp.configs import read_option, resolve
from vlp.data.tokenisation import shipped_vocab_size
from vlp.models import build, build_from_config
from vlp.models.heads import MLMHead, PooledClassifier, RegionClassificationHead


@pytest.mark.parametrize("name", MODELS)
def test_below_base_the_vocabulary_is_the_shipped_one(name):
    assert build(name, feature_width=4).vocab_size == shipped_vocab_size()


def test_at_base_the_vocabulary_and_features_are_the_paper_s():
    with torch.device("meta"):
        found = {name: build(name, size="base") for name in MODELS}
    assert {name: (model.vocab_size, model.feature_width) for name, model in found.items()} == {
        "bert": (30522, None),
        "lxmert": (30522, 2048),
        "lxmert_ctrl": (30522, 2048),
        "soho": (30522, None),
        "swin_vlp": (30522, None),
        "uniter": (28996, 2048),
        "uniter_ctrl": (30522, 2048),
        "vilbert": (30522, 2048),
        "vilbert_ctrl": (30522, 2048),
        "vilt": (30522, None),
        "visualbert": (30522, 2048),
        "visualbert_ctrl": (30522, 2048),
        "vl_bert": (30522, 2048),
        "vl_bert_ctrl": (30522, 2048),
    }


def test_base_is_the_papers_numbers():
    size = read_option("size", "base")
    assert [size[key] for key in ("width", "heads", "feed_forward", "layers")] == [768, 12, 3072, 12]
    assert [size[key] for key in ("text_layers", "vision_layers", "cross_layers")] == [9, 5, 5]
    assert (size["positions"], size["dropout"], size["attention_dropout"]) == (512, 0.1, 0.1)


@pytest.mark.parametrize(
    ("name", "heads", "millions"),
    [
        # masked words, feature regression, region classes, matching; the second row of the released mask table
        ("uniter", 621_124 + 594_176 + 1_823_297 + 1_538 + 2_048, 112.94),
        # masked words, matching, objects + attributes + features, 9500 answers
        ("lxmert", 622_650 + 1_538 + 592_128 + 3_112_912 + 15_785_756, 228.05),
    ],
)
def test_base_models_have_the_released_number_of_parameters(name, heads, millions):
    with torch.device("meta"):
        encoder = build(name, size="base")
    total = sum(parameter.numel() for parameter in encoder.parameters()) + heads
    assert total / 1e6 == pytest.approx(millions, abs=0.005)


@pytest.mark.parametrize(
    ("name", "millions", "digit"),
    [
        ("uniter_ctrl", 114.5, 0.1),
        ("visualbert_ctrl", 114.9, 0.1),
        ("vl_bert_ctrl", 116.1, 0.1),
        ("lxmert_ctrl", 211, 1),
        ("vilbert_ctrl", 242, 1),
    ],
)
def test_controlled_models_have_the_published_number_of_parameters(name, millions, digit):
    with torch.device("meta"):
        encoder = build(name, size="base")
        heads = (
            MLMHead(encoder.width, encoder.vocab_size),
            RegionClassificationHead(encoder.vision_width, 1601, has_norm=name != "vl_bert_ctrl"),
            PooledClassifier(encoder.pooled_width, 2),
        )
    total = sum(parameter.numel() for part in (encoder, *heads) for parameter in part.parameters())
    assert total / 1e6 == pytest.approx(millions, abs=digit / 2)


def test_vilbert_s_visual_stream_has_numbers_of_its_own():
    with torch.device("meta"):
        encoder = build("vilbert", size="base")
    layer = encoder.stack.cross_layers[5]
    assert (encoder.width, encoder.vision_width, encoder.pooled_width) == (768, 1024, 1024)
    assert len(encoder.stack.text_layers) == len(encoder.stack.cross_layers) == 6
    assert len(encoder.stack.vision_layers) == 0
    assert layer.text_attention.query.weight.shape == layer.vision_attention.key.weight.shape == (1024, 768)
    assert layer.text_attention.output.weight.shape == (768, 1024)
    assert layer.vision.feed_forward.expand.weight.shape == (1024, 1024)
    assert layer.text.feed_forward.expand.weight.shape == (3072, 768)
    assert {str(site): heads for site, heads in encoder.heads_of.items() if site.layer == 5} == {
        "text.5.text-text": 12,
        "cross.5.text-vision": 8,
        "cross.5.vision-text": 8,
        "cross.5.text-text": 12,
        "cross.5.vision-vision": 8,
    }


@pytest.mark.parametrize("released", [None, True, False])
def test_released_behaviour_is_asked_for_or_follows_the_weights(released):
    encoder = build("vl_bert_ctrl", feature_width=4, released_behaviour=released)
    assert encoder.released_behaviour is encoder.embeddings.released_behaviour is bool(released)
    for trained in (True, False):
        encoder.follow(trained)
        expected = trained if released is None else released
        assert encoder.released_behaviour is encoder.embeddings.released_behaviour is expected


def test_a_model_whose_release_is_right_has_no_released_behaviour():
    config = resolve({"model": read_option("model", "uniter"), "size": read_option("size", "tiny")})["model"]
    with pytest.raises(ValueError, match="model uniter has no released_behaviour"):
        build_from_config({**config, "released_behaviour": False}, feature_width=4)
    encoder = build("uniter", feature_width=4)
    encoder.follow(True)
    assert not encoder.released_behaviour


@pytest.mark.parametrize(("width", "std"), [(768, 0.02), (192, 0.04), (48, 0.08)])
def test_initial_weights_are_scaled_to_the_width(width, std):
    torch.manual_seed(0)
    model = build("uniter", layers=1, width=width, feed_forward=256, vocab_size=500, feature_width=64)
    weights = model.word_embeddings.weight
    assert weights.std().item() == pytest.approx(std, rel=0.03)
    assert weights.mean().item() == pytest.approx(0, abs=0.01 * std + 1e-3)
    assert model.stack.layers[0].attention.query.weight.std().item() == pytest.approx(std, rel=0.05)
    assert model.stack.layers[0].attention.query.bias.count_nonzero() == 0


def test_a_config_gives_what_its_option_gives():
    config = resolve({"model": read_option("model", "lxmert"), "size": read_option("size", "tiny")})["model"]
    torch.manual_seed(0)
    first = build_from_config(config, feature_width=8, vocab_size=50)
    torch.manual_seed(0)
    second = build("lxmert", feature_width=8, vocab_size=50)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "unter"}, "model=unter is not an option; did you mean uniter?"),
        ({"name": "uniter", "size": "tinny"}, "size=tinny is not an option; did you mean tiny?"),
        ({"name": "uniter", "layer": 2}, "size=tiny has no key layer; did you mean layers or co_layers?"),
        ({"name": "uniter", "heads": 3, "vocab_size": 9}, "width=128 is not a multiple of heads=3"),
        ({"name": "uniter", "released_behaviour": True}, "model=uniter has no key released_behaviour"),
    ],
)
def test_what_does_not_exist_is_refused_by_name(arguments, message):
    with pytest.raises(ValueError) as error:
        build(**arguments)
    assert message in str(error.value)


def test_a_config_of_something_else_is_refused():
    with pytest.raises(ValueError) as error:
        build_from_config({"name": "odd", "_target_": "vlp.models.blocks.BlockShape", "width": 4, "heads": 2})
    assert str(error.value).startswith("model: vlp.models.blocks.BlockShape takes no name; there is width, heads")
