"""What a heading means: an axis of the configuration, or a measured quantity with its phase, statistic and unit."""

import re
from dataclasses import dataclass
from typing import Literal

from windtunnel.analysis.published.values import BYTES, SECONDS, clean

Statistic = Literal["mean", "median", "std", "minimum", "maximum", "percentile", "other spread"]
Quantity = Literal["time", "memory", "cv", "ratio", "rate", "difference"]

_AXES = {
    "size": "size|model|model size|size name|model name|模型|模型大小|模型规模|模型尺寸|规模|大小",
    "d_model": "d model|dmodel|dim|d|width|hidden|hidden size|hidden dim|head dim|d head|embedding dim|"
    "宽度|维度|隐藏维度|模型维度",
    "d_ff": "d ff|dff|ffn dim|ff dim|前馈维度",
    "num_layers": "num layers|layers|n layers|n layer|depth|层数|网络层数",
    "num_heads": "num heads|heads|n heads|n head|头数|注意力头数",
    "context_length": "context length|context|ctx|ctx len|context len|seq len|seq length|sequence length|seqlen|seq|"
    "length|t|上下文长度|序列长度|上下文|长度",
    "batch_size": "batch size|batch|bs|b|批大小|批量大小|批次大小|批量|批次",
    "warmup": "warmup|warm up|warmups|warmup steps|warm up steps|num warmups|num warmup|num warmup steps|warmup runs|"
    "warmup count|warmup iters|number of warmup runs|n warmup|预热|预热步数|预热次数",
    "steps": "n|num trials|trials|steps|measurement steps|measured steps|timed steps|num steps|iterations|iters|"
    "num iters|samples|repeats|runs|测量步数|测量次数|次数|步数|重复次数",
    "mode": "mode|phase|pass|stage|workload|operation|模式|阶段|工作负载",
    "forward_only": "forward only|fwd only|仅前向|只前向",
    "precision": "precision|dtype|data type|精度|数据类型",
    "compile": "compile|compiled|torch compile|is compiled|use compile|编译|是否编译",
    "attention": "attention|attention type|impl|implementation|backend|kernel|variant|method|注意力|实现|方法",
    "gpu": "gpu|device|gpu model|hardware|显卡|设备",
}
_AXIS_OF = {word: axis for axis, words in _AXES.items() for word in words.split("|")}
"""What a heading may be called, in lower case with blanks, to the axis it is."""

_PHASES = (
    ("forward_backward", r"(forward|fwd)\s*(and|\+|&|plus)?\s*(backward|bwd)|前向.{0,3}(反向|后向)|前反向|fwd\s*bwd"),
    ("backward", r"backward|bwd|反向|后向"),
    ("forward", r"forward|fwd|前向"),
    ("optimizer", r"optimi[sz]er|优化器|\badam"),
    ("communication", r"comm(unication)?\b|all\s*reduce|通信"),
    ("step", r"full step|train(ing)? step|\bstep time|end to end|\be2e\b|训练步"),
    ("total", r"\btotal\b|总计|总时间|总耗时|合计"),
)
"""Phases by what a heading or an entry of a mode column holds; the first that is found counts."""

_STD = re.compile(r"\b(std|stdev|stddev|sd|standard deviation|deviation)\b|标准差|σ")
_MEAN = re.compile(r"\b(mean|avg|average|median|time|latency|duration|ms|s|us)\b|平均|均值|时间|耗时|用时|延迟")
_BOTH = re.compile(r"±|\+/-|\b(mean|avg|average)\b|平均|均值")
"""What makes a column with a deviation in its heading one of means with deviations."""
_STATISTICS: tuple[tuple[Statistic, re.Pattern[str]], ...] = (
    ("std", _STD),
    ("median", re.compile(r"\b(median|p ?50)\b|中位")),
    ("minimum", re.compile(r"\bmin(imum)?\b|最小|最短|最快")),
    ("maximum", re.compile(r"\bmax(imum)?\b(?! autotune)|最大|最长|最慢")),
    ("percentile", re.compile(r"\bp ?[0-9]{1,2}\b|\b(percentile|quantile)\b|分位")),
    ("other spread", re.compile(r"\b(ci|ci ?95|iqr|mad|sem|stderr|error|variance|var|range)\b|置信|方差|标准误|极差")),
)
"""Statistics by what a heading holds; the first that is found counts, and none is a mean."""
_COUNTED = (
    r"[kmgtp]?i?b|[kmgtp]?i?bytes?|[kmgtp]?i?bits?|[kmgtpe]?flops?|ops|tokens?|toks?|samples?|steps?|sequences?|seqs?|"
    r"its?|iters?|iterations?|batch(?:es)?|examples?|images?|frames?|words?|requests?|reqs?|epochs?|calls?"
)
_RATE = re.compile(
    rf"\b(?:{_COUNTED})\s*(?:/|\bper\b)\s*(?:(?:[mun]?s|µs|secs?|seconds?|min|minutes?|h|hours?)\b|秒)|"
    r"\b(?:tokens|samples|steps|sequences|iters|iterations|[kmgtpe]flops?) (?:s|sec|second)$|"
    r"\b(?:throughput|bandwidth|[mgtpe]flops|qps|fps|tps)\b|吞吐|带宽|每秒|速率"
)
"""What makes a heading one of a rate, though a unit of time is in it; underscores are blanks."""
_MEMORY = re.compile(r"\b(mem|memory|vram|peak|allocated|reserved)\b|显存|内存")
_CV = re.compile(r"\bcv\b|coefficient of variation|变异系数")
_RATIO = re.compile(r"\b(ratio|speedup|speed up)\b|比例|比率|倍|加速比")
_DIFFERENCE = re.compile(r"\b(residual|difference|diff|delta|overhead|saved|savings?|gap)\b|差值|残差|开销|节省")
_LOSS = re.compile(r"\bloss\b|损失")
"""A phase where its column has a unit of time; else the loss itself."""
_COMPILE_TIME = re.compile(r"\bcompil(e|ation) (time|seconds|s)\b|编译时间|编译耗时")
_CONTEXT = re.compile(r"\b(?:ctx|context|seq|seq len|t|n)\s*=?\s*([0-9]{2,7})\b")
_WARMUP = re.compile(r"(?:\bwarm ?ups?|预热)\s*=?\s*([0-9]{1,4})\b")
_FILLING = {"pass", "per", "of", "in", "the", "and", "with", "dev", "±", "+"}
_VARIANTS = (("off", r"\b(eager|uncompiled|vanilla|not compiled)\b|未编译|编译前"), ("on", r"\bcompiled?\b|编译"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Measure:
    """A column of measured numbers.

    `phase` and `unit` are None where the heading does not say; `compile`, `context_length` and `warmup` where it is no
    pivot of these, `pivot` where it is none of another axis with a number. `column` is what tells it from a column that
    would be the same without, None where none would. `unused` says why it is not used, None where it is.
    """

    name: str
    quantity: Quantity
    statistic: Statistic
    phase: str | None
    unit: str | None
    compile: str | None = None
    context_length: int | None = None
    warmup: int | None = None
    pivot: tuple[str, int] | None = None
    column: str | None = None
    unused: str | None = None

    @property
    def is_judged(self) -> bool:
        """Whether it has times as rules judge them: no extremes, no percentiles, no rates."""
        return self.quantity == "time" and self.statistic in {"mean", "median"} and self.unused is None

    @property
    def is_held(self) -> bool:
        """Whether it has memory, and no deviation of it."""
        return self.quantity == "memory" and self.statistic != "std"

    @property
    def key(self) -> tuple[object, ...]:
        """What a mean and its deviation have in common."""
        return self.phase, self.compile, self.context_length, self.warmup, self.pivot, self.column


def plain(heading: str) -> str:
    """Return a heading in lower case, with blanks for all that joins words and no Markdown."""
    return " ".join(re.sub(r"[_\-()\[\]/,:：（）]+", " ", clean(heading).casefold()).split())


def axis_of(heading: str) -> str | None:
    """Return the axis that a heading names, or None."""
    words = plain(heading)
    return _AXIS_OF.get(words)


def phase_of(text: str) -> str | None:
    """Return the phase that a text names, or None."""
    words = plain(text)
    return next((phase for phase, pattern in _PHASES if re.search(pattern, words)), None)


def variant_of(text: str) -> str | None:
    """Return `on` or `off` where a text says only that something was compiled, or that it was not."""
    words = plain(text.replace("torch.compile", "compiled"))
    return next((value for value, pattern in _VARIANTS if re.fullmatch(pattern, words)), None)


def unit_of(text: str) -> str | None:
    """Return the unit of time or memory that a heading names, or None."""
    words = plain(text).split()
    return next((word for word in reversed(words) if word in SECONDS or word in BYTES), None)


def is_rate(text: str) -> bool:
    """Whether a text names a rate, as tokens/s, and no time though it has a unit of it."""
    return _RATE.search(clean(text).casefold().replace("_", " ")) is not None


def rest_of(heading: str) -> str:
    """Return the words of a heading that say neither phase, statistic, unit nor pivot: what tells it from others."""
    words = plain(heading)
    known = [pattern for _, pattern in (*_PHASES, *_VARIANTS, *_STATISTICS)]
    for pattern in (*known, _STD, _MEAN, _CONTEXT, _WARMUP):
        words = re.sub(pattern, " ", words)
    return " ".join(word for word in words.split() if not (word in SECONDS or word in BYTES or word in _FILLING))


def measure_of(heading: str) -> Measure | None:
    """Return what a heading says is measured below it, or None where it names nothing measured."""
    words = plain(heading)
    if _COMPILE_TIME.search(words):
        return None  # paid once: no time of a step
    unit = unit_of(heading)
    phase = phase_of(heading) or ("loss" if unit in SECONDS and _LOSS.search(words) else None)
    context, warmup = _CONTEXT.search(words), _WARMUP.search(words)
    compiled = next((value for value, pattern in _VARIANTS if re.search(pattern, words)), None)
    quantity: Quantity
    if _CV.search(words):
        quantity = "cv"
    elif _RATIO.search(words) or "%" in heading:
        quantity = "ratio"
    elif is_rate(heading):
        quantity = "rate"
    elif _MEMORY.search(words) or unit in BYTES:
        quantity = "memory"
    elif _DIFFERENCE.search(words):
        quantity = "difference"
    elif phase or _STD.search(words) or _MEAN.search(words) or unit or context or compiled:
        quantity = "time"
    else:
        return None
    return Measure(
        name=clean(heading),
        quantity=quantity,
        statistic=_statistic(heading, quantity),
        phase=phase,
        unit=None if quantity == "rate" else unit,
        compile=compiled,
        context_length=int(context[1]) if context else None,
        warmup=int(warmup[1]) if warmup else None,
    )


def _statistic(heading: str, quantity: Quantity) -> Statistic:
    """Return the statistic of a column; the peak of memory that others call maximum is a value like any other."""
    words = plain(heading)
    if _BOTH.search(heading.casefold()):
        return "median" if dict(_STATISTICS)["median"].search(words) else "mean"
    for statistic, pattern in _STATISTICS:
        if pattern.search(words) and (quantity == "time" or statistic == "std"):
            return statistic
    return "mean"
