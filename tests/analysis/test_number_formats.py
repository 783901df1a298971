"""What a look at number formats says."""

from dataclasses import replace
from math import inf

import pytest

from factory import CPU, make_pair, make_task
from precision_looks import CURVES, FORMATS, NUMERICS, make_look
from windtunnel.analysis.number_formats import (
    answers_of,
    dtypes_text,
    follow,
    merged_operations,
    precision_comparisons,
    shares_of,
    typical_error,
    worst_gradient,
)
from windtunnel.records.precision_look import LossCurves
from windtunnel.records.store import StoredComparison


def test_the_questions_of_the_course_are_answered_with_the_modules_they_are_of():
    answers = answers_of(make_look())

    assert [(one.question, one.name, one.dtypes) for one in answers] == [
        ("parameters", "", "float32"),
        ("output of the first linear layer", "fc1", "float16"),
        ("output of the first norm", "ln", "float32"),
        ("logits", "", "float16"),
        ("loss", "", "float32"),
        ("gradients", "", "float32"),
        ("optimizer state", "", "float32"),
    ]


def test_a_look_without_formats_answers_nothing():
    assert answers_of(make_look(formats=None)) == ()


def test_several_dtypes_are_counted():
    assert dtypes_text({"float32": 5, "int32": 1}) == "float32 (5), int32 (1)"


def test_modules_of_one_class_share_a_row():
    merged = merged_operations(FORMATS.operations)

    assert [(one.operation, one.count) for one in merged] == [("mm", 5), ("_softmax", 2), ("mm", 2)]


def test_shares_are_of_all_elements():
    plain, scaled = map(shares_of, NUMERICS.runs)

    assert (plain.zeros, plain.subnormal, plain.not_finite) == (0.125, 0.05, 0.0)
    assert (scaled.zeros, scaled.not_finite) == (0.0, 0.5)
    assert shares_of(replace(NUMERICS.runs[0], gradients=())) is None


def test_a_gradient_that_is_not_finite_is_the_worst():
    assert worst_gradient(NUMERICS.runs[0]).name == "fc1.weight"
    assert worst_gradient(NUMERICS.runs[1]).name == "fc2.weight"
    assert typical_error(NUMERICS.runs[0]) == 2e-3


def test_a_loss_is_judged_by_what_lies_between_two_seeds():
    found = follow(CURVES)

    assert (round(found.deviation, 6), found.at, round(found.noise, 6)) == (0.1, 2, 0.2)
    assert found.is_within_noise


def test_a_loss_that_leaves_the_noise_or_is_lost_is_not_within_it():
    far = follow(replace(CURVES, losses=(4.0, 3.9, 5.0)))
    lost = follow(replace(CURVES, losses=(4.0, None, None)))

    assert far.is_within_noise is False
    assert (lost.not_finite, lost.is_within_noise, lost.deviation) == (2, False, None)


def test_a_lost_fp32_leaves_the_question_open():
    found = follow(LossCurves(losses=(1.0,), fp32=(None,), other_seed=(1.0,)))

    assert found.is_within_noise is None


def test_only_comparisons_from_fp32_in_precision_alone_are_of_precisions():
    fp32 = make_task(workload="train_step")
    bf16 = make_task(workload="train_step", precision="bf16")
    longer = make_task(workload="train_step", precision="bf16", context_length=32)

    wanted = make_pair(fp32, bf16)
    others = [make_pair(bf16, fp32), make_pair(fp32, longer), make_pair(fp32, fp32)]

    stored = [StoredComparison(record=one, environment_a=CPU, environment_b=CPU) for one in (wanted, *others)]
    found = precision_comparisons(stored)
    assert [one.record for one in found] == [wanted]


def test_the_largest_error_is_that_of_logits_loss_or_the_median_gradient_with_scaling_where_the_step_scales():
    look = make_look(numerics=replace(NUMERICS, runs=NUMERICS.runs[:1]))

    assert look.largest_error == pytest.approx(2e-3)
    assert make_look().largest_error == inf  # a gradient is lost when the loss is scaled
    assert make_look(numerics=None).largest_error is None
