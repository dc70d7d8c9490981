"""VOLTA's files, run by VOLTA's own rules on the file's own names, say what the converted models say."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.models.checkpoints.released import volta_sublayers
from tests.models.checkpoints.test_released import FORMATS, SMALL, batch_of, small
from tests.models.gated_stack import Sublayer, _attend, _feed
from vlp.models.checkpoints.loading import load_contents

MODELS = [name for name in FORMATS if name.startswith("volta")]
GATES = {"cross": ("tv", "vt"), "both": ("tt", "tv", "vt", "vv")}
NAMES = {
    "attention_self.{}query": "query",
    "attention_self.{}key": "key",
    "attention_self.{}value": "value",
    "attention_output.{}dense": "output",
    "attention_output.{}LayerNorm": "norm",
    "intermediate.{}dense": "expand",
    "output.{}dense": "contract",
    "output.{}LayerNorm": "norm",
}


def sublayers_of(tensors: dict[str, Tensor], layers: tuple[int, ...]) -> list[Sublayer]:
    """The file's sub-layers, with the gates that the published configurations open."""
    found = []
    for index, has_text, has_vision, what in volta_sublayers(layers):
        streams = {"t": "", **({"v": "v_"} if has_vision else {})} if has_text else {"v": "v_"}
        gates = GATES.get(what, tuple(stream + stream for stream in streams))
        gates = GATES["both"] if len(layers) == 1 else gates
        weights = {stream: _weights(tensors, index, mark) for stream, mark in streams.items()}
        heads = dict.fromkeys(streams, SMALL["heads"])
        found.append(Sublayer("", index, () if what == "ff" else gates, heads, weights))
    return found


def _weights(tensors: dict[str, Tensor], index: int, mark: str) -> dict[str, Tensor]:
    return {
        f"{ours}.{part}": tensors[key]
        for theirs, ours in NAMES.items()
        for part in ("weight", "bias")
        if (key := f"bert.encoder.layer.{index}.{theirs.format(mark)}.{part}") in tensors
    }


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_the_gated_stack_of_the_file_gives_the_states_of_the_model(name):
    contents, encoder = small(name)
    load_contents(encoder, contents)
    batch = batch_of(encoder)
    embedded = encoder.embeddings(batch)
    states = {"t": embedded.text, "v": embedded.vision}
    masks = {"t": embedded.text_mask, "v": embedded.vision_mask}
    for sublayer in sublayers_of(contents.tensors, FORMATS[name].layers):
        before = dict(states)
        for stream, weights in sublayer.weights.items():
            if sublayer.gates:
                read = [gate[1] for gate in sublayer.gates if gate[0] == stream]
                states[stream], _ = _attend(sublayer, stream, read, before, masks)
            else:
                states[stream] = _feed(weights, before[stream])
    text, vision = encoder.stack(embedded)
    for found, expected, mask in ((text, states["t"], masks["t"]), (vision, states["v"], masks["v"])):
        torch.testing.assert_close(found[mask], expected[mask], rtol=1e-4, atol=1e-5)
