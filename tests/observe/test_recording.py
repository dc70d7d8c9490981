import pytest
import torch

from tests.models.examples import MODELS, batch_for, random_batch, small_encoder
from vlp.observe import record


@pytest.mark.parametrize("name", MODELS)
def test_a_trace_has_every_site_in_execution_order(name):
    encoder = small_encoder(name)
    trace = record(encoder, batch_for(encoder))
    assert tuple(trace.hidden) == encoder.hidden_sites
    assert tuple(trace.attention) == encoder.attention_sites


def test_a_trace_does_not_change_the_model_and_carries_no_gradient():
    encoder, batch = small_encoder("uniter"), random_batch()
    before = encoder(batch).pooled
    trace = record(encoder, batch)
    assert not any(value.requires_grad for value in (*trace.hidden.values(), *trace.attention.values()))
    assert torch.equal(before, encoder(batch).pooled)


def test_what_is_recorded_is_not_overwritten_by_later_blocks():
    encoder, batch = small_encoder("lxmert"), random_batch()
    trace = record(encoder, batch)
    values = list(trace.attention.values()) + list(trace.hidden.values())
    assert len({value.data_ptr() for value in values}) == len(values)


def test_a_model_in_training_is_refused():
    encoder = small_encoder("bert").train()
    with pytest.raises(ValueError) as error:
        record(encoder, random_batch())
    assert str(error.value) == "record() needs bert in eval(), it is in training mode"
