"""The CSV of prompts.chat: columns act, prompt, for_devs, type, contributor, as in RFC 4180.

Only `${name}` and `${name:default}` become variables: they are the one syntax that product fills
itself. Its texts are full of other brackets which are meant for the model ("I will put text inside
{curly brackets}"), so those stay, and `{{braces}}` are escaped because they mean nothing there.

The contributor column holds an e-mail address for many people. A contributor with one is dropped
whole, not shortened to the part before the @. Prompt texts are kept as they are, including any
address somebody wrote into them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from kb.prompts.exchange import (
    LONGEST_TEXT,
    LONGEST_TITLE,
    Note,
    Problem,
    content_hash,
    guess_language,
)
from kb.prompts.spellings import Syntax
from kb.prompts.template import MOST_VARIABLES, Candidate, Converted, Variable, convert, detect

Kind = Literal["text", "image", "audio", "video"]

COLUMNS = ("act", "prompt", "for_devs", "type", "contributor")
REQUIRED_COLUMNS = ("act", "prompt")
"""Older copies of the file have only these and for_devs."""
LONGEST_RECORD = 1_000_000
"""Characters of one row; beyond it, a quotation mark was never closed."""
TITLE_FROM_TEXT = 60
"""Characters of the prompt that stand in for a missing title."""

_KINDS: dict[str, tuple[Kind, bool]] = {
    "": ("text", False),
    "TEXT": ("text", False),
    "STRUCTURED": ("text", True),
    "JSON": ("text", True),
    "YAML": ("text", True),
    "IMAGE": ("image", False),
    "AUDIO": ("audio", False),
    "VIDEO": ("video", False),
}
_TRUE = ("TRUE", "1", "YES")
_SYNTAXES: tuple[Syntax, ...] = ("dollar",)
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_UNDECODED = re.compile("[\ud800-\udfff]")
"""What errors="surrogateescape" puts in place of a byte that is not UTF-8."""


@dataclass(frozen=True)
class Row:
    """One prompt of the file, in our terms.

    `line` is the physical line it begins on, 1 for the header. `text` has its variables as
    `{{ name }}`. `is_structured` tells that the text is JSON or YAML for the model. `for_devs` is
    that project's mark for prompts about code. `contributors` are handles, without addresses.
    `content_hash` is that of `text`; `language` a guess, `und` when there is none.
    """

    line: int
    title: str
    text: str
    variables: tuple[Variable, ...]
    kind: Kind
    is_structured: bool
    for_devs: bool
    contributors: tuple[str, ...]
    content_hash: str
    language: str
    notes: tuple[Note, ...]


def read(file: Iterable[str]) -> Iterator[Row | Problem]:
    """The prompts of a file, or of its lines, in order, with a Problem where one cannot be read.

    Open the file with `encoding="utf-8-sig", newline=""`, and with `errors="surrogateescape"` if
    one undecodable row is not to hide those after it. Never raises on data; memory holds one row
    at a time.
    """
    records = _records(_lines(file))
    header = next(records, None)
    if header is None:
        yield Problem(1, "empty", "The file is empty. Export prompts.csv again and import that.")
        return
    if isinstance(header, Problem):
        yield header
        return
    columns = [name.strip().lower() for name in header[1]]
    for name in REQUIRED_COLUMNS:
        if name not in columns:
            yield Problem(
                header[0],
                "column",
                f"The column “{name}” is missing; the first line reads “{', '.join(columns)[:80]}”."
                f" The columns are {', '.join(COLUMNS)}, separated by commas.",
            )
            return
    for record in records:
        yield record if isinstance(record, Problem) else _row(*record, columns)


# --- From characters to fields -----------------------------------------------------------------

# The csv module would do, but for its limit on the length of a field: that one belongs to the
# whole process, and real prompts are longer.
_FIELD = re.compile(r'(?:"(?P<quoted>[^"]*+(?:""[^"]*+)*+)"|(?P<plain>[^",\n]*+))(?P<end>,|\Z)')

_Record = tuple[int, list[str]]


def _lines(file: Iterable[str]) -> Iterator[str | UnicodeDecodeError]:
    """Physical lines ending in \\n, without a byte order mark, or the error that ended them."""
    lines = iter(file)
    mark = "\ufeff"
    while True:
        try:
            line = next(lines)
        except StopIteration:
            return
        except UnicodeDecodeError as error:
            yield error
            return
        yield line.removeprefix(mark).rstrip("\r\n") + "\n"
        mark = ""


def _records(lines: Iterable[str | UnicodeDecodeError]) -> Iterator[_Record | Problem]:
    """The fields of each row with its first line; blank lines are none."""
    pending: list[str] = []
    start = length = quotes = 0
    for number, line in enumerate(lines, start=1):
        if isinstance(line, UnicodeDecodeError):
            yield Problem(
                start if pending else number,
                "encoding",
                f"Near line {number} the file is not UTF-8. Save it as UTF-8 and import it again.",
            )
            return
        if not pending:
            if not line.strip():
                continue
            start, length, quotes = number, 0, 0
        quotes += line.count('"')
        length += len(line)
        # Beyond the limit lines are only counted, until the quotation mark is closed.
        if length <= LONGEST_RECORD or not pending:
            pending.append(line)
        is_open = quotes % 2 == 1
        if is_open and (number > start or _opens_a_field(line)):
            continue
        yield _parsed(start, "".join(pending), length)
        pending = []
    if pending:
        yield Problem(
            start,
            "csv",
            f"The quotation mark opened in the row of line {start} is never closed."
            " Close it, or double the marks inside the text.",
        )


def _opens_a_field(line: str) -> bool:
    """Whether a quotation mark left open on the first line of a row stands where a field begins."""
    position = 0
    while match := _FIELD.match(line, position):
        position = match.end()
    return line.startswith('"', position)


def _parsed(start: int, record: str, length: int) -> _Record | Problem:
    if length > LONGEST_RECORD:
        return Problem(
            start,
            "too_long",
            f"The row of line {start} has {length:,} characters; {LONGEST_RECORD:,} are allowed."
            " Look for a quotation mark that is not closed.",
        )
    record = record.removesuffix("\n")
    fields: list[str] = []
    position = 0
    while match := _FIELD.match(record, position):
        quoted, plain = match["quoted"], match["plain"]
        fields.append(plain if quoted is None else quoted.replace('""', '"'))
        position = match.end()
        if not match["end"]:
            return start, fields
    return Problem(
        start,
        "csv",
        f"In the row of line {start}, a quotation mark stands inside a field."
        " Put the whole field between quotation marks and double those inside.",
    )


# --- From fields to a prompt -------------------------------------------------------------------


def _row(line: int, fields: list[str], columns: list[str]) -> Row | Problem:
    if len(fields) != len(columns):
        return Problem(
            line,
            "columns",
            f"The row of line {line} has {len(fields)} columns, the first line {len(columns)}."
            " Put a field that holds commas between quotation marks.",
        )
    values = dict(zip(columns, fields, strict=True))
    if any(_UNDECODED.search(field) for field in fields):
        return Problem(
            line,
            "encoding",
            f"The row of line {line} is not UTF-8. Save the file as UTF-8 and import it again.",
        )
    notes: list[Note] = []
    written = _text(values["prompt"], notes)
    title = _title(values["act"], written, notes)
    if not written:
        return Problem(
            line, "empty", f"“{title}” (line {line}) has no prompt. Write one, or remove the row."
        )
    converted = convert(written, syntaxes=_SYNTAXES, adopt_existing=False)
    length = max(len(written), len(converted.text))
    if length > LONGEST_TEXT:
        return Problem(
            line,
            "too_long",
            f"“{title}” (line {line}) has {length:,} characters; {LONGEST_TEXT:,} are allowed."
            " Shorten it, or cut it into two prompts.",
        )
    notes += _notes_on_variables(written, converted)
    kind, is_structured = _kind(values.get("type", ""), notes)
    return Row(
        line=line,
        title=title,
        text=converted.text,
        variables=converted.variables,
        kind=kind,
        is_structured=is_structured,
        for_devs=values.get("for_devs", "").strip().upper() in _TRUE,
        contributors=_contributors(values.get("contributor", ""), notes),
        content_hash=content_hash(converted.text),
        language=_language(written, notes),
        notes=tuple(notes),
    )


def _text(field: str, notes: list[Note]) -> str:
    text = field.replace("\r\n", "\n").replace("\r", "\n")
    kept = _CONTROL.sub("", text)
    if kept != text:
        notes.append(Note("prompt", "dropped", "Control characters."))
    if "\\n" in kept and "\n" not in kept.strip():
        # That project's importer does so everywhere. A text that also has real line breaks means
        # its written-out ones: they stand in JSON and code, which this would damage. Its other
        # escapes are left: in the real file \t and \r only begin words (\true).
        kept = kept.replace("\\n", "\n")
        notes.append(Note("prompt", "approximated", "Each \\n written out became a line break."))
    return kept.strip()


def _title(field: str, text: str, notes: list[Note]) -> str:
    title = " ".join(_CONTROL.sub("", field).split())
    if not title and text:
        title = _shortened(" ".join(text.split()), TITLE_FROM_TEXT)
        notes.append(Note("act", "approximated", "There was no title; the first words stand in."))
    if len(title) > LONGEST_TITLE:
        title = _shortened(title, LONGEST_TITLE)
        notes.append(
            Note("act", "approximated", f"The title was cut at {LONGEST_TITLE} characters.")
        )
    return title


def _shortened(line: str, longest: int) -> str:
    """At most `longest` characters of `line`, ending with a word and an ellipsis when cut."""
    if len(line) <= longest:
        return line
    return (line[:longest].rpartition(" ")[0] or line[: longest - 1]).rstrip(" ,;:.") + "…"


def _kind(field: str, notes: list[Note]) -> tuple[Kind, bool]:
    name = field.strip().upper()
    if name not in _KINDS:
        notes.append(Note("type", "approximated", f"“{name[:30]}” is not known; taken as text."))
    return _KINDS.get(name, ("text", False))


def _contributors(field: str, notes: list[Note]) -> tuple[str, ...]:
    people = [name.strip().removeprefix("@") for name in field.split(",")]
    handles = [name for name in people if name and "@" not in name]
    if dropped := sum("@" in name for name in people):
        notes.append(
            Note("contributor", "dropped", f"E-mail addresses of contributors: {dropped}.")
        )
    return tuple(dict.fromkeys(handles))


def _language(text: str, notes: list[Note]) -> str:
    language = guess_language(text)
    if language != "und":
        notes.append(Note("language", "added", f"Guessed from the text: {language}."))
    return language


def _notes_on_variables(written: str, converted: Converted) -> list[Note]:
    """What the conversion changed beyond spelling."""
    notes: list[Note] = []
    defaults: dict[str, dict[str, None]] = {}
    for candidate in detect(written, _SYNTAXES):
        if candidate.default:
            defaults.setdefault(candidate.name, {})[candidate.default] = None
        notes += _notes_on(candidate)
    for name, found in defaults.items():
        if len(found) > 1:
            kept = next(iter(found))
            said = f"“{name}” has {len(found)} defaults; the first, “{kept[:60]}”, is kept."
            notes.append(Note("variables", "approximated", said))
    if converted.left:
        said = f"Only {MOST_VARIABLES} variables are allowed; left as text: {len(converted.left)}."
        notes.append(Note("variables", "approximated", said))
    if "\\{{" in converted.text:
        said = "Double braces are marked with a backslash: they are text, not variables."
        notes.append(Note("prompt", "approximated", said))
    return notes


def _notes_on(candidate: Candidate) -> Iterator[Note]:
    if candidate.raw[2:-1].partition(":")[0].strip() != candidate.name:
        said = f"{candidate.raw[:60]} is now called {candidate.name}."
        yield Note("variables", "approximated", said)
    if candidate.options:
        said = (
            f"The default of “{candidate.name}” lists choices; it is now a choice without default."
        )
        yield Note("variables", "approximated", said)
