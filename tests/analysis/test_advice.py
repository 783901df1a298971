"""Advice with a command that compares: which it is, what it compares, and which stored pairs answer it."""

import pytest

from advising import advice_with, finding
from factory import CPU, compared, make_pair
from windtunnel.analysis.advice import advice_of, outcome_of
from windtunnel.errors import SpecError
from windtunnel.records.record import Failure, Status
from windtunnel.statistics.paired import Verdict


def test_the_command_of_a_finding_becomes_the_cells_that_it_compares():
    pairs = advice_with().pairs

    assert [(a.cell.model.name, a.cell.attention, b.cell.attention) for a, b in pairs] == [
        ("small", "eager", "sdpa"),
        ("medium", "eager", "sdpa"),
    ]
    assert {task.cell.device for pair in pairs for task in pair} == {"cpu"}


@pytest.mark.parametrize("command", [None, "windtunnel step --size small"])
def test_a_finding_that_compares_nothing_is_no_advice_to_verify(command: str | None):
    assert advice_of(finding(command), "cpu") is None


def test_a_command_that_cannot_be_run_is_a_fault_of_its_rule():
    with pytest.raises(SpecError, match="unknown attention 'spda'"):
        advice_of(finding('windtunnel compare --size small --b "--attention spda"'), "cpu")


def test_stored_pairs_are_known_by_their_cells_and_the_latest_counts():
    (a, b), _ = advice_with().pairs
    stored = compared(make_pair(a, b, ratio=1.5), make_pair(a, b, ratio=0.5), environment=CPU)

    outcome = outcome_of(advice_with(), stored)

    assert outcome is not None
    assert not outcome.is_complete
    assert [one.whole.verdict for one in outcome.compared if one.whole] == [Verdict.FASTER]


def test_pairs_of_other_cells_say_nothing():
    (a, _), (_, b) = advice_with().pairs

    assert outcome_of(advice_with(), compared(make_pair(a, b))) is None


def test_a_comparison_that_failed_is_an_outcome_too():
    failure = Failure(stage="build", message="as scripted")
    stored = compared(*(make_pair(*pair, status=Status.UNSUPPORTED, failure=failure) for pair in advice_with().pairs))

    outcome = outcome_of(advice_with(), stored)

    assert outcome is not None
    assert outcome.is_complete
    assert [one.whole for one in outcome.compared] == [None, None]
