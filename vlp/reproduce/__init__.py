"""``python -m vlp.reproduce``: tables and figures of the papers, measured here and set beside the printed numbers."""
