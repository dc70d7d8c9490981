import json

import pytest
import torch

from tests.models.examples import MODELS
from tests.models.golden import FOLDER, outputs


@pytest.mark.parametrize("name", MODELS)
def test_no_number_has_moved(name):
    file = FOLDER / f"{name}.json"
    assert file.exists(), "a new model: write its golden outputs with python -m tests.models.golden"
    expected, found = json.loads(file.read_text()), outputs(name)
    assert set(found) == set(expected)
    for stream, numbers in expected.items():
        torch.testing.assert_close(torch.tensor(found[stream]), torch.tensor(numbers), rtol=1e-4, atol=1e-4)
