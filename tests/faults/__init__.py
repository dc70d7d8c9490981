"""Faults, one after another: what was computed has to survive each, and each has to be told (``make faults``)."""
