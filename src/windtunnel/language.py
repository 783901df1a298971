"""The language that text is written in: English as it stands in the code, every other by one file of `texts/`.

A template is looked up by its English text, so that code reads as what it says:

    say("{some} of {all}", some=counted(3, "cell"), all=counted(5, "cell"))
"""

import string
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, reduce
from importlib import resources
from typing import Any

from windtunnel.errors import SpecError, WindtunnelError

ENGLISH = "en"

_WIDE_MARKS = frozenset("\u3001\u3002\uff01\uff08\uff09\uff0c\uff1a\uff1b\uff1f\u201c\u201d\u300a\u300b")

Texts = Mapping[str, Mapping[str, str]]
"""Tables of a language by their names; those of English alone hold no `texts` and no `counted`, which the code has."""

_language: ContextVar[str] = ContextVar("language", default=ENGLISH)


@cache
def languages() -> frozenset[str]:
    """Return the names of all languages, as BCP 47 has them."""
    folder = resources.files("windtunnel") / "texts"
    return frozenset(file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml"))


@cache
def texts_of(language: str) -> Texts:
    """Return the tables of a language.

    Raises:
        SpecError: There is none of that name.
    """
    if language not in languages():
        known = ", ".join(sorted(languages()))
        raise SpecError(f"unknown language {language!r}; known: {known}; name one of these, or none for English")
    file = resources.files("windtunnel") / "texts" / f"{language}.toml"
    return tomllib.loads(file.read_text(encoding="utf-8"))


@contextmanager
def writing_in(language: str) -> Iterator[None]:
    """Write all text in a language until the context ends.

    Raises:
        SpecError: There is none of that name.
    """
    texts_of(language)
    token = _language.set(language)
    try:
        yield
    finally:
        _language.reset(token)


def current_language() -> str:
    """Return the name of the language that text is written in now."""
    return _language.get()


def current_texts() -> Texts:
    """Return the tables of the language that text is written in now."""
    return texts_of(_language.get())


def say(template: str, /, **fields: Any) -> str:
    """Return a template in the language of now, its fields filled in as by `str.format`.

    The template stands in the call as one literal, since a test reads all of them from the code. Write numbers with
    units.py before they come here.

    Raises:
        WindtunnelError: The language has no such text.
    """
    language = _language.get()
    if language == ENGLISH:
        return template.format(**fields) if fields else template
    template = _in(language, "texts", template)
    return fill(template, fields) if fields else template


def fill(template: str, fields: Mapping[str, Any], write: Callable[[Any, str], str] = format) -> str:
    """Return a template of the language of now, its fields written by `write`, which is given what follows their colon.

    Where a language says so, a field and what stands beside it are set apart by script and not by the template.
    """
    pieces: list[str] = []
    for literal, name, spec, conversion in _parsed(template):
        pieces.append(literal)
        if name is not None:
            value = fields[name]
            pieces.append(write(repr(value) if conversion == "r" else value, spec or ""))
    return _met(pieces)


def passage(sentences: Iterable[str]) -> str:
    """Write sentences one after another."""
    known = [sentence for sentence in sentences if sentence]
    return (
        " ".join(known)
        if _language.get() == ENGLISH
        else _met(piece for sentence in known for piece in (" ", sentence)).lstrip(" ")
    )


def word(name: str) -> str:
    """Return a word of the field that is also a name in data (a phase, a status, an axis) in the language of now.

    What is no such word, as a name that a user gave, stays as it is.
    """
    return current_texts()["words"].get(name, name)


def counted(number: int, noun: str) -> str:
    """Write how many there are of something: '1 cell', '1,234 cells'; the noun is one literal, in the singular.

    Raises:
        WindtunnelError: The language has no such noun.
    """
    language = _language.get()
    if language != ENGLISH:
        return fill(_in(language, "counted", noun), {"n": f"{number:,}"})
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def listed(items: Iterable[str]) -> str:
    """Write several things in a row: 'eager, sdpa, flash-triton'."""
    return ", ".join(items) if _language.get() == ENGLISH else current_texts()["joining"]["comma"].join(items)


def apart(items: Iterable[str]) -> str:
    """Write several things in a row that may have commas themselves: 'small, eager; wide, sdpa'."""
    return "; ".join(items) if _language.get() == ENGLISH else current_texts()["joining"]["semicolon"].join(items)


def alternatives(items: Iterable[str]) -> str:
    """Write several things of which one holds: 'eager or sdpa'; nothing where there is none."""
    first, *others = [*items] or [""]
    return reduce(lambda one, other: say("{one} or {other}", one=one, other=other), others, first)


@cache
def _parsed(template: str) -> tuple[tuple[str, str | None, str | None, str | None], ...]:
    return tuple(string.Formatter().parse(template))


def _met(pieces: Iterable[str]) -> str:
    """Join the pieces of a text; `gap` is what its language has between its own script and Latin letters or digits."""
    gap = current_texts()["joining"].get("gap")
    if gap is None:
        return "".join(pieces)
    text = ""
    for piece in pieces:
        left, right = text.rstrip(" "), piece.lstrip(" ")
        if not left or not right:
            text += piece
            continue
        one, other = _script(left[-1]), _script(right[0])
        if "mark" in (one, other) or one == other == "wide":
            text = left + right
        elif {one, other} == {"wide", "latin"}:
            text = left + gap + right
        else:
            text += piece
    return text


def _script(letter: str) -> str:
    """Say whether a letter is one of a script without spaces, a mark as wide as its letters, or a letter of another."""
    if letter in _WIDE_MARKS:
        return "mark"
    if "\u3040" <= letter <= "\u9fff" or "\uac00" <= letter <= "\ud7a3":
        return "wide"
    return "latin" if letter.isalnum() else "other"


def _in(language: str, table: str, text: str) -> str:
    found = texts_of(language)[table].get(text)
    if found is None:
        raise WindtunnelError(f"No text of {language} in [{table}] for {text!r}; add it to texts/{language}.toml")
    return found
