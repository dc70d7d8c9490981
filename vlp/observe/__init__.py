"""Looking inside a model: sites, streaming observers, recording."""

from vlp.models.observation import CaptureError, Observer
from vlp.observe.observers import Reducing
from vlp.observe.recording import Trace, record
from vlp.observe.sites import Site, matching, select_layers

__all__ = ["CaptureError", "Observer", "Reducing", "Site", "Trace", "matching", "record", "select_layers"]
