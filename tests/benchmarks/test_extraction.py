"""What the benchmark extracts is what the model gives its pairs: checked at a small size."""

from __future__ import annotations

from pathlib import Path

import torch

from benchmarks import extraction
from tests.probes.subjects import encoder
from vlp.observe.recording import record

WIDTH, VOCAB = 4, 60


def test_every_contender_but_the_plain_one_keeps_its_pairs(tmp_path: Path):
    subject = encoder("uniter", feature_width=WIDTH)
    batch = extraction.draw(WIDTH, VOCAB)
    contenders = extraction.contenders(subject, batch, tmp_path)
    kept = {}
    for name, run in contenders.items():
        run()
        kept[name] = len(list(tmp_path.rglob("states.npy")))
    assert kept == {"plain": 0, extraction.PHRASES: 1, extraction.RELATIONS: 2, extraction.ALL: 2}


def test_one_pass_reads_what_two_do_and_what_the_model_gives(tmp_path: Path):
    subject = encoder("uniter", feature_width=WIDTH)
    batch = extraction.draw(WIDTH, VOCAB)
    assert batch.text_mask.sum(1).max() == extraction.PIECES
    assert batch.text_mask.sum(1).min() < extraction.PIECES
    found = {}
    for name in ("apart", "together"):
        pairs = extraction.wanted(subject, batch, tmp_path / name)
        for group in [[each] for each in pairs] if name == "apart" else [pairs]:
            extraction.extract(subject, batch, group)
        found[name] = [each.store.tensors() for each in pairs]
    for apart, together in zip(found["apart"], found["together"], strict=True):
        assert all(torch.equal(apart[part], together[part]) for part in ("attention", "states", "features"))

    places, trace = pairs[1].places, record(subject, batch)
    first, second = (place + extraction.PIECES for place in (places.first[:, 0], places.second))
    for layer, (site, _) in enumerate(pairs[1].observer.sites.attention):
        expected = [trace.attention[site][places.row, :, *ends] for ends in ((first, second), (second, first))]
        torch.testing.assert_close(found["together"][1]["attention"][:, layer], torch.stack(expected, -1))
