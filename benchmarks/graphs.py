"""Whether CUDA events time a CUDA graph as its kernels say: a training step, replayed, by events and by its timeline.

    python benchmarks/graphs.py [--device cuda:0] [--out table.md]

One graph holds a whole training step (forward, loss, backward, AdamW). Its time by events, two around each replay with
the profiler off, stands beside the timeline that the profiler sees in other replays: all kernels, copies and fills of a
replay as intervals, the time in which any of them runs, and the gaps between them. Kernels and gaps make the span, and
the span is expected within 1 % of the events. A spinning kernel runs before each replay, so that its launch is in
neither. The profiler makes kernels and gaps longer: the events around the profiled replays say by how much, and are
what the timeline must agree with first. Needs a GPU; takes less than a minute.
"""

import argparse
import platform
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812  # the name that every PyTorch text uses
from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from windtunnel.attention.backend import load_backend
from windtunnel.models.transformer import build_model
from windtunnel.spec.model import NAMED_SIZES
from windtunnel.units import duration, percent, ratio

REPLAYS = 30
WARMUP = 5
SPIN_CYCLES = 40_000_000
"""About 20 ms: longer than the host takes to launch one graph, with the profiler too."""

LIMIT = 0.01
BATCH_SIZE, CONTEXT_LENGTH = 12, 256
SPIN_KERNEL = "spin_kernel"  # at::cuda::sleep, ATen/cuda/Sleep.cu

Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Timeline:
    """What the profiler saw of one replay, in seconds: `busy` and `gaps` add up to `span`."""

    kernels: int
    span: float
    busy: float

    @property
    def gaps(self) -> float:
        """Seconds between the first kernel and the last in which none ran."""
        return self.span - self.busy


def main() -> None:
    """Capture, replay with and without the profiler, and print the table."""
    parser = argparse.ArgumentParser(description="CUDA events against the kernel timeline of a CUDA graph.")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--out", type=Path, help="where the table goes; standard output if left out")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("benchmarks/graphs.py needs a CUDA device, and torch sees none here")
    device = torch.device(arguments.device)
    torch.cuda.set_device(device)
    with profile(activities=[ProfilerActivity.CUDA]):  # CUPTI first: it may not know graphs that were made before it
        torch.cuda._sleep(1000)
        torch.cuda.synchronize()
    graph, kept = capture_step(device)
    replay(graph, WARMUP)
    by_events = replay(graph, REPLAYS)
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        by_events_profiled = replay(graph, REPLAYS)
    timelines = timelines_of(device_intervals(profiler))
    del kept
    text = table(by_events, by_events_profiled, timelines, device)
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")
    else:
        print(text, end="")


def capture_step(device: torch.device) -> tuple[torch.cuda.CUDAGraph, object]:
    """Return a graph of one training step of a named model, and what must live as long as the graph.

    A graph reads and writes tensors by address. Up to 3,072 tokens the gradient of the embedding needs no sorting.
    """
    spec = NAMED_SIZES["medium"]
    attend = load_backend("sdpa").attend
    model = build_model(spec, attend, context_length=CONTEXT_LENGTH, device=device, dtype=torch.float32, seed=0)
    generator = torch.Generator(device).manual_seed(0)
    tokens = torch.randint(spec.vocab_size, (BATCH_SIZE, CONTEXT_LENGTH + 1), generator=generator, device=device)
    inputs, targets = tokens[:, :-1].contiguous(), tokens[:, 1:].flatten()
    # capturable: its step counts live on the device, as the host's would stand still in a graph.
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True, capturable=True)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(inputs).flatten(0, 1), targets)
        loss.backward()
        optimizer.step()

    # As torch's notes on CUDA graphs ask for: warmed up in a stream of its own, then captured.
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream(device).wait_stream(stream)
    optimizer.zero_grad(set_to_none=True)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    torch.cuda.synchronize(device)
    return graph, (model, optimizer, inputs, targets)


def replay(graph: torch.cuda.CUDAGraph, count: int) -> list[float]:
    """Return the seconds between two events around each of `count` replays."""
    pairs = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(count)]
    for begin, end in pairs:
        torch.cuda.synchronize()
        torch.cuda._sleep(SPIN_CYCLES)
        begin.record()
        graph.replay()
        end.record()
    torch.cuda.synchronize()
    return [1e-3 * begin.elapsed_time(end) for begin, end in pairs]


def device_intervals(profiler: profile) -> list[tuple[str, Interval]]:
    """Return name, begin and end in seconds of all that ran on the device, in order of their beginnings."""
    found = [
        (str(event.name), (1e-6 * event.time_range.start, 1e-6 * event.time_range.end))
        for event in profiler.events() or ()
        if event.device_type == DeviceType.CUDA and not getattr(event, "is_user_annotation", False)
    ]
    return sorted(found, key=lambda entry: entry[1])


def timelines_of(intervals: Sequence[tuple[str, Interval]]) -> list[Timeline]:
    """Split what ran on the device at the spinning kernels, one of which is before each replay."""
    replays: list[list[Interval]] = []
    for name, interval in intervals:
        if SPIN_KERNEL in name:
            replays.append([])
        elif replays:
            replays[-1].append(interval)
    sizes = {len(found) for found in replays}
    if len(replays) != REPLAYS or len(sizes) != 1 or 0 in sizes:
        names = sorted({name for name, _ in intervals})
        sys.exit(
            f"the profiler saw {len(replays)} of {REPLAYS} replays, with {sorted(sizes)} kernels each: it lost some, "
            f"and nothing can be compared. It saw: {', '.join(names) or 'nothing'}"
        )
    return [Timeline(kernels=len(found), span=_span(found), busy=busy_seconds(found)) for found in replays]


def _span(intervals: Sequence[Interval]) -> float:
    return max(end for _, end in intervals) - min(begin for begin, _ in intervals)


def busy_seconds(intervals: Sequence[Interval]) -> float:
    """Return the length of the union of intervals: kernels of a graph may run beside one another."""
    busy, reached = 0.0, float("-inf")
    for begin, end in sorted(intervals):
        busy += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return busy


def table(
    events: Sequence[float], profiled: Sequence[float], timelines: Sequence[Timeline], device: torch.device
) -> str:
    """Return the medians of all replays and what they say, as Markdown."""
    by_events, by_profiled = statistics.median(events), statistics.median(profiled)
    span = statistics.median(timeline.span for timeline in timelines)
    busy = statistics.median(timeline.busy for timeline in timelines)
    gaps = statistics.median(timeline.gaps for timeline in timelines)
    holds = "holds" if abs(span / by_events - 1) <= LIMIT else "does NOT hold"
    holds_profiled = "holds" if abs(span / by_profiled - 1) <= LIMIT else "does NOT hold"
    return "\n".join(
        (
            f"| one replay, median of {REPLAYS} | time | over events |",
            "|---|--:|--:|",
            f"| events, profiler off | {duration(by_events, 4)} | {ratio(1.0, 4)} |",
            f"| events, profiler on | {duration(by_profiled, 4)} | {ratio(by_profiled / by_events, 4)} |",
            f"| timeline, first kernel to last | {duration(span, 4)} | {ratio(span / by_events, 4)} |",
            f"| of it kernels ({timelines[0].kernels}) | {duration(busy, 4)} | {ratio(busy / by_events, 4)} |",
            f"| of it gaps | {duration(gaps, 4)} | {ratio(gaps / by_events, 4)} |",
            "",
            f"Timeline within {percent(LIMIT, 0)} of the events without the profiler: {holds}; of the events of the "
            f"same replays, with the profiler: {holds_profiled}. The profiler itself costs "
            f"{percent(by_profiled / by_events - 1, 2)}.",
            f"{torch.cuda.get_device_name(device)}; Python {platform.python_version()}, torch {torch.__version__}.",
            "",
        )
    )


if __name__ == "__main__":
    main()
