"""Probers: classifiers fitted to activations of a frozen model, every layer and prober seed in one fit."""

from vlp.probes.probers.attention import AttentionProber
from vlp.probes.probers.base import Predictions, Prober
from vlp.probes.probers.embedding import EmbeddingProber
from vlp.probes.probers.examples import Examples
from vlp.probes.probers.fitting import Fitted, fit
from vlp.probes.probers.one_sided import OneSidedProber
from vlp.probes.probers.settings import FitSettings
from vlp.probes.probers.visual_features import VisualFeaturesProber

__all__ = [
    "AttentionProber",
    "EmbeddingProber",
    "Examples",
    "FitSettings",
    "Fitted",
    "OneSidedProber",
    "Predictions",
    "Prober",
    "VisualFeaturesProber",
    "fit",
]
