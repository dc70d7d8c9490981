import pytest

from tests.data.worlds import HandMade
from vlp.commands.reading import check_model, require_image
from vlp.configs import read_option, resolve
from vlp.models import build
from vlp.probes.base import Probe
from vlp.probes.coreference import CoreferenceProbe
from vlp.probes.nmi import NMIProbe
from vlp.probes.pretraining_heads import PretrainingProbe


def model(name):
    return resolve({"model": read_option("model", name), "size": read_option("size", "tiny")})["model"]


def data(*annotations):
    dataset = HandMade()
    dataset.annotations = frozenset(annotations)
    return dataset


@pytest.mark.parametrize("name", ["vilt", "soho", "swin_vlp"])
def test_a_probe_of_regions_refuses_a_model_of_pixels(name):
    with pytest.raises(ValueError) as error:
        check_model(model(name), data("regions", "pixels", "phrases"), CoreferenceProbe, ["regions", "phrases"], "vcc")
    assert str(error.value) == f"model {name} reads pixels and has no region tokens; probe vcc needs them"


def test_a_probe_of_regions_refuses_a_model_of_text():
    with pytest.raises(ValueError) as error:
        check_model(model("bert"), data("regions"), Probe, ["regions"], "vrc")
    assert str(error.value) == "model bert reads text and has no region tokens; probe vrc needs them"


@pytest.mark.parametrize(
    ("kind", "probe", "message"),
    [
        (NMIProbe, "nmi", "probe nmi cannot be put to model bert: expected layers in which text and vision meet"),
        (PretrainingProbe, "pretraining", "probe pretraining asks what the image is worth, and model bert reads none"),
    ],
)
def test_a_probe_of_images_refuses_a_model_of_text(kind, probe, message):
    with pytest.raises(ValueError) as error:
        check_model(model("bert"), data("regions"), kind, [], probe)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("name", "has", "message"),
    [
        ("vilt", "regions", "model vilt needs pixels, which dataset hand_made lacks; it has regions"),
        ("uniter", "pixels", "model uniter needs regions, which dataset hand_made lacks; it has pixels"),
    ],
)
def test_data_without_what_the_model_reads_are_refused(name, has, message):
    for refuse in (
        lambda: check_model(model(name), data(has), NMIProbe, [], "nmi"),
        lambda: require_image(data(has), build(name, layers=1, width=16, heads=2, feed_forward=16)),
    ):
        with pytest.raises(ValueError) as error:
            refuse()
        assert str(error.value) == message


def test_what_goes_together_is_let_through():
    check_model(model("vilt"), data("pixels"), NMIProbe, [], "nmi")
    check_model(model("uniter"), data("regions"), CoreferenceProbe, ["regions"], "vcc")
    check_model(model("bert"), data(), Probe, [], "linguistic")
