"""What published tables call a precision, to the name that it has here."""

import re

from windtunnel.spec.tables import PRECISIONS

_FORMATS = {
    **dict.fromkeys(("float32", "fp32", "f32", "single", "32", "单精度"), "fp32"),
    "tf32": "tf32",
    **dict.fromkeys(("bfloat16", "bf16"), "bf16"),
    **dict.fromkeys(("float16", "fp16", "f16", "half", "16", "半精度"), "fp16"),
}
_MIXED = {"mixed", "amp", "autocast", "混合精度", "混合", "自动混合精度"}
"""Words of products in half precision on float32 weights; which half they do not say."""
_FILLING = {"precision", "torch", "pure", "true", "full", "dtype", "training", "精度", "训练"}
_SLOWEST_FIRST = ("fp32", "tf32", "bf16", "fp16")
"""By the peaks of datasheets, where both halves have the same one, or only float16 has one."""


def precision_of(text: str) -> str | None:
    """Return the name of a precision, or None where it is not understood.

    Of several formats, as in `bf16/fp32 mixed`, it is the one with the highest peak, so that no alarm rests on a guess.
    """
    if text in PRECISIONS:
        return text
    words = re.findall(r"[a-z0-9]+|[\u4e00-\u9fff]+", text.casefold())
    if any(word not in {*_FORMATS, *_MIXED, *_FILLING} for word in words):
        return None
    formats = {_FORMATS[word] for word in words if word in _FORMATS}
    if formats <= {"fp32"} and not _MIXED.isdisjoint(words):
        return "fp16"
    return max(formats, key=_SLOWEST_FIRST.index, default=None)
