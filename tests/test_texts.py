"""Every text of the code is there in every language, with the same fields, and nothing of a language is left over."""

import ast
import string
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

import windtunnel
from windtunnel.analysis.kernel_kinds import WorkKind
from windtunnel.cost.time import Bound
from windtunnel.language import ENGLISH, languages, texts_of
from windtunnel.records.memory_ledger import Category
from windtunnel.records.profile import Part
from windtunnel.records.record import ClockName, Status
from windtunnel.records.throttling import THROTTLE_REASONS
from windtunnel.spec.tables import PRECISIONS, WORKLOADS
from windtunnel.statistics.paired import Verdict
from windtunnel.statistics.racing import Standing
from windtunnel.sweep.engine import STAGE_LABELS
from windtunnel.sweep.tuning import Place

SOURCE = Path(windtunnel.__file__).parent
OTHERS = sorted(languages() - {ENGLISH})
KEYED = sorted(texts_of(ENGLISH).keys() - {"joining", "words"})
"""Tables in which every language has the same entries; what joins, and which names are words, is a language's own."""


@cache
def calls() -> dict[str, dict[str, str]]:
    """Return the texts of all calls of `say` and the nouns of all calls of `counted`, each with a place of it."""
    found: dict[str, dict[str, str]] = {"say": {}, "counted": {}}
    for file in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        imported = {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module == "windtunnel.language"
            for alias in node.names
        }
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
                continue
            name = node.func.id
            if name in found and (name in imported or file.name == "language.py"):
                place = f"{file.relative_to(SOURCE)}:{node.lineno}"
                found[name].setdefault(literal_of(node, place), place)
    return found


def literal_of(call: ast.Call, place: str) -> str:
    assert isinstance(call.func, ast.Name)
    text = call.args[0 if call.func.id == "say" else 1]
    assert isinstance(text, ast.Constant), f"{place}: not one literal"
    assert isinstance(text.value, str), f"{place}: not one literal"
    if call.func.id == "say":
        given = {keyword.arg for keyword in call.keywords}
        # Of fields in a mapping (`**fields`) the code does not say which they are.
        known, wanted = given - {None}, fields_of(text.value)
        assert known == wanted or (None in given and known < wanted), f"{place}: {given} do not fill {text.value!r}"
    return text.value


def fields_of(template: str) -> set[str | None]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}


def tables_of(language: str) -> Iterator[tuple[str, str, str, str]]:
    """Yield each text with its table, its name, and what it has to have the fields of."""
    for table in KEYED:
        for name, text in texts_of(language)[table].items():
            yield table, name, text, texts_of(ENGLISH)[table].get(name, "")
    for english, text in texts_of(language)["texts"].items():
        yield "texts", english, text, english
    for noun, text in texts_of(language)["counted"].items():
        yield "counted", noun, text, "{n}"


@pytest.mark.parametrize("language", OTHERS)
@pytest.mark.parametrize(("name", "table"), [("say", "texts"), ("counted", "counted")])
def test_every_text_of_the_code_is_there_and_none_is_left_over(language: str, name: str, table: str):
    there, asked = texts_of(language)[table], calls()[name]

    assert {text: place for text, place in asked.items() if text not in there} == {}
    assert sorted(there.keys() - asked.keys()) == []


@pytest.mark.parametrize("language", OTHERS)
def test_every_keyed_text_is_there_and_none_is_left_over(language: str):
    for table in KEYED:
        assert texts_of(language)[table].keys() == texts_of(ENGLISH)[table].keys(), table
    assert texts_of(ENGLISH)["words"].keys() <= texts_of(language)["words"].keys()


@pytest.mark.parametrize("language", OTHERS)
def test_every_text_has_the_fields_of_the_english_one(language: str):
    wrong = [
        (table, name) for table, name, text, english in tables_of(language) if fields_of(text) != fields_of(english)
    ]

    assert wrong == []


@pytest.mark.parametrize("language", OTHERS)
def test_no_text_is_english_that_was_left_as_it_is(language: str):
    """A sentence with a field or a mark of its end, in the same letters as in English, was not translated."""
    same = [name for table, name, text, english in tables_of(language) if text == english and english.endswith(".")]

    assert same == []


NAMES_IN_DATA: dict[str, Iterable[str]] = {
    "status": Status,
    "stage": ("start", "build", "compile", "measure", "probe", "clean"),
    "clock": ClockName,
    "phase": {phase for kind in WORKLOADS.values() for phase in kind.timed},
    "timed region": {inside for kind in WORKLOADS.values() for inside in kind.timed.values()},
    "workload": WORKLOADS,
    "precision": (precision.description for precision in PRECISIONS.values()),
    "category": Category,
    "part": Part,
    "kind of work": WorkKind,
    "bound": Bound,
    "verdict": Verdict,
    "what became of a candidate": (*Place, *Standing),
    "reason for a clock": THROTTLE_REASONS.values(),
    "where the time went": STAGE_LABELS.values(),
}
"""Names that records and plans hold and that reports show by `word`, which lets what it does not know through."""


@pytest.mark.parametrize("language", OTHERS)
@pytest.mark.parametrize("what", NAMES_IN_DATA)
def test_every_name_in_data_has_a_word(language: str, what: str):
    words = texts_of(language)["words"]

    assert [name for name in map(str, NAMES_IN_DATA[what]) if name not in words] == []


@pytest.mark.parametrize("language", OTHERS)
def test_a_language_has_every_word_that_another_has(language: str):
    every = {name for other in OTHERS for name in texts_of(other)["words"]}

    assert sorted(every - texts_of(language)["words"].keys()) == []
