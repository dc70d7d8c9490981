"""The flow probe: closed forms through planted attention, real models against a product of recorded maps in numpy."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.data.worlds import HandMade
from tests.probes.subjects import TOKENIZER, encoder, pretrained, put
from vlp.data.collate import ProbeBatch
from vlp.data.loading import probe_loader
from vlp.data.sample import Batch, Sample
from vlp.metrics.flow import flow_between_groups, uniform_paths
from vlp.models import VLEncoder
from vlp.models.encoder import Encoding
from vlp.models.observation import CaptureError, Observer, Site, Watch
from vlp.observe.recording import record
from vlp.observe.reductions import GroupPaths
from vlp.probes.imf import FlowBatch, InterModalityFlowProbe, flow_groups, joint_sites
from vlp.results import Row

SINGLE_STREAMS = (
    *("uniter", "visualbert", "vl_bert", "vilt", "soho", "swin_vlp"),
    *("uniter_ctrl", "visualbert_ctrl", "vl_bert_ctrl"),
)

PAD = 3
"""Rows of padding after the text and after vision in a planted batch."""


class Planted(nn.Module):
    """Hands over the attention it was given, (L, S, S) for all samples and heads, as an encoder would."""

    name, reads, max_positions, pixel_input = "planted", "regions", 1000, None

    def __init__(self, attention: Tensor) -> None:
        super().__init__()
        self.attention = attention
        self.attention_sites = tuple(Site("joint", layer, "joint", "joint") for layer in range(len(attention)))
        self.embeddings = SimpleNamespace(without_global=lambda vision: vision)

    def stream_masks(self, batch: Batch, stream: str) -> tuple[Tensor, Tensor]:
        assert stream == "joint"
        assert batch.region_mask is not None
        parts = (batch.text_mask, batch.region_mask)
        return torch.cat(parts, 1), torch.cat([torch.full_like(part, k == 1) for k, part in enumerate(parts)], 1)

    def forward(self, batch: Batch, observers: Sequence[Observer]) -> Encoding | None:
        watch = Watch(observers, self.attention_sites)
        for site, weights in zip(self.attention_sites, self.attention, strict=True):
            watch.attention(site, weights.expand(len(batch), 2, -1, -1))
        watch.finish()
        return None


def planted(text: int, vision: int, pad: int = 0) -> ProbeBatch:
    """Return two samples of as many tokens, [CLS] and [SEP] among those of text, padding after either stream."""
    is_text, is_region = torch.arange(text + pad) < text, torch.arange(vision + pad) < vision
    content = is_text & (torch.arange(text + pad) != 0) & (torch.arange(text + pad) != text - 1)
    zeros = torch.zeros(2, text + pad, dtype=torch.long)
    masks = is_text.expand(2, -1), is_region.expand(2, -1)
    samples = tuple(Sample(f"image{k}", "words", 10, 10) for k in range(2))
    return ProbeBatch(Batch(zeros, masks[0], zeros, region_mask=masks[1]), samples, (), content.expand(2, -1))


def measured(attention: Tensor, batch: ProbeBatch, **options: str) -> dict[tuple[int, int], tuple[float, float]]:
    """Return flow, and the flow of uniform attention, by first and last layer."""
    subject = Planted(attention.double())
    probe = InterModalityFlowProbe(subject, Planted(attention.double()), pairs="all", **options)
    flow, uniform, _ = probe._measure(subject, batch, torch.ones(2, dtype=torch.bool))
    torch.testing.assert_close(flow[0], flow[1], rtol=0, atol=1e-12)
    return dict(zip(probe.paths, zip(flow[0].tolist(), uniform[0].tolist(), strict=True), strict=True))


def flows(weights: Tensor, text: int, vision: int, layers: int) -> dict[int, float]:
    """Return the flow through each number of equal layers, which is the same from every layer on."""
    found = measured(weights.expand(layers, -1, -1), planted(text, vision))
    by_length: dict[int, list[float]] = {}
    for (first, last), (value, _) in found.items():
        by_length.setdefault(last - first + 1, []).append(value)
    assert all(values == pytest.approx([values[0]] * len(values), abs=1e-9) for values in by_length.values())
    return {length: values[0] for length, values in by_length.items()}


def rows_of(*sizes: int) -> Tensor:
    return torch.rand(*sizes, dtype=torch.float64).softmax(-1)


def uniform(size: int) -> Tensor:
    return torch.full((size, size), 1 / size, dtype=torch.float64)


def crossing() -> Tensor:
    weights = torch.zeros(7, 7, dtype=torch.float64)
    weights[:3, 3:], weights[3:, :3] = rows_of(3, 4), rows_of(4, 3)
    return weights


def to_text() -> Tensor:
    return torch.cat([torch.full((12, 3), 1 / 3), torch.zeros(12, 9)], 1).double()


def lumpable() -> Tensor:
    text = torch.cat([0.7 * rows_of(5, 5), 0.3 * rows_of(5, 8)], 1)
    return torch.cat([text, torch.cat([0.1 * rows_of(8, 5), 0.9 * rows_of(8, 8)], 1)])


def share_that_moved(mixed: float, stays: float = 0.5) -> Callable[[int], float]:
    return lambda layers: (1 - stays**layers) * mixed


@pytest.mark.parametrize(
    ("weights", "text", "vision", "expected"),
    [
        (torch.eye(7), 3, 4, lambda layers: 0.0),
        (torch.block_diag(rows_of(3, 3), rows_of(4, 4)), 3, 4, lambda layers: 0.0),
        (uniform(65), 16, 49, share_that_moved(2 * 49 * 16 / 65**2)),
        (uniform(98), 49, 49, share_that_moved(0.5)),
        (uniform(160), 16, 144, share_that_moved(2 * 144 * 16 / 160**2)),
        (crossing(), 3, 4, lambda layers: 0.5),
        (to_text(), 3, 9, share_that_moved(9 / 12)),
        (lumpable(), 5, 8, share_that_moved((8 * 0.1 + 5 * 0.3) / 0.4 / 13, stays=0.8)),
    ],
    ids=["itself", "within", "uniform", "uniform_49_49", "uniform_144_16", "crossing", "to_text", "lumpable"],
)
def test_planted_attention_gives_its_closed_form(
    weights: Tensor, text: int, vision: int, expected: Callable[[int], float]
):
    assert flows(weights, text, vision, 12) == pytest.approx({k: expected(k) for k in range(1, 13)}, abs=1e-6)


@pytest.mark.parametrize(
    ("text", "vision", "printed"),
    [(16, 49, (0.1856, 0.3247, 0.3710)), (16, 144, (0.09, 0.1575, 0.18)), (49, 49, (0.25, 0.4375, 0.49988))],
)
def test_uniform_attention_gives_the_printed_values_and_its_own_baseline(
    text: int, vision: int, printed: tuple[float, ...]
):
    found = measured(uniform(text + vision).expand(12, -1, -1), planted(text, vision))
    assert [found[1, last][0] for last in (1, 3, 12)] == pytest.approx(printed, abs=5e-5)
    assert all(value == pytest.approx(baseline, abs=1e-6) for value, baseline in found.values())


def test_the_later_layer_stands_on_the_left():
    # Row 2 reads token 0, then row 3 reads token 2: text reaches token 3 only in this order.
    layers = torch.eye(4).repeat(2, 1, 1)
    layers[0, 2] = torch.tensor([1.0, 0, 0, 0])
    layers[1, 3] = torch.tensor([0.0, 0, 1, 0])
    assert measured(layers, planted(2, 2))[1, 2][0] == 0.1875
    assert measured(layers.flip(0), planted(2, 2))[1, 2][0] == 0.125


def test_padding_does_not_change_flow_whatever_its_rows_attend_to():
    attention = rows_of(4, 9, 9)
    places = torch.cat([torch.arange(4), 4 + PAD + torch.arange(5)])
    wide = torch.zeros(4, 9 + 2 * PAD, 9 + 2 * PAD, dtype=torch.float64)
    wide[..., 0] = 1.0  # rows of padding read [CLS]
    wide[:, places] = 0.0
    wide[:, places[:, None], places] = attention
    narrow, padded = measured(attention, planted(4, 5)), measured(wide, planted(4, 5, PAD))
    assert padded.keys() == narrow.keys()
    assert all(padded[path] == pytest.approx(narrow[path], abs=1e-12) for path in narrow)


def test_attention_to_padding_is_refused():
    batch = planted(4, 5, PAD)
    message = re.escape("attention of real tokens to real tokens differs from a sum of 1 by 0.2")
    with pytest.raises(CaptureError, match=f"^{message}"):
        measured(uniform(9 + 2 * PAD)[None], batch)


def test_order_within_a_modality_is_irrelevant():
    attention = rows_of(3, 9, 9)
    order = torch.cat([torch.randperm(4), 4 + torch.randperm(5)])
    moved = measured(attention[:, order][..., order], planted(4, 5))
    assert all(
        moved[path] == pytest.approx(value, abs=1e-9) for path, value in measured(attention, planted(4, 5)).items()
    )


def test_specials_that_do_not_count_still_carry_paths():
    # [CLS] reads vision, then a word reads [CLS]: what crosses went through a token that does not count.
    layers = torch.eye(5).repeat(2, 1, 1)
    layers[0, 0] = torch.tensor([0.0, 0, 0, 1, 0])
    layers[1, 1] = torch.tensor([1.0, 0, 0, 0, 0])
    found = measured(layers, planted(3, 2), specials="exclude")
    assert found[1, 1][0] == found[2, 2][0] == 0.0
    word = 0.25 / (0.5 + 0.25 + 2)  # 1/4 of the word comes from vision, 1/2 from itself, both cells are themselves
    assert found[1, 2][0] == pytest.approx(word, abs=1e-12)


def test_the_uniform_baseline_without_specials_is_that_of_uniform_attention():
    found = measured(uniform(20).expand(4, -1, -1), planted(8, 12), specials="exclude")
    assert all(value == pytest.approx(baseline, abs=1e-12) for value, baseline in found.values())
    assert found[1, 1][1] != pytest.approx(measured(uniform(20)[None], planted(8, 12))[1, 1][1], abs=1e-3)


def test_means_over_pairs_are_the_reference_value():
    found = measured(uniform(65).expand(3, -1, -1), planted(16, 49), pair_reduction="mean")
    assert found[1, 3] == pytest.approx((0.449, 0.449), abs=5e-4)


def test_a_sample_of_one_modality_has_no_flow():
    tokens = torch.tensor([[4, 0], [4, 5]])
    paths = uniform_paths(tokens, tokens.sum(-1), torch.ones(2))
    assert flow_between_groups(paths, tokens).isnan().tolist() == [True, False]


def in_numpy(
    model: VLEncoder, batch: ProbeBatch, first: int, last: int, specials: str = "text", mean: bool = False
) -> list[float]:
    """Return each sample's flow from recorded maps, cut to real tokens before their product."""
    is_content = batch.content.numpy()
    text_mask = batch.inputs.text_mask.numpy()
    vision_mask = model.embeddings.vision_mask(batch.inputs).numpy().copy()
    places = torch.arange(vision_mask.shape[1])[None]
    whole = sorted(set(places[0].tolist()) - set(model.embeddings.without_global(places[..., None]).flatten().tolist()))
    maps = [weights.double().mean(1).numpy() for weights in record(model, batch.inputs).attention.values()]
    values = []
    for row in range(len(batch)):
        is_real = np.concatenate([text_mask[row], vision_mask[row]])
        is_real[[text_mask.shape[1] + place for place in whole]] = True
        counts = is_real.copy()
        if specials == "exclude":
            counts[: text_mask.shape[1]] = is_content[row]
            counts[[text_mask.shape[1] + place for place in whole]] = False
        product = np.eye(is_real.sum())
        for weights in maps[first - 1 : last]:
            product = 0.5 * (np.eye(is_real.sum()) + weights[row][np.ix_(is_real, is_real)]) @ product
        is_vision = (np.arange(len(is_real)) >= text_mask.shape[1])[is_real]
        kept = np.ix_(counts[is_real], counts[is_real])
        product, is_vision = product[kept], is_vision[counts[is_real]]
        crosses = is_vision[:, None] != is_vision[None]
        over = np.mean if mean else np.sum
        crossing, within = over(product[crosses]), over(product[~crosses])
        values.append(crossing / (crossing + within))
    return values


def chosen(rows: list[Row], condition: str, metric: str, label: str) -> dict[int, float]:
    found = [row for row in rows if (row.condition, row.metric, row.label) == (condition, metric, label)]
    return {row.layer or 0: row.value for row in found}


@pytest.mark.parametrize("model", SINGLE_STREAMS)
@pytest.mark.parametrize("options", [{}, {"specials": "exclude", "pair_reduction": "mean"}], ids=["printed", "other"])
def test_rows_are_means_of_a_product_of_recorded_maps(model: str, options: dict[str, str]):
    subject, control = (pretrained(model, "mlm", seed=seed).encoder for seed in (0, 5))
    rows = put(InterModalityFlowProbe(subject, control, **options), HandMade(), batch_size=4).rows()
    batch = next(iter(probe_loader(HandMade(), TOKENIZER, 6, pixel_input=subject.pixel_input)))
    words = {"specials": options.get("specials", "text"), "mean": "pair_reduction" in options}
    for condition, encoder_ in (("model", subject), ("random_weights", control)):
        accumulated = {last: np.mean(in_numpy(encoder_, batch, 1, last, **words)) for last in (1, 2)}
        single = {layer: np.mean(in_numpy(encoder_, batch, layer, layer, **words)) for layer in (1, 2)}
        assert chosen(rows, condition, "flow", "accumulated") == pytest.approx(accumulated, abs=1e-6)
        assert chosen(rows, condition, "flow", "layer") == pytest.approx(single, abs=1e-6)
        change = {2: single[2] - single[1]}
        assert chosen(rows, condition, "flow_change", "layer") == pytest.approx(change, abs=1e-6)


def test_the_ratio_to_uniform_is_taken_sample_by_sample():
    subject = pretrained("uniter", "mlm").encoder
    rows = put(InterModalityFlowProbe(subject, encoder(seed=1)), HandMade(), batch_size=6).rows()
    batch = next(iter(probe_loader(HandMade(), TOKENIZER, 6)))
    text = batch.inputs.text_mask.sum(1).double().numpy()
    vision = batch.inputs.region_mask.sum(1).double().numpy()
    even = {last: (1 - 0.5**last) * 2 * text * vision / (text + vision) ** 2 for last in (1, 2)}
    ratios = {last: np.mean(np.array(in_numpy(subject, batch, 1, last)) / even[last]) for last in (1, 2)}
    assert chosen(rows, "model", "flow_over_uniform", "accumulated") == pytest.approx(ratios, abs=1e-5)
    means = {last: even[last].mean() for last in (1, 2)}
    assert chosen(rows, "uniform", "flow", "accumulated") == pytest.approx(means, abs=1e-12)
    tokens = {row.label: row.value for row in rows if row.metric == "tokens"}
    assert tokens == pytest.approx({"text": text.mean(), "vision": vision.mean()})


def test_every_pair_of_layers_is_reported_when_asked_for():
    subject = encoder("swin_vlp", seed=0)
    rows = put(InterModalityFlowProbe(subject, encoder("swin_vlp", seed=1), pairs="all"), HandMade()).rows()
    found = [row for row in rows if (row.condition, row.metric, row.label) == ("model", "flow", "path")]
    assert [(row.parameter, row.layer) for row in found] == [("first=1", 1), ("first=1", 2), ("first=2", 2)]
    labelled = [chosen(rows, "model", "flow", label) for label in ("accumulated", "layer")]
    assert [row.value for row in found] == [labelled[0][1], labelled[0][2], labelled[1][2]]


def test_a_mismatched_caption_is_another_images_whatever_the_batch():
    probe = InterModalityFlowProbe(encoder(seed=0), encoder(seed=1), seed=3)
    few, many = ([batch.mismatched for batch in probe.loader(HandMade(), TOKENIZER, size)] for size in (2, 6))
    captions = [[sample.caption for batch in batches for sample in batch.samples] for batches in (few, many)]
    own = [HandMade()[index].caption for index in range(6)]
    assert captions[0] == captions[1]
    assert all(other != mine for other, mine in zip(captions[0], own, strict=True))
    images = torch.cat([batch.inputs.features[:, :1] for batch in few])[:, 0, 0]
    assert images.tolist() == list(range(6))


def test_only_captions_that_are_true_of_their_image_count():
    subject, world = encoder(seed=0), HandMade(truth_annotated=True)
    rows = put(InterModalityFlowProbe(subject, encoder(seed=1)), world).rows()
    assert {row.n for row in rows} == {3}
    batch = next(iter(probe_loader(world, TOKENIZER, 6)))
    assert chosen(rows, "model", "flow", "layer")[1] == pytest.approx(
        np.mean(in_numpy(subject, batch, 1, 1)[::2]), abs=1e-6
    )


def test_data_of_one_image_have_no_mismatched_pairs():
    class OneImage(HandMade):
        def image_key(self, index: int) -> str:
            return "only"

    probe = InterModalityFlowProbe(encoder(seed=0), encoder(seed=1))
    message = "hand_made split=train: no other image than that of sample 0"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        next(iter(probe.loader(OneImage(), TOKENIZER, 4)))


def test_paths_of_groups_are_sums_of_the_whole_product():
    subject = encoder("vilt", seed=0)
    batch = next(iter(probe_loader(HandMade(), TOKENIZER, 6, pixel_input=subject.pixel_input)))
    groups = flow_groups(subject, batch, joint_sites(subject)[0], "exclude")
    observer = GroupPaths(joint_sites(subject), groups, every_start=True)
    subject(batch.inputs, [observer])
    maps = [weights.double().mean(1) for weights in record(subject, batch.inputs).attention.values()]
    steps = [(torch.eye(weights.shape[-1]) + weights) / 2 for weights in maps]
    members = groups.double()
    expected = {(1, 1): steps[0], (2, 2): steps[1], (1, 2): steps[1] @ steps[0]}
    found = observer.take()
    assert found.keys() == expected.keys()
    for path, product in expected.items():
        torch.testing.assert_close(found[path].double(), members.mT @ product @ members, rtol=0, atol=1e-5)
    assert observer.take() == {}


def test_a_batch_moves_whole():
    probe = InterModalityFlowProbe(encoder(seed=0), encoder(seed=1))
    batch: FlowBatch = next(iter(probe.loader(HandMade(), TOKENIZER, 4))).to("meta")
    tensors = (batch.matched.inputs.features, batch.mismatched.inputs.input_ids, batch.is_matched)
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert len(batch) == 4


def test_autocast_is_put_off():
    subject, control = encoder(seed=0), encoder(seed=1)
    probe = InterModalityFlowProbe(subject, control)
    batch = next(iter(probe.loader(HandMade(), TOKENIZER, 6)))
    plain = probe._measure(subject, batch.matched, batch.is_matched)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = probe._measure(subject, batch.matched, batch.is_matched)
    assert all(torch.equal(a, b) for a, b in zip(plain, mixed, strict=True))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            "lxmert",
            "text and vision are two streams (attention of stages text, vision, cross), "
            "and flow takes maps in which all tokens of both attend to all (stage joint)",
        ),
        (
            "vilbert",
            "text and vision are two streams (attention of stages text, cross), "
            "and flow takes maps in which all tokens of both attend to all (stage joint)",
        ),
        ("bert", "it reads no image (its attention is of stage text)"),
    ],
)
def test_models_without_a_joint_map_are_refused(model: str, message: str):
    with pytest.raises(ValueError, match=f"^{re.escape(f'probe imf cannot be put to model {model}: {message}')}$"):
        InterModalityFlowProbe(encoder(model), encoder(model))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"specials": "x"}, "specials='x': expected text or exclude"),
        ({"pair_reduction": "x"}, "pair_reduction='x': expected sum or mean"),
        ({"pairs": "x"}, "pairs='x': expected first or all"),
    ],
)
def test_options_are_checked(option: dict[str, str], message: str):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        InterModalityFlowProbe(encoder(seed=0), encoder(seed=1), **option)
