"""Published tables in many shapes become the same plain observations, and what cannot be read has line and reason."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from published import FOLDER, NOTHING, SEEDS, findings_of, markdown, read, seed_text
from windtunnel.analysis.observed import Observation
from windtunnel.analysis.published.entries import Declared
from windtunnel.analysis.published.read import read_published
from windtunnel.errors import SpecError

LONG = """
| Size | Mode | Context | Mean (ms) | Std (ms) |
|---|---|---|---|---|
| small | forward | 256 | 13.145 | 0.108 |
| small | backward | 256 | 30.5 | 1.2 |
"""
SHAPES = {
    "long": LONG,
    "wide, in one cell": """
| Model | Context length | Forward (ms) | Backward (ms) |
|:--|--:|:--|--:|
| **small** | 256 | 13.145 ± 0.108 | 30.5 +/- 1.2 |
""",
    "units in the cells": """
| Model | ctx | Forward | Backward |
|:--|--:|:--|--:|
| `small` | 256 | 13.145 ms ± 0.108 ms | 30.5 (1.2) ms |
""",
    "two columns, seconds": """
| size | seq_len | forward_mean_s | forward_std_s | backward_mean_s | backward_std_s |
|---|---|---|---|---|---|
| small | 256 | 0.013145 | 0.000108 | 0.0305 | 1.2e-3 |
""",
    "microseconds, thousands": """
| size | seq_len | forward (us) | backward (µs) |
|---|---|---|---|
| small | 256 | 13,145 ± 108 | 30,500 ± 1,200 |
""",
    "Chinese": """
| 模型 | 上下文长度 | 前向时间（毫秒） | 前向标准差（毫秒） | 反向时间（毫秒） | 反向标准差（毫秒） |
|---|---|---|---|---|---|
| small | 256 | 13.145 | 0.108 | 30.5 | 1.2 |
""",
    "Chinese, long": """
| 模型大小 | 模式 | 序列长度 | 平均耗时 (ms) | 标准差 (ms) |
|---|---|---|---|---|
| small | 前向 | 256 | 13.145 | 0.108 |
| small | 反向 | 256 | 30.5 | 1.2 |
""",
    "drawn in a terminal": """
┏━━━━━━━┳━━━━━━━━━┳━━━━━━━━━━━━━━━━┳━━━━━━━━━━━━┓
┃ Model ┃ Context ┃ Forward        ┃ Backward   ┃
┃       ┃         ┃ (ms)           ┃ (ms)       ┃
┡━━━━━━━╇━━━━━━━━━╇━━━━━━━━━━━━━━━━╇━━━━━━━━━━━━┩
│ small │ 256     │ 13.145 ± 0.108 │ 30.5 ± 1.2 │
└───────┴─────────┴────────────────┴────────────┘
""",
    "CSV": "model,context,forward_ms,forward_std_ms,backward_ms,backward_std_ms\nsmall,256,13.145,0.108,30.5,1.2\n",
    "TSV": "model\tcontext\tforward (ms)\tbackward (ms)\nsmall\t256\t13.145 ± 0.108\t30.5 ± 1.2\n",
    "fixed width, as pandas prints": """
   size   mode      context  mean_ms  std_ms
0  small  forward       256   13.145   0.108
1  small  backward      256   30.500   1.200
""",
    "key lines above": """
- **Model**: small
Context length: 256

| size | Forward (ms) | Backward (ms) |
|---|---|---|
| small | 13.145 ± 0.108 | 30.5 ± 1.2 |
""",
}


def _plain(one: Observation) -> tuple[object, ...]:
    assert one.std_seconds is not None
    return (one.config.size, one.config.context_length, one.phase, round(one.mean, 9), round(one.std_seconds, 9))


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_of_a_table_gives_the_same_observations(name: str) -> None:
    published = read(SHAPES[name])

    assert [_plain(one) for one in published.observed.times] == [
        ("small", 256, "forward", 0.013145, 0.000108),
        ("small", 256, "backward", 0.0305, 0.0012),
    ]
    assert published.unread == ()


def test_an_observation_says_where_it_stands() -> None:
    first = read(LONG).observed.times[0]

    assert first.source == "line 4, Mean (ms)"


def test_a_pivot_over_contexts_names_each() -> None:
    text = markdown(["size", "forward ctx=128 (ms)", "forward ctx=256 (ms)"], [["small", "10 ± 1", "20 ± 1"]])

    assert [(one.config.context_length, one.mean) for one in read(text).observed.times] == [(128, 0.010), (256, 0.020)]


def test_a_pivot_over_warmups_names_each() -> None:
    text = markdown(["size", "warm-up 0: mean (ms)", "warmup=5 (ms)"], [["small", "10 ± 1", "20 ± 1"]])

    assert [(one.config.warmup, one.mean) for one in read(text).observed.times] == [(0, 0.010), (5, 0.020)]


@pytest.mark.parametrize(
    "heading", ["forward mean ± std (ms)", "Forward avg +/- std dev (ms)", "前向 均值 ± 标准差 (ms)"]
)
def test_a_heading_of_mean_and_deviation_is_no_column_of_deviations(heading: str) -> None:
    (one,) = read(markdown(["size", heading], [["small", "10.0 ± 0.5"]])).observed.times

    assert (one.phase, one.mean, one.std_seconds) == ("forward", 0.010, 0.0005)


def test_a_share_of_a_peak_is_no_memory_without_a_unit() -> None:
    published = read(markdown(["size", "forward (ms)", "of peak (%)"], [["small", "10", "33.8"]]))

    assert published.unread == ()
    assert len(published.observed.times) == 1
    assert published.observed.memory == ()


def test_eager_and_compiled_columns_are_told_apart() -> None:
    text = markdown(["size", "Eager forward (ms)", "Compiled forward (ms)"], [["small", "20", "10"]])

    assert [(one.config.compile, one.mean) for one in read(text).observed.times] == [("off", 0.020), ("on", 0.010)]


@pytest.mark.parametrize("heading", ["Implementation", "Mode", "Compiled"])
def test_eager_and_compiled_rows_are_told_apart(heading: str) -> None:
    rows: list[list[object]] = [["small", "eager", 20, 9], ["small", "torch.compile", 10, 9]]
    if heading == "Compiled":
        rows = [["small", "no", 20, 9], ["small", "yes", 10, 9]]

    times = read(markdown(["size", heading, "Forward (ms)", "Compile time (s)"], rows)).observed.times

    assert [(one.config.compile, one.phase, one.mean) for one in times] == [
        ("off", "forward", 0.020),
        ("on", "forward", 0.010),
    ]


def test_forward_only_and_number_of_samples_are_read() -> None:
    text = markdown(
        ["size", "num_trials", "forward_only", "mean_ms"], [["small", 10, "True", 5], ["small", 10, "False", 15]]
    )

    times = read(text).observed.times

    assert [(one.phase, one.n) for one in times] == [("forward", 10), ("forward_backward", 10)]


@pytest.mark.parametrize(
    ("entry", "mean", "deviation"),
    [
        ("12.345(21) ms", 12.345, 0.021),
        ("12.345(21)", 12.345, 0.021),
        ("1,012.5(3)", 1012.5, 0.3),
        ("12.345 (21)", 12.345, 21),
        ("12.345(2.1)", 12.345, 2.1),
        ("12(2)", 12, 2),
    ],
)
def test_digits_right_behind_a_number_count_its_last_places(entry: str, mean: float, deviation: float) -> None:
    (one,) = read(markdown(["size", "forward (ms)"], [["small", entry]])).observed.times

    assert (one.mean, one.std_seconds) == pytest.approx((mean / 1e3, deviation / 1e3))


@pytest.mark.parametrize("entry", ["OOM", "oom", "CUDA out of memory", "显存不足", "**OOM**"])
def test_out_of_memory_is_a_state(entry: str) -> None:
    times = read(markdown(["size", "forward (ms)"], [["small", "10"], ["xl", entry]])).observed.times

    assert [one.state for one in times] == ["ok", "out of memory"]


@pytest.mark.parametrize("entry", ["nan", "-", "–", "", "N/A"])
def test_nothing_is_no_observation_and_no_problem(entry: str) -> None:
    published = read(markdown(["size", "forward (ms)"], [["small", "10"], ["xl", entry]]))

    assert len(published.observed.times) == 1
    assert published.unread == ()


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ("1,2,3", "is '1,2,3', which is no number"),
        ("fast", "is 'fast', which is no number"),
        ("-3", ": -3 is negative"),
        ("0", ": 0 is 0: nothing takes no time"),
        ("5 MB", ": 5 mb has the unit 'mb', which is none of time"),
        ("1e15", ": 1e+15 is no time that a step could take"),
        ("1 s ± 2 ms", "is '1 s ± 2 ms', which is no number"),
    ],
)
def test_an_entry_that_cannot_be_read_is_said_with_its_line_and_the_rest_is_read(entry: str, reason: str) -> None:
    published = read(markdown(["size", "forward (ms)"], [["small", "10"], ["xl", entry]]))

    assert len(published.observed.times) == 1
    (problem,) = published.unread
    assert problem.line == 4
    assert reason in problem.reason


@pytest.mark.parametrize(
    ("heading", "reason"),
    [
        ("GPU", "the GPU is 'fast', of which no peak is known: no rate is held against one"),
        ("dtype", "the precision is 'fast', which is none of fp32, tf32, bf16, fp16, bf16-pure"),
    ],
)
def test_a_name_that_finds_no_peak_is_said_once(heading: str, reason: str) -> None:
    text = markdown(["size", heading, "forward (ms)"], [["small", "fast", 10], ["xl", "fast", 20]])

    published = read(text + "\n\n" + text.replace("10", "11"))

    (problem,) = published.unread
    assert problem.line == 3
    assert problem.reason.startswith(reason)


def test_a_row_with_too_few_entries_is_said() -> None:
    published = read("| size | forward (ms) |\n|---|---|\n| small | 10 |\n| xl | 5 | 6 |\n")

    assert [(one.line, one.reason) for one in published.unread] == [(4, "3 entries under 2 headings")]


def test_times_without_a_unit_ask_for_it_and_take_the_option() -> None:
    text = markdown(["size", "forward", "backward"], [["small", 10, 20]])

    refused, read_now = read(text), read(text, Declared(unit="ms"))

    assert refused.tables == ()
    assert "have no unit; give --unit s, ms or us" in refused.unread[0].reason
    assert [one.mean for one in read_now.observed.times] == [0.010, 0.020]


def test_an_option_never_overrules_the_table() -> None:
    declared = Declared(unit="s", context_length=64, batch_size=2, steps=3)

    first = read(LONG, declared).observed.times[0]

    assert (first.mean, first.config.context_length, first.config.batch_size, first.n) == (0.013145, 256, 2, 3)


def test_a_misspelt_size_is_known_by_its_shape_and_said() -> None:
    published = read(seed_text("seed-000"))

    assert {one.config.size for one in published.observed.times} == {"small", "medium", "large", "xl", "2.7B"}
    assert published.tables[0].assumptions == (("named_by_shape", (("written", "lagre"), ("size", "large"))),)


def test_numbers_that_are_printed_again_count_once() -> None:
    published = read(seed_text("seed-003"), Declared(unit="ms"))

    assert len(published.observed.times) == 60
    assert len({(one.config, one.phase) for one in published.observed.times}) == 60


def test_what_each_heading_was_taken_for_is_said() -> None:
    table = read(LONG).tables[0]

    assert table.columns == (
        ("Size", ("size",)),
        ("Mode", ("mode",)),
        ("Context", ("context_length",)),
        ("Mean (ms)", ("a time", "mean", "ms")),
        ("Std (ms)", ("a time", "std", "ms")),
    )
    assert table.observations == 2


def test_a_column_that_repeats_is_an_axis_of_its_own() -> None:
    text = markdown(
        ["size", "flavour", "forward (ms)"], [["small", "a", 1], ["small", "b", 2], ["xl", "a", 3], ["xl", "b", 4]]
    )

    assert [one.config.others for one in read(text).observed.times][:2] == [(("flavour", "a"),), (("flavour", "b"),)]


@pytest.mark.parametrize("content", [b"", b"only words\nand more", b"\xff\xfe\x00", b"a,b,c\n"])
def test_a_file_without_a_table_is_refused_with_what_is_allowed(content: bytes, tmp_path) -> None:
    file = tmp_path / "table.md"
    file.write_bytes(content)

    with pytest.raises(SpecError, match=r"no table that could be read; allowed|no text in UTF-8"):
        read_published(file, NOTHING)


def test_a_file_that_is_not_there_is_refused() -> None:
    with pytest.raises(SpecError, match=r"cannot read .*: No such file"):
        read_published(FOLDER / "none.md", NOTHING)


def test_an_unknown_gpu_is_refused() -> None:
    with pytest.raises(SpecError, match=r"unknown GPU 'h1000'.*did you mean 'h100'"):
        read(LONG, Declared(gpu="h1000"))


_WORDS = """| || --- :-: ± ms (s) OOM nan small 2.7B forward backward std 1,234.5 0 -1 1e308 1e999 inf context warmup
512 , ; 前向 反向 标准差 毫秒 显存不足 compiled peak MB " # by n ² ٣ count mode precision d_model true step total"""
_FRAGMENTS = st.sampled_from([*_WORDS.split(), "batch size: 4", "by context", "\n", "\n\n", "\t", "\x00"])


@given(st.lists(_FRAGMENTS, max_size=60).map(" ".join), st.sampled_from([None, "ms"]))
def test_no_text_of_fragments_ends_in_a_traceback(text: str, unit: str | None) -> None:
    findings_of(text, Declared(unit=unit, gpu="h100", precision="fp32", batch_size=4, context_length=128, steps=10))


@given(st.text(max_size=400))
def test_no_text_at_all_ends_in_a_traceback(text: str) -> None:
    findings_of(text)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["small", "medium", "large", "xl", "2.7B", "mine", "nan"]),
            st.sampled_from(["forward", "backward", "step", "time", "前向"]),
            st.one_of(st.floats().map(str), st.sampled_from(["OOM", "-", "1,000"]), st.text(max_size=8)),
            st.one_of(st.floats(0, 1e6).map(str), st.text(max_size=5)),
            st.one_of(st.integers(-1, 10**14).map(str), st.text(max_size=5)),
        ),
        max_size=12,
    )
)
def test_no_table_ends_in_a_traceback_and_all_times_are_finite(rows: list[tuple[str, ...]]) -> None:
    text = markdown(["size", "mode", "mean (ms)", "std (ms)", "context"], [list(row) for row in rows])

    published = read(text)
    findings_of(text)

    assert all(math.isfinite(one.mean) and one.mean > 0 for one in published.observed.valid())


@given(st.data())
def test_a_damaged_seed_never_ends_in_a_traceback(data: st.DataObject) -> None:
    text = seed_text(data.draw(st.sampled_from(SEEDS)))[:4000]
    start = data.draw(st.integers(0, len(text)))
    damage = data.draw(st.text(max_size=5))

    findings_of(text[:start] + damage + text[start + data.draw(st.integers(0, 30)) :], Declared(unit="ms"))


def test_two_values_of_one_axis_above_one_table_are_said() -> None:
    published = read("Batch size: 4\nBatch size: 8\n\n" + LONG)

    assert published.observed.times[0].config.batch_size == 8
    said = (("line", "5"), ("name", "batch_size"), ("places", "4 (line 1), 8 (line 2)"), ("value", "8"))
    assert ("said_twice", said) in published.tables[0].assumptions


def test_each_table_takes_the_value_nearest_above_and_that_is_no_contradiction() -> None:
    published = read("Batch size: 4\n" + LONG + "\nBatch size: 8\n" + LONG.replace("13.145", "14.145"))

    assert {one.config.batch_size for one in published.observed.times} == {4, 8}
    assert all(table.assumptions == (("shaped_by_name", ()),) for table in published.tables)


def test_a_value_above_a_table_that_is_no_count_is_said_once() -> None:
    published = read("Batch size: 4 and 8\n" + LONG + "\n" + LONG.replace("13.145", "14.145"))

    assert [(one.line, one.reason) for one in published.unread] == [
        (1, "Batch size is '4 and 8', which is no whole number above 0")
    ]
