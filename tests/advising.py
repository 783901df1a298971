"""Findings that advise a comparison, and rows that have such findings."""

from factory import CPU, make_record, make_row, make_task
from windtunnel.analysis.advice import Advice, advice_of
from windtunnel.analysis.finding import Finding, Strength
from windtunnel.analysis.results import Row

COMMAND = 'windtunnel compare --size small,medium --context 64 --mode forward --b "--attention sdpa"'


def finding(command: str | None) -> Finding:
    return Finding(
        kind="compile_gain",
        claim="no_eager_column",
        subject="all phases",
        evidence=("a",),
        strength=Strength.MEASURED,
        command=command,
    )


def advice_with(command: str = COMMAND) -> Advice:
    found = advice_of(finding(command), "cpu")
    assert found is not None
    return found


def rows_with_idle_compile() -> list[Row]:
    """Two contexts whose compiled step takes as long as the eager one: the mark of a fallback."""
    return [
        make_row(
            make_record(
                make_task(size="small", workload="train_step", context_length=context, compile=mode),
                milliseconds=[10.0 * context + 0.1 * (n % 3) for n in range(10)],
            ),
            CPU,
        )
        for context in (128, 256)
        for mode in ("off", "default")
    ]
