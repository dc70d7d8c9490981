"""Encoders: one interface, many architectures."""

from vlp.models.building import build, build_from_config
from vlp.models.encoder import Encoding, VLEncoder

__all__ = ["Encoding", "VLEncoder", "build", "build_from_config"]
