import pytest
import torch

from tests.models.examples import MODELS, batch_for, small_encoder
from vlp.models.observation import CaptureError, Site, Watch

MAP = Site("joint", 0, "joint", "joint")
STATE = Site("joint", 0, "joint")


class Wanting:
    def __init__(self, *sites):
        self.sites, self.seen = sites, []

    def wants(self, site):
        return site in self.sites

    def observe(self, site, value):
        self.seen.append((site, value))


@pytest.mark.parametrize("name", MODELS)
def test_an_observer_that_matches_no_site_is_refused(name):
    encoder = small_encoder(name)
    with pytest.raises(CaptureError) as error:
        encoder(batch_for(encoder), [Wanting(Site("joint", 99, "joint"))])
    assert str(error.value).startswith("Wanting matches no site of this model, which has ")


def test_only_what_is_wanted_is_handed_over():
    observer = Wanting(MAP)
    watch = Watch([observer], [MAP, STATE])
    assert (watch.wants(MAP), watch.wants(STATE)) == (True, False)
    watch.hidden(STATE, torch.zeros(1, 2, 3))
    watch.attention(MAP, torch.full((1, 1, 2, 2), 0.5))
    watch.finish()
    assert [site for site, _ in observer.seen] == [MAP]


def test_a_site_that_was_not_reached_is_an_error():
    watch = Watch([Wanting(MAP, STATE)], [MAP, STATE])
    watch.hidden(STATE, torch.zeros(1, 2, 3))
    with pytest.raises(CaptureError) as error:
        watch.finish()
    assert str(error.value) == "1 sites were asked for and never reached: joint.0.joint-joint"


def test_a_site_reached_twice_is_an_error():
    watch = Watch([Wanting(STATE)], [STATE])
    watch.hidden(STATE, torch.zeros(1, 2, 3))
    with pytest.raises(CaptureError) as error:
        watch.hidden(STATE, torch.zeros(1, 2, 3))
    assert str(error.value) == "site joint.0.joint was reached twice in one pass"


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (torch.full((1, 1, 2, 2), 0.6), "attention rows at joint.0.joint-joint differ from a sum of 1 by 0.2"),
        (torch.full((1, 1, 2, 2), torch.nan), "attention rows at joint.0.joint-joint differ from a sum of 1 by nan"),
        (torch.zeros(1, 0, 2, 2), "attention at joint.0.joint-joint is empty: shape (1, 0, 2, 2)"),
    ],
)
def test_what_is_not_attention_is_refused(weights, message):
    with pytest.raises(CaptureError) as error:
        Watch([Wanting(MAP)], [MAP]).attention(MAP, weights)
    assert str(error.value) == message


def test_observers_get_no_gradient():
    observer = Wanting(STATE)
    Watch([observer], [STATE]).hidden(STATE, torch.zeros(1, 2, 3, requires_grad=True))
    assert not observer.seen[0][1].requires_grad


@pytest.mark.parametrize(
    ("site", "text"),
    [(Site("cross", 3, "text", "vision"), "cross.3.text-vision"), (Site("joint", -1, "joint"), "joint.-1.joint")],
)
def test_a_site_has_a_short_name(site, text):
    assert str(site) == text


def test_attention_with_another_number_of_heads_is_refused():
    watch = Watch([Wanting(MAP)], [MAP], heads_of={MAP: 4})
    with pytest.raises(CaptureError) as error:
        watch.attention(MAP, torch.full((1, 3, 2, 2), 0.5))
    assert str(error.value) == f"attention at {MAP} has 3 heads, expected 4"


def test_rows_are_checked_in_every_sample():
    weights = torch.full((2, 3, 2, 2), 0.5)
    weights[1, 0, 1, 0] = torch.nan
    with pytest.raises(CaptureError) as error:
        Watch([Wanting(MAP)], [MAP]).attention(MAP, weights)
    assert str(error.value) == f"attention rows at {MAP} differ from a sum of 1 by nan"
