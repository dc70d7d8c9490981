"""Pre-training objectives, one a file."""

from vlp.objectives.objective import Objective

__all__ = ["Objective"]
