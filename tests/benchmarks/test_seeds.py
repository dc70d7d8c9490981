import math
from pathlib import Path

from benchmarks.seeds import last_validation, table

METRICS = """step,train/mlm,val/itm_accuracy,val/itm_majority,val/mlm,val/mlm_mean_image
9,2.0,,,,
9,,0.5,0.5,2.0,2.0
19,1.0,,,,
19,,0.875,0.5,0.5,1.1931471805599454
"""


def finished_run(folder: Path) -> Path:
    folder.mkdir()
    (folder / "metrics.csv").write_text(METRICS, encoding="utf-8")
    return folder


def test_the_table_shows_the_last_validation_and_the_bits_an_image_saves(tmp_path: Path):
    values = last_validation(finished_run(tmp_path / "run"))
    assert values["val/itm_accuracy"] == 0.875
    line = table({("uniter", 2): values}).splitlines()[1]
    assert line.split() == ["uniter", "2", "0.875", "0.500", "1.00", "bits"]  # ln 2 nats saved are one bit


def test_a_run_without_results_shows_as_nan(tmp_path: Path):
    values = last_validation(tmp_path)
    assert all(math.isnan(value) for value in values.values())
    assert table({("lxmert", 0): values}).splitlines()[1].split()[2] == "nan"
