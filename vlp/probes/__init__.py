"""Questions put to a model, one file a probe family."""
