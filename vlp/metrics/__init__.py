"""Measures of this field: pure functions, and thin classes that accumulate them over samples and processes."""

from vlp.metrics.nmi import NormalizedMutualInformation, normalized_mutual_information

__all__ = ["NormalizedMutualInformation", "normalized_mutual_information"]
