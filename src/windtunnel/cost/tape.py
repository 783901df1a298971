"""A tape of operations: what each reads, makes and frees, played once for a part of a step and repeated in closed form.

A part of a step (a block, the loss) is written down once as the operations that PyTorch runs, in their order. Playing
it gives a `Stretch`: by how much each component of memory has changed at its end, and at the moment when all of them
together are largest. Stretches are put together by two rules, so that a model of any depth costs what one block costs:

- one after the other: the peak is the larger of the first's peak, and of the second's on top of the first's end;
- n times: each round adds the same, so the largest round is the last where memory grows, and the first where it falls.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum


class Component(StrEnum):
    """What bytes on the device are for; every byte of a prediction is in one of these."""

    PARAMETERS = "parameters"
    GRADIENTS = "gradients"
    OPTIMIZER = "optimizer"
    WEIGHT_COPIES = "weight_copies"
    """Weights in the format of autocast, and gradients that are still in it."""
    ACTIVATIONS = "activations"
    SCORES = "scores"
    """Matrices of queries x keys: scores, their softmax, masks and the gradients of these."""
    LOGITS = "logits"
    LOSS = "loss"
    """Log-probabilities and what the loss makes of them."""
    INPUTS = "inputs"
    WORKSPACE = "workspace"
    """What libraries and kernels hold for themselves."""
    COMMUNICATION = "communication"
    """Buckets that are sent, and weights that were gathered."""
    ROUNDING = "rounding"
    """What the allocator hands out beyond the weights that it was asked for."""


class Kind(StrEnum):
    """What decides how fast an operation can be."""

    PRODUCT = "product"
    ATTENTION = "attention"
    """A fused attention kernel: products that never leave the chip."""
    PASS = "pass"
    """Reads and writes memory, with little work for each element."""


Shape = tuple[int, int, int]

Levels = Mapping[Component, int]
"""Bytes of each component; those that are 0 may be missing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """One kernel or a few that belong together, so many times.

    Attributes:
        name: What it does.
        kind: What decides how fast it can be.
        flops: Of its matrix products; 0 of a pass.
        bytes_moved: What it reads and writes of device memory, each operand once.
        launches: Kernels that it launches.
        more_host_work: What its Python code costs the host beside that, in launches of eager mode.
        shape: Of a product: rows, columns and how many products of that size there are. Of fused attention: queries,
            the width of a tile, and heads of all sequences. Else None.
        share: Of the rate of large products (of a pass: of a copy), what this kernel is known to reach.
        count: How often it runs; the numbers above are of one run.
    """

    name: str
    kind: Kind
    flops: int
    bytes_moved: int
    launches: int
    shape: Shape | None = None
    share: float = 1.0
    more_host_work: int = 0
    count: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Stretch:
    """A part of a step that has been played: how memory changes in it, and what runs.

    Attributes:
        end: Change of each component from its beginning to its end; negative where it frees what was there before.
        peak: Change of each component at the moment when their sum is largest; nothing where it only falls.
        operations: What runs.
    """

    end: Levels = field(default_factory=dict[Component, int])
    peak: Levels = field(default_factory=dict[Component, int])
    operations: tuple[Operation, ...] = ()

    @property
    def end_bytes(self) -> int:
        """Change of the whole from the beginning to the end."""
        return sum(self.end.values())

    @property
    def peak_bytes(self) -> int:
        """Change of the whole from the beginning to its largest."""
        return sum(self.peak.values())

    def then(self, after: "Stretch") -> "Stretch":
        """Return this stretch followed by another."""
        later = add(self.end, after.peak)
        return Stretch(
            end=add(self.end, after.end),
            peak=max(self.peak, later, key=lambda levels: sum(levels.values())),
            operations=self.operations + after.operations,
        )

    def times(self, count: int) -> "Stretch":
        """Return this stretch `count` times in a row."""
        if not count:
            return Stretch()
        last = add({part: (count - 1) * change for part, change in self.end.items()}, self.peak)
        return Stretch(
            end={part: count * change for part, change in self.end.items()},
            peak=max(self.peak, last, key=lambda levels: sum(levels.values())),
            operations=tuple(replace(one, count=count * one.count) for one in self.operations),
        )


def add(a: Levels, b: Levels) -> Levels:
    """Add the levels of each component."""
    return {part: a.get(part, 0) + b.get(part, 0) for part in (*a, *(part for part in b if part not in a))}


def in_order(*stretches: Stretch) -> Stretch:
    """Return the stretches one after the other."""
    whole = Stretch()
    for stretch in stretches:
        whole = whole.then(stretch)
    return whole


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """A tensor on the device: its component and its bytes."""

    part: Component
    num_bytes: int


class Tape:
    """Notes the operations of one part of a step and follows the tensors that they make, by name.

    A tensor lives from `run` to `drop`, or beyond the end where it is not dropped. Each name is one storage: a view has
    no name of its own.
    """

    def __init__(
        self,
        held: Mapping[str, Held] | None = None,
        *,
        pinned: frozenset[str] = frozenset(),
        given: frozenset[str] = frozenset(),
    ) -> None:
        """Begin with tensors that are there already: the levels say what changes from there on.

        Args:
            held: These tensors.
            pinned: Names that live on when they are dropped.
            given: Names, held already, whose operation does not run: its result is taken instead.
        """
        self.held = dict(held or {})
        self._pinned = pinned
        self._given = set(given)
        self._level: dict[Component, int] = {}
        self._total = 0
        self._peak: dict[Component, int] = {}
        self._peak_total = 0
        self._operations: list[Operation] = []

    def run(
        self,
        name: str,
        *,
        reads: tuple[str, ...] = (),
        makes: Mapping[str, Held] | None = None,
        more_bytes: int = 0,
        flops: int = 0,
        kind: Kind | None = None,
        launches: int = 1,
        shape: Shape | None = None,
        share: float = 1.0,
        more_host_work: int = 0,
    ) -> None:
        """Run an operation that reads tensors and makes others; `more_bytes` is moved besides, as of a weight."""
        made = makes or {}
        if made and self._given.issuperset(made):
            self._given.difference_update(made)
            return
        moved = more_bytes + sum(self.held[one].num_bytes for one in reads) + sum(t.num_bytes for t in made.values())
        for key, tensor in made.items():
            assert key not in self.held, key
            self.held[key] = tensor
            self._move(tensor, tensor.num_bytes)
        self._operations.append(
            Operation(
                name=name,
                kind=kind or (Kind.PRODUCT if flops else Kind.PASS),
                flops=flops,
                bytes_moved=moved,
                launches=launches,
                shape=shape,
                share=share,
                more_host_work=more_host_work,
            )
        )

    def drop(self, *names: str) -> None:
        """Free tensors."""
        for name in names:
            if name in self._pinned:
                continue
            tensor = self.held.pop(name)
            self._move(tensor, -tensor.num_bytes)

    def rename(self, name: str, into: str) -> None:
        """Call a tensor by another name, as `x = f(x)` does."""
        assert into not in self.held, into
        self.held[into] = self.held.pop(name)

    def stretch(self) -> Stretch:
        """Return what has been noted so far."""
        return Stretch(end=dict(self._level), peak=dict(self._peak), operations=tuple(self._operations))

    def _move(self, tensor: Held, change: int) -> None:
        self._level[tensor.part] = self._level.get(tensor.part, 0) + change
        self._total += change
        if self._total > self._peak_total:
            self._peak, self._peak_total = dict(self._level), self._total
