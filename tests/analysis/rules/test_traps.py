"""Errors seen in other published tables, each in a small table of our own."""

import pytest

from published import contradicted, findings_of, markdown, the
from windtunnel.analysis.finding import Finding, Severity
from windtunnel.analysis.published.entries import Declared
from windtunnel.report.wording import sentence


def errors(found: tuple[Finding, ...]) -> list[str]:
    return [one.claim for one in found if one.severity is Severity.ERROR]


def test_compiled_rows_that_are_as_fast_as_eager_ones_are_doubted() -> None:
    rows: list[list[object]] = [["small", "20.0 ± 0.2", "20.1 ± 0.2"], ["medium", "44.1 ± 0.3", "44.0 ± 0.4"]]

    found = findings_of(markdown(["size", "eager forward (ms)", "compiled forward (ms)"], rows))

    doubt = the(found, "compiled_is_eager")
    assert doubt.severity is Severity.WARNING
    assert (doubt.numbers["same"], doubt.numbers["count"]) == (2, 2)


def test_compiled_rows_that_are_faster_are_a_gain_as_a_ratio() -> None:
    rows: list[list[object]] = [["small", 20.0, 10.0], ["medium", 44.0, 24.0]]

    found = findings_of(markdown(["size", "eager forward (ms)", "compiled forward (ms)"], rows))

    gain = the(found, "compile_gain")
    assert (gain.numbers["low"], gain.numbers["high"]) == pytest.approx((44 / 24, 2.0))


def test_compiled_rows_alone_say_nothing_of_a_gain() -> None:
    found = findings_of(markdown(["size", "compile", "forward (ms)"], [["small", "True", 10], ["medium", "True", 20]]))

    assert the(found, "no_eager_column").command


def test_both_passes_cannot_take_less_than_forward() -> None:
    rows: list[list[object]] = [["small", "30 ± 1", "20 ± 1"], ["medium", "50 ± 1", "150 ± 2"]]

    found = findings_of(markdown(["size", "forward (ms)", "forward + backward (ms)"], rows))

    assert errors(found) == ["part_over_whole"]
    assert the(found, "part_over_whole").numbers["name"] == "small"


@pytest.mark.parametrize(
    ("headings", "times", "parts"),
    [
        (("forward", "backward", "total"), ("25.0 ± 0.2", "55.2 ± 0.1", "70.0"), ("forward", "backward")),
        (("forward", "backward", "optimizer", "total"), (10, 20, 5, 20.5), ("forward", "backward", "optimizer")),
        (("forward", "backward", "fwd+bwd"), (10, 20, 25), ("forward", "backward")),
        (("forward", "optimizer", "step time"), (10, 20, 25), ("forward", "optimizer")),
        (("fwd+bwd", "forward", "optimizer", "step time"), (30, 10, 5, 31), ("forward_backward", "optimizer")),
    ],
)
def test_parts_together_cannot_take_longer_than_their_whole(
    headings: tuple[str, ...], times: tuple[object, ...], parts: tuple[str, ...]
) -> None:
    found = findings_of(markdown(["size", *(f"{heading} (ms)" for heading in headings)], [["small", *times]]))

    assert errors(found) == ["parts_over_whole"]
    assert the(found, "parts_over_whole").numbers["parts"] == parts


@pytest.mark.parametrize(
    ("headings", "times"),
    [
        (("forward", "backward", "total"), (1.2, 2.4, 3.5)),
        (("forward", "backward", "total"), ("10 ± 2", "20 ± 2", "27 ± 2")),
        (("forward", "backward", "optimizer", "total"), (10, 20, 5, 30)),
        (("forward", "backward", "optimizer", "total"), (2, 3, 9, 5)),
        (("forward", "fwd+bwd", "optimizer", "step time"), (10, 30, 5, 36)),
    ],
)
def test_a_whole_within_rounding_noise_or_of_both_passes_alone_raises_no_alarm(
    headings: tuple[str, ...], times: tuple[object, ...]
) -> None:
    found = findings_of(markdown(["size", *(f"{heading} (ms)" for heading in headings)], [["small", *times]]))

    assert errors(found) == []


@pytest.mark.parametrize(("part", "whole"), [("optimizer", "total"), ("backward", "step time"), ("fwd+bwd", "total")])
def test_no_part_alone_can_take_longer_than_its_whole(part: str, whole: str) -> None:
    found = findings_of(markdown(["size", f"{part} (ms)", f"{whole} (ms)"], [["small", 20, 10]]))

    assert errors(found) == ["part_over_whole"]


@pytest.mark.parametrize(("n", "claim"), [(None, "outlier_suspected"), (100, "outlier_among_n")])
def test_a_mean_of_one_outlier_is_none(n: int | None, claim: str) -> None:
    found = findings_of(markdown(["size", "forward (ms)"], [["small", "59.81 ± 320.62"]]), Declared(steps=n))

    outlier = the(found, claim)
    assert outlier.numbers["least_n"] == 29
    assert ("mean_describes_samples", "forward") in contradicted(found)
    if n:
        assert outlier.numbers["base_seconds"] == pytest.approx(27.748e-3)
        assert outlier.numbers["outlier_seconds"] == pytest.approx(27.748e-3 + 3.2062)


@pytest.mark.parametrize(
    ("n", "claim"), [(10, "spread_narrow"), (None, "spread_narrow_without_n")], ids=["with n", "without n"]
)
def test_the_deviation_of_one_cell_is_no_range(n: int | None, claim: str) -> None:
    found = findings_of(markdown(["size", "forward (ms)"], [["small", "50.0 ± 1.0"]]), Declared(steps=n))

    said = sentence(the(found, claim))

    assert said.startswith("The deviation of forward is 2.0 % of the mean (small).")


def test_ten_samples_cannot_deviate_by_five_times_their_mean() -> None:
    found = findings_of(markdown(["size", "forward (ms)"], [["small", "59.81 ± 320.62"]]), Declared(steps=10))

    assert errors(found) == ["deviation_impossible"]


def test_float32_above_its_peak_is_an_error_and_half_precision_is_not() -> None:
    text = markdown(["size", "context", "batch", "forward (ms)"], [["2.7B", 512, 4, 80]])

    single = findings_of(text, Declared(gpu="h100", precision="fp32"))
    half = findings_of(text, Declared(gpu="h100", precision="bf16"))

    assert errors(single) == ["rate_over_peak"]
    assert errors(half) == []


def test_each_gpu_of_a_table_is_judged_by_its_own_peak() -> None:
    rows: list[list[object]] = [["medium", "A100", "bf16", 9.0], ["medium", "H100", "bf16", 3.6]]
    text = markdown(["model", "GPU", "precision", "forward (ms)"], rows)

    fits = findings_of(text, Declared(batch_size=4, context_length=512))
    over = findings_of(text.replace("9.0", "4.5"), Declared(batch_size=4, context_length=512))

    assert errors(fits) == []
    worst = the(over, "rate_over_peak")
    assert (worst.numbers["gpu"], worst.numbers["peak"], worst.numbers["count"]) == ("A100", 312e12, 1)


@pytest.mark.parametrize(
    "precision", ["bf16-mixed", "bf16 mixed", "16-mixed", "混合精度", "torch.bfloat16", "fp16 AMP"]
)
def test_a_peak_is_found_by_any_common_name_of_a_precision(precision: str) -> None:
    text = markdown(["size", "precision", "forward (ms)"], [["medium", precision, 0.9]])

    found = findings_of(text, Declared(gpu="h100", batch_size=4, context_length=512))

    assert the(found, "rate_over_peak").numbers["peak"] == 989.4e12


@pytest.mark.parametrize(
    ("declared", "options"),
    [
        (Declared(), ("--batch", "--context", "--gpu", "--precision")),
        (Declared(batch_size=4, gpu="h100"), ("--context", "--precision")),
    ],
)
def test_only_options_for_what_is_missing_are_named(declared: Declared, options: tuple[str, ...]) -> None:
    found = findings_of(markdown(["size", "forward (ms)"], [["small", 10]]), declared)

    assert the(found, "rates_not_known").numbers["options"] == options


def test_no_option_is_named_for_the_shape_of_a_model() -> None:
    declared = Declared(batch_size=4, context_length=512, gpu="h100", precision="fp32")

    found = findings_of(markdown(["size", "forward (ms)"], [["mine", 10]]), declared)

    assert the(found, "rates_not_known_without_options").numbers["missing"] == ("shape",)


def test_slower_after_warmup_and_slower_at_a_shorter_context_are_effects_of_order() -> None:
    rows: list[list[object]] = [
        ["small", 256, 0, "50 ± 1"],
        ["small", 256, 5, "70 ± 1"],
        ["small", 512, 5, "60 ± 1"],
    ]

    found = findings_of(markdown(["size", "context", "warmup", "optimizer step (ms)"], rows))

    assert the(found, "slower_after_warmup").severity is Severity.WARNING
    assert the(found, "more_work_less_time").severity is Severity.WARNING


def test_out_of_memory_below_what_fits_is_an_error() -> None:
    rows: list[list[object]] = [["small", 256, 10], ["small", 512, "OOM"], ["small", 1024, 50]]

    found = findings_of(markdown(["size", "context", "forward (ms)"], rows))

    assert errors(found) == ["memory_not_monotone"]


def test_backward_that_grows_otherwise_than_forward_is_doubted() -> None:
    rows: list[list[object]] = [[length, 64, 10 * 3.2**k, 30 * 2.0**k] for k, length in enumerate((1024, 2048, 4096))]

    found = findings_of(markdown(["seq_len", "d_model", "forward (ms)", "backward (ms)"], rows))

    doubt = the(found, "growth_disagrees")
    assert (doubt.numbers["forward_low"], doubt.numbers["backward_high"]) == pytest.approx((3.2, 2.0))


def test_a_share_of_communication_is_not_told_apart() -> None:
    found = findings_of(markdown(["size", "step time (ms)", "communication (ms)"], [["small", 100, 50]]))

    assert the(found, "communication_not_told_apart").command


def test_no_warmup_hurts_the_first_cell_of_a_process_only() -> None:
    rows: list[list[object]] = [
        [size, warmup, f"{mean} ± 0.5"]
        for size, cold, warm in (("small", 45, 20), ("medium", 44.2, 44), ("large", 90.5, 90))
        for warmup, mean in ((0, cold), (5, warm))
    ]

    found = findings_of(markdown(["size", "warmup", "forward (ms)"], rows))

    assert the(found, "only_first_cell_is_cold").numbers["first"] == "small, warm-up 0"


def test_memory_that_falls_and_memory_below_the_weights_are_said() -> None:
    falls: list[list[object]] = [[256, 64, 8, 1, 100], [512, 64, 8, 2, 80]]
    below: list[list[object]] = [["small", 256, 10, 100]]

    found = findings_of(markdown(["seq_len", "d_model", "batch", "forward (ms)", "peak memory (MiB)"], falls))
    light = findings_of(markdown(["size", "context", "forward (ms)", "peak memory (MiB)"], below))

    assert the(found, "memory_falls").severity is Severity.WARNING
    assert errors(light) == ["memory_under_floor"]


def test_a_rate_that_collapses_is_a_cliff_without_a_forward_to_compare_with() -> None:
    rows: list[list[object]] = [["small", 10], ["medium", 33], ["large", 75], ["xl", 4000], ["2.7B", 270]]

    found = findings_of(markdown(["size", "step time (ms)"], rows))

    assert the(found, "cliff_rate").numbers["name"] == "xl"


def test_time_that_does_not_follow_the_precision_is_a_signature_not_a_cause() -> None:
    rows: list[list[object]] = [["small", "fp32", 20.0], ["small", "bf16", 20.5]]

    found = findings_of(markdown(["size", "precision", "forward (ms)"], rows))

    assert the(found, "constant_over_precision").command


def test_cold_times_enter_no_ratio_where_there_are_warm_ones() -> None:
    rows: list[list[object]] = [["small", 0, 30.0, 40.0], ["small", 5, 10.0, 20.0], ["medium", 0, 50.0, 70.0]]
    rows += [["medium", 5, 30.0, 60.0]]

    found = findings_of(markdown(["size", "warm-up", "forward (ms)", "backward (ms)"], rows))

    assert the(found, "ratio_one_number").numbers["values"] == (2.0, 2.0)
