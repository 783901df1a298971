"""Every claim, reading and piece of advice that a rule may use has its text, and every text is used."""

import re
from pathlib import Path

import pytest

import windtunnel.analysis
from published import SEEDS, findings_of, seed_text
from windtunnel.analysis.finding import Finding, Strength
from windtunnel.analysis.published.entries import Declared
from windtunnel.errors import SpecError
from windtunnel.language import texts_of
from windtunnel.report.wording import advice, ruled_out, sentence

_RULES = Path(windtunnel.analysis.__file__).parent
_SOURCE = "\n".join(
    file.read_text(encoding="utf-8")
    for folder in ("rules", "published", "")
    for file in (_RULES / folder).rglob("*.py")
)
_VARIANTS = (
    r"_(one|without_n|with_n_of_1|here|not_all|split|waiting|not_waiting|with_waits|without_capacity|range|calibration|"
    r"datasheet)$"
)
"""What rules put behind the name of a claim whose numbers say more, or less."""
TEXTS = texts_of("en")


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in ("claims", "readings", "advice") for name in TEXTS[kind]]
)
def test_every_text_is_used_by_a_rule(kind: str, name: str) -> None:
    stems = {name, shorter := re.sub(_VARIANTS, "", name), re.sub(_VARIANTS, "", shorter)}

    assert any(re.search(rf'"{stem}["_]', _SOURCE) for stem in stems)


@pytest.mark.parametrize("name", SEEDS)
def test_every_finding_of_a_seed_becomes_text(name: str) -> None:
    for one in findings_of(seed_text(name), Declared(unit="ms", steps=10, batch_size=4, gpu="h100", precision="fp32")):
        texts = (sentence(one), *ruled_out(one), advice(one) or "")
        assert not any(re.search(r"[{}]", text) for text in texts)


def test_no_text_asserts_a_cause() -> None:
    """A cause needs its own measurement, which no published table holds."""
    words = r"\b(because|due to|caused by|owing to|thanks to|leads to|explains why)\b"

    assert not [text for kind in TEXTS.values() for text in kind.values() if re.search(words, text)]


def test_an_unknown_language_is_refused() -> None:
    with pytest.raises(SpecError, match="unknown language 'fr'; known: en"):
        texts_of("fr")


def finding_between(low: float, high: float) -> Finding:
    return Finding(
        kind="steps",
        claim="step_takes",
        subject="steps",
        numbers={"name": "small", "seconds": low, "low_seconds": low, "high_seconds": high, "n": 10, "clock": "host"},
        evidence=("x",),
        strength=Strength.MEASURED,
    )


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.010, 0.011, "[10.0 ms, 11.0 ms]"),
        (0.010001, 0.010004, "[10.001 ms, 10.004 ms]"),
        (0.010, 0.010, "[10.0 ms, 10.0 ms]"),
    ],
)
def test_ends_that_would_look_the_same_have_more_digits(low: float, high: float, said: str) -> None:
    assert f"small takes 10.0 ms {said}" in sentence(finding_between(low, high))
