import pytest
import torch
from torch import nn
from transformers import BertConfig
from transformers.models.bert.modeling_bert import BertLMPredictionHead

from vlp.models.heads import MLMHead, PooledClassifier, RegionClassificationHead


def test_masked_word_logits_equal_transformers():
    torch.manual_seed(0)
    peer = BertLMPredictionHead(BertConfig(hidden_size=16, vocab_size=30))
    words, states = torch.randn(30, 16), torch.randn(5, 16)
    for parameter in peer.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    peer.decoder.weight = nn.Parameter(words)
    peer.decoder.bias = peer.bias
    head = MLMHead(16, 30)
    head.transform.dense.load_state_dict(peer.transform.dense.state_dict())
    head.transform.norm.load_state_dict(peer.transform.LayerNorm.state_dict())
    head.bias.data.copy_(peer.bias)
    torch.testing.assert_close(head(states, words), peer(states), rtol=1e-5, atol=1e-5)


def test_the_masked_word_head_owns_no_word_table():
    head = MLMHead(16, 30)
    assert sum(parameter.numel() for parameter in head.parameters()) == 16 * 16 + 16 + 2 * 16 + 30
    words = nn.Embedding(30, 16)
    head(torch.randn(2, 16), words.weight).sum().backward()
    assert words.weight.grad is not None


@pytest.mark.parametrize(("head", "classes"), [(PooledClassifier(8, 2), 2), (RegionClassificationHead(8, 5), 5)])
def test_a_head_gives_one_row_of_logits_a_row_asked_about(head, classes):
    assert head(torch.randn(3, 8)).shape == (3, classes)
    assert head(torch.randn(0, 8)).shape == (0, classes)


def test_region_logits_are_transform_then_linear():
    torch.manual_seed(0)
    head, states = RegionClassificationHead(4, 3), torch.randn(2, 4)
    inner = nn.functional.gelu(states @ head.transform.dense.weight.T + head.transform.dense.bias)
    inner = (inner - inner.mean(-1, keepdim=True)) / inner.std(-1, correction=0, keepdim=True)
    expected = inner @ head.decoder.weight.T + head.decoder.bias
    torch.testing.assert_close(head(states), expected, rtol=1e-4, atol=1e-5)
