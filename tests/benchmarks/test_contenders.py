"""The contenders of a benchmark do the same work: checked at a small size."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers
from sklearn.metrics import normalized_mutual_info_score

from benchmarks import checkpoint, memory, nmi, parsing, training
from benchmarks.flow import stored_flow, streamed_flow
from benchmarks.passes import plain, scikit_learn_nmi, stored, streamed
from benchmarks.subjects import Tokens, our_bert, their_bert
from tests.checkpointing.states import is_same
from vlp.data.masking import IGNORE
from vlp.models import VLEncoder, build

THEIRS = {
    "hidden_size": 32,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "vocab_size": 200,
    "max_position_embeddings": 80,
}
OURS = {"width": 32, "heads": 4, "feed_forward": 48, "layers": 3, "positions": 80}


@pytest.fixture(scope="module")
def berts() -> tuple[transformers.BertModel, VLEncoder]:
    theirs = their_bert("eager", **THEIRS)
    return theirs, our_bert(theirs, **OURS)


@pytest.fixture(scope="module")
def tokens() -> Tokens:
    return Tokens.draw(24, batch_size=4, vocab_size=200)


def test_streamed_and_stored_measurements_are_the_same(berts: tuple, tokens: Tokens):
    theirs, ours = berts
    live, kept = streamed(ours, tokens), stored(theirs, tokens)
    torch.testing.assert_close(live.mass, kept.mass, rtol=0, atol=1e-6)
    torch.testing.assert_close(live.path, kept.path, rtol=0, atol=1e-6)
    torch.testing.assert_close(live.means, kept.means, rtol=0, atol=1e-2)
    assert live.nmi.shape == kept.nmi.shape == (4, 4)


def test_flow_of_every_pair_is_the_same_from_stored_maps(berts: tuple, tokens: Tokens):
    theirs, ours = berts
    live, kept = streamed_flow(ours, tokens), stored_flow(theirs, tokens)
    assert live.shape == (4, 6)  # three layers
    torch.testing.assert_close(live, kept, rtol=0, atol=1e-6)  # by last layer, then by first, in both


def test_parsers_that_are_timed_give_the_same_features():
    contenders = parsing.parsers(parsing.NAME, 56, 2, depths=(1, 1), embed_dim=16, num_heads=(1, 2))
    timm, without, (features, attention) = (contenders[name]() for name in ("timm", "without", "with map"))
    torch.testing.assert_close(without, timm, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(features, timm, rtol=1e-4, atol=1e-5)
    assert attention.shape == (2, 49, 49)


def test_an_image_parsed_once_gives_what_parsing_it_for_every_text_gives():
    model = build("swin_vlp", size="tiny", vocab_size=200)
    contenders = parsing.readers(model, model.pixel_input.shortest, images=2)
    torch.testing.assert_close(contenders["once"](), contenders["four times"](), rtol=1e-4, atol=1e-5)
    gradients = [contenders[f"{name}, backward"]() for name in ("once", "four times")]
    assert gradients[0] == pytest.approx(gradients[1], rel=1e-3)
    assert gradients[0] > 0


def test_both_plain_forwards_compute_the_same_states(berts: tuple, tokens: Tokens):
    theirs, ours = berts
    torch.testing.assert_close(plain(ours, tokens).text, plain(theirs, tokens).last_hidden_state, rtol=0, atol=1e-5)


def test_the_loop_gives_scikit_learns_value_of_what_counts(tokens: Tokens):
    apart = tokens.is_vision[..., None] * 100.0 + torch.rand(4, 24, 6)
    apart[:, 0] = 1e6  # [CLS] does not count
    values = scikit_learn_nmi([apart], tokens)
    assert values.shape == (1, 4)
    assert (values == normalized_mutual_info_score([0, 1], [1, 0])).all()


def test_accuracy_of_nmi_is_measured_beside_scikit_learns_own():
    tokens = Tokens.draw(24, batch_size=12)
    mask = torch.ones_like(tokens.content)
    parted = nmi.parted(torch.randn(12, 24, 16), tokens.is_vision, mask)
    assert nmi.agreement(*parted).is_met
    figures = {goal.name: goal for goal in nmi.accuracy(*parted)}
    assert figures["NMI: labels that differ from the same starts"].value == 0
    assert figures["NMI: difference at equal labels"].is_met


def test_pairs_have_the_stated_lengths_and_share_of_hidden_words():
    pairs = training.Pairs.draw(800, feature_width=2, vocab_size=200)
    lengths = torch.tensor([len(ids) for ids in pairs.input_ids]).float()
    assert lengths.mean().item() == pytest.approx(training.MEAN, abs=0.5)
    assert lengths.max() <= training.LONGEST
    labels = torch.cat(pairs.labels)
    assert (labels != IGNORE).double().mean().item() == pytest.approx(training.MASKED, abs=0.02)
    assert (torch.cat(pairs.input_ids)[labels != IGNORE] == training.MASK_ID).all()
    assert (labels[labels != IGNORE] > training.MASK_ID).all()


def test_both_trainings_run_and_ours_pads_less():
    pairs = training.Pairs.draw(64, feature_width=20, vocab_size=200)
    training.peer(pairs, **THEIRS)()
    ours = training.ours(pairs, None, size="tiny", vocab_size=200, **OURS)
    ours()
    training.ours(pairs, torch.bfloat16, size="tiny", vocab_size=200, **OURS)()
    drawn = sum(pairs.batch(range(start, start + 16)).inputs.input_ids.numel() for start in range(0, 64, 16))
    bucketed = sum(batch.inputs.input_ids.numel() for batch in ours.args[-1])
    assert bucketed < drawn
    assert sum(int(batch.inputs.text_mask.sum()) for batch in ours.args[-1]) == sum(map(len, pairs.input_ids))


def test_both_save_the_same_state_and_keep_the_newest(tmp_path: Path):
    pairs = training.Pairs.draw(64, feature_width=20, vocab_size=200)
    contenders = checkpoint.contenders(training.ours(pairs, None, "tiny", "uniter", vocab_size=200, **OURS), tmp_path)
    for name in ("steps", "ours", "lightning", "ours", "lightning"):
        contenders[name]()
    assert [path.name for path in sorted(tmp_path.rglob("*.ckpt*"))] == ["1.ckpt", "1.ckpt", "1.ckpt.sha256"]
    saved = [torch.load(tmp_path / name / "1.ckpt", weights_only=True) for name in ("ours", "lightning")]
    assert is_same(*saved)
    assert all("exp_avg_sq" in state for state in saved[0]["optimizer_states"][0]["state"].values())


def test_seeding_is_timed_as_training_does_it(tmp_path: Path):
    pairs = training.Pairs.draw(64, feature_width=20, vocab_size=200)
    contenders = checkpoint.contenders(training.ours(pairs, None, "tiny", "uniter", vocab_size=200, **OURS), tmp_path)
    contenders["seeding"]()
    seeded = torch.initial_seed()
    torch.manual_seed(1)
    contenders["seeding"]()
    assert torch.initial_seed() == seeded != 1


@pytest.mark.skipif(not memory.CLEAR.exists(), reason="peaks are read from /proc, which Linux has")
def test_growth_is_what_a_run_holds_at_its_peak():
    grown = memory.growth(lambda: torch.ones(8_000_000).sum())
    assert grown == pytest.approx(32e6, rel=0.1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="peaks of tensors on a GPU are asked of one")
def test_growth_on_a_gpu_is_what_a_run_holds_at_its_peak():
    assert memory.gpu_growth(lambda: torch.ones(8_000_000, device="cuda").sum()) == pytest.approx(32e6, rel=0.1)
