"""Two ways to normalise rows, measured in pairs: is the second faster, slower, or the same?

    python examples/compare_two_functions.py

Runs on a CPU in seconds.
"""

# ruff: noqa: T201  # an example prints
import argparse

import torch

import windtunnel


def main() -> None:
    """Compare a function with another, and with itself."""
    parser = argparse.ArgumentParser(description="Compare two functions in pairs.")
    parser.add_argument("--rows", type=int, default=1024, help="rows of the matrix that is normalised")
    rows: int = parser.parse_args().rows
    torch.set_num_threads(1)  # with more, what else runs on the machine decides the time
    x, weight = torch.randn(rows, 512), torch.ones(512)

    def by_hand() -> torch.Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * weight

    def built_in() -> torch.Tensor:
        return torch.nn.functional.rms_norm(x, (512,), weight, eps=1e-6)

    comparison = windtunnel.compare(by_hand, built_in, max_seconds=5, device="cpu")
    print(comparison)
    print(f"verdict: {comparison.verdict}, because {comparison.reason}")
    for warning in comparison.warnings:
        print(f"warning: {warning}")

    print(windtunnel.compare(by_hand, by_hand, max_seconds=5, device="cpu"))


if __name__ == "__main__":
    main()
