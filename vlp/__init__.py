"""VLP Probe: pre-train vision-and-language transformers, look inside them, compare with what was published."""

__version__ = "0.1.0"
