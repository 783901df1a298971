"""What devices can do according to their makers' datasheets; a device that is not here has no known peak."""

import re
from dataclasses import dataclass

from windtunnel.spec.tables import Capability


@dataclass(frozen=True, kw_only=True, slots=True)
class DevicePeaks:
    """Dense peak rates by datasheet: FLOP/s by the column names of the precision table, and bytes/s of memory.

    Rates with a float32 accumulator, as PyTorch uses; None where the device has no such path. `memory_bytes` is what
    the maker sells it with, less what error correction takes on GDDR; the driver keeps about 0.5 % of that for itself.
    Of devices that are sold with two sizes under one name it is the smaller. `num_processors` are its streaming
    multiprocessors, `capability` is its compute capability.
    """

    fp32: float
    tf32: float | None
    bf16: float | None
    fp16: float | None
    memory_bytes_per_second: float
    memory_bytes: int
    num_processors: int
    capability: Capability

    def flops_per_second(self, column: str) -> float | None:
        """Return the rate in a column of the precision table, or None where the device has no such path."""
        return {"fp32": self.fp32, "tf32": self.tf32, "bf16": self.bf16, "fp16": self.fp16}[column]


def _tera(
    fp32: float,
    tf32: float | None,
    bf16: float | None,
    fp16: float | None,
    terabytes_per_second: float,
    gibibytes: float,
    num_processors: int,
    capability: Capability,
) -> DevicePeaks:
    return DevicePeaks(
        fp32=fp32 * 1e12,
        tf32=tf32 and tf32 * 1e12,
        bf16=bf16 and bf16 * 1e12,
        fp16=fp16 and fp16 * 1e12,
        memory_bytes_per_second=terabytes_per_second * 1e12,
        memory_bytes=round(gibibytes * 2**30),
        num_processors=num_processors,
        capability=capability,
    )


# The pattern is searched in the name that the driver gives; the first that fits counts.
# Rates in TFLOP/s: fp32, tf32, bf16, fp16 (all dense: half of a datasheet's "with sparsity"), then TB/s, GiB,
# streaming multiprocessors, and compute capability. What makers call GB of memory are GiB.
_PEAKS = (
    (r"\bB200\b", _tera(75, 1125, 2250, 2250, 8.0, 180, 148, (10, 0))),
    (r"\bGH200\b.*144G", _tera(67, 494.7, 989.4, 989.4, 4.9, 144, 132, (9, 0))),
    (r"\bGH200\b", _tera(67, 494.7, 989.4, 989.4, 4.0, 96, 132, (9, 0))),
    (r"\bH200 NVL\b", _tera(60, 417.5, 835.5, 835.5, 4.8, 141, 132, (9, 0))),
    (r"\bH200\b", _tera(67, 494.7, 989.4, 989.4, 4.8, 141, 132, (9, 0))),
    (r"\bH(100|800) PCIe\b", _tera(51, 378, 756, 756, 2.0, 80, 114, (9, 0))),
    (r"\bH100 NVL\b", _tera(60, 417.5, 835.5, 835.5, 3.9, 94, 132, (9, 0))),
    (r"\bH(100|800)\b", _tera(67, 494.7, 989.4, 989.4, 3.35, 80, 132, (9, 0))),
    (r"\bA(100|800)\b.*SXM.*80G", _tera(19.5, 156, 312, 312, 2.039, 80, 108, (8, 0))),
    (r"\bA(100|800)\b.*80G.*PCIe", _tera(19.5, 156, 312, 312, 1.935, 80, 108, (8, 0))),
    (r"\bA(100|800)\b", _tera(19.5, 156, 312, 312, 1.555, 40, 108, (8, 0))),
    (r"\bL40S\b", _tera(91.6, 183, 362, 362, 0.864, 45, 142, (8, 9))),
    (r"\bL4\b", _tera(30.3, 60, 121, 121, 0.300, 22.5, 58, (8, 9))),
    (r"\bA10\b", _tera(31.2, 62.5, 125, 125, 0.600, 22.5, 72, (8, 6))),
    (r"\bA10G\b", _tera(31.5, 35, 70, 70, 0.600, 22.5, 80, (8, 6))),
    (r"\bRTX 4090\b(?! (D|Laptop)\b)", _tera(82.6, 82.6, 165.2, 165.2, 1.008, 24, 128, (8, 9))),
    (r"\bRTX 3090\b(?! Ti)", _tera(35.6, 35.6, 71.2, 71.2, 0.936, 24, 82, (8, 6))),
    (r"\bV100\b.*SXM.*32G", _tera(15.7, None, None, 125, 0.900, 32, 80, (7, 0))),
    (r"\bV100\b.*SXM", _tera(15.7, None, None, 125, 0.900, 16, 80, (7, 0))),
    (r"\bV100\b.*32G", _tera(14.0, None, None, 112, 0.900, 32, 80, (7, 0))),
    (r"\bV100\b", _tera(14.0, None, None, 112, 0.900, 16, 80, (7, 0))),
    (r"\bT4\b", _tera(8.1, None, None, 65, 0.320, 15, 40, (7, 5))),
)


ALIASES = {
    "b200": "NVIDIA B200",
    "gh200": "NVIDIA GH200 480GB",
    "h200": "NVIDIA H200",
    "h200-nvl": "NVIDIA H200 NVL",
    "h100": "NVIDIA H100 80GB HBM3",
    "h100-pcie": "NVIDIA H100 PCIe",
    "h100-nvl": "NVIDIA H100 NVL",
    "a100-80": "NVIDIA A100-SXM4-80GB",
    "a100-40": "NVIDIA A100-SXM4-40GB",
    "l40s": "NVIDIA L40S",
    "l4": "NVIDIA L4",
    "a10": "NVIDIA A10",
    "a10g": "NVIDIA A10G",
    "rtx-4090": "NVIDIA GeForce RTX 4090",
    "rtx-3090": "NVIDIA GeForce RTX 3090",
    "v100": "Tesla V100-SXM2-16GB",
    "t4": "Tesla T4",
}
"""Short names of devices of the table: what people type, to what their drivers say."""


def peaks_of(device_name: str | None) -> DevicePeaks | None:
    """Return the datasheet peaks of a device by the name its driver gives, or by its short one.

    None where they are not known.
    """
    if device_name is None or re.search(r"\bMIG\b", device_name):  # a slice of a GPU keeps the GPU's name
        return None
    name = ALIASES.get(device_name.casefold(), device_name)
    return next((peaks for pattern, peaks in _PEAKS if re.search(pattern, name, re.IGNORECASE)), None)
