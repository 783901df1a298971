"""Why NVML says that a clock is where it is: the bits of its answer, in words."""

from types import MappingProxyType

THROTTLE_REASONS = MappingProxyType(
    {
        0x1: "idle",
        0x2: "clocks set by an application or an administrator",
        0x4: "software power cap",
        0x8: "hardware slowdown",
        0x10: "sync boost",
        0x20: "software thermal slowdown",
        0x40: "hardware thermal slowdown",
        0x80: "power brake",
        0x100: "display clocks",
    }
)
"""Bit to words. Source: nvml.h, nvmlClocksEventReason*."""

CHOSEN_REASONS = 0x1 | 0x2 | 0x100
"""Bits of a clock that is where somebody wants it, or where nothing runs: no throttling."""
