"""A document as LaTeX: a file that compiles by itself, and whose tables another document can take one by one.

Number columns stand right and not in siunitx's S columns: entries such as `1.0 [0.9, 1.1]` or `out of memory` are no
numbers for it, and booktabs, longtable and array are in every TeX.
"""

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from itertools import count, groupby

from windtunnel.language import current_texts, writing_in
from windtunnel.report.document import (
    Block,
    Callout,
    Cell,
    Column,
    ColumnKind,
    Document,
    Figure,
    Paragraph,
    Table,
    printable,
    run_in,
)

_PREAMBLE = r"""% A windtunnel report.
% Alone: pdflatex, lualatex or xelatex; text beyond Latin letters needs one of the last two, Chinese also ctex.
% Table N of it in a document of yours that loads booktabs, longtable and array:
%   \def\windtunneltable{N}\input{report}\let\windtunneltable\undefined
\ifdefined\windtunneltable\else
\documentclass[a4paper,10pt]{article}
\ifdefined\Umathcode
\usepackage{fontspec}
\else
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage{textcomp}
\IfFileExists{lmodern.sty}{\usepackage{lmodern}}{}
\fi
\usepackage[landscape,margin=15mm]{geometry}
\usepackage{array,booktabs,longtable}
\setlength{\LTleft}{0pt}
\setlength{\parindent}{0pt}
\setlength{\parskip}{.5em}
\setlength{\emergencystretch}{4em}
\fi"""

# \ifdefined is a primitive: where another document takes one table, a skipped \if of a package would not be one.
_CHINESE_FONTS = r"""\ifdefined\windtunneltable\else
\ifdefined\Umathcode\IfFileExists{ctex.sty}{\usepackage[scheme=plain]{ctex}\renewcommand{\tablename}{表}}{}\fi
\fi"""

_ESCAPES = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "{}$&#_%"},
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}",
    "\ufffd": "{?}",
    "\u00a0": "~",
    "\u202f": r"\,",
    "\u2009": r"\,",
    "–": r"\textendash{}",
    "—": r"\textemdash{}",
    "…": r"\dots{}",
    "‘": r"\textquoteleft{}",
    "’": r"\textquoteright{}",
    "“": r"\textquotedblleft{}",
    "”": r"\textquotedblright{}",
    "·": r"\textperiodcentered{}",
    "°": r"\textdegree{}",
    "µ": r"\textmu{}",
    **{
        sign: rf"\ensuremath{{{name}}}"
        for sign, name in {
            "±": r"\pm",
            "×": r"\times",
            "−": "-",
            "≤": r"\le",
            "≥": r"\ge",
            "≈": r"\approx",
            "≠": r"\ne",
            "→": r"\to",
            "←": r"\leftarrow",
            "↑": r"\uparrow",
            "↓": r"\downarrow",
            "∞": r"\infty",
            "√": r"\surd",
            "∝": r"\propto",
            "²": "^2",
            "³": "^3",
            "α": r"\alpha",
            "β": r"\beta",
            "μ": r"\mu",
            "σ": r"\sigma",
            "τ": r"\tau",
            "ρ": r"\rho",
            "Δ": r"\Delta",
        }.items()
    },
}
_SPECIAL = re.compile(f"[{re.escape(''.join(_ESCAPES))}]")
_JOINING = re.compile("(?<=-)(?=-)|(?<=,)(?=,)")  # two of them are a ligature
_TAKEN = re.compile(r"^(?=[\[*])")  # at the start of a row, \\ takes them for its argument
_CHINESE = re.compile("[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef]")

_WIDEST = 170
"""Characters of a row that fit across the page in the smallest size; beyond, details are left out."""

_SIZES = ((110, r"\small"), (140, r"\footnotesize"), (_WIDEST, r"\scriptsize"))

_LONG_TEXT = 40
"""Characters; a column with longer texts wraps."""


def render_latex(document: Document) -> str:
    """Return the document as one LaTeX file; everything in it is escaped, figures are their text."""
    with writing_in(document.language):
        return _file(document)


def _file(document: Document) -> str:
    numbers = count(1)
    parts = [rf"\title{{{_escaped(document.title)}}}", r"\date{}", r"\begin{document}", r"\maketitle"]
    body = ["\n".join(parts)]
    for section in document.sections:
        body.append(rf"\section*{{{_escaped(section.heading)}}}")
        body += [_block(block, numbers) for block in section.blocks]
    body = [
        text for is_table, texts in groupby(body, key=_is_table) for text in (texts if is_table else _aside(*texts))
    ]
    end = "\\ifdefined\\windtunneltable\\expandafter\\endinput\\fi\n\\end{document}\n"
    preamble = [_PREAMBLE, _CHINESE_FONTS] if _CHINESE.search("".join(body)) else [_PREAMBLE]
    return "\n\n".join([*preamble, *body, end])


def _is_table(text: str) -> bool:
    return text.startswith(r"\ifnum")


def _aside(*texts: str) -> tuple[str, ...]:
    """Return what is left out where another document takes one table."""
    return r"\ifdefined\windtunneltable\else", *texts, r"\fi"


def _command(block: Paragraph | Callout) -> str:
    return rf" \texttt{{{_escaped(block.command)}}}" if block.command else ""


def _block(block: Block, numbers: Iterator[int]) -> str:
    match block:
        case Paragraph():
            lead = rf"\textbf{{{_escaped(run_in(block.lead))}}} " if block.lead else ""
            return f"{lead}{_escaped(block.text)}{_command(block)}\\par"
        case Callout():
            lead = _escaped(current_texts()["page"][block.kind.value])
            return rf"\textbf{{{lead}}} {_escaped(block.text)}{_command(block)}\par"
        case Figure():
            return rf"\textbf{{{_escaped(run_in(block.caption))}}} {_escaped(block.alternative)}\par"
        case Table():
            return _numbered(_table(block), next(numbers))


def _numbered(table: str, number: int) -> str:
    """Return a table that is there in the whole file, and where another document asks for its number."""
    wanted = rf"\ifdefined\windtunneltable\windtunneltable\else{number}\fi"
    return f"\\ifnum{wanted}={number} % Table {number}\n{table}\n\\fi"


def _table(table: Table) -> str:
    places = _places(table)
    columns = [table.columns[place] for place in places]
    rows = [[row[place] for place in places] for row in table.rows]
    widths = [_widest(row[place] for row in rows) for place in range(len(columns))]
    headers = _row(map(_header, columns, widths))
    head = "\n".join([r"\toprule", *_groups(columns), headers, r"\midrule"])
    note = f"\\par\\noindent {_escaped(table.note)}\\par" if table.note else ""
    spec = "".join(_column_spec(column, [row[n] for row in rows]) for n, column in enumerate(columns))
    lines = [
        rf"\begingroup{_size(_width(columns, rows))}\setlength{{\tabcolsep}}{{.4em}}",
        rf"\begin{{longtable}}{{@{{}}{spec}@{{}}}}",
        rf"\caption{{{_escaped(table.caption)}}}\\",
        head,
        r"\endfirsthead",
        head,
        r"\endhead",
        r"\bottomrule",
        r"\endlastfoot",
        *(_row(_escaped(cell.text) for cell in row) for row in rows),
        r"\end{longtable}",
        *([note] if note else []),
        r"\endgroup",
    ]
    return "\n".join(lines)


def _places(table: Table) -> list[int]:
    """Return which columns are shown: details only where there is room."""
    every = list(range(len(table.columns)))
    if _width(table.columns, table.rows) <= _WIDEST:
        return every
    return [place for place in every if not table.columns[place].is_detail] or every


def _width(columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> int:
    entries = [_widest(row[place] for row in rows) for place in range(len(columns))]
    heads = [max(map(len, _head(column, width))) for column, width in zip(columns, entries, strict=True)]
    return sum(min(_LONG_TEXT, max(pair)) + 2 for pair in zip(entries, heads, strict=True))


def _widest(cells: Iterable[Cell]) -> int:
    return max((len(cell.text) for cell in cells), default=0)


def _size(width: int) -> str:
    return next((size for most, size in _SIZES if width <= most), r"\tiny")


def _column_spec(column: Column, cells: Iterable[Cell]) -> str:
    if column.kind is ColumnKind.NUMBER:
        return "r"
    if any(len(cell.text) > _LONG_TEXT for cell in cells):
        return r">{\raggedright\arraybackslash}p{.25\linewidth}"
    return "l"


def _groups(columns: Sequence[Column]) -> list[str]:
    """Return the row above the headers, with a rule under each group; nothing where there is no group."""
    spans = [(group, len(list(members))) for group, members in groupby(columns, key=lambda column: column.group)]
    if not any(group for group, _ in spans):
        return []
    entries: list[str] = []
    rules: list[str] = []
    place = 1
    for group, span in spans:
        entries.append(rf"\multicolumn{{{span}}}{{c}}{{{_escaped(group)}}}")
        if group:
            rules.append(rf"\cmidrule(lr){{{place}-{place + span - 1}}}")
        place += span
    return [_row(entries), "".join(rules)]


def _head(column: Column, width: int) -> list[str]:
    """Return the lines of a header, broken where that makes its column narrower; the unit has one of its own."""
    name = printable(column.name)
    lines = textwrap.wrap(name, max(width, *map(len, name.split()), 1)) or [""]
    return [*lines, f"({column.unit})"] if column.unit else lines


def _header(column: Column, width: int) -> str:
    side = "r" if column.kind is ColumnKind.NUMBER else "l"
    lines = [_escaped(line) for line in _head(column, width)]
    text = lines[0] if len(lines) == 1 else rf"\shortstack[{side}]{{{(chr(92) * 2).join(lines)}}}"
    return rf"\multicolumn{{1}}{{{side}}}{{{text}}}"


def _row(entries: Iterable[str]) -> str:
    return " & ".join(entries) + r" \\"


def _escaped(text: str) -> str:
    plain = _SPECIAL.sub(lambda found: _ESCAPES[found[0]], " ".join(printable(text).split()))
    return _TAKEN.sub("{}", _JOINING.sub("{}", plain))
