"""The measuring pass, twice: streamed by our observers, and from transformers' stored outputs.

Both give the same figures: [CLS]'s attention mass on words and on regions of every head, attention rollout, the mean
state of a phrase and of a region in every layer (float16), and the NMI of clusters and modality in every layer. Beside
them the flow between all pairs of layers, streamed and from stored maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import transformers
from sklearn.cluster import KMeans
from sklearn.metrics import normalized_mutual_info_score
from torch import Tensor

from benchmarks.subjects import Tokens
from vlp.metrics.flow import cross_modal_share, flow_between_groups
from vlp.metrics.nmi import normalized_mutual_information
from vlp.models import VLEncoder
from vlp.observe.observers import Reducing
from vlp.observe.reductions import (
    GroupPaths,
    MeetingStates,
    RunningPath,
    advance,
    first_step,
    mass_of_query,
    means_of_groups,
)

# Axes: B batch, L layers, H heads, S tokens, D width, G groups of tokens, P pairs of layers.

RESTARTS = 10


@dataclass(frozen=True)
class Measured:
    """What a pass keeps.

    ``mass`` (L, B, H, 2), ``path`` (B, S) from [CLS], ``means`` (L + 1, B, 2, D) and ``nmi`` (L + 1, B).
    """

    mass: Tensor
    path: Tensor
    means: Tensor
    nmi: Tensor

    @property
    def bytes_a_sample(self) -> float:
        """What is kept of one sample."""
        kept = (self.mass, self.path, self.means, self.nmi)
        return sum(tensor.numel() * tensor.element_size() for tensor in kept) / len(self.path)


@torch.inference_mode()
def streamed(model: VLEncoder, tokens: Tokens) -> Measured:
    """Measure while the model runs."""
    mean = means_of_groups(tokens.spans)
    mass = Reducing(model.attention_sites, mass_of_query(0, tokens.modalities))
    path = RunningPath(model.attention_sites)
    means = Reducing(model.hidden_sites, lambda site, states: mean(site, states).half())
    nmi = MeetingStates(
        [(site,) for site in model.hidden_sites],
        lambda states: normalized_mutual_information(states, tokens.is_vision, tokens.content, RESTARTS),
    )
    model(tokens.batch, observers=[mass, path, means, nmi])
    return Measured(
        torch.stack(list(mass.take().values())),
        path.take()[:, 0].clone(),
        torch.stack(list(means.take().values())),
        torch.stack(nmi.take()),
    )


@torch.inference_mode()
def stored(model: transformers.BertModel, tokens: Tokens, with_nmi: bool = True) -> Measured:
    """Keep every activation, then measure."""
    outputs = model(tokens.ids, output_attentions=True, output_hidden_states=True)
    groups, spans = tokens.modalities.float(), tokens.spans / tokens.spans.sum(-1, keepdim=True)
    path = first_step(outputs.attentions[0].mean(1))
    for weights in outputs.attentions[1:]:
        path = advance(path, weights.mean(1))
    return Measured(
        torch.stack([weights[:, :, 0] @ groups.mT for weights in outputs.attentions]),
        path[:, 0].clone(),
        torch.stack([(spans @ states).half() for states in outputs.hidden_states]),
        scikit_learn_nmi(outputs.hidden_states, tokens) if with_nmi else torch.empty(0),
    )


@torch.inference_mode()
def plain(model: VLEncoder | transformers.BertModel, tokens: Tokens) -> object:
    """Run a model and look at nothing."""
    return model(tokens.batch) if isinstance(model, VLEncoder) else model(tokens.ids)


def scikit_learn_nmi(hidden: Sequence[Tensor], tokens: Tokens, seed: int = 0) -> Tensor:
    """Return (L + 1, B) by a loop over samples."""
    values = [
        [
            normalized_mutual_info_score(modality[kept], clusters(sample[kept], seed).labels_)
            for sample, modality, kept in zip(states, tokens.is_vision, tokens.content, strict=True)
        ]
        for states in hidden
    ]
    return torch.tensor(values, dtype=torch.float64)


def clusters(states: Tensor, seed: int) -> KMeans:
    """Return scikit-learn's two clusters of states (S, D)."""
    return KMeans(2, n_init=RESTARTS, random_state=seed).fit(states.numpy())


@torch.inference_mode()
def streamed_flow(model: VLEncoder, tokens: Tokens) -> Tensor:
    """Return the flow (B, P) of every pair of layers, measured while the model runs."""
    groups_BSG = torch.stack([~tokens.is_vision, tokens.is_vision], dim=-1)
    observer = GroupPaths(model.attention_sites, groups_BSG, every_start=True)
    model(tokens.batch, observers=[observer])
    return flow_between_groups(torch.stack(list(observer.take().values()), dim=1), groups_BSG.sum(1)[:, None])


@torch.inference_mode()
def stored_flow(model: transformers.BertModel, tokens: Tokens) -> Tensor:
    """Return the same from kept maps and whole products (S, S), one a first layer."""
    maps = [weights.mean(1) for weights in model(tokens.ids, output_attentions=True).attentions]
    mask = torch.ones_like(tokens.is_vision)
    paths: list[Tensor] = []
    flows = []
    for weights in maps:
        paths = [*(advance(path, weights) for path in paths), first_step(weights)]
        flows += [cross_modal_share(path, tokens.is_vision, mask) for path in paths]
    return torch.stack(flows, dim=1)
