"""Encoders: one interface, many architectures."""

from vlp.models.building import build, build_from_config
from vlp.models.checkpoints import LoadReport, export_weights, load_weights, read_record
from vlp.models.encoder import Encoding, VLEncoder

__all__ = [
    "Encoding",
    "LoadReport",
    "VLEncoder",
    "build",
    "build_from_config",
    "export_weights",
    "load_weights",
    "read_record",
]
