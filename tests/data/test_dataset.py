from collections import Counter

import pytest
import torch

from vlp.configs import option_names
from vlp.data import Regions, Sample, VLDataset, open_dataset
from vlp.data.dataset import build_dataset, check_root, hashed_split, require


class TwoCaptions(VLDataset):
    """As small as a dataset can be."""

    name = "two"
    annotations = frozenset({"regions"})

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Sample:
        regions = Regions(torch.zeros(1, 4), torch.zeros(1, 3))
        return Sample(f"image-{index}", f"caption {index}", 10, 10, regions=regions)


def test_a_dataset_answers_from_its_samples_where_it_knows_no_shorter_way():
    dataset = TwoCaptions()
    assert (dataset.caption(1), dataset.image_key(1)) == ("caption 1", "image-1")
    assert len(dataset.regions(1)) == 1
    assert [sample.image_id for sample in dataset] == ["image-0", "image-1"]
    assert dataset.truth_annotated is False


def test_require_names_what_is_missing():
    require(TwoCaptions(), ["regions"], "nmi")
    with pytest.raises(ValueError) as error:
        require(TwoCaptions(), ["regions", "phrases", "gold"], "vcd")
    assert str(error.value) == "probe vcd needs gold, phrases, which dataset two lacks; it has regions"


def test_require_refuses_a_need_that_is_no_annotation():
    with pytest.raises(ValueError) as error:
        require(TwoCaptions(), ["phrase"], "vcd")
    assert str(error.value).startswith("probe vcd needs phrase, which no dataset has; there is class_probs, foil, gold")


def test_hashed_split_never_changes_and_has_its_shares():
    # sha256, first 64 bits as a fraction: 0.014, 0.811
    assert [hashed_split("65567"), hashed_split("36979")] == ["train", "val"]
    counts = Counter(hashed_split(f"image {number}") for number in range(20_000))
    assert counts["train"] / 20_000 == pytest.approx(0.8, abs=0.01)
    assert counts["val"] / 20_000 == pytest.approx(0.1, abs=0.01)


def test_open_dataset_suggests_the_right_name():
    with pytest.raises(ValueError) as error:
        open_dataset("scene")
    assert str(error.value) == "dataset=scene is not an option; did you mean scenes?"


def test_open_dataset_names_an_option_that_does_not_exist():
    with pytest.raises(ValueError) as error:
        open_dataset("scenes", colour="red")
    assert "colour" in str(error.value)


@pytest.mark.parametrize("name", option_names("dataset"))
def test_every_option_is_named_after_its_file_and_refuses_an_unknown_split(name):
    with pytest.raises(ValueError) as error:
        open_dataset(name, split="dev")
    assert str(error.value) == f"dataset {name} has no split 'dev'; there is train, val, test, all"


def test_keys_of_the_loader_do_not_reach_the_class():
    config = {"_target_": "vlp.data.scenes.dataset.ScenesDataset", "name": "scenes", "files": [], "num_workers": 2}
    config |= {"batch_size": 8, "root": None, "level": "demo", "text": "caption", "regions": "detected", "seed": 0}
    config |= {"size": 5, "image_size": 64, "num_regions": 8, "feature_width": 32, "cache": 0}
    assert len(build_dataset(config, split="val")) == 5


def test_a_missing_root_is_named_with_the_way_to_give_it(tmp_path):
    with pytest.raises(ValueError) as error:
        check_root(None, "nlvr")
    how = "give dataset.root=DIR, or set nlvr in conf/paths/local.yaml"
    assert str(error.value) == f"dataset nlvr reads official files and has no folder: {how}"
    with pytest.raises(ValueError) as error:
        check_root(tmp_path / "no", "nlvr")
    assert str(error.value) == f"dataset nlvr: folder {tmp_path / 'no'} does not exist; {how}"
