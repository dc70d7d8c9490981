"""Every objective found in ``conf/objective/part``, and the numbers of each."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from tests.data.worlds import HandMade
from vlp.configs import instantiate, option_names, read_option
from vlp.data.masking import IGNORE, PairMismatch, PivotMasking, RegionMasking, TextMasking
from vlp.data.ordering import Place
from vlp.data.pairs import PretrainingPairs
from vlp.data.tokenisation import open_tokenizer
from vlp.models import build
from vlp.objectives.itm import ImageTextMatching
from vlp.objectives.mlm import MaskedLanguageModelling
from vlp.objectives.mrc_kl import MaskedRegionClassificationKL
from vlp.objectives.mvm import MaskedVisualModelling

PARTS = option_names("objective/part")


ASKS = {"mvm": "soho", "mfr": "swin_vlp"}
"""Of objectives that not every model can have: a model that can."""

TINY = read_option("size", "tiny")
SOHO = {**TINY["soho"], "image_size": 32, "entries": 6}
SWIN_VLP = {**TINY["swin_vlp"], "image_size": 16, "options": {"embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2]}}


def tiny(name="uniter"):
    torch.manual_seed(0)
    return build(name, feature_width=4, width=16, layers=1, feed_forward=32, heads=2, soho=SOHO, swin_vlp=SWIN_VLP)


def objective_and_encoder(part):
    """The objective of that name, always asking, and a model that can have it."""
    encoder = tiny(ASKS.get(part, "uniter"))
    description = read_option("objective/part", part)
    if part == "mvm":
        description["corruption"]["probability"] = 1.0
    if part == "mfr":
        description["corruption"]["k"] = 2
    return instantiate(description)(encoder=encoder, num_classes=3), encoder


def pairs_for(encoder, corruptions, size=12):
    return PretrainingPairs(HandMade(size), open_tokenizer(), corruptions, pixel_input=encoder.pixel_input)


def made_batch(objective_or_corruptions, size=12, tasks=(), encoder=None):
    corruptions = objective_or_corruptions
    if not isinstance(corruptions, dict):
        corruptions = {"itm": PairMismatch(), "it": objective_or_corruptions.corruption}
    pairs = pairs_for(encoder or tiny(), corruptions, size)
    return pairs[[Place(0, index, tasks) for index in range(size)]]


@pytest.mark.parametrize("part", PARTS)
def test_training_on_one_batch_lowers_the_loss_and_moves_every_weight_of_the_head(part):
    objective, encoder = objective_and_encoder(part)
    before = {name: p.detach().clone() for name, p in objective.named_parameters()}
    batch = made_batch(objective, encoder=encoder)
    optimizer = torch.optim.AdamW([*encoder.parameters(), *objective.parameters()], lr=1e-2)
    losses = []
    for _ in range(8):
        loss = objective(encoder(batch.inputs), batch, encoder)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < losses[0]
    assert [name for name, p in objective.named_parameters() if torch.equal(p, before[name])] == []


def held_out(objective, encoder, batches):
    for batch in batches:
        objective.update(encoder(batch.inputs), batch, encoder)
    return {name: value.item() for name, value in objective.compute().items()}


@pytest.mark.parametrize("part", PARTS)
def test_held_out_values_over_batches_are_those_of_all_pairs_at_once(part):
    objective, encoder = objective_and_encoder(part)
    pairs = pairs_for(encoder, {"itm": PairMismatch(), "it": objective.corruption})
    with torch.no_grad():
        together, apart = [
            held_out(objective, encoder, [pairs[[Place(0, i) for i in part]] for part in parts])
            for parts in ([range(12)], [range(5), range(5, 10), range(10, 12)])
        ]
    assert together == {name: pytest.approx(value, rel=1e-5) for name, value in apart.items()}


@pytest.mark.parametrize("part", [part for part in PARTS if part not in ("itm", "vla")])  # these always ask
def test_a_batch_that_asks_nothing_costs_nothing(part):
    objective, encoder = objective_and_encoder(part)
    batch = made_batch({"itm": PairMismatch(1.0), "it": objective.corruption}, encoder=encoder)
    loss = objective(encoder(batch.inputs), batch, encoder)
    loss.backward()
    assert loss.item() == 0
    gradients = [p.grad for p in encoder.parameters() if p.grad is not None]
    assert gradients
    assert not any(gradient.any() for gradient in gradients)  # NaN would count as true


def test_mlm_is_the_cross_entropy_at_the_masked_positions_of_the_full_logits():
    encoder = tiny()
    objective = MaskedLanguageModelling(encoder, TextMasking(0.4))
    batch = made_batch(objective)
    encoding = encoder(batch.inputs)
    every_logit = objective.head(encoding.text.flatten(0, 1), encoder.word_embeddings.weight)
    expected = torch.nn.functional.cross_entropy(every_logit, batch.text_labels.flatten(), ignore_index=IGNORE)
    assert objective(encoding, batch, encoder).item() == pytest.approx(expected.item(), rel=1e-5)


def test_without_a_transform_mlm_is_the_word_embeddings_and_a_bias():
    encoder = tiny()
    head = MaskedLanguageModelling(encoder, TextMasking(0.4), transform=False).head
    assert [name for name, _ in head.named_parameters()] == ["bias"]
    states, words = torch.randn(5, encoder.width), encoder.word_embeddings.weight
    torch.nn.init.normal_(head.bias)
    torch.testing.assert_close(head(states, words), states @ words.T + head.bias)


def test_the_mlm_baseline_is_the_entropy_of_the_masked_words():
    encoder = tiny()
    objective = MaskedLanguageModelling(encoder, TextMasking(0.5))
    batch = made_batch(objective)
    objective.update(encoder(batch.inputs), batch, encoder)
    labels = batch.text_labels[batch.text_labels != IGNORE].numpy()
    values = objective.compute()
    assert values["baseline"].item() == pytest.approx(entropy(np.unique(labels, return_counts=True)[1]))
    assert values[""].item() == pytest.approx(objective(encoder(batch.inputs), batch, encoder).item(), rel=1e-5)


def test_itm_counts_class_1_as_matched():
    encoder = tiny()
    objective = ImageTextMatching(encoder, PairMismatch())
    torch.nn.init.zeros_(objective.head.dense.weight)
    objective.head.dense.bias.data = torch.tensor([0.0, 2.0])  # always says "matched"
    batch = made_batch(objective, size=60)
    objective.update(encoder(batch.inputs), batch, encoder)
    values, share = objective.compute(), batch.is_matched.float().mean().item()
    log_partition = math.log(1 + math.exp(2))
    assert values["accuracy"].item() == pytest.approx(share)
    assert values["majority"].item() == pytest.approx(max(share, 1 - share))
    assert values[""].item() == pytest.approx(log_partition - 2 * share)


def test_mrc_kl_is_scipys_divergence_summed_over_classes():
    encoder = tiny()
    objective = MaskedRegionClassificationKL(encoder, RegionMasking(0.5), num_classes=3, per_class_mean=False)
    batch = made_batch(objective)
    encoding = encoder(batch.inputs)
    model = objective.head(encoding.vision[batch.asked_regions]).softmax(-1).detach().numpy()
    expected = np.mean([entropy([0.2, 0.5, 0.3], row) for row in model])
    assert objective(encoding, batch, encoder).item() == pytest.approx(expected, rel=1e-5)
    per_class = MaskedRegionClassificationKL(encoder, RegionMasking(0.5), num_classes=3)
    per_class.load_state_dict(objective.state_dict())
    assert per_class(encoding, batch, encoder).item() == pytest.approx(expected / 3, rel=1e-5)
    objective.update(encoding, batch, encoder)
    values = objective.compute()
    assert values[""].item() == pytest.approx(expected, rel=1e-5)
    assert values["baseline"].item() == pytest.approx(0, abs=1e-12)  # every region has one and the same distribution


def test_mvm_is_the_cross_entropy_of_cosines_at_the_hidden_cells_of_matched_pairs():
    objective, encoder = objective_and_encoder("mvm")
    batch = made_batch(objective, encoder=encoder)
    assert 0 < batch.is_matched.sum() < 12
    encoding = encoder(batch.inputs)
    losses = []
    for row, is_matched in enumerate(batch.is_matched):
        for cell in range(encoding.vision.shape[1]):
            if is_matched and encoding.hidden[row, cell]:
                cosines = torch.cosine_similarity(encoding.vision[row, cell], encoder.embeddings.dictionary.entries)
                losses.append(-cosines.log_softmax(-1)[encoding.targets[row, cell]].item())
    assert objective(encoding, batch, encoder).item() == pytest.approx(np.mean(losses), rel=1e-5)
    everywhere = replace(objective.corruption, on_mismatched=True)
    objective.corruption, count = everywhere, len(losses)
    assert len(objective.logits(encoding, batch, encoder)[1]) == encoding.hidden.sum() > count


def test_mvm_s_temperature_divides_cosines():
    _, encoder = objective_and_encoder("mvm")
    cold, warm = (MaskedVisualModelling(encoder, PivotMasking(1.0), temperature=t) for t in (0.1, 1.0))
    batch = made_batch(cold, encoder=encoder)
    encoding = encoder(batch.inputs)
    logits = [objective.logits(encoding, batch, encoder)[0] for objective in (cold, warm)]
    torch.testing.assert_close(logits[0], 10 * logits[1])
    assert logits[1].abs().max() <= 1


def test_mvm_is_refused_by_name_where_there_is_no_dictionary():
    with pytest.raises(ValueError) as error:
        MaskedVisualModelling(tiny("uniter"), PivotMasking())
    assert str(error.value) == "mvm asks for entries of a visual dictionary; model uniter has none"


@pytest.mark.parametrize("part", ["itm", "mfr", "mrc_kl", "mvm", "vla"])
def test_a_model_without_an_image_is_refused_by_name(part):
    with pytest.raises(ValueError) as error:
        instantiate(read_option("objective/part", part))(encoder=tiny("bert"), num_classes=3)
    assert "bert" in str(error.value)
