"""Sweeps that a user may write, and sweeps with one fault each, with what the message must say."""

from typing import Any

OWN: dict[str, Any] = {"d_model": 64, "num_layers": 2, "num_heads": 4}

VALID: tuple[dict[str, Any], ...] = (
    {"size": "small"},
    {"size": ["small", "xl"], "context": [128, 256], "warmup": [0, 5]},
    {"size": "small", "warmup": ["auto", 5], "target": "1%", "max_samples": 200, "max_time": "30s"},
    {"size": "small", "processes": 5},
    {"name": "n", "description": "d", "size": "xl", "steps": 1, "seed": 2**63 - 1},
    {"size": "small", "mode": "train_step", "precision": ["bf16", "fp16"], "compile": "default"},
    {"size": "small", "attention": ["eager", "my.kernels:flash"], "device": "cuda:1"},
    {"d_model": 64, "layers": 2, "heads": 4, "kv_heads": 2, "d_ff": 100, "vocab": 50},
    {"size": "mine", "sizes": {"mine": OWN | {"rope_theta": 5e5, "num_kv_heads": 1}}},
    {"size": "small", "exclude": [{"size": "small", "reason": "known"}]},
    {"size": "small", "exclude": [{"mode": ["forward"], "warmup": 0, "reason": "known"}]},
    {
        "size": "small",
        "exclude": [
            {"precision": "fp16", "attention": "sdpa", "compile": "off", "reason": "a"},
            {"context": [256], "batch": 4, "reason": "b"},
        ],
    },
)

SIZES = "known: 10B, 2.7B, 8B, large, medium, small, xl"
BACKENDS = (
    "known: compiled, eager, flash-attn, flash-attn-3, flash-attn-4, flash-eager, flash-triton, flex, "
    "sdpa, sdpa-cudnn, sdpa-efficient, sdpa-flash, sdpa-math"
)
MODES = "known: forward, forward_backward, train_step"
PRECISIONS = "known: bf16, bf16-pure, fp16, fp32, tf32"
COMPILE = "known: default, max-autotune, max-autotune-no-cudagraphs, off, reduce-overhead"
EXCLUSION = "known: attention, batch, compile, context, mode, precision, reason, size, warmup"
SHAPE = "known: d_ff, d_model, num_heads, num_kv_heads, num_layers, rope_theta, vocab_size"


def excluding(**exclusion: Any) -> dict[str, Any]:
    """Return a sweep of `small` with one exclusion."""
    return {"size": "small", "exclude": [{"reason": "known", **exclusion}]}


def sized(**shape: Any) -> dict[str, Any]:
    """Return a sweep of one size of one's own."""
    return {"size": "mine", "sizes": {"mine": OWN | shape}}


FAULTS_OF_FORM: tuple[tuple[dict[str, Any], str], ...] = (
    ({"size": "small", "mode": "foward"}, f"unknown mode 'foward'; {MODES}; did you mean 'forward'?"),
    (
        {"size": "small", "precision": "FP32"},
        f"unknown precision 'FP32'; {PRECISIONS}; did you mean 'fp32'?",
    ),
    (
        {"size": "small", "compile": "on"},
        f"unknown compile 'on'; {COMPILE}",
    ),
    (excluding(mode="foward"), f"unknown mode 'foward'; {MODES}; did you mean 'forward'?"),
    (excluding(contxt=256), f"unknown field of exclude.0 'contxt'; {EXCLUSION}; did you mean 'context'?"),
    (excluding(zzz=256), f"unknown field of exclude.0 'zzz'; {EXCLUSION}"),
    (sized(d_mdel=64), f"unknown field of sizes.mine 'd_mdel'; {SHAPE}; did you mean 'd_model'?"),
    ({"size": "small", "context": -1}, "context is -1; allowed: at least 1"),
    ({"size": "small", "context": [128, 0]}, "context is 0; allowed: at least 1"),
    ({"size": "small", "warmup": -1}, "warmup is -1; allowed: auto, or a whole number from 0 to 100,000"),
    ({"size": "small", "steps": 0}, "steps is 0; allowed: at least 1"),
    ({"size": "small", "steps": 100_001}, "steps is 100001; allowed: at most 100,000"),
    ({"size": "small", "processes": 0}, "processes is 0; allowed: at least 1"),
    ({"size": "small", "processes": 101}, "processes is 101; allowed: at most 100"),
    ({"size": "small", "seed": -1}, "seed is -1; allowed: at least 0"),
    (
        {"size": "small", "seed": 2**63},
        f"seed is {2**63}; allowed: less than 9,223,372,036,854,775,808",
    ),
    ({"size": "small", "d_model": 10**7}, "d_model is 10000000; allowed: at most 1,000,000"),
    (sized(num_layers=0), "sizes.mine.num_layers is 0; allowed: at least 1"),
    (sized(rope_theta=0), "sizes.mine.rope_theta is 0; allowed: more than 0.0"),
    (sized(rope_theta=True), "sizes.mine.rope_theta is True; allowed: a number"),
    (excluding(batch=0), "exclude.0.batch is 0; allowed: at least 1"),
    ({"size": "small", "steps": True}, "steps is True; allowed: a whole number"),
    ({"size": "small", "steps": "10"}, "steps is '10'; allowed: a whole number"),
    ({"size": "small", "context": 256.5}, "context is 256.5; allowed: a whole number"),
    ({"size": "small", "batch": [1, "x"]}, "batch is 'x'; allowed: a whole number"),
    ({"size": "small", "warmup": True}, "warmup is True; allowed: auto, or a whole number from 0 to 100,000"),
    (sized(num_heads="4"), "sizes.mine.num_heads is '4'; allowed: a whole number"),
    ({"size": 5}, "size is 5; allowed: a text"),
    ({"size": "small", "name": 5}, "name is 5; allowed: a text"),
    ({"size": "small", "sizes": 5}, "sizes is 5; allowed: a table"),
    ({"size": "small", "sizes": {"mine": 5}}, "sizes.mine is 5; allowed: a table"),
    ({"size": "small", "exclude": {"size": "xl"}}, "exclude is {'size': 'xl'}; allowed: a list"),
    ({"size": "small", "exclude": ["xl"]}, "exclude is 'xl'; allowed: a table"),
    ({"size": "small", "exclude": [{"size": "xl"}]}, "exclude.0.reason is missing"),
    (
        {"size": "mine", "sizes": {"mine": {"d_model": 64, "num_heads": 4}}},
        "sizes.mine.num_layers is missing",
    ),
    (
        {"size": "small", "context": []},
        "context: an axis without a value makes a sweep without cells: name at least one value",
    ),
    (
        {"size": "small", "context": [128, 256, 128]},
        "context: 128 is named more than once: name each value once",
    ),
    (
        {"size": ["small", "small"]},
        "size: small is named more than once: name each value once",
    ),
)
"""Faults that an editor can see too: the JSON schema refuses these sweeps as well."""

FAULTS_OF_SENSE: tuple[tuple[dict[str, Any], str], ...] = (
    ({"size": "smal"}, f"unknown size 'smal'; {SIZES}; did you mean 'small'?"),
    ({"size": "XL"}, f"unknown size 'XL'; {SIZES}; did you mean 'xl'?"),
    (
        {"size": "mini", "sizes": {"mine": OWN}},
        "unknown size 'mini'; known: 10B, 2.7B, 8B, large, medium, mine, small, xl; did you mean 'mine'?",
    ),
    (excluding(size="smal"), f"unknown size 'smal'; {SIZES}; did you mean 'small'?"),
    (
        {"size": "small", "attention": "sdpa-flsh"},
        f"unknown attention 'sdpa-flsh'; {BACKENDS}; did you mean 'sdpa-flash'?",
    ),
    (
        excluding(attention="eagr"),
        f"unknown attention 'eagr'; {BACKENDS}; did you mean 'eager'?",
    ),
    ({"size": "small", "target": 0}, "target: 0 is not a share above 0 and at most 100 %; write it as 1% or 0.01"),
    (
        {"size": "small", "target": "101%"},
        "target: '101%' is not a share above 0 and at most 100 %; write it as 1% or 0.01",
    ),
    (
        {"size": "small", "target": "1%", "steps": 10},
        "steps and target both say how many samples: give one of them",
    ),
    ({"size": "small", "max_time": "9s"}, "max_time has no effect without a target: give one, or leave it out"),
    ({"size": "small", "device": "gpu"}, "unknown device 'gpu'; allowed: cpu, cuda, cuda:N"),
    (
        {"size": "small", "heads": 7},
        "num_heads 7 does not divide d_model 768; the nearest number that fits is 6",
    ),
    (
        sized(num_heads=64),
        "sizes.mine: d_model / num_heads is 1; RoPE rotates pairs, so it must be even: "
        "the nearest number that fits is 32",
    ),
    (
        sized(num_kv_heads=3),
        "sizes.mine: num_kv_heads 3 does not divide num_heads 4: each key head serves the same number of query heads",
    ),
    (
        excluding(),
        "exclude: it leaves nothing out: name at least one of "
        "size, precision, attention, compile, batch, context, mode, warmup",
    ),
    (
        {"context": 128},
        "no size: name one (small, medium, large, xl, 2.7B, 8B, 10B), "
        "or give a shape of your own; still missing: d_model, layers, heads",
    ),
    (
        {"d_model": 64, "heads": 4},
        "no size: name one (small, medium, large, xl, 2.7B, 8B, 10B), "
        "or give a shape of your own; still missing: layers",
    ),
    (
        {"size": "small", "context": 10**9},
        "context is 1000000000; allowed: at most 100,000,000",
    ),
)
"""Faults that only the program sees: they need other fields, or what the user's machine has."""
