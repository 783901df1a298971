from hypothesis import given
from hypothesis import strategies as st

from windtunnel.cost.tape import Component, Held, Stretch, Tape, in_order

PARTS = st.sampled_from([Component.ACTIVATIONS, Component.GRADIENTS, Component.SCORES])
EVENTS = st.lists(st.tuples(PARTS, st.integers(min_value=1, max_value=9), st.booleans()), min_size=1, max_size=8)


def play(events: list[tuple[Component, int, bool]], tape: Tape, prefix: str) -> None:
    """Make a tensor for each event, and free it at once or leave it."""
    for number, (part, num_bytes, is_freed) in enumerate(events):
        name = f"{prefix}{number}"
        tape.run(name, makes={name: Held(part=part, num_bytes=num_bytes)})
        if is_freed:
            tape.drop(name)


def played(*rounds: list[tuple[Component, int, bool]]) -> Stretch:
    tape = Tape()
    for number, events in enumerate(rounds):
        play(events, tape, f"{number}:")
    return tape.stretch()


def levels(stretch: Stretch) -> tuple[int, int, dict[Component, int]]:
    return stretch.peak_bytes, stretch.end_bytes, {part: size for part, size in stretch.end.items() if size}


@given(EVENTS, EVENTS)
def test_two_stretches_in_order_are_as_one_tape_that_plays_both(first, second):
    assert levels(in_order(played(first), played(second))) == levels(played(first, second))


@given(EVENTS, st.integers(min_value=0, max_value=5))
def test_a_stretch_many_times_is_as_one_tape_that_plays_it_so_often(events, count: int):
    repeated, whole = played(events).times(count), played(*[events] * count)

    assert levels(repeated) == levels(whole)
    assert sum(one.count for one in repeated.operations) == len(whole.operations)


@given(st.integers(min_value=1, max_value=9), st.integers(min_value=1, max_value=5))
def test_freeing_again_and_again_peaks_at_the_beginning(num_bytes: int, count: int):
    tape = Tape({"old": Held(part=Component.ACTIVATIONS, num_bytes=num_bytes)})
    tape.run("new", makes={"new": Held(part=Component.GRADIENTS, num_bytes=1)})
    tape.drop("old")

    stretch = tape.stretch().times(count)

    assert stretch.peak_bytes == max(1, count * 1 - (count - 1) * num_bytes)
    assert stretch.end == {Component.GRADIENTS: count, Component.ACTIVATIONS: -count * num_bytes}


def test_what_is_given_does_not_run():
    tensor = Held(part=Component.ACTIVATIONS, num_bytes=3)
    tape = Tape({"a": tensor}, given=frozenset({"a"}))

    tape.run("makes a", makes={"a": tensor}, flops=5)
    tape.run("makes b", reads=("a",), makes={"b": tensor})
    tape.drop("a")

    assert [one.name for one in tape.stretch().operations] == ["makes b"]
    assert tape.stretch().end_bytes == 0


def test_what_is_pinned_lives_on():
    tape = Tape(pinned=frozenset({"a"}))

    tape.run("makes a", makes={"a": Held(part=Component.ACTIVATIONS, num_bytes=3)})
    tape.drop("a")

    assert tape.stretch().end_bytes == 3


def test_bytes_moved_are_those_read_and_written():
    tape = Tape({"a": Held(part=Component.ACTIVATIONS, num_bytes=3)})

    tape.run("b", reads=("a",), makes={"b": Held(part=Component.ACTIVATIONS, num_bytes=5)}, more_bytes=7)

    assert tape.stretch().operations[0].bytes_moved == 15
