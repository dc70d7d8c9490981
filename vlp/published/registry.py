"""Which tables and figures can be measured here, and what they say of the papers' claims."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vlp.published.artefacts import Artefact
from vlp.published.beside import Setting, TableBeside, by_setting, stand_beside
from vlp.published.claims import Claim, claims
from vlp.published.tables import PAPERS
from vlp.published.value_table3 import TABLE3
from vlp.published.verdicts import Part, Verdict, is_measured, of_claim
from vlp.published.visual_parsing_flow import FIGURE2, FIGURE3, FIGURE4, FIGURE5, TABLE5
from vlp.results import Record

_MEASURED = (TABLE3, FIGURE2, FIGURE3, FIGURE4, FIGURE5, TABLE5)

ARTEFACTS: dict[str, Artefact] = {artefact.name: artefact for artefact in _MEASURED}
"""Tables and figures with an experiment, by name, in the papers' order."""


@dataclass(frozen=True)
class Judgement:
    """What was measured says of a claim; ``setting`` is None where nothing was.

    ``statistic`` is what the numbers alone say; the verdict is the same unless the claim cannot be tested on them.
    """

    claim: Claim
    setting: Setting | None
    verdict: Verdict
    reason: str
    parts: tuple[Part, ...] = ()
    statistic: Verdict = Verdict.NOT_TESTABLE


def tables_beside(records: Sequence[Record]) -> list[TableBeside]:
    """Return every printed table of which ``records`` hold a number, beside them."""
    return [table for artefact in ARTEFACTS.values() for table in stand_beside(artefact, records)]


def papers_of(records: Sequence[Record]) -> list[str]:
    """Return the papers of whose tables ``records`` hold a number."""
    return list(dict.fromkeys(table.printed.paper for table in tables_beside(records)))


def papers_with(experiment: str | None, probe: str | None) -> list[str]:
    """Return the papers that an experiment is of, or in whose tables a probe has a number."""
    named = {(experiment or "").partition("/")[0]}
    named |= {artefact.paper for artefact in ARTEFACTS.values() if probe in artefact.probes}
    return [paper for paper in PAPERS if paper in named]


def judge(records: Sequence[Record], papers: Iterable[str]) -> list[Judgement]:
    """Return one judgement a claim of ``papers`` and setting it was tested in; one that says why where in none."""
    return [
        judgement
        for paper in papers
        for claim in claims(paper)
        for judgement in _tested(claim, records) or [_untested(claim)]
    ]


def _tested(claim: Claim, records: Sequence[Record]) -> list[Judgement]:
    tests = [
        (artefact, artefact.claims[claim.claim_id])
        for artefact in ARTEFACTS.values()
        if artefact.name in claim.artefacts and claim.claim_id in artefact.claims
    ]
    used = dict.fromkeys(record for artefact, _ in tests for record in artefact.rows_of(records))
    return [
        _judgement(claim, setting, sides)
        for setting, rows in by_setting(used).items()
        if any(map(is_measured, sides := [side for artefact, test in tests for side in test(artefact, rows)]))
    ]


def _judgement(claim: Claim, setting: Setting, sides: list[list[Part]]) -> Judgement:
    parts = tuple(part for side in sides for part in side)
    if setting.is_random:
        return Judgement(claim, setting, Verdict.NOT_TESTABLE, "the weights are random: this is a control", parts)
    statistic = of_claim(sides)
    reason = _reason(statistic, sides)
    if setting.is_generated:
        reason = f"generated data; on {setting.dataset}: {statistic.value}. {reason}"
    verdict = Verdict.NOT_TESTABLE if setting.is_generated else statistic
    return Judgement(claim, setting, verdict, reason, parts, statistic)


def _reason(verdict: Verdict, sides: Sequence[Sequence[Part]]) -> str:
    """Return why: how much was measured, and the parts that decided it or why none did."""
    parts = [part for side in sides for part in side]
    measured = [part for part in parts if part.is_measured]
    counted = f"{len(measured)} of {len(parts)} comparisons measured"
    if not all(map(is_measured, sides)):
        lacking = [side[0].what.partition(", ")[0] for side in sides if not is_measured(side)]
        return f"{counted}, none of {', '.join(lacking)}"
    telling = [part for part in measured if part.verdict is verdict]
    if verdict is Verdict.AGREES:
        return f"{counted}: {len(telling)} agree, none disagrees"
    named = "; ".join(f"{part.what}: {part.found} ({part.reason})" for part in telling[:2])
    more = f"; and {len(telling) - 2} more" if len(telling) > 2 else ""
    return f"{counted}: {named}{more}"


def _untested(claim: Claim) -> Judgement:
    missing = [name for name in claim.artefacts if name not in ARTEFACTS]
    has_test = any(
        claim.claim_id in artefact.claims for artefact in ARTEFACTS.values() if artefact.paper == claim.paper
    )
    if missing and not has_test:
        reason = f"no experiment yet for {', '.join(missing)}"
    else:
        reason = f"not measured in these runs; it takes {', '.join(set(claim.artefacts) & set(ARTEFACTS))}"
    return Judgement(claim, None, Verdict.NOT_TESTABLE, reason)
