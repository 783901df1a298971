"""The words of the HTML page that are its own: buttons, labels and notes, in one place for each language."""

from dataclasses import dataclass

from windtunnel.report.document import CalloutKind


@dataclass(frozen=True, kw_only=True, slots=True)
class PageWords:
    """What the page says besides its document; a name in braces is filled in when it is said."""

    language: str  # of the whole page, as BCP 47 has it
    skip: str
    sections: str
    footer: str
    note: str
    warning: str
    failure: str
    needs_script: str
    not_drawn: str
    to_dark: str
    to_light: str
    filter: str
    rows_shown: str
    intervals: str
    samples: str
    data: str
    data_of: str
    series: str
    point: str
    value: str

    def lead(self, kind: CalloutKind) -> str:
        """Return the run-in heading of a callout."""
        return {CalloutKind.NOTE: self.note, CalloutKind.WARNING: self.warning, CalloutKind.FAILURE: self.failure}[kind]


ENGLISH = PageWords(
    language="en",
    skip="Skip to the results",
    sections="Sections",
    footer="Written by windtunnel. This file is complete: it needs no network and asks for none.",
    note="Note.",
    warning="Warning.",
    failure="Failed.",
    needs_script="This chart needs a browser with JavaScript.",
    not_drawn="This chart could not be drawn ({reason}).",
    to_dark="Dark colours",
    to_light="Light colours",
    filter="Filter rows",
    rows_shown="{n} of {m} rows",
    intervals="Intervals",
    samples="Raw samples",
    data="Data of this chart",
    data_of="Data of: {caption}",
    series="series",
    point="at",
    value="value",
)
