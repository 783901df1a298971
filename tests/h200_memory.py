"""Peaks that were measured on one NVIDIA H200, batch 4, torch 2.11.0+cu130, driver 580.159: docs/results/h200.

Of seed-003 the cells with 5 warm-ups, course whole, and of smoke all without torch.compile that ran, `sdpa-math` left
out. Memory is as the reports print it, to 0.01 GiB or 1 MiB.
"""

from windtunnel.spec.model import ModelSpec

PROBE = ModelSpec(name="probe", d_model=512, d_ff=2048, num_layers=4, num_heads=8)

SEED_003_GIB = {
    # size: context 128 forward, forward + backward; context 256 forward, forward + backward; fp32, eager
    "small": (0.54, 1.08, 0.56, 1.65),
    "medium": (1.64, 3.22, 1.67, 4.39),
    "large": (3.79, 7.50, 3.83, 8.83),
    "xl": (7.70, 15.28, 7.75, 16.28),
    "2.7B": (12.93, 25.70, 13.00, 25.59),
}

COURSE_GIB = {
    # size, precision: forward, forward + backward, training step; context 512, eager
    ("small", "fp32"): (0.65, 3.04, 4.00),
    ("small", "bf16"): (0.88, 2.88, 3.84),
    ("large", "fp32"): (3.97, 15.29, 22.56),
    ("large", "bf16"): (5.71, 15.11, 22.45),
    ("2.7B", "fp32"): (13.24, 32.32, 57.71),
    ("2.7B", "bf16"): (19.32, 34.58, 59.97),
}

SMOKE_MIB = {
    # precision, attention: training step of PROBE, context 256
    ("fp32", "eager"): 725,
    ("fp32", "sdpa"): 693,
    ("fp32", "sdpa-efficient"): 693,
    ("tf32", "eager"): 725,
    ("tf32", "sdpa-efficient"): 693,
    ("bf16", "eager"): 685,
    ("bf16", "sdpa"): 637,
    ("bf16", "sdpa-flash"): 637,
    ("bf16", "sdpa-efficient"): 637,
    ("bf16", "sdpa-cudnn"): 637,
    ("fp16", "eager"): 685,
    ("fp16", "sdpa-flash"): 637,
    ("bf16-pure", "eager"): 395,
    ("bf16-pure", "sdpa-flash"): 379,
    ("bf16-pure", "sdpa-cudnn"): 379,
}

COMPILED_MIB = {
    # the same with compile default
    ("fp32", "eager"): 693,
    ("fp32", "sdpa"): 661,
    ("bf16", "eager"): 640,
    ("bf16", "sdpa"): 609,
}

PUBLISHED_MIB = {
    # size: forward, training step; context 512, fp32: a course implementation of the same sizes, not windtunnel's
    "small": (785, 5112),
    "medium": (1985, 14020),
    "large": (4251, 28117),
    "xl": (8344, 51057),
    "2.7B": (13821, 67081),
}
