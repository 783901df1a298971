"""The rules that make findings, one a file, listed below: each a function of what was observed."""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from windtunnel.analysis.finding import Finding
from windtunnel.analysis.observed import Observed
from windtunnel.analysis.rules.cliff import find_cliffs
from windtunnel.analysis.rules.compiled import judge_compiled
from windtunnel.analysis.rules.context import judge_context
from windtunnel.analysis.rules.derived import judge_derived
from windtunnel.analysis.rules.labels import judge_labels
from windtunnel.analysis.rules.launch import judge_launch
from windtunnel.analysis.rules.noise import judge_noise
from windtunnel.analysis.rules.order import judge_order
from windtunnel.analysis.rules.outliers import find_outliers
from windtunnel.analysis.rules.peaks import judge_rates
from windtunnel.analysis.rules.ratio import judge_ratio
from windtunnel.analysis.rules.room import judge_memory
from windtunnel.analysis.rules.scaling import judge_scaling
from windtunnel.analysis.rules.warmup import judge_warmup

Rule: TypeAlias = Callable[[Observed], Iterable[Finding]]

RULES: Mapping[str, Rule] = {
    "order": judge_order,
    "peaks": judge_rates,
    "labels": judge_labels,
    "cliff": find_cliffs,
    "outliers": find_outliers,
    "ratio": judge_ratio,
    "derived": judge_derived,
    "scaling": judge_scaling,
    "context": judge_context,
    "launch": judge_launch,
    "noise": judge_noise,
    "warmup": judge_warmup,
    "compiled": judge_compiled,
    "memory": judge_memory,
}
"""Name of a rule to the rule, in the order in which findings of equal weight are shown."""
