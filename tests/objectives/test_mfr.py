from dataclasses import replace

import pytest
import torch

from tests.data.worlds import HandMade
from tests.models.examples import small_encoder
from vlp.data.groups import Texts
from vlp.data.masking import CellMasking, PairMismatch
from vlp.data.ordering import Place
from vlp.data.pairs import PretrainingPairs
from vlp.data.tokenisation import open_tokenizer
from vlp.models import build
from vlp.objectives.mfr import MaskedFeatureRegression
from vlp.objectives.vla import VisionLanguageAlignment

VOCAB = open_tokenizer().vocab_size


def encoder_of_words(name="swin_vlp"):
    torch.manual_seed(0)
    small = small_encoder(name)
    small.embeddings.text.words = torch.nn.Embedding(VOCAB, small.width)
    return small


def batch_of(encoder, objective, texts=Texts(), size=6):
    corruptions = {"itm": PairMismatch(), "it": objective.corruption}
    pairs = PretrainingPairs(
        HandMade(size), open_tokenizer(), corruptions, pixel_input=encoder.pixel_input, texts=texts
    )
    return pairs[[Place(0, index) for index in range(len(pairs))]]


def regression(encoder, masking="parsed", **options):
    return MaskedFeatureRegression(encoder, CellMasking(masking, k=2), **options)


@pytest.mark.parametrize("masking", ["parsed", "random"])
def test_it_is_the_squared_distance_over_channels_and_hidden_cells_mean_over_matched_pairs(masking):
    encoder = encoder_of_words()
    objective = regression(encoder, masking)
    batch = batch_of(encoder, objective)
    encoding = encoder(batch.inputs)
    features = encoder.embeddings.parser(batch.inputs.pixels).flatten(1, 2)
    total = 0.0
    for row in range(24):
        assert encoding.hidden[row].sum() == 2
        for cell in encoding.hidden[row].nonzero().flatten().tolist():
            if batch.is_matched[row]:
                told = objective.head(encoding.vision[row, cell])
                total += (told - features[row // 4, cell]).square().sum().item()
    assert objective(encoding, batch, encoder).item() == pytest.approx(total / 12, rel=1e-5)
    mean = regression(encoder, masking, reduction="mean")
    mean.load_state_dict(objective.state_dict())
    assert mean(encoding, batch, encoder).item() == pytest.approx(total / (24 * features.shape[-1]), rel=1e-5)


def test_the_baseline_is_what_the_mean_feature_of_the_held_out_hidden_cells_costs():
    encoder = encoder_of_words()
    objective = regression(encoder)
    batch = batch_of(encoder, objective)
    encoding = encoder(batch.inputs)
    targets = encoding.targets[encoding.hidden & batch.is_matched[:, None]]
    objective.update(encoding, batch, encoder)
    values = objective.compute()
    assert values["baseline"].item() == pytest.approx((targets - targets.mean(0)).square().sum().item() / 12, rel=1e-4)
    assert values[""].item() == pytest.approx(objective(encoding, batch, encoder).item(), rel=1e-5)
    torch.nn.init.zeros_(objective.head.weight)
    objective.head.bias.data = targets.mean(0)
    objective.update(encoding, batch, encoder)
    values = objective.compute()
    assert values[""].item() == pytest.approx(values["baseline"].item(), rel=1e-4)


def test_no_gradient_reaches_the_parser_through_the_target():
    """With the head alone between target and loss, and the states held, the parser learns nothing; of them it does."""
    encoder = encoder_of_words()
    objective = regression(encoder)
    batch = batch_of(encoder, objective)
    encoding = encoder(batch.inputs)
    parser = list(encoder.embeddings.parser.parameters())
    assert not encoding.targets.requires_grad
    objective(replace(encoding, vision=encoding.vision.detach()), batch, encoder).backward()
    assert objective.head.weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in parser)
    objective(encoding, batch, encoder).backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in parser)  # through the cells that are not hidden


def test_cells_that_are_not_hidden_and_pairs_that_do_not_match_cost_nothing():
    encoder = encoder_of_words()
    objective = regression(encoder)
    batch = batch_of(encoder, objective)
    encoding = encoder(batch.inputs)
    asked = encoding.hidden & batch.is_matched[:, None]
    rubbish = encoding.targets.where(asked[..., None], torch.tensor(1e6))
    loss = objective(encoding, batch, encoder)
    assert torch.equal(objective(replace(encoding, targets=rubbish), batch, encoder), loss)
    objective.corruption = replace(objective.corruption, on_mismatched=True)
    assert not torch.equal(objective(encoding, batch, encoder), loss)


def test_a_batch_in_which_nothing_is_hidden_asks_nothing():
    encoder = encoder_of_words()
    objective = regression(encoder)
    batch = batch_of(encoder, VisionLanguageAlignment(encoder, lambda *_: None))
    loss = objective(encoder(batch.inputs), batch, encoder)
    loss.backward()
    assert loss.item() == 0


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("uniter", {}, "mfr asks for features of hidden cells; model uniter hides none"),
        ("soho", {}, "mfr asks for features of hidden cells; model soho hides none"),
        ("swin_vlp", {"reduction": "max"}, "mfr reduction='max': expected 'sum' or 'mean'"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(name, options, message):
    with pytest.raises(ValueError) as error:
        regression(small_encoder(name), **options)
    assert str(error.value) == message


def test_a_parser_without_attention_has_random_masks_alone():
    encoder = encoder_of_words()
    encoder.embeddings.parser = small_encoder("soho").embeddings.parser
    regression(encoder, "random")
    with pytest.raises(ValueError) as error:
        regression(encoder)
    assert str(error.value) == (
        "mfr masking=parsed: ConvolutionalParser has no attention map; give masking=random or leave mfr out"
    )


def test_a_model_built_without_the_vector_is_refused():
    encoder = build("swin_vlp", layers=1)
    encoder.embeddings.masked_cell = None
    with pytest.raises(ValueError) as error:
        regression(encoder)
    assert str(error.value) == "mfr asks for features of hidden cells; model swin_vlp hides none"
