"""Starting the probe command in a fresh process."""

from pathlib import Path

import pytest

from vlp.published import ARTEFACTS
from vlp.reproduce.running import measure, probe_arguments, quoted

TABLE3 = ARTEFACTS["value/table3"]


def test_the_probe_command_gets_the_experiment_the_folder_and_the_user_s_settings_last():
    assert probe_arguments(TABLE3, Path("it's here"), ["model=bert"]) == [
        "experiment=value/table3",
        "hydra.sweep.dir='it\\'s here'",
        "model=bert",
    ]
    assert quoted("a\\b") == "'a\\\\b'"


def test_the_command_runs_in_a_process_of_its_own_and_its_failure_is_told(
    in_temporary_folder: Path, capfd: pytest.CaptureFixture[str]
):
    assert measure(TABLE3, Path("out"), ["model=no_such_model"]) == 1
    assert "model=no_such_model is not an option" in capfd.readouterr().err
