"""Golden outputs: a few numbers of every model at size=tiny, so that no refactoring moves one unseen.

``python -m tests.models.golden`` writes those that are missing; delete a file to have it written anew, and say in the
commit why the numbers moved.
"""

import json
from pathlib import Path

import torch

from tests.models.examples import MODELS, batch_for
from vlp.models import build

FOLDER = Path(__file__).parent / "golden"
VOCAB, FEATURE_WIDTH = 60, 10


@torch.no_grad()
def outputs(name: str) -> dict[str, list[float]]:
    """The first numbers of the last real token of each stream and of the pooled state, of the first caption."""
    torch.manual_seed(0)
    encoder = build(name, feature_width=FEATURE_WIDTH, vocab_size=VOCAB)
    encoding = encoder(batch_for(encoder))
    found = {"text": encoding.text[0, 6]}
    if encoding.pooled is not None:
        found["pooled"] = encoding.pooled[0]
    if encoding.vision is not None:
        found["vision"] = encoding.vision[0, 4]
    return {stream: [round(number, 6) for number in values[:8].tolist()] for stream, values in found.items()}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name in MODELS:
        file = FOLDER / f"{name}.json"
        if not file.exists():
            file.write_text(json.dumps(outputs(name), indent=1) + "\n")


if __name__ == "__main__":
    main()
