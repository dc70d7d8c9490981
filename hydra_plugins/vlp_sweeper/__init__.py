"""Hydra plug-ins: the sweeper, and the search path. Loaded at every start, so nothing heavy is imported here."""
