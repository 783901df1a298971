"""Callables that do not return, that keep memory, or that ask for more than there is."""

import mmap
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch

from windtunnel.bench import guards
from windtunnel.bench.guards import MemoryWatch, OutOfTimeError, TimeLimit
from windtunnel.bench.measure import Measurement, measure
from windtunnel.bench.pairs import Comparison, compare
from windtunnel.errors import RunError

MIB = 2**20


@pytest.fixture(autouse=True)
def no_other_alarm() -> Iterator[None]:
    """Put the alarm of pytest-timeout away: it is due before some limits here."""
    handler, left = signal.getsignal(signal.SIGALRM), signal.setitimer(signal.ITIMER_REAL, 0)
    yield
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, *left)


def nap() -> None:
    time.sleep(1e-3)


def stuck_after(calls: int) -> Callable[[], None]:
    left = iter(range(calls))

    def stuck() -> None:
        nap()
        if next(left, None) is None:
            while True:
                pass

    return stuck


@pytest.mark.parametrize(
    "run", [lambda f: measure(f, timeout=0.2, device="cpu"), lambda f: compare(nap, f, timeout="0.2s", device="cpu")]
)
def test_a_callable_that_never_returns_is_stopped_and_named(run: Callable[[Callable[[], None]], object]):
    with pytest.raises(
        RunError, match=r"^stuck did not return within 200 ms, the limit for one sample, in its call 4; "
    ):
        run(stuck_after(3))


def test_the_samples_before_a_call_that_never_returns_are_in_the_error():
    with pytest.raises(RunError, match=r"the 21 samples before it: `samples` of this error") as caught:
        measure(stuck_after(30), warmup=7, target=1e-9, timeout=0.2, device="cpu")

    assert len(caught.value.samples) == 21
    assert all(isinstance(value, int) and value >= 1e6 for value in caught.value.samples)


def test_a_callable_that_swallows_every_error_is_stopped_too():
    swallowed: list[BaseException] = []

    def stubborn() -> None:
        while not swallowed:
            try:
                time.sleep(60)
            except BaseException as error:  # noqa: BLE001  # what such callables do
                swallowed.append(error)
        while True:
            time.sleep(60)

    with pytest.raises(RunError, match="stubborn did not return"):
        measure(stubborn, timeout=0.1, device="cpu")

    assert isinstance(swallowed[0], OutOfTimeError)


def test_the_alarm_of_others_and_its_handler_are_set_back():
    def handler(number: int, frame: object) -> None:
        raise AssertionError("too early")

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 30.0)

    with TimeLimit(5.0):
        inside = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)[0]
        nap()

    after = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)[0]
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
    assert inside[0] is not handler
    assert inside[1] <= 5.0
    assert after[0] is handler
    assert 10.0 < after[1] < 30.0


def test_an_alarm_of_others_that_is_due_before_is_left_alone():
    signal.setitimer(signal.ITIMER_REAL, 30.0)
    before = signal.getsignal(signal.SIGALRM)

    with TimeLimit(600.0):
        inside = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)[0]

    signal.setitimer(signal.ITIMER_REAL, 0)
    assert inside[0] is before
    assert inside[1] <= 30.0


def test_an_alarm_that_comes_while_the_region_ends_does_not_outlive_it(monkeypatch: pytest.MonkeyPatch):
    set_timer = signal.setitimer

    def late(which: int, seconds: float, interval: float = 0.0) -> object:
        if not seconds:
            signal.raise_signal(signal.SIGALRM)
        return set_timer(which, seconds, interval)

    monkeypatch.setattr(signal, "setitimer", late)
    before = signal.getsignal(signal.SIGALRM)

    with TimeLimit(5.0):
        nap()

    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) is before


def test_outside_of_the_main_thread_a_warning_says_that_nothing_was_watched():
    measured: list[Measurement | Comparison] = []

    thread = threading.Thread(
        target=lambda: measured.extend(
            [
                measure(nap, target="50%", timeout=9.0, device="cpu"),
                compare(nap, nap, max_pairs=8, timeout=9.0, device="cpu"),
            ]
        )
    )
    thread.start()
    thread.join()

    text = "the limit of 9.00 s for one sample was not watched for {}: alarms reach only the main thread; "
    for result, name in zip(measured, ("nap", "f"), strict=True):
        assert any(warning.startswith(text.format(name)) for warning in result.warnings)


def test_an_alarm_that_comes_again_and_again_is_a_hindrance():
    before = signal.signal(signal.SIGALRM, lambda number, frame: None)
    signal.setitimer(signal.ITIMER_REAL, 20.0, 20.0)

    limit = TimeLimit(5.0)
    with limit:
        left = signal.getitimer(signal.ITIMER_REAL)

    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
    assert left[1] == pytest.approx(20.0)
    assert "uses its alarm already" in limit.warnings("f")[0]


def test_a_callable_that_keeps_too_much_is_stopped_with_the_sizes(monkeypatch: pytest.MonkeyPatch):
    """Pages straight from the kernel: those of the C library may be ones that other tests have freed."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=200 * MIB))
    kept: list[mmap.mmap] = []
    ones = b"1" * (4 * MIB)

    def hoard() -> None:
        kept.append(mmap.mmap(-1, 4 * MIB))
        kept[-1].write(ones)

    with pytest.raises(
        RunError,
        match=r"hoard holds 10\d MiB more memory after 2\d calls, about \d\.\d\d MiB a call; 200 MiB were free",
    ):
        measure(hoard, target=1e-9, device="cpu")


def test_a_callable_that_keeps_a_little_each_time_is_a_warning():
    """Pages straight from the kernel, as above."""
    kept: list[mmap.mmap] = []
    ones = b"1" * MIB

    def take() -> mmap.mmap:
        pages = mmap.mmap(-1, MIB)
        pages.write(ones)
        return pages

    def collect() -> None:
        kept.append(take())

    def tidy() -> None:
        take().close()

    alone = measure(collect, target=1e-9, max_samples=64, device="cpu")
    paired = compare(tidy, collect, delta=1e-9, max_pairs=16, device="cpu")

    (warning,) = (text for text in alone.warnings if "keeps" in text)
    assert re.fullmatch(r"collect keeps about (1\.0\d MiB|1,0\d\d KiB) more memory after each call", warning)
    (warning,) = (text for text in paired.warnings if "keeps" in text)
    assert re.match(
        r"tidy or collect keeps about [45]\d\d KiB", warning
    )  # half a MiB: half of the calls are of collect


def test_what_is_taken_once_or_left_in_cycles_is_no_growth():
    class Knot:
        def __init__(self) -> None:
            self.me, self.much = self, np.ones(MIB // 8)

    first: list[np.ndarray] = []

    def tie() -> None:
        if not first:
            first.append(np.ones(64 * MIB // 8))
        Knot()

    measured = measure(tie, target=1e-9, max_samples=64, device="cpu")

    assert not [text for text in measured.warnings if "keeps" in text]


def test_memory_of_the_device_counts_on_cuda(monkeypatch: pytest.MonkeyPatch):
    held: list[int] = []
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: sum(held))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 0)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (100 * MIB, 200 * MIB))
    watch = MemoryWatch(torch.device("cuda", 0), "f")

    def run() -> None:
        for _ in range(20):
            watch.before()
            held.append(7 * MIB)
            watch.after(1)

    with pytest.raises(RunError, match=r"f holds 56\.0 MiB more device memory after 8 calls, about 7\.00 MiB a call; "):
        run()


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("no room"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."),
    ],
)
def test_running_out_of_memory_is_said_with_what_is_held_and_free(error: Exception):
    def greedy() -> None:
        raise error

    with pytest.raises(
        RunError, match=r"^greedy ran out of memory in its call 1: \w+: .*; [\d.,]+ [MG]iB of memory are held and "
    ) as caught:
        measure(greedy, device="cpu")

    assert caught.value.__cause__ is error


def test_a_tensor_that_does_not_fit_into_any_memory_is_said_so():
    def greedy() -> None:
        torch.empty(2**60, dtype=torch.uint8)

    with pytest.raises(RunError, match="greedy ran out of memory in its call 1"):
        measure(greedy, device="cpu")


def test_growth_must_go_on_in_every_quarter():
    place = guards._Place("memory", lambda: 0, lambda: 1)
    place.calls = list(range(32))

    def grown_as(levels: list[int]) -> float | None:
        place.grown = levels
        return place.steady_growth()

    assert grown_as([k * MIB for k in range(32)]) == pytest.approx(MIB)
    assert grown_as([k // 4 * 4 * MIB for k in range(32)]) is not None  # pages come in lumps
    assert grown_as([min(k, 20) * MIB for k in range(32)]) is None
    assert grown_as([k * 100 for k in range(32)]) is None
    assert grown_as([k % 8 * MIB for k in range(32)]) is None
