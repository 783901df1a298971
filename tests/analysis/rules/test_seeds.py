"""The five published reports: every verdict that follows from their numbers is found, with its numbers."""

import pytest

from published import SEEDS, contradicted, findings_of, read, seed_text, the
from windtunnel.analysis.finding import Finding, Severity, Strength
from windtunnel.analysis.published.entries import Declared

MS = Declared(unit="ms")


def seed(number: int, **declared: object) -> tuple[Finding, ...]:
    return findings_of(seed_text(f"seed-00{number}"), Declared(**{"unit": "ms", **declared}))  # type: ignore[arg-type]


class TestSeed000:
    def test_the_column_is_not_backward_and_its_ratio_to_forward_rises_with_size(self) -> None:
        found = seed(0)

        ratio = the(found, "ratio_rises")
        alone = the(found, "backward_is_difference")

        assert ratio.numbers["values"] == pytest.approx((3.32, 3.50, 3.96, 4.45, 5.31), abs=0.005)
        assert (ratio.numbers["low_name"], ratio.numbers["high_name"]) == ("small", "2.7B")
        assert (alone.numbers["low"], alone.numbers["high"]) == pytest.approx((2.32, 4.31), abs=0.005)
        assert {("one_ratio", ratio.subject), ("total_called_backward", alone.subject)} <= contradicted(found)

    def test_the_deviation_of_a_difference_is_that_of_both_parts(self) -> None:
        alone = the(seed(0), "backward_is_difference")

        assert alone.numbers["deviation_seconds"] == pytest.approx((31.662e-3**2 + 1.698e-3**2) ** 0.5, rel=1e-6)

    def test_time_is_not_proportional_to_the_work(self) -> None:
        found = seed(0)

        forward, total = the(found, "scales_with_work", "forward,"), the(found, "scales_with_work", "forward_backward")

        assert forward.numbers["work_ratio"] == pytest.approx(27.2, abs=0.05)
        assert forward.numbers["parameter_ratio"] == pytest.approx(26.5, abs=0.05)
        assert forward.numbers["time_ratio"] == pytest.approx(5.5, abs=0.05)
        assert total.numbers["time_ratio"] == pytest.approx(8.9, abs=0.05)
        assert "linear_in_work" in forward.rules_out
        assert "linear_in_work" in total.rules_out

    def test_forward_follows_the_layers_from_small_to_xl(self) -> None:
        layers = the(seed(0), "follows_layers")

        assert (layers.numbers["first"], layers.numbers["last"]) == ("small", "xl")
        assert layers.numbers["low_seconds"] == pytest.approx(1.10e-3, abs=5e-6)
        assert layers.numbers["high_seconds"] == pytest.approx(1.26e-3, abs=5e-6)
        assert layers.strength is Strength.INFERRED
        assert "size_shows_utilisation" in layers.rules_out

    def test_medium_has_the_largest_spread_of_forward_and_xl_that_of_the_total(self) -> None:
        found = seed(0)

        forward, total = (one for one in found if one.kind == "spread")

        assert (forward.numbers["high_name"], forward.numbers["high"]) == ("medium", pytest.approx(0.092, abs=5e-4))
        assert forward.numbers["low"] == pytest.approx(0.008, abs=5e-4)
        assert (total.numbers["high_name"], total.numbers["high"]) == ("xl", pytest.approx(0.111, abs=5e-4))

    def test_the_deviation_rises_for_the_total_only_and_its_share_for_neither(self) -> None:
        found = seed(0)

        forward = the(found, "spread_follows_no_order")
        total = the(found, "deviation_rises_spread_does_not")

        assert forward.numbers["deviations"] == pytest.approx((0.108e-3, 2.537e-3, 1.884e-3, 3.017e-3, 1.698e-3))
        assert total.numbers["deviations"] == pytest.approx((1.201e-3, 5.559e-3, 12.549e-3, 29.775e-3, 31.662e-3))
        assert (total.numbers["peak_name"], total.numbers["last"]) == ("xl", pytest.approx(0.082, abs=5e-4))
        assert "spread_rises_with_size" in forward.rules_out
        assert "spread_rises_with_size" in total.rules_out

    def test_utilisation_cannot_be_told_without_batch_device_and_precision(self) -> None:
        unknown = the(seed(0), "rates_not_known")

        assert unknown.numbers["missing"] == ("batch", "gpu", "precision")

    def test_with_the_declared_batch_the_rate_is_over_the_peak_of_float32(self) -> None:
        found = seed(0, gpu="h100", precision="fp32", batch_size=4)

        over = the(found, "rate_over_peak")
        forward, total = (one for one in found if one.kind == "rate")

        assert over.severity is Severity.ERROR
        assert over.numbers["rate"] == pytest.approx(96.3e12, rel=1e-3)
        assert over.numbers["peak"] == 67e12
        assert (forward.numbers["low"], forward.numbers["high"]) == pytest.approx((19.6e12, 96.3e12), rel=3e-3)
        assert (total.numbers["low"], total.numbers["high"]) == pytest.approx((17.7e12, 54.4e12), rel=3e-3)

    def test_in_tf32_the_same_table_is_possible(self) -> None:
        assert not [one for one in seed(0, gpu="h100", precision="tf32", batch_size=4) if one.claim == "rate_over_peak"]


class TestSeed001:
    def test_one_average_describes_spreads_of_5_and_28_percent_not(self) -> None:
        found = seed(1)

        forward, backward = (one for one in found if one.kind == "spread")

        assert (forward.numbers["low"], forward.numbers["high"]) == pytest.approx((0.055, 0.246), abs=5e-4)
        assert (backward.numbers["low"], backward.numbers["high"]) == pytest.approx((0.042, 0.284), abs=5e-4)
        assert {("average_spread", "forward"), ("average_spread", "backward")} <= contradicted(found)

    def test_with_ten_samples_a_mean_is_known_to_several_percent(self) -> None:
        forward = next(one for one in seed(1) if one.kind == "spread" and one.subject == "forward")

        assert forward.numbers["interval"] == pytest.approx(0.246 * 2.262 / 10**0.5, rel=5e-3)

    def test_backward_over_forward_is_a_range(self) -> None:
        ratio = the(seed(1), "ratio_ranges")

        assert (ratio.numbers["low"], ratio.numbers["high"]) == pytest.approx((1.72, 2.15), abs=0.005)

    def test_growth_is_a_power_of_the_work_not_exponential_and_no_constant_factor(self) -> None:
        found = seed(1)

        forward, backward = the(found, "scales_with_work", "forward"), the(found, "scales_with_work", "backward")

        assert forward.numbers["work_slope"] == pytest.approx(1.34, abs=0.005)
        assert forward.numbers["parameter_slope"] == pytest.approx(1.34, abs=0.005)
        assert backward.numbers["work_slope"] == pytest.approx(1.30, abs=0.005)
        assert forward.numbers["steps"] == pytest.approx((4.80, 2.86, 2.80, 2.15), abs=0.005)
        assert backward.numbers["steps"] == pytest.approx((4.21, 2.61, 2.82, 2.51), abs=0.005)
        for one in (forward, backward):
            assert {"exponential", "same_factor_each_step"} <= set(one.rules_out)

    def test_no_exponent_of_the_width_alone_can_be_read_off(self) -> None:
        found = seed(1)

        alone = the(found, "width_and_depth_move_together")

        assert alone.strength is Strength.NOT_MEASURED
        assert the(found, "scales_with_work", "forward").numbers["width_slope"] == pytest.approx(3.7, abs=0.05)

    def test_the_implied_rate_falls_with_size(self) -> None:
        rate = the(seed(1), "implied_rates_fall", "forward")

        assert (rate.numbers["high"], rate.numbers["low"]) == pytest.approx((152.6e9, 49.1e9), rel=2e-3)

    def test_the_total_is_a_sum(self) -> None:
        assert the(seed(1), "total_is_sum").numbers["count"] == 5


class TestSeed002:
    def test_xl_backward_is_a_cliff_and_in_no_fit_ratio_or_range(self) -> None:
        found = seed(2)

        cliff = the(found, "cliff_ratio_among_others")
        ratio = next(one for one in found if one.kind == "ratio")

        assert cliff.numbers["ratio"] == pytest.approx(186, abs=0.5)
        assert the(found, "weights_and_gradients").numbers["resident_bytes"] == pytest.approx(16e9, rel=0.005)
        assert "scaling_point" in cliff.rules_out
        assert cliff.command == "windtunnel memory --size xl --mode forward_backward"
        assert ratio.numbers["high"] < 4

    def test_its_spread_is_small_and_those_of_small_are_not(self) -> None:
        found = seed(2)

        spreads = {one.subject: one.numbers for one in found if one.kind == "spread"}

        assert the(found, "cliff_ratio_among_others").numbers["spread"] == pytest.approx(0.036, abs=5e-4)
        assert spreads["forward"]["high"] == pytest.approx(1.81, abs=5e-3)
        assert spreads["backward"]["high"] == pytest.approx(0.41, abs=5e-3)
        assert {numbers["high_name"] for numbers in spreads.values()} == {"small"}

    def test_only_small_the_first_cell_looks_like_a_cold_start(self) -> None:
        found = seed(2, steps=10)

        forward = the(found, "outlier_among_n", "forward")

        assert (forward.numbers["count"], forward.numbers["of"], forward.numbers["name"]) == (1, 4, "small")
        assert forward.numbers["base_seconds"] == pytest.approx(17.8e-3, abs=5e-5)

    def test_the_failed_row_lost_its_shape(self) -> None:
        lost = the(seed(2), "failure_lost_configuration")

        assert lost.numbers["lost"] == "d_model, d_ff, num_layers, num_heads"

    def test_the_cliff_is_a_hundredth_of_the_forward_rate(self) -> None:
        found = seed(2, batch_size=4, context_length=512)

        backward = next(one for one in found if one.kind == "rate" and one.subject == "backward")

        assert (backward.numbers["low_name"], backward.numbers["low"]) == ("xl", pytest.approx(0.47e12, rel=0.01))


class TestSeed003:
    def test_the_comparison_compares_nothing_and_the_ratio_is_a_range(self) -> None:
        found = seed(3)

        assert the(found, "compares_nothing")
        ratio = the(found, "ratio_ranges")
        assert (ratio.numbers["low"], ratio.numbers["high"]) == pytest.approx((2.3, 3.1), abs=0.05)

    def test_a_table_lost_the_column_that_tells_its_rows_apart(self) -> None:
        lost = the(seed(3), "column_lost")

        assert lost.numbers["groups"] == 30
        assert "rows_are_configurations" in lost.rules_out

    def test_only_the_first_sample_is_slow_and_five_warmups_are_as_one(self) -> None:
        found = seed(3)

        first, more = the(found, "only_first_step_is_cold"), the(found, "more_warmup_changes_nothing")

        assert (first.numbers["explained"], first.numbers["count"]) == (20, 20)
        assert (more.numbers["changed"], more.numbers["count"]) == (0, 20)
        assert {"cold_means_are_step_times", "more_warmup_helps"} <= {name for name, _ in contradicted(found)}

    def test_the_pivot_averages_unlike_cells(self) -> None:
        averages = the(seed(3), "averages_unlike_cells")

        assert (averages.numbers["count"], averages.numbers["cells"]) == (15, 4)

    def test_the_summary_describes_60_unlike_cells(self) -> None:
        assert the(seed(3), "describes_unlike_cells").numbers["count"] == 60

    def test_forward_depends_on_the_context_for_the_largest_size_only(self) -> None:
        flat = next(one for one in seed(3) if one.kind == "context_length" and one.subject == "forward")

        assert not [name for name in flat.numbers["what"] if "2.7B" in name]  # type: ignore[union-attr]  # a tuple
        assert flat.numbers["groups"] == 8


class TestSeed004:
    def test_two_matrices_of_scores_are_held_not_one(self) -> None:
        held = the(seed(4), "score_matrices_held")

        assert (held.numbers["low"], held.numbers["high"]) == pytest.approx((2.0, 2.0), abs=0.02)
        assert held.rules_out == ("one_score_matrix",)

    def test_a_wider_head_is_faster_at_8192(self) -> None:
        odd = the(seed(4), "more_work_less_time")

        assert (odd.numbers["less_seconds"], odd.numbers["more_seconds"]) == pytest.approx((8.757e-3, 7.732e-3))

    def test_short_cells_are_not_ranked(self) -> None:
        short = the(seed(4), "too_short_to_rank", "forward")

        assert short.numbers["inversions"] == 3
        assert "line 8, forward_ms_mean" in short.evidence
        assert "ranking_shows_kernels" in short.rules_out
        assert short.numbers["highest"] == pytest.approx(0.78, abs=5e-3)

    def test_memory_ends_in_order_and_says_nothing_of_other_devices(self) -> None:
        found = [one for one in seed(4) if one.claim == "memory_ends"]

        assert [one.numbers["count"] for one in found] == [4, 4]

    def test_the_two_eager_numbers_that_it_quotes_make_backward_gain_no_more_than_forward(self) -> None:
        found = findings_of(seed_text("seed-004-quoted"))

        forward, backward = (the(found, "compile_gain_once", phase) for phase in ("forward", "backward"))

        assert (forward.numbers["ratio"], backward.numbers["ratio"]) == pytest.approx((1.793, 1.778), abs=5e-4)
        assert (forward.numbers["saved"], backward.numbers["saved"]) == pytest.approx((0.442, 0.438), abs=5e-4)

    def test_without_an_eager_column_no_gain_is_claimed(self) -> None:
        assert not [one for one in seed(4) if one.kind == "compile_gain"]


@pytest.mark.parametrize("name", SEEDS)
def test_no_cause_is_ever_claimed(name: str) -> None:
    found = findings_of(seed_text(name), MS)

    causes = [one for one in found if one.kind == "cause"]

    assert all(one.strength is Strength.NOT_MEASURED and one.command for one in causes)
    assert all(one.strength is not Strength.MEASURED for one in found if one.kind in {"layers", "context_length"})


@pytest.mark.parametrize("name", SEEDS)
def test_every_entry_of_a_seed_is_read(name: str) -> None:
    published = read(seed_text(name), MS)

    assert published.unread == ()
