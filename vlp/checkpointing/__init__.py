"""Checkpoints that survive whatever happens to the run, and from which a training goes on exactly."""

from vlp.checkpointing.generations import Generations
from vlp.checkpointing.metrics_file import MetricsFile
from vlp.checkpointing.saving import SaveCheckpoints, check_kept
from vlp.checkpointing.writer import CheckpointWriter

__all__ = ["CheckpointWriter", "Generations", "MetricsFile", "SaveCheckpoints", "check_kept"]
