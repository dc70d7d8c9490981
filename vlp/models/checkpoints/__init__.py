"""Weights of ours and of others: one file a format, released keys converted to our keys there and nowhere else."""

from vlp.models.checkpoints.loading import LoadReport, load_weights, read_heads
from vlp.models.checkpoints.vlp import export_weights, read_record

__all__ = ["LoadReport", "export_weights", "load_weights", "read_heads", "read_record"]
