"""``python -m vlp.doctor [model=] [weights=] [dataset=] [dataset.root=] ...``: what works here, and what to do.

Without arguments nothing is loaded. What is given is opened, built, loaded and compared, as a probe would do it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import hydra

from vlp.commands.messages import report
from vlp.commands.plans import for_model, plain
from vlp.doctor.environment import examine_environment
from vlp.doctor.findings import FAILED, Finding, show

EXAMPLES = """examples:
  python -m vlp.doctor                                          packages, devices, folders, keys; under two seconds
  python -m vlp.doctor dataset=nlvr dataset.root=DIR            are the official files there and whole?
  python -m vlp.doctor model=uniter weights=a.ckpt              do the weights load, fit model and data, and behave?
  python -m vlp.doctor model=lxmert size=base weights=DIR       released weights: what they lack, what is left over
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 1 if something needed or asked for does not work, else 0."""
    overrides = parser().parse_args(arguments).overrides
    try:
        findings = examine(overrides)
    except Exception as error:  # noqa: BLE001 - whatever it is, the user gets one line of it
        report(error, overrides, "probe")
        return 1
    show(findings)
    failed = sum(finding.state == FAILED for finding in findings)
    print(f"{failed} failed" if failed else "nothing failed")
    return int(failed > 0)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    command = argparse.ArgumentParser(
        prog="python -m vlp.doctor",
        description="Say what is installed, reachable, loadable and consistent, and what to do where it is not.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("overrides", nargs="*", metavar="key=value", help="as for probe.py")
    return command


def examine(overrides: Sequence[str]) -> list[Finding]:
    """Return what there is to say, of the machine first and then of what the overrides ask for."""
    with hydra.initialize_config_module("vlp.conf", version_base="1.3"):
        config = plain(hydra.compose("probe", list(overrides)))
        config["tokenizer"] = for_model(config.get("tokenizer"), config["model"]["name"], "tokenizer")
        findings = list(examine_environment(config))
        if asked := {override.lstrip("+~").partition("=")[0].partition(".")[0] for override in overrides}:
            from vlp.doctor.subjects import examine_subjects

            findings += examine_subjects(config, asked)
    return findings


if __name__ == "__main__":
    sys.exit(main())
