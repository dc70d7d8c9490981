"""Scenes, the built-in dataset: drawn images with captions whose every annotation is known by construction."""
