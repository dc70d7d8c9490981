"""Checkpoints from which a training goes on exactly: what they hold, how they are written, kept and found."""
