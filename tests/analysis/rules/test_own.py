"""The rules of our own records: what each finds where it was planted, and nothing where it was not."""

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import replace
from random import Random

import pytest

from factory import (
    GPU,
    compared,
    make_attention_record,
    make_attention_task,
    make_pair,
    make_record,
    make_task,
    with_telemetry,
)
from ledgers import make_ledger
from measured_grids import clean_record, clean_records
from precision_looks import make_look
from profiles import one_product, profile_of, tiny_kernels
from windtunnel import cli
from windtunnel.analysis.finding import Finding, Severity, Strength
from windtunnel.analysis.judge import MOST_ALIKE, judge
from windtunnel.analysis.results import Results, rows_of
from windtunnel.cli.flags import parse_cell_flags
from windtunnel.language import texts_of
from windtunnel.records.calibration import Calibration, Ceiling
from windtunnel.records.looks import Look, StoredLook
from windtunnel.records.pair import PairRecord
from windtunnel.records.record import ClockName, Failure, Kernel, Memory, Probe, ProbeName, Record, Status
from windtunnel.records.store import StoredRecord
from windtunnel.report.judged import measured_of
from windtunnel.report.scope import scopes_of
from windtunnel.report.wording import advice, ruled_out, sentence

TEXTS = texts_of("en")
GIB = 2**30


def found_in(
    *records: Record,
    pairs: Sequence[PairRecord] = (),
    calibration: Calibration | None = None,
    **looks: Iterable[Look],
) -> tuple[Finding, ...]:
    """Return what the rules find in some records of one GPU, with looks by the name of their field."""
    stored = [StoredRecord(key=one.task.key(), repeat=0, record=one, environment=GPU) for one in records]
    results = Results(
        rows=rows_of(stored, lambda _: calibration),
        runs=(),
        comparisons=compared(*pairs),
        **{
            name: tuple(StoredLook(key=look.key(), look=look, environment=GPU) for look in found)
            for name, found in looks.items()
        },
    )
    return tuple(one for scope in scopes_of(results) for one in judge(measured_of(scope)))


def the(found: Iterable[Finding], claim: str) -> Finding:
    (one,) = (finding for finding in found if finding.claim == claim)
    return one


def claims(found: Iterable[Finding]) -> set[str]:
    return {one.claim for one in found}


def gpu_record(milliseconds: float | Sequence[float] = 10.0, *, peak: int | None = None, **task: object) -> Record:
    values = (
        [milliseconds * (1 + 0.001 * ((7 * n) % 5 - 2)) for n in range(10)]
        if isinstance(milliseconds, float)
        else milliseconds
    )
    record = make_record(
        make_task(**{"size": "small", "device": "cuda:0", "steps": len(values)} | task), milliseconds=values
    )
    memory = Memory(
        built_bytes=GIB,
        peak_bytes=peak or 8 * GIB,
        peak_reserved_bytes=None,
        capacity_bytes=140 * GIB,
        source="allocator",
    )
    return replace(record, memory=memory)


def attention(seq: int, backend: str, forward: float, **fields: object) -> Record:
    task = make_attention_task(seq=seq, backend=backend)
    return make_attention_record(task, forward=forward, backward=2 * forward, **fields)


def planted() -> dict[str, tuple[Finding, ...]]:
    """Return findings of many kinds, for what must hold of all of them."""
    grid = clean_records(1, contexts=(256, 512))
    oom = make_record(
        make_task(size="2.7B", workload="train_step", batch_size=64, context_length=1024, device="cuda:0"),
        status=Status.OUT_OF_MEMORY,
        failure=Failure(stage="measure", phase="backward", message="no", requested_bytes=GIB, free_bytes=2**20),
    )
    own = [attention(seq, backend, ms) for backend, each in CROSSING.items() for seq, ms in each.items()]
    a, b = (make_task(size="small", device="cuda:0", compile=compile) for compile in ("off", "default"))
    return {
        "grid": found_in(*grid),
        "irregular": found_in(
            gpu_record([10.0, 12.0] * 20), gpu_record([10 + n / 10 for n in range(40)], batch_size=2)
        ),
        "memory": found_in(oom, gpu_record(peak=2**20), ledgers=[make_ledger()]),
        "looks": found_in(precision_looks=[make_look()], profiles=[profile_of(tiny_kernels())]),
        "pairs": found_in(gpu_record(), pairs=[make_pair(a, b, ratio=0.5)]),
        "attention": found_in(*own),
        "cold": found_in(gpu_record([100.0, *[10.0] * 9], warmup=0, workload="train_step")),
    }


CROSSING = {"eager": {512: 1.0, 2048: 9.0}, "sdpa": {512: 1.5, 2048: 4.0}}


@pytest.mark.parametrize("seed", range(20))
def test_a_clean_grid_raises_no_alarm(seed: int):
    found = found_in(*clean_records(seed, steps=40))

    assert [one for one in found if one.severity is not Severity.NOTE] == []
    assert len(found) > 10


def test_every_command_is_one_that_the_command_line_takes():
    commands = {one.command for found in planted().values() for one in found if one.command}

    for command in commands:
        program, name, *arguments = shlex.split(command)
        assert program == "windtunnel"
        entry = cli._load(name)
        context = entry.make_context(name, arguments, resilient_parsing=False)
        if name == "compare":
            parse_cell_flags(context.params["b"])
    assert {command.split()[1] for command in commands} >= {
        "step",
        "compare",
        "profile",
        "memory",
        "attention",
        "doctor",
    }


def test_a_command_with_a_flag_that_is_not_there_is_not_taken():
    with pytest.raises(Exception, match=r"(?i)no such option"):
        cli._load("step").make_context("step", ["--nonsense", "1"])


def test_every_finding_becomes_text_and_every_advice_has_its_command():
    for found in planted().values():
        for one in found:
            texts = (sentence(one), advice(one) or "", *ruled_out(one))
            assert not any("{" in text for text in texts)
            assert one.command or one.advice is None or one.claim.startswith("change_is_mixed")


def test_what_is_there_once_is_counted_in_the_singular_and_makes_no_range():
    oom = Failure(stage="measure", phase="backward", message="no")
    compiled = [gpu_record(10.0, compile=compile) for compile in ("off", "default")]
    cases = {
        "cell": found_in(gpu_record([10 + n / 10 for n in range(40)])),
        "short": found_in(gpu_record(0.1)),
        "no interval": found_in(gpu_record([10.0, 11.0])),
        "out of memory": found_in(replace(gpu_record(), status=Status.OUT_OF_MEMORY, failure=oom, samples=())),
        "warm-ups": found_in(gpu_record(10.0, warmup=1), gpu_record(10.0, warmup=5)),
        "changes": found_in(*compiled),
        "attention": found_in(attention(512, "eager", 1.0, saved=2 * 8 * 512**2 * 4)),
        "backends": found_in(*(attention(512, backend, ms) for backend, ms in (("eager", 2.0), ("sdpa", 1.0)))),
        "looks": found_in(precision_looks=[make_look()]),
    }

    said = {one.claim: sentence(one) for found in cases.values() for one in found}

    assert [text for text in said.values() if ONE_AS_MANY.search(text)] == []
    assert said.keys() >= {"samples_drift", "too_short_to_rank", "no_median_is_known", "more_warmup_moves_no_median"}
    assert said.keys() >= {"change_is_mixed_here", "holds_matrices_here", "fastest_at_points", "ran_out_of_memory"}


ONE_AS_MANY = re.compile(r"\b1 (cells|pairs|points|operations|medians|findings)\b|(\S+ \([^()]+\)) to \2")


def test_no_cause_is_named_without_its_own_measurement():
    causes = [one for found in planted().values() for one in found if one.kind in {"cause", "waiting"}]

    assert causes
    for one in causes:
        is_open = one.strength is Strength.NOT_MEASURED
        assert is_open == ("not measured" in sentence(one))
        assert one.command if is_open else one.evidence


def test_how_long_a_step_takes_has_its_interval():
    one = the(found_in(gpu_record(10.0, workload="train_step")), "step_takes")

    assert one.subject == "train_step"
    assert one.numbers["seconds"] == pytest.approx(0.010, rel=1e-3)
    assert one.numbers["low_seconds"] <= one.numbers["seconds"] <= one.numbers["high_seconds"]


def test_the_distance_is_to_the_calibration_where_there_is_one():
    ceiling = Ceiling(name="matmul fp32 4096", unit="FLOP/s", samples_ns=(2_000_000,) * 4, work=10**11)
    calibration = Calibration(device="cuda:0", started_at="", seconds=1.0, ceilings=(ceiling,), left_out={})

    measured = the(found_in(gpu_record(10.0), calibration=calibration), "of_calibration")
    sheet = the(found_in(gpu_record(10.0)), "of_datasheet")

    assert (measured.strength, sheet.strength) == (Strength.MEASURED, Strength.INFERRED)
    assert measured.numbers["ceiling"] == pytest.approx(5e13)


def test_a_rate_above_the_calibration_is_an_error():
    ceiling = Ceiling(name="matmul fp32 4096", unit="FLOP/s", samples_ns=(2_000_000,) * 4, work=10**6)
    calibration = Calibration(device="cuda:0", started_at="", seconds=1.0, ceilings=(ceiling,), left_out={})

    assert the(found_in(gpu_record(10.0), calibration=calibration), "rate_over_ceiling").severity is Severity.ERROR


def test_launch_bound_is_measured_by_a_profile_and_open_without_one():
    bound = found_in(profiles=[profile_of(tiny_kernels())])
    free = found_in(profiles=[profile_of(one_product())])
    nobody_looked = found_in(gpu_record(workload="train_step"))

    assert the(bound, "launch_bound").strength is Strength.MEASURED
    assert the(free, "not_launch_bound").strength is Strength.MEASURED
    assert the(nobody_looked, "waiting_predicted").strength is Strength.NOT_MEASURED


@pytest.mark.parametrize(("trace", "suffix"), [(tiny_kernels(), "waiting"), (one_product(), "not_waiting")])
def test_a_time_that_follows_the_layers_is_decided_by_a_profile(trace: object, suffix: str):
    layers = {"small": 12, "medium": 24, "large": 36}
    records = [gpu_record(float(number), size=size) for size, number in layers.items()]

    inferred = the(found_in(*records), "follows_layers")
    decided = the(found_in(*records, profiles=[profile_of(trace, records[0].task.cell)]), f"follows_layers_{suffix}")

    assert inferred.strength is Strength.INFERRED
    assert inferred.command is not None
    assert inferred.command.startswith("windtunnel profile --size small")
    assert decided.strength is Strength.MEASURED


def test_two_states_and_drift_are_warnings_with_their_cause_open():
    found = planted()["irregular"]

    assert the(found, "two_states").severity is Severity.WARNING
    assert the(found, "samples_drift").numbers["change"] == pytest.approx(0.33, abs=0.03)
    open_causes = [one for one in found if one.claim == "cause_of_samples"]
    assert {one.subject for one in open_causes} == {"two_states", "samples_drift"}
    assert all(one.command == "windtunnel doctor" for one in open_causes)


def test_two_states_that_follow_the_clock_say_so():
    values = [12.0 if number // 10 % 2 else 10.0 for number in range(60)]
    record = with_telemetry(
        gpu_record(values),
        clock_mhz=[1600 if ms == 12.0 else 1980 for ms in values for _ in range(2)],
        period_milliseconds=5.5,
    )

    found = found_in(record)

    assert the(found, "two_states").numbers["count"] == 1
    assert the(found, "follows_clock").strength is Strength.MEASURED


def test_a_clock_that_was_held_down_is_a_warning():
    record = with_telemetry(gpu_record([10.0] * 30), clock_mhz=[1980] * 30, throttle_reasons=[4] * 30)

    assert the(found_in(record), "clock_held_down").severity is Severity.WARNING


def test_a_clock_that_nobody_read_is_open():
    assert the(found_in(gpu_record()), "clock_not_read").strength is Strength.NOT_MEASURED


def test_cells_without_intervals_are_judged_by_none():
    """Two samples have a median and no interval: that nothing is faster beyond one would read as no effect."""
    cells = [
        gpu_record([base, base * 1.001], compile=compile, context_length=length)
        for base, compile in ((10.0, "off"), (2.0, "default"))
        for length in (128, 256)
    ]

    found = the(found_in(*cells), "change_is_open")

    assert found.numbers["judged"] == 0
    assert "in 2 pairs of cells, none of which has intervals" in sentence(found)


def test_only_pairs_with_intervals_count_as_judged():
    cells = [
        gpu_record(10.0),
        gpu_record(5.0, compile="default"),
        gpu_record([10.0, 10.1], context_length=1024),
        gpu_record([5.0, 5.1], context_length=1024, compile="default"),
    ]

    numbers = the(found_in(*cells), "change_is_mixed").numbers

    assert (numbers["count"], numbers["judged"], numbers["faster"]) == (2, 1, 1)


def test_of_medians_without_intervals_more_warm_up_moves_none_that_could_be_told():
    cells = [gpu_record([value, value * 1.001], warmup=warmup) for value, warmup in ((10.0, 1), (5.0, 5))]

    assert not [one for one in found_in(*cells) if one.kind == "more_warmup"]


def test_a_flat_time_stands_beside_the_growth_of_the_context():
    cells = [gpu_record(10.0 + 0.1 * place, context_length=128 * 4**place) for place in range(3)]

    found = next(one for one in found_in(*cells) if one.claim.startswith("constant_over_context"))

    assert found.numbers["grows"] == 16
    assert "hardly follows the context in 1 series" in sentence(found)
    assert "where the context grows x16.0 or more" in sentence(found)


def test_what_pairs_say_takes_the_place_of_medians():
    a, b = (make_task(size="small", device="cuda:0", steps=10, compile=compile) for compile in ("off", "default"))
    cells = [gpu_record(10.0), gpu_record(5.0, compile="default")]

    apart, paired = found_in(*cells), found_in(*cells, pairs=[make_pair(a, b, ratio=0.5)])

    assert "change_is_faster_here" in claims(apart)
    assert the(apart, "change_may_pay").strength is Strength.INFERRED
    assert "change_is_faster_here" not in claims(paired)
    assert the(paired, "pair_is_faster").numbers["effect"] == pytest.approx(-0.5, abs=0.01)
    change = the(paired, "change_pays")
    assert change.numbers["flags"] == "--compile default"
    assert (
        change.command
        == 'windtunnel compare --size small --context 16 --batch 4 --mode forward --b "--compile default"'
    )


def test_where_nothing_was_tried_the_advice_says_so():
    one = the(found_in(gpu_record(100.0, workload="train_step", context_length=1024)), "change_not_tried")

    assert one.strength is Strength.NOT_MEASURED
    assert one.numbers["flags"] == "--precision bf16"


def test_compiled_code_that_ran_eagerly_is_a_warning():
    task = make_attention_task(compile="default")
    record = make_attention_record(
        task, kernels=[Kernel(phase="forward", name="sm80_xmma_gemm", launches=1, nanoseconds=9)]
    )

    one = the(found_in(record), "ran_something_else")

    assert one.severity is Severity.WARNING
    assert "it ran eagerly" in str(one.numbers["said"])


def test_a_ledger_says_what_fills_memory():
    one = the(found_in(ledgers=[make_ledger()]), "memory_is_filled_by_two")

    assert (one.numbers["first"], one.numbers["second"]) == ("optimizer state", "parameters")
    assert one.numbers["first_share"] == pytest.approx(20 / 54)


def test_what_ran_out_of_memory_is_told_what_would_fit():
    found = planted()["memory"]

    assert the(found, "ran_out_of_memory_by").numbers["requested"] == GIB
    one = the(found, "would_fit")
    assert one.strength is Strength.INFERRED
    assert one.command is not None


def test_less_than_the_weights_cannot_be_held():
    assert the(planted()["memory"], "peak_under_floor").severity is Severity.ERROR


def test_memory_that_falls_with_more_work_is_a_warning():
    found = found_in(gpu_record(peak=9 * GIB), gpu_record(peak=8 * GIB, context_length=64))

    assert the(found, "memory_falls").severity is Severity.WARNING


def test_running_out_with_less_is_an_error():
    failed = make_record(
        make_task(size="small", device="cuda:0"),
        status=Status.OUT_OF_MEMORY,
        failure=Failure(stage="measure", message=""),
    )

    assert the(found_in(failed, gpu_record(context_length=64)), "memory_not_monotone").severity is Severity.ERROR


def test_forward_alone_cannot_take_longer_than_both():
    found = found_in(gpu_record(30.0), gpu_record(10.0, workload="forward_backward"))

    fault = the(found, "part_over_whole_here")
    assert fault.severity is Severity.ERROR
    assert "something else ran on this machine in one of the two cells" in sentence(fault)
    assert fault.command is not None
    assert fault.command.endswith("--processes 5")


def test_a_backend_that_computes_something_else_is_a_warning_and_wins_nothing():
    records = [
        attention(seq, name, milliseconds, errors=(error,) * 4)
        for seq in (1024, 2048)
        for name, milliseconds, error in (("eager", 8.0, 1e-6), ("mine:wrong", 2.0, 0.9), ("sdpa", 4.0, 1e-6))
    ]

    found = found_in(*records)

    wrong = the(found, "computes_something_else")
    assert wrong.severity is Severity.WARNING
    assert wrong.numbers["backend"] == "mine:wrong"
    assert the(found, "largest_error").numbers["error"] == pytest.approx(1e-6)
    told = [sentence(one) for one in found if one.kind in {"change", "first_change", "fastest", "crossover"}]
    assert any("sdpa" in text for text in told)
    assert not any("mine:wrong" in text for text in told)


def test_in_fewer_bits_a_larger_error_is_none_of_another_formula():
    def fp16(error: float) -> Record:
        task = make_attention_task(seq=512, backend="mine:own", precision="fp16")
        return make_attention_record(task, errors=(error,))

    assert "largest_error" in claims(found_in(fp16(4e-2)))
    assert "computes_something_else" in claims(found_in(fp16(6e-2)))
    assert "error_not_finite" in claims(found_in(fp16(float("nan"))))


def test_own_attention_inside_a_model_was_compared_with_nothing():
    found = the(found_in(gpu_record(attention="mine:own"), gpu_record()), "own_attention_not_compared")

    assert found.strength is Strength.NOT_MEASURED
    assert found.command == "windtunnel attention --backend mine:own,eager --precision fp32"


def test_one_backend_overtakes_another_only_where_intervals_lie_apart():
    apart = the(planted()["attention"], "overtakes")
    near = {"eager": {512: 1.0, 2048: 9.0}, "sdpa": {512: 1.0, 2048: 4.0}}
    unsure = found_in(*(attention(seq, name, ms) for name, each in near.items() for seq, ms in each.items()))

    assert (apart.numbers["winner"], apart.numbers["loser"]) == ("sdpa", "eager")
    assert (apart.numbers["before"], apart.numbers["after"]) == (512, 2048)
    assert "overtakes" not in claims(unsure)


def test_the_matrices_that_attention_holds_are_counted():
    matrix = 8 * 8192**2 * 4
    record = attention(8192, "eager", 9.0, allocated=2 * matrix, forward_peak=3 * matrix, saved=2 * matrix)

    one = the(found_in(record), "holds_matrices_here")

    assert one.numbers["low"] == pytest.approx(2.0, abs=0.05)
    assert "holds_one_matrix" in one.rules_out


def test_overflow_and_lost_gradients_are_warnings():
    found = found_in(precision_looks=[make_look()])

    assert {the(found, name).severity for name in ("operations_overflow", "gradients_are_lost")} == {Severity.WARNING}


def test_a_cold_start_is_the_first_step_over_the_others():
    one = the(planted()["cold"], "first_step_costs")

    assert one.numbers["high_seconds"] == pytest.approx(0.09)
    assert one.numbers["second"] == pytest.approx(0.0, abs=1e-6)


def test_only_what_grows_with_the_size_has_an_exponent():
    """The loss works on tokens and words only, and an optimizer has no product: sizes or FLOPs say nothing of them."""
    random = Random(1)
    found = found_in(
        *(clean_record(random, size, "train_step", 256, "fp32") for size in ("small", "medium", "large", "xl", "2.7B"))
    )
    fits = {one.numbers["phase"]: one for one in found if one.kind == "scaling"}

    assert set(fits) == {"forward", "backward", "optimizer", "step"}
    assert fits["optimizer"].claim == "scales_with_parameters"
    assert {fits[phase].claim for phase in ("forward", "backward", "step")} == {"scales_with_work"}


def test_many_findings_alike_are_counted():
    records = [
        gpu_record(peak=peak * GIB, context_length=context, seed=seed)
        for seed in range(9)
        for context, peak in ((16, 9), (64, 8))
    ]

    found = found_in(*records)

    assert sum(one.claim == "memory_falls" for one in found) == MOST_ALIKE
    more = the(found, "more_of_the_same")
    assert (more.numbers["count"], more.severity) == (4, Severity.WARNING)


def uneven(milliseconds: float, *, n: int = 10) -> list[float]:
    """Return samples whose median has an interval of about ± 1 %."""
    return [milliseconds * (1 + 0.01 * ((3 * i) % 7 - 3) / 3) for i in range(n)]


def waiting(share: float, **task: object) -> Record:
    """Return a record of a step in which the device waits for the host for a share of the time, by its probes."""
    plain, rounds = 10_000_000, 6
    times = {ProbeName.PLAIN: plain, ProbeName.QUEUED: round(plain * (1 - share))}
    record = gpu_record(10.0, **task)
    probes = tuple(
        Probe(name=name, clock=ClockName.DEVICE, nanoseconds=(value,) * rounds) for name, value in times.items()
    )
    return replace(record, probes=probes)


def test_of_rows_that_differ_in_warmup_only_those_with_the_most_make_a_series():
    records = [
        gpu_record(uneven(3.0 * rank if warmup == 5 else 100.0 / rank), size=size, warmup=warmup)
        for rank, size in enumerate(("small", "medium", "large", "xl"), start=1)
        for warmup in (1, 5)
    ]

    scaling = [one for one in found_in(*records) if one.kind == "scaling"]

    assert [one.numbers["step_low"] for one in scaling] == [pytest.approx(4 / 3, rel=0.01)]


def test_a_median_that_moves_up_with_more_warmup_is_a_warning():
    found = the(
        found_in(gpu_record(uneven(10.0), warmup=1), gpu_record(uneven(13.0), warmup=5)), "more_warmup_moves_medians"
    )

    assert (found.numbers["count"], found.numbers["moved"], found.numbers["slower"]) == (1, 1, 1)
    assert found.numbers["ratio"] == pytest.approx(1.3, rel=0.01)
    assert found.severity is Severity.WARNING
    assert "--processes 5" in (found.command or "")


def test_a_median_that_does_not_move_with_more_warmup_is_a_note():
    found = the(
        found_in(gpu_record(uneven(10.0), warmup=1), gpu_record(uneven(10.1), warmup=5)), "more_warmup_moves_no_median"
    )

    assert found.severity is Severity.NOTE
    assert found.command is None


@pytest.mark.parametrize(("gap", "is_said"), [(1.5, True), (1.001, False)])
def test_more_work_takes_less_time_only_where_intervals_lie_apart(gap: float, is_said: bool):
    shorter = gpu_record(uneven(10.0 * gap), context_length=128)
    longer = gpu_record(uneven(10.0), context_length=256)

    found = [one for one in found_in(shorter, longer) if one.claim == "more_work_less_time"]

    assert [one.numbers["phase"] for one in found] == ["forward"] * is_said
    assert all((one.command or "").endswith('--b "--context 256"') for one in found)


def test_what_a_step_waits_for_the_host_is_known_from_probes():
    found = found_in(waiting(0.4))

    assert the(found, "waits_for_host").numbers["wait"] == pytest.approx(0.4)
    assert the(found, "waits_for_host").advice == "launch_less"
    assert the(found_in(waiting(0.1)), "waits_for_host").advice is None
    assert not claims(found) & {"waiting_predicted", "waiting_not_measured"}


def test_a_time_that_does_not_follow_the_work_has_the_waits_beside_it():
    found = the(
        found_in(waiting(0.6, context_length=128), waiting(0.1, context_length=256)), "constant_over_context_with_waits"
    )

    assert (found.numbers["low_wait"], found.numbers["high_wait"]) == (pytest.approx(0.1), pytest.approx(0.6))
    assert found.strength is Strength.MEASURED


def test_an_exponent_says_how_much_of_it_is_the_hosts():
    sizes = ("small", "medium", "large", "xl")
    waits = [waiting(0.5 if size == "medium" else 0.0, size=size) for size in sizes]

    found = the(found_in(*waits), "scales_with_work_with_waits")

    assert found.numbers["wait"] == pytest.approx(0.5)
    assert "medium" in str(found.numbers["wait_name"])
    assert "scales_with_work" in claims(found_in(*(waiting(0.1, size=size) for size in sizes)))


def test_each_end_of_a_range_of_times_has_its_interval_where_there_is_one():
    bare, known = [10.0, 10.1, 10.2], uneven(30.0)

    both = found_in(gpu_record(bare), gpu_record(known, size="medium"))

    assert "most_low_seconds" in the(both, "steps_take_with_most_interval").numbers


def test_a_slow_first_sample_of_many_is_no_warning():
    start = [14.0, *uneven(10.0, n=39)]

    found = the(found_in(gpu_record(start)), "first_samples_slow")

    assert found.severity is Severity.NOTE


def test_two_intervals_of_one_width_are_two():
    found = found_in(gpu_record(uneven(10.0)), gpu_record(uneven(20.0), size="medium"))

    assert the(found, "medians_are_known").numbers["count"] == 2
