"""Measures of this field: pure functions, and thin classes that accumulate them over samples and processes."""

from vlp.metrics.estimates import Estimate, SampleMean, SampleStatistic
from vlp.metrics.flow import InterModalityFlow, inter_modality_flow
from vlp.metrics.nmi import NormalizedMutualInformation, normalized_mutual_information
from vlp.metrics.transport import OptimalTransportDistance, optimal_transport_distance

__all__ = [
    "Estimate",
    "InterModalityFlow",
    "NormalizedMutualInformation",
    "OptimalTransportDistance",
    "SampleMean",
    "SampleStatistic",
    "inter_modality_flow",
    "normalized_mutual_information",
    "optimal_transport_distance",
]
