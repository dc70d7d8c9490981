"""A step of a paper's pre-training at a small size on a processor, and the file that the figures of a GPU go to."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks import flow, gpu, parsing, pretraining
from benchmarks.goals import Goal, table
from benchmarks.subjects import Tokens
from vlp.data.masking import IGNORE
from vlp.models import build
from vlp.models.cost import parser_cost

IMAGES, TEXTS, LENGTH = 2, 4, 16
SMALL = (*pretraining.PAPER, "size=tiny", f"dataset.batch_size={IMAGES}")
H100 = "NVIDIA H100 80GB HBM3"


@pytest.fixture(scope="module")
def step() -> pretraining.Step:
    return pretraining.training_step(SMALL, "cpu")


def test_multiply_accumulates_are_those_worked_out_by_hand(step: pretraining.Step):
    encoder = step.run.args[0].encoder
    width, inner, side = encoder.width, 512, encoder.pixel_input.shortest
    parser, cells, tokens = encoder.embeddings.parser, (side // 16) ** 2, LENGTH + (side // 16) ** 2
    layer = 4 * tokens * width**2 + 2 * tokens**2 * width + 2 * tokens * width * inner
    of_image = parser_cost(parser, side, num_classes=0).macs + cells * parser.width * width
    of_text = len(encoder.stack.layers) * layer
    assert step.macs == IMAGES * of_image + IMAGES * TEXTS * of_text


def test_a_step_trains_every_part_on_the_papers_texts_and_objectives(step: pretraining.Step):
    module, optimizer, loss, (batch,), clip = step.run.args
    assert (step.images, len(batch), clip) == (IMAGES, IMAGES * TEXTS, 10)
    assert set(module.objectives) == {"mlm", "itm", "mfr", "vla"}
    assert {group["lr"] for group in optimizer.param_groups} == {5e-6, 5e-5}
    before = [p.detach().clone() for p in module.parameters()]
    step.run()
    assert loss(batch).isfinite()
    moved = [not torch.equal(old, new) for old, new in zip(before, module.parameters(), strict=True)]
    unmoved = [name for (name, _), has in zip(module.named_parameters(), moved, strict=True) if not has]
    assert len(unmoved) < 0.1 * len(moved), unmoved
    assert nn.utils.parameters_to_vector(module.parameters()).isfinite().all()


def test_half_of_an_images_texts_are_true_of_it_and_their_hidden_words_asked_for(step: pretraining.Step):
    batch = step.run.args[3][0]
    inputs = batch.inputs
    assert inputs.input_ids.shape == batch.text_labels.shape == (IMAGES * TEXTS, LENGTH)
    assert batch.is_matched.tolist() == [True, True, False, False] * IMAGES
    assert inputs.image_of.tolist() == [0] * TEXTS + [1] * TEXTS
    asked = batch.text_labels != IGNORE
    assert asked[batch.is_matched].any()
    assert not asked[~batch.is_matched].any()
    is_hidden = inputs.input_ids == pretraining.MASK_ID
    assert is_hidden[asked].all()
    assert is_hidden[~batch.is_matched].any()
    assert (inputs.num_hidden, inputs.pivots.shape) == (3, (IMAGES * TEXTS,))


def test_figures_of_a_step_follow_from_its_seconds(monkeypatch: pytest.MonkeyPatch, step: pretraining.Step):
    monkeypatch.setattr(pretraining, "training_step", lambda *_: step)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: None)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 3 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: H100)
    monkeypatch.setattr(pretraining, "interleave", lambda contenders, rounds, clock: {"step": [0.5, 0.25, 9.0]})
    speed, share, memory = pretraining.measure(3, "cpu")
    assert (speed.value, memory.value) == (IMAGES / 0.5, 3)
    assert share.value == pytest.approx(6 * step.macs / 0.5 / 989e12)


def test_a_gpu_that_is_too_small_is_said_to_be(monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise torch.cuda.OutOfMemoryError("tried to allocate")

    monkeypatch.setattr(pretraining, "training_step", fail)
    found = [(goal.name, goal.verdict, goal.note) for goal in pretraining.measure()]
    assert found == [(name, "not measured", "needs more memory than the GPU has") for name in pretraining.FIGURES]


def test_peaks_of_flow_are_those_of_tensors_beyond_what_was_there(monkeypatch: pytest.MonkeyPatch):
    peaks = iter([40, 30])  # with the flow, and plain
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: None)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 10)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: next(peaks))
    model = build("bert", vocab_size=200)
    (goal,) = flow.gpu_peaks(model, Tokens.draw(8, batch_size=2, vocab_size=200).to("cpu"))
    assert (goal.value, goal.limit) == ((40 - 10) / (30 - 10), 1.5)


@pytest.mark.parametrize(
    ("name", "tera"),
    [
        (H100, 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H200", 989),
        ("NVIDIA A100-SXM4-40GB", 312),
        ("Tesla V100-SXM2-16GB", 125),
        ("Tesla V100-PCIE-32GB", 112),
        ("NVIDIA A100-SXM4-40GB MIG 3g.20gb", math.nan),
        ("Some Card", math.nan),
    ],
)
def test_peak_is_the_vendors_or_unknown(name: str, tera: float):
    assert pretraining.peak_of(name) == pytest.approx(tera * 1e12, nan_ok=True)


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(gpu, "RESULTS", tmp_path / "results")
    goals = gpu.measure()
    assert all(line.endswith("not measured (no GPU)") for line in table(goals).splitlines()[1:])
    assert [goal.name for goal in goals] == ["GPU: parsing and flow", *(f"GPU: {n}" for n in pretraining.FIGURES)]
    assert not gpu.RESULTS.exists()


def test_figures_of_a_gpu_are_written_under_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    for number, item in enumerate((parsing, flow, pretraining)):
        monkeypatch.setattr(item, "measure", lambda rounds, device, n=number: [Goal(f"{device} {rounds}", n)])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: H100)
    monkeypatch.setattr(gpu, "RESULTS", tmp_path / "results")
    goals = gpu.measure(5)
    assert [(goal.name, goal.value) for goal in goals] == [("GPU: cuda 5", number) for number in range(3)]
    written = (tmp_path / "results" / "nvidia-h100-80gb-hbm3.md").read_text("utf-8")
    assert written == f"# {H100}, torch {torch.__version__}\n\n```\n{table(goals)}\n```\n"
