"""Findings are plain data, and two that contradict are never both shown."""

import pytest

from windtunnel.analysis.finding import Finding, Severity, Strength, collect_findings
from windtunnel.errors import ContradictionError


def _finding(claim: str = "ratio_rises", **fields: object) -> Finding:
    given: dict[str, object] = {
        "kind": "ratio",
        "claim": claim,
        "subject": "backward / forward",
        "evidence": ("line 3",),
        "strength": Strength.MEASURED,
        **fields,
    }
    return Finding(**given)  # type: ignore[arg-type]  # built from words


def test_two_answers_to_one_question_about_one_subject_are_refused() -> None:
    with pytest.raises(ContradictionError, match=r"ratio_rises with .* ratio_falls with"):
        collect_findings([_finding(), _finding("ratio_falls")])


def test_the_same_claim_with_other_numbers_is_refused() -> None:
    with pytest.raises(ContradictionError):
        collect_findings([_finding(numbers={"low": 1.0}), _finding(numbers={"low": 2.0})])


def test_a_claim_that_another_rules_out_is_refused() -> None:
    with pytest.raises(ContradictionError, match="ruled out by ratio_rises"):
        collect_findings([_finding(rules_out=("one_ratio",)), _finding("one_ratio", kind="other")])


def test_answers_about_other_subjects_stand_side_by_side_and_the_same_twice_is_one() -> None:
    other = _finding("ratio_falls", subject="step / forward")

    assert collect_findings([_finding(), other, _finding()]) == (_finding(), other)


def test_the_weightiest_comes_first() -> None:
    error = _finding(subject="z", severity=Severity.ERROR)

    assert collect_findings([_finding(), error])[0] is error


def test_what_was_not_measured_needs_a_command_and_the_rest_needs_evidence() -> None:
    with pytest.raises(AssertionError):
        _finding(strength=Strength.NOT_MEASURED)
    with pytest.raises(AssertionError):
        _finding(evidence=())
