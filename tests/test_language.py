"""Templates are looked up by their English text; what a language lacks is an error and never English in between."""

import pytest

from windtunnel.errors import SpecError, WindtunnelError
from windtunnel.language import counted, current_language, listed, say, word, writing_in


def test_english_is_as_the_code_has_it() -> None:
    assert say("{some} of {all}", some="1", all="2") == "1 of 2"
    assert [counted(number, "cell") for number in (0, 1, 1234)] == ["0 cells", "1 cell", "1,234 cells"]
    assert listed(["a", "b"]) == "a, b"


def test_a_language_that_is_not_there_is_an_error() -> None:
    with pytest.raises(SpecError, match="'xx'"), writing_in("xx"):
        pass
    assert current_language() == "en"


def test_a_word_that_nobody_knows_stays() -> None:
    assert word("no such word {x}") == "no such word {x}"


def test_a_text_without_fields_may_hold_braces() -> None:
    assert say("{x}") == "{x}"


def test_a_language_without_a_text_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    empty = {"texts": {}, "counted": {}}
    monkeypatch.setattr("windtunnel.language.texts_of", lambda name: empty)
    with writing_in("xx"), pytest.raises(WindtunnelError, match=r"texts/xx\.toml"):
        say("A text.")
