"""From a model's config to an encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vlp.configs import did_you_mean, instantiate, read_option, resolve
from vlp.data.tokenisation import shipped_vocab_size
from vlp.models.encoder import VLEncoder

PAPER_KEY = "paper"
"""Key of a model's config with the published ``vocab_size`` and ``feature_width``."""
RELEASED_KEY = "released_behaviour"
"""Key of a model's config, where the released code is wrong: whether to do as it does, null for as its weights were
trained; and of a checkpoint's record: whether they were trained so."""


def build(
    name: str,
    size: str = "tiny",
    feature_width: int | None = None,
    vocab_size: int | None = None,
    released_behaviour: bool | None = None,
    visual_parser: str | None = None,
    **overrides: Any,
) -> VLEncoder:
    """Return an encoder with random weights, in ``eval()``.

    The weights come from torch's global generator: seed it for the same ones again.

    Args:
        name: an option of ``conf/model``.
        size: an option of ``conf/size``.
        feature_width: of the region features; None for the paper's.
        vocab_size: None for the paper's at base, for the shipped vocabulary's below.
        released_behaviour: of a model whose released code is wrong, whether to do as it does; None for as the weights
            that are loaded were trained, and right until then.
        visual_parser: of a model that has one to choose, an option of ``conf/visual_parser``; None for the config's.
        overrides: keys of the size's config, such as ``layers=2``.

    Raises:
        ValueError: if there is no such model, size, visual parser or key.
    """
    numbers = read_option("size", size)
    for key in overrides:
        if key not in numbers:
            raise ValueError(f"size={size} has no key {key}{did_you_mean(key, numbers)}")
    numbers.update(overrides)
    description = read_option("model", name, **({} if visual_parser is None else {"visual_parser": visual_parser}))
    if released_behaviour is not None:
        if RELEASED_KEY not in description:
            raise ValueError(f"model={name} has no key {RELEASED_KEY}: its released code does what it should")
        description[RELEASED_KEY] = released_behaviour
    model = resolve({"model": description, "size": numbers})["model"]
    if vocab_size is None and numbers["vocabulary"] == "shipped":
        vocab_size = shipped_vocab_size()
    return build_from_config(model, feature_width, vocab_size)


def build_from_config(
    model: Mapping[str, Any], feature_width: int | None = None, vocab_size: int | None = None
) -> VLEncoder:
    """Return the encoder that a resolved model config describes, with random weights, in ``eval()``.

    ``feature_width`` and ``vocab_size`` default to the paper's, from the config.

    Raises:
        ValueError: if the config is not of an encoder.
    """
    paper = model.get(PAPER_KEY) or {}
    description = {key: value for key, value in model.items() if key != PAPER_KEY}
    encoder = instantiate(
        description,
        _key_="model",
        vocab_size=vocab_size or paper.get("vocab_size"),
        feature_width=feature_width or paper.get("feature_width"),
    )
    if not isinstance(encoder, VLEncoder):
        raise ValueError(f"model={model.get('name')} builds a {type(encoder).__name__}, expected a VLEncoder")
    return encoder.eval()
