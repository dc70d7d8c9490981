"""Claims of the papers."""

from vlp.published import PAPERS, artefact_names, claims


def test_every_claim_names_its_artefacts():
    assert len(claims()) == 31
    assert {claim.paper for claim in claims()} == set(PAPERS)
    assert {name for claim in claims() for name in claim.artefacts} <= set(artefact_names())


def test_claims_of_a_paper_stand_in_its_order():
    assert [claim.claim_id for claim in claims("value")] == [f"V{number}" for number in range(1, 10)]


def test_a_claim_may_show_in_several_artefacts():
    v7 = claims("value")[6]
    assert v7.artefacts == ("value/table4", "value/figure5a", "value/figure5bc")
    assert v7.direction == "related > random; probers > baseline"
