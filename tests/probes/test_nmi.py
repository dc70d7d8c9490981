"""The NMI probe against scikit-learn on recorded states."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import normalized_mutual_info_score
from torch import Tensor
from torch.nn.functional import pad

from tests.data.worlds import HandMade
from tests.probes.subjects import TOKENIZER, encoder, pretrained, put
from vlp.data.collate import ProbeBatch
from vlp.data.loading import probe_loader
from vlp.models import VLEncoder
from vlp.observe.recording import record
from vlp.observe.reductions import meeting_layers
from vlp.probes.modalities import counted_tokens
from vlp.probes.nmi import NMIProbe, shuffled_modalities
from vlp.results import Row

MODELS = ("uniter", "visualbert", "lxmert", "vilbert", "vl_bert_ctrl", "vl_bert", "vilt", "swin_vlp")


def whole_batch(model: VLEncoder | None = None) -> ProbeBatch:
    pixel_input = None if model is None else model.pixel_input
    return next(iter(probe_loader(HandMade(), TOKENIZER, len(HandMade()), pixel_input=pixel_input)))


def referee(model: VLEncoder) -> list[tuple[float, float]]:
    """Return, layer by layer, NMI and share of the smaller cluster by scikit-learn, a sample at a time."""
    batch = whole_batch(model)
    real = model.embeddings.without_global(model.embeddings.vision_mask(batch.inputs))
    hidden = record(model, batch.inputs).hidden
    values = []
    for layer in meeting_layers(model.sites):
        width = max(hidden[site].shape[-1] for site in layer)
        states = torch.cat([pad(hidden[site], (0, width - hidden[site].shape[-1])) for site in layer], 1)
        samples = [_one(states[row], batch.content[row], real[row], model.first_region) for row in range(len(batch))]
        values.append(tuple(np.mean(samples, axis=0)))
    return values


def _one(states: Tensor, content: Tensor, real: Tensor, first_region: int) -> tuple[float, float]:
    words = states[: len(content)][content]
    regions = states[len(content) + first_region :][: len(real)][real]
    modality = [0] * len(words) + [1] * len(regions)
    clusters = KMeans(2, n_init=50, random_state=0).fit_predict(torch.cat([words, regions]).numpy())
    smaller = min(clusters.sum(), len(clusters) - clusters.sum()) / len(clusters)
    return normalized_mutual_info_score(modality, clusters), smaller


def chosen(rows: list[Row], condition: str, metric: str) -> list[Row]:
    return [row for row in rows if (row.condition, row.metric) == (condition, metric)]


@pytest.mark.parametrize("model", MODELS)
def test_every_layer_gives_scikit_learns_value(model: str):
    subject, control = (pretrained(model, "mlm", seed=seed).encoder for seed in (0, 6))
    rows = put(NMIProbe(subject, control, num_restarts=50), HandMade(), batch_size=4).rows()
    for condition, expected in (("model", referee(subject)), ("random_weights", referee(control))):
        agreement, smaller = chosen(rows, condition, "nmi"), chosen(rows, condition, "share")
        assert [row.value for row in agreement] == pytest.approx([value for value, _ in expected], abs=1e-6)
        assert [row.value for row in smaller] == pytest.approx([share for _, share in expected], abs=1e-6)
        assert {row.n for row in agreement} == {len(HandMade())}


def test_layers_count_from_one_and_the_embedding_is_zero():
    rows = put(NMIProbe(encoder(seed=0), encoder(seed=1)), HandMade()).rows()
    assert [(row.stage, row.query, row.layer) for row in chosen(rows, "model", "nmi")] == [
        ("joint", "joint", layer) for layer in (0, 1, 2)
    ]


def test_a_dual_stream_model_reports_its_cross_layers():
    rows = put(NMIProbe(encoder("lxmert", seed=0), encoder("lxmert", seed=1)), HandMade()).rows()
    assert [(row.stage, row.query, row.layer) for row in chosen(rows, "model", "nmi")] == [
        ("cross", "joint", layer) for layer in (1, 2)
    ]


def test_a_text_only_model_is_refused():
    message = (
        "probe nmi cannot be put to model bert: "
        "expected layers in which text and vision meet (stage joint or cross), found only text"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        NMIProbe(encoder("bert"), encoder("bert"))


def test_content_leaves_out_padding_and_specials():
    batch, model = whole_batch(), encoder()
    is_vision, content = counted_tokens(model, batch, meeting_layers(model.sites)[0])
    pieces = [int((~tokens.special).sum()) for tokens in batch.tokens]
    assert (content & ~is_vision).sum(1).tolist() == pieces
    assert (content & is_vision).sum(1).tolist() == [len(sample.regions) for sample in batch.samples]
    assert not content[:, 0].any()  # [CLS]


@pytest.mark.parametrize(("model", "cells"), [("vilt", 8), ("soho", 8), ("swin_vlp", 4)])
def test_content_of_a_pixel_model_are_its_patches_or_cells(model: str, cells: int):
    subject = encoder(model)
    batch = whole_batch(subject)
    is_vision, content = counted_tokens(subject, batch, meeting_layers(subject.sites)[0])
    assert (content & is_vision).sum(1).tolist() == [cells] * len(batch)
    assert is_vision.sum(1).tolist() == [cells + (model == "vilt")] * len(batch)  # its class token


@pytest.mark.parametrize("model", ["uniter", "vilt", "soho", "swin_vlp", "vl_bert", "vilbert_ctrl"])
def test_specials_count_as_text_and_the_whole_image_as_vision_when_asked_for(model: str):
    subject = encoder(model)
    batch = whole_batch(subject)
    layer = meeting_layers(subject.sites)[-1]
    is_vision, content = counted_tokens(subject, batch, layer)
    also_vision, counted = counted_tokens(subject, batch, layer, "text")
    assert torch.equal(is_vision, also_vision)
    has_whole_image = model in ("vilt", "vl_bert", "vilbert_ctrl")
    assert ((counted & is_vision).sum(1) - (content & is_vision).sum(1)).tolist() == [int(has_whole_image)] * len(batch)
    assert ((counted & ~is_vision).sum(1) - (content & ~is_vision).sum(1)).tolist() == [2] * len(batch)
    assert (counted | ~content).all()


def test_specials_change_the_number_when_they_count():
    subject, control = encoder(seed=0), encoder(seed=1)
    probes = [NMIProbe(subject, control, specials=specials) for specials in ("text", "exclude")]
    with_specials, without = (chosen(put(probe, HandMade()).rows(), "model", "nmi")[-1].value for probe in probes)
    assert with_specials != without
    named = [{row.parameter for row in probe.rows() if row.metric == "nmi"} for probe in probes]
    assert named == [{"specials=text"}, {""}]
    with pytest.raises(ValueError, match=r"^specials='x': expected text or exclude$"):
        NMIProbe(subject, control, specials="x")


def test_shuffling_keeps_counts_and_depends_on_seed_and_sample_alone():
    samples = whole_batch().samples
    mask = torch.ones(6, 30, dtype=torch.bool)
    mask[:, 20:25] = False
    is_vision = (torch.arange(30) >= 12).expand(6, -1)
    shuffled = shuffled_modalities(is_vision, mask, samples, seed=0)
    assert shuffled.sum(1).tolist() == (is_vision & mask).sum(1).tolist()
    assert not shuffled[~mask].any()
    assert torch.equal(shuffled[2:4], shuffled_modalities(is_vision[2:4], mask[2:4], samples[2:4], seed=0))
    assert len({tuple(row) for row in shuffled.tolist()}) == 6
    assert not torch.equal(shuffled, shuffled_modalities(is_vision, mask, samples, seed=1))
    # the same tokens without the padding between them
    narrow = shuffled_modalities(is_vision[mask].view(6, -1), mask[mask].view(6, -1), samples, seed=0)
    assert torch.equal(narrow, shuffled[mask].view(6, -1))


def test_shuffling_makes_every_token_visual_equally_often():
    samples = [sample for seed in range(300) for sample in whole_batch_of(seed)]
    mask = torch.ones(len(samples), 10, dtype=torch.bool)
    is_vision = (torch.arange(10) >= 6).expand(len(samples), -1)
    often = shuffled_modalities(is_vision, mask, samples, seed=0).double().mean(0)
    torch.testing.assert_close(often, torch.full((10,), 0.4, dtype=torch.float64), rtol=0, atol=0.06)


def whole_batch_of(seed: int) -> list[object]:
    sample = HandMade()[0]
    return [type(sample)(f"image{seed}.{k}", sample.caption, 10, 10) for k in range(3)]
