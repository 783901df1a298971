"""Sweeps that a user may write, and sweeps with one fault each, with what the message must say."""

from typing import Any

ATTENTION: dict[str, Any] = {"kind": "attention"}
OWN: dict[str, Any] = {"d_model": 64, "num_layers": 2, "num_heads": 4}

SHAPE_OF_HEADS: dict[str, Any] = {"batch": 1, "heads": 2, "seq": 64, "d": 16}

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
    {"d_model": 64, "layers": 2, "heads": 4, "tied": True, "activation": "relu"},
    {"size": ["small", "mine"], "tied": False, "sizes": {"mine": OWN | {"is_tied": True, "activation": "gelu"}}},
    {"size": "small", "exclude": [{"size": "small", "reason": "known"}]},
    {"size": "small", "tables": [{"columns": ["size", "forward.mean", "n"], "across": "warmup", "unit": "s"}]},
    {"kind": "attention", "tables": [{"columns": ["seq", "held_memory"], "split": ["backend", "d"]}]},
    {"size": "small", "exclude": [{"mode": ["forward"], "warmup": 0, "reason": "known"}]},
    {
        "size": "small",
        "exclude": [
            {"precision": "fp16", "attention": "sdpa", "compile": "off", "reason": "a"},
            {"context": [256], "batch": 4, "reason": "b"},
        ],
    },
    {"size": "small", "mode": "train_step", "checkpoint": ["none", "every:1", "every:012", "selective", "ffn"]},
    {
        "size": "small",
        "checkpoint": ["none", "ffn"],
        "exclude": [{"mode": "forward", "checkpoint": "ffn", "reason": "no backward"}],
    },
    {"model": "my.models:make", "vocab": 50, "context": 64},
    {
        "model": ["my.models:make", "my.models:Model"],
        "exclude": [
            {"size": "my.models:make", "context": [256], "mode": "forward", "reason": "known"},
            {"context": 1, "reason": "a"},
        ],
    },
    {"kind": "step", "size": "small"},
    ATTENTION,
    ATTENTION | {"backend": "my.kernels:flash", "seq": [64, 128], "mask": ["full", "window:64"], "cache": "warm"},
    ATTENTION | {"heads": [8, 16], "kv_heads": [4, 8], "d": [16, 256], "batch": 2, "phase": "forward"},
    ATTENTION | {"backend": ["eager", "sdpa", "a.b:c"], "compare": ["eager/sdpa", "eager/a.b:c"], "target": "1%"},
    ATTENTION | {"backend": ["eager", "sdpa"], "compare": "sdpa/eager", "steps": 5},
    ATTENTION | {"shapes": [SHAPE_OF_HEADS, SHAPE_OF_HEADS | {"kv_heads": 1, "mask": "full"}], "processes": 3},
    ATTENTION | {"exclude": [{"backend": "sdpa", "mask": "causal", "seq": [1024], "reason": "known"}]},
    ATTENTION | {"heads": 6, "kv_heads": [2, 4], "exclude": [{"heads": 6, "kv_heads": 4, "reason": "no divisor"}]},
    ATTENTION
    | {
        "backend": ["eager", "compiled"],
        "compile": ["off", "default"],
        "exclude": [{"backend": "compiled", "compile": "default", "reason": "compiled twice"}],
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
EXCLUSION = "known: attention, batch, checkpoint, compile, context, mode, precision, reason, size, warmup"
MASKS = "known: full, causal, window:N with N from 1 (causal, the last N keys)"
PHASES = "known: forward, forward_backward"
CHECKPOINTS = "known: none, every:N, selective, ffn with N from 1 (groups of N blocks)"
AXES = "known: attention, batch, checkpoint, compile, context, mode, precision, seed, size, steps, warmup"
LEAVE_OUT = ", or leave these points out with a reason"
SHAPE = "known: activation, d_ff, d_model, is_tied, num_heads, num_kv_heads, num_layers, rope_theta, vocab_size"


def excluding(**exclusion: Any) -> dict[str, Any]:
    """Return a sweep of `small` with one exclusion."""
    return {"size": "small", "exclude": [{"reason": "known", **exclusion}]}


def sized(**shape: Any) -> dict[str, Any]:
    """Return a sweep of one size of one's own."""
    return {"size": "mine", "sizes": {"mine": OWN | shape}}


FAULTS_OF_FORM: tuple[tuple[dict[str, Any], str], ...] = (
    ({"size": "small", "tables": [{"columns": []}]}, "tables: a table has no columns: name at least one"),
    (
        {"size": "small", "tables": [{"columns": "size", "across": "warmups"}]},
        f"unknown axis 'warmups'; {AXES}; did you mean 'warmup'?",
    ),
    ({"size": "small", "tables": [{"columns": "size", "split": "d"}]}, f"unknown axis 'd'; {AXES}"),
    (
        {"size": "small", "tables": [{"columns": "size", "unit": "min"}]},
        "tables.0.unit is 'min': input should be 's', 'ms' or 'us'",
    ),
    ({"size": "small", "mode": "foward"}, f"unknown mode 'foward'; {MODES}; did you mean 'forward'?"),
    (
        {"size": "small", "precision": "FP32"},
        f"unknown precision 'FP32'; {PRECISIONS}; did you mean 'fp32'?",
    ),
    (
        {"size": "small", "compile": "on"},
        f"unknown compile 'on'; {COMPILE}",
    ),
    ({"size": "small", "checkpoint": "evry:2"}, f"unknown checkpoint 'evry:2'; {CHECKPOINTS}"),
    ({"size": "small", "checkpoint": ["none", "every:0"]}, f"unknown checkpoint 'every:0'; {CHECKPOINTS}"),
    (
        {"size": "small", "mode": "train_step", "checkpoint": ["ffn", "ffn"]},
        "checkpoint: ffn is named more than once: name each value once",
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
    ({"size": "small", "tied": 1}, "tied is 1; allowed: true or false"),
    (sized(is_tied="yes"), "sizes.mine.is_tied is 'yes'; allowed: true or false"),
    ({"size": "small", "activation": "gelo"}, "activation is 'gelo': input should be 'swiglu', 'gelu' or 'relu'"),
    ({"model": ":make"}, "unknown model ':make'; write it as module:function, as my_package.my_module:make_model"),
    ({"model": ["a:b", "a:b"]}, "model: a:b is named more than once: name each value once"),
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
    (ATTENTION | {"mask": "half"}, f"unknown mask 'half'; {MASKS}"),
    (ATTENTION | {"mask": ["full", "window:0"]}, f"unknown mask 'window:0'; {MASKS}"),
    (ATTENTION | {"d": [64, 257]}, "d is 257; allowed: at most 256"),
    (ATTENTION | {"phase": "backward"}, f"unknown phase 'backward'; {PHASES}; did you mean 'forward_backward'?"),
    (
        ATTENTION | {"precision": ["bf16", "bf16-pure"]},
        "precision: bf16-pure differs from bf16 in its weights, and attention alone has none: name bf16",
    ),
    (ATTENTION | {"cache": "hot"}, "cache is 'hot': input should be 'cold' or 'warm'"),
    (ATTENTION | {"compare": "eager"}, "compare is 'eager'; allowed: two backends with a slash, as eager/sdpa"),
    (ATTENTION | {"seq": []}, "seq: an axis without a value makes a sweep without cells: name at least one value"),
    (ATTENTION | {"shapes": [{"batch": 1, "heads": 2, "d": 16}]}, "shapes.0.seq is missing"),
    (
        ATTENTION | {"shapes": [SHAPE_OF_HEADS | {"hads": 2}]},
        "unknown field of shapes.0 'hads'; known: batch, d, heads, kv_heads, mask, seq; did you mean 'heads'?",
    ),
    (
        ATTENTION | {"exclude": [{"size": "small", "reason": "known"}]},
        "unknown field of exclude.0 'size'; known: backend, batch, compile, d, heads, kv_heads, mask, phase, "
        "precision, reason, seq, warmup; did you mean 'seq'?",
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
    (
        {"size": "small", "checkpoint": ["none", "ffn"]},
        "checkpoint 'ffn' has no effect on forward, which has no backward: "
        f"ask for it with forward_backward or train_step only{LEAVE_OUT}",
    ),
    (
        {"size": ["small", "medium"], "mode": "train_step", "checkpoint": "every:13"},
        "checkpoint 'every:13' makes groups of more blocks than the model's 12; "
        f"allowed: every:1 to every:12{LEAVE_OUT}",
    ),
    (
        {"model": "a:b", "size": "small", "layers": 3, "tied": True},
        "model 'a:b' brings its own shape: leave out layers, tied, size, or leave out the model",
    ),
    (
        {"model": "a:b", "attention": ["eager", "sdpa"]},
        "attention 'sdpa' is for the reference model, and has no effect on model 'a:b': leave it out, "
        "and name a factory for each way in which your model does it",
    ),
    (
        {"model": "a:b", "mode": "train_step", "checkpoint": "ffn"},
        "checkpoint 'ffn' is for the reference model, and has no effect on model 'a:b': leave it out, "
        "and name a factory for each way in which your model does it",
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
        "size, precision, attention, compile, checkpoint, batch, context, mode, warmup",
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
        {"size": "small", "tables": [{"columns": ["size", "mean"], "across": "size"}]},
        "tables: size stands twice among columns, split and across: name it in one",
    ),
    (
        {"size": "small", "context": 10**9},
        "context is 1000000000; allowed: at most 100,000,000",
    ),
    (ATTENTION | {"backend": "spda"}, f"unknown backend 'spda'; {BACKENDS}; did you mean 'sdpa'?"),
    (
        ATTENTION | {"heads": [6, 8], "kv_heads": 4},
        "kv_heads 4 does not divide heads 6: each key head serves the same number of query heads; leave these points "
        "out with a reason, or name the shapes one by one in `shapes`",
    ),
    (
        ATTENTION | {"shapes": [SHAPE_OF_HEADS | {"heads": 8, "kv_heads": 3}]},
        "shapes: kv heads 3 do not divide heads 8: each key head serves the same number of query heads",
    ),
    (
        ATTENTION | {"shapes": [SHAPE_OF_HEADS], "seq": 64, "d": 16},
        "shapes and d, seq both say which shapes: give one of them",
    ),
    (
        ATTENTION | {"shapes": [SHAPE_OF_HEADS, SHAPE_OF_HEADS | {"kv_heads": 2}]},
        "shapes names mask causal, batch 1, heads 2, kv_heads 2, d 16, seq 64 more than once: name each shape once",
    ),
    (
        ATTENTION | {"backend": ["flex", "sdpa"], "compile": ["off", "default"]},
        "backend 'flex' compiles itself, so compile 'default' has no meaning for it: leave compile off, or leave these "
        "points out with a reason",
    ),
    (
        ATTENTION | {"compare": "eager/flex"},
        "compare is 'eager/flex'; this sweep does not measure flex: its backends are eager, sdpa",
    ),
    (
        ATTENTION | {"compare": "eager/eager"},
        "compare is 'eager/eager'; allowed: two backends with a slash, as eager/sdpa",
    ),
    (ATTENTION | {"target": "1%", "steps": 10}, "steps and target both say how many samples: give one of them"),
    ({"kind": "atention"}, "unknown kind 'atention'; known: attention, step; did you mean 'attention'?"),
    ({"kind": ["attention"]}, "unknown kind ['attention']; known: attention, step; did you mean 'attention'?"),
)
"""Faults that only the program sees: they need other fields, or what the user's machine has."""
