"""What rules look at, whoever measured it: a configuration, a phase, a mean with its deviation, or bytes held."""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from operator import attrgetter
from typing import Literal

from pydantic import ValidationError

from windtunnel.cost.flops import forward_flops
from windtunnel.cost.parameters import parameter_count
from windtunnel.language import listed, say, word
from windtunnel.spec.model import NAMED_SIZES, ModelSpec

State = Literal["ok", "out of memory", "missing"]

SIZE_FIELDS = ("size", "d_model", "d_ff", "num_layers", "num_heads", "spec")
"""The fields of a configuration that change with the size of a model."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Configuration:
    """Under what something was measured; None where it is not said.

    `spec` is the model itself where we measured it, and not only its widths are known. `shared` names the fields that
    are the same all over a document: they are not part of a name. `label` is what somebody else calls it, where that
    is to be used instead; it names this configuration only, and no series.
    """

    size: str | None = None
    d_model: int | None = None
    d_ff: int | None = None
    num_layers: int | None = None
    num_heads: int | None = None
    context_length: int | None = None
    batch_size: int | None = None
    warmup: int | None = None
    precision: str | None = None
    compile: str | None = None
    attention: str | None = None
    gpu: str | None = None
    others: tuple[tuple[str, str], ...] = ()
    spec: ModelSpec | None = field(default=None, hash=False)  # slow to hash, and its widths are here besides
    shared: frozenset[str] = field(default=frozenset(), compare=False)
    label: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        """What tells it from its neighbours, in short."""
        if self.label:
            return self.label
        parts = [self.size or (say("d {value}", value=self.d_model) if self.d_model else "")]
        parts += [_phrase(name, getattr(self, name)) for name in _NAMED if name not in self.shared]
        parts += [
            say("{name} {value}", name=word(name), value=word(value))
            for name, value in self.others
            if name not in self.shared
        ]
        return listed(part for part in parts if part) or say("the only configuration")

    @property
    def is_attention(self) -> bool:
        """Whether this is attention alone: a width and a length, but neither layers nor the name of a size."""
        return self.d_model is not None and self.num_layers is None and self.size is None

    def model(self) -> ModelSpec | None:
        """Return the reference model of this shape; None where the shape is not known or there is none."""
        if self.spec is not None:
            return self.spec
        named = NAMED_SIZES.get(self.size or "")
        if named and (named.d_model, named.num_layers, named.d_ff) == (self.d_model, self.num_layers, self.d_ff):
            return named
        if self.d_model is None or self.d_ff is None or self.num_layers is None:
            return None
        try:
            return ModelSpec(
                name=self.size or f"d{self.d_model}-l{self.num_layers}",
                d_model=self.d_model,
                d_ff=self.d_ff,
                num_layers=self.num_layers,
                num_heads=self.num_heads or 1,  # changes no FLOPs and no parameters
            )
        except ValidationError:
            return None

    def parameters(self) -> int | None:
        """Return the parameters of the reference model of this shape."""
        model = self.model()
        return None if model is None else parameter_count(model)

    def sample_flops(self) -> int | None:
        """Return the FLOPs of forward for one sequence: the batch is a factor that ratios do not need."""
        model = self.model()
        if model is None or self.context_length is None:
            return None
        return forward_flops(model, batch_size=1, context_length=self.context_length)

    def without(self, *fields: str) -> "Configuration":
        """Return what stays when `fields` vary: equal for the members of one series."""
        return replace(self, **dict.fromkeys(fields), label="")


_NAMED = ("context_length", "batch_size", "warmup", "precision", "attention", "gpu", "compile")
"""Fields of a configuration that are part of its name, in their order."""


def _phrase(name: str, value: object) -> str:
    """Say a value of a field in a name; empty where it is not known."""
    if value is None:
        return ""
    match name:
        case "context_length":
            return say("context {value}", value=value)
        case "batch_size":
            return say("batch {value}", value=value)
        case "warmup":
            return say("warm-up {value}", value=value)
        case "compile":
            return say("compile {value}", value=value)
        case _:
            return str(value)


def with_known_shape(config: Configuration) -> Configuration:
    """Fill in the shape of a named size, and the name of a known shape; what is said otherwise stays."""
    named = {name.casefold(): size for name, size in NAMED_SIZES.items()}
    spec = named.get((config.size or "").casefold()) or next(
        (
            size
            for size in NAMED_SIZES.values()
            if (config.d_model, config.num_layers) == (size.d_model, size.num_layers)
        ),
        None,
    )
    if spec is None:
        return config
    filled = replace(
        config,
        d_model=config.d_model or spec.d_model,
        num_layers=config.num_layers or spec.num_layers,
        num_heads=config.num_heads or spec.num_heads,
    )
    if (filled.d_model, filled.num_layers) != (spec.d_model, spec.num_layers):
        return config
    return replace(filled, size=spec.name, d_ff=config.d_ff or spec.d_ff)


def shared_fields(configs: Iterable[Configuration]) -> frozenset[str]:
    """Return the fields in which all configurations agree, if there is more than one to tell apart."""
    known = tuple(dict.fromkeys(configs))
    if len(known) < 2:
        return frozenset()
    named = [one.name for one in fields(Configuration) if one.compare and one.name != "others"]
    shared = {name for name in named if len({getattr(config, name) for config in known}) == 1}
    others = [dict(config.others) for config in known]
    shared |= {name for name in others[0] if len({other.get(name) for other in others}) == 1}
    return frozenset(shared)


@dataclass(frozen=True, kw_only=True, slots=True)
class Observation:
    """A time of one phase of one configuration; `mean_seconds` is None unless `state` is ok.

    Of our own records it is the median, which our tables show.

    `flops` are those of the phase where they were counted, None where rules must compute them. `source` says where it
    stands, for people. `series` tells tables or runs apart that must not be mixed.
    """

    config: Configuration
    phase: str
    mean_seconds: float | None
    std_seconds: float | None = None
    n: int | None = None
    flops: float | None = None
    state: State = "ok"
    source: str
    series: int = 0

    @property
    def mean(self) -> float:
        """The mean of an observation that has one, in seconds."""
        assert self.mean_seconds is not None
        return self.mean_seconds

    @property
    def cv(self) -> float | None:
        """Standard deviation over mean."""
        return None if self.std_seconds is None else self.std_seconds / self.mean


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """Bytes that something called `name` held."""

    config: Configuration
    name: str
    num_bytes: float
    source: str
    series: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Defect:
    """Something about a table itself: `claim` names the text, `numbers` fill it."""

    claim: str
    subject: str
    numbers: tuple[tuple[str, float | int | str], ...]
    sources: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)  # hashed as one thing: what rules ask twice is cached
class Observed:
    """All that rules look at. `gpu` is that of all observations which name none; None where it is not known."""

    times: tuple[Observation, ...] = ()
    memory: tuple[Held, ...] = ()
    defects: tuple[Defect, ...] = ()
    gpu: str | None = None

    def valid(self, *phases: str) -> tuple[Observation, ...]:
        """Return the observations with a time, of these phases or of all."""
        return tuple(one for one in self.times if one.state == "ok" and (not phases or one.phase in phases))

    def phases(self) -> tuple[str, ...]:
        """Return the phases in the order in which they come."""
        return tuple(dict.fromkeys(one.phase for one in self.times))


def grouped(observations: Iterable[Observation], *vary: str) -> tuple[tuple[Observation, ...], ...]:
    """Return the observations that differ in nothing but `vary`, group by group."""
    stays = attrgetter(*(field.name for field in fields(Configuration) if field.name not in {*vary, "label"}))
    groups: dict[tuple[object, ...], list[Observation]] = {}
    for one in observations:
        groups.setdefault((one.series, one.phase, stays(one.config)), []).append(one)
    return tuple(tuple(group) for group in groups.values())


def by_size(observations: Iterable[Observation]) -> tuple[tuple[Observation, ...], ...]:
    """Return series over sizes, the smallest model first where all their parameters are known, else as they came."""
    series: list[tuple[Observation, ...]] = []
    for group in grouped(observations, *SIZE_FIELDS):
        sized = [(one.config.parameters(), one) for one in group]
        known = [(parameters, one) for parameters, one in sized if parameters is not None]
        series.append(
            tuple(one for _, one in sorted(known, key=lambda pair: pair[0])) if len(known) == len(sized) else group
        )
    return tuple(series)
