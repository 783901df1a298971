import pytest

from windtunnel.cost.devices import ALIASES, peaks_of
from windtunnel.spec.tables import PRECISIONS


@pytest.mark.parametrize(
    ("name", "fp32", "half", "bandwidth"),
    [
        ("NVIDIA B200", 75, 2250, 8.0),
        ("NVIDIA GH200 480GB", 67, 989.4, 4.0),
        ("NVIDIA GH200 144G HBM3e", 67, 989.4, 4.9),
        ("NVIDIA H200", 67, 989.4, 4.8),
        ("NVIDIA H200 NVL", 60, 835.5, 4.8),
        ("NVIDIA H100 80GB HBM3", 67, 989.4, 3.35),
        ("NVIDIA H100 PCIe", 51, 756, 2.0),
        ("NVIDIA H800 PCIe", 51, 756, 2.0),
        ("NVIDIA H100 NVL", 60, 835.5, 3.9),
        ("NVIDIA A100-SXM4-80GB", 19.5, 312, 2.039),
        ("NVIDIA A100 80GB PCIe", 19.5, 312, 1.935),
        ("NVIDIA A100-SXM4-40GB", 19.5, 312, 1.555),
        ("Tesla V100-SXM2-16GB", 15.7, 125, 0.900),
        ("Tesla V100-PCIE-32GB", 14.0, 112, 0.900),
        ("Tesla T4", 8.1, 65, 0.320),
        ("NVIDIA GeForce RTX 4090", 82.6, 165.2, 1.008),
        ("NVIDIA L4", 30.3, 121, 0.300),
        ("NVIDIA L40S", 91.6, 362, 0.864),
    ],
)
def test_the_name_that_a_driver_gives_finds_its_datasheet(name: str, fp32: float, half: float, bandwidth: float):
    peaks = peaks_of(name)

    assert peaks is not None
    assert peaks.fp32 == pytest.approx(fp32 * 1e12)
    assert peaks.fp16 == pytest.approx(half * 1e12)
    assert peaks.memory_bytes_per_second == pytest.approx(bandwidth * 1e12)


@pytest.mark.parametrize(
    "name",
    [
        None,
        "",
        "AMD Instinct MI300X",
        "AMD EPYC 9454 48-Core Processor",
        "NVIDIA GeForce GTX 1080 Ti",
        "NVIDIA H20",
        "NVIDIA L40",
        "NVIDIA T400 4GB",
        "NVIDIA RTX A1000",
        "NVIDIA GeForce RTX 3090 Ti",
    ],
)
def test_a_device_that_is_not_listed_has_no_known_peak(name: str | None):
    assert peaks_of(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        "NVIDIA GeForce RTX 4090 D",
        "NVIDIA H100 80GB HBM3 MIG 1g.10gb",
    ],
)
def test_a_lesser_device_is_not_taken_for_the_one_whose_name_it_bears(name: str):
    assert peaks_of(name) is None


@pytest.mark.parametrize("name", ["Tesla V100-SXM2-16GB", "Tesla T4"])
def test_a_device_without_a_path_for_a_format_has_no_peak_there(name: str):
    peaks = peaks_of(name)

    assert peaks is not None
    assert peaks.flops_per_second("bf16") is None
    assert peaks.flops_per_second("tf32") is None


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision_finds_its_column(precision: str):
    peaks = peaks_of("NVIDIA A100-SXM4-80GB")

    assert peaks is not None
    rate = peaks.flops_per_second(PRECISIONS[precision].peak)
    expected = {"fp32": 19.5e12, "tf32": 156e12}.get(precision, 312e12)
    assert rate == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "capability"),
    [
        ("b200", (10, 0)),
        ("h200", (9, 0)),
        ("a100-80", (8, 0)),
        ("l4", (8, 9)),
        ("a10", (8, 6)),
        ("v100", (7, 0)),
        ("t4", (7, 5)),
    ],
)
def test_the_compute_capability_of_a_device_is_known(name: str, capability: tuple[int, int]):
    peaks = peaks_of(name)

    assert peaks is not None
    assert peaks.capability == capability


@pytest.mark.parametrize("name", ALIASES)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_device_has_a_rate_for_each_precision_that_it_is_new_enough_for(name: str, precision: str):
    peaks, least = peaks_of(name), PRECISIONS[precision].least_capability

    assert peaks is not None
    assert (peaks.flops_per_second(PRECISIONS[precision].peak) is None) == (
        least is not None and peaks.capability < least
    )
