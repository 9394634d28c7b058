"""The holes of a prompt: `{{ name }}`, what fills them, and what a pasted text writes instead.

Inside the product a hole is only ever `{{ name }}`, name being a letter of any script followed by
letters, digits, `_` or `-`. There is no logic in the braces and nothing is ever evaluated. A
backslash in front makes the braces literal: `\\{{name}}` stands for `{{name}}`, `\\\\{{name}}` for a
backslash followed by the hole. Every other brace means itself.

`fill` and `segments` work on that form; `detect` and `convert` bring other ways of writing a
placeholder into it. All of them take time linear in the length of the text.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast, get_args

from kb.prompts.spellings import SYNTAXES, Spelling, Syntax, spellings

VariableType = Literal["text", "long_text", "number", "date", "choice"]
VARIABLE_TYPES: tuple[VariableType, ...] = get_args(VariableType)

NAME_LENGTH = 64
LABEL_LENGTH = 120
HELP_LENGTH = 300
DEFAULT_LENGTH = 20_000
MOST_OPTIONS = 50
OPTION_LENGTH = 200
MOST_VARIABLES = 60
"""A form longer than this is a questionnaire, not a prompt."""
LONGEST_FILLED = 2_000_000
"""Characters of a filled text; twice what the largest context windows hold."""


class InvalidVariable(ValueError):
    """A description of a variable that cannot be kept.

    `name` is the variable, `value` what was refused, `reason` one of a fixed set of English
    sentences which a door may translate.
    """

    def __init__(self, name: str, value: object, reason: str) -> None:
        super().__init__(f"Variable “{name}”: {value!r}: {reason}")
        self.name = name
        self.value = value
        self.reason = reason


class MissingVariables(ValueError):
    """Holes of the text have neither a value nor a default; `names` lists all of them in order."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(f"Give a value to: {', '.join(names)}.")
        self.names = tuple(names)


def is_name(name: str) -> bool:
    """Whether `name` can stand in a hole: NFC, at most 64 characters, a letter first."""
    return (
        0 < len(name) <= NAME_LENGTH
        and unicodedata.category(name[0])[0] == "L"
        and all(_continues_a_name(sign) for sign in name)
        and unicodedata.is_normalized("NFC", name)
    )


def _continues_a_name(sign: str) -> bool:
    # Marks belong to the letters of many scripts: without them no Hindi word could be a name.
    category = unicodedata.category(sign)
    return sign in "_-" or category[0] in "LM" or category == "Nd"


@dataclass(frozen=True)
class Variable:
    """What is known of the hole `{{ name }}`. Raises InvalidVariable when it cannot be kept.

    `default` fills the hole when no value is given. `options` are for the type `choice` alone,
    and its default is one of them or empty.
    """

    name: str
    label: str = ""
    type: VariableType = "text"
    default: str = ""
    help: str = ""
    required: bool = True
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not is_name(self.name):
            reason = "A name is a letter, then letters, digits, _ or -, 64 at most."
            raise InvalidVariable(self.name, self.name, reason)
        if self.type not in VARIABLE_TYPES:
            reason = "The type is one of text, long_text, number, date, choice."
            raise InvalidVariable(self.name, self.type, reason)
        for value, longest, reason in (
            (self.label, LABEL_LENGTH, "A label has at most 120 characters."),
            (self.help, HELP_LENGTH, "A help text has at most 300 characters."),
            (self.default, DEFAULT_LENGTH, "A default has at most 20,000 characters."),
            *(
                (option, OPTION_LENGTH, "An option has at most 200 characters.")
                for option in self.options
            ),
        ):
            self._check_text(value, longest, reason)
        self._check_options()

    def _check_text(self, value: str, longest: int, reason: str) -> None:
        if len(value) > longest:
            raise InvalidVariable(self.name, f"{value[:30]}…", reason)
        # A database keeps neither; refusing here is kinder than failing there.
        if "\x00" in value or any("\ud800" <= sign <= "\udfff" for sign in value):
            raise InvalidVariable(
                self.name, value[:30], "The text holds a character that is not text."
            )

    def _check_options(self) -> None:
        if self.type != "choice":
            if self.options:
                raise InvalidVariable(self.name, self.options, "Only a choice has options.")
            return
        if not self.options:
            raise InvalidVariable(self.name, self.options, "A choice needs at least one option.")
        if len(self.options) > MOST_OPTIONS:
            raise InvalidVariable(self.name, len(self.options), "A choice has at most 50 options.")
        if any(not option.strip() for option in self.options):
            raise InvalidVariable(self.name, self.options, "An option cannot be empty.")
        if len(set(self.options)) < len(self.options):
            raise InvalidVariable(self.name, self.options, "Each option is listed once.")
        if self.default and self.default not in self.options:
            raise InvalidVariable(self.name, self.default, "The default is one of the options.")

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> Variable:
        """Read what `to_dict` wrote, or what a program sent; only `name` must be there.

        The name is brought to NFC. Raises InvalidVariable for anything missing, unknown or of
        the wrong kind.
        """
        name = data.get("name")
        if not isinstance(name, str):
            raise InvalidVariable(str(name or ""), name, "A variable has a name.")
        name = unicodedata.normalize("NFC", name.strip())
        for key, value in data.items():
            if key not in _KINDS:
                raise InvalidVariable(name, key, "A variable has no such field.")
            if not isinstance(value, _KINDS[key]):
                raise InvalidVariable(name, value, _WRONG_KIND[_KINDS[key]])
        options = cast("Sequence[object]", data.get("options", ()))
        if not all(isinstance(option, str) for option in options):
            raise InvalidVariable(name, options, "Options are a list of texts.")
        rest = {key: value for key, value in data.items() if key not in ("name", "options")}
        return cls(name=name, options=tuple(cast("Sequence[str]", options)), **rest)  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, object]:
        """Every field as JSON can carry it; `from_dict` reads it back to an equal Variable."""
        return {
            "name": self.name,
            "label": self.label,
            "type": self.type,
            "default": self.default,
            "help": self.help,
            "required": self.required,
            "options": list(self.options),
        }


_KINDS: dict[str, type | tuple[type, ...]] = {
    "name": str,
    "label": str,
    "type": str,
    "default": str,
    "help": str,
    "required": bool,
    "options": (list, tuple),
}
_WRONG_KIND: dict[type | tuple[type, ...], str] = {
    str: "This field is a text.",
    bool: "This field is true or false.",
    (list, tuple): "Options are a list of texts.",
}


def variables_from(data: Iterable[Mapping[str, object]]) -> tuple[Variable, ...]:
    """The variables of a prompt from their dicts, in order.

    Raises InvalidVariable for a bad one, a name that comes twice, or more than 60 of them.
    """
    found: dict[str, Variable] = {}
    for entry in data:
        variable = Variable.from_dict(entry)
        if variable.name in found:
            raise InvalidVariable(variable.name, variable.name, "Two variables have this name.")
        if len(found) == MOST_VARIABLES:
            raise InvalidVariable(
                variable.name, variable.name, "A prompt has at most 60 variables."
            )
        found[variable.name] = variable
    return tuple(found.values())


# --- Reading and filling `{{ name }}` ----------------------------------------------------------

# French keyboards put non-breaking spaces inside braces. Possessive quantifiers and the look-behind
# keep a run of spaces or backslashes from being read more than once.
_SPACES = "[ \\t\u00a0\u202f]*+"
_HOLE = re.compile(
    r"(?<!\\)(?P<backslashes>\\*+)"
    rf"(?P<braces>\{{\{{{_SPACES}(?P<name>[^\s{{}}\\]{{1,{2 * NAME_LENGTH}}}+){_SPACES}\}}\}})"
)


class _Hole(NamedTuple):
    """`{{ name }}` as found in a text, with the backslashes in front of it."""

    start: int
    end: int
    backslashes: int
    braces: str
    name: str

    @property
    def is_live(self) -> bool:
        return self.backslashes % 2 == 0


def _holes(text: str) -> Iterator[_Hole]:
    if "{{" not in text:
        return
    known: dict[str, str] = {}
    for match in _HOLE.finditer(text):
        backslashes, braces, written = match.groups()
        name = known.get(written)
        if name is None:
            name = unicodedata.normalize("NFC", written)
            known[written] = name = name if is_name(name) else ""
        if name:
            yield _Hole(match.start(), match.end(), len(backslashes), braces, name)


def names(text: str) -> list[str]:
    """The distinct names of the holes of `text`, in order of appearance; escaped ones are none."""
    return list(dict.fromkeys(hole.name for hole in _holes(text) if hole.is_live))


def escape(text: str) -> str:
    """`text` with everything that could be read as a hole made literal.

    `fill(escape(text), {}, anything)` is `text`; importers use it for text of foreign origin.
    """
    return _rewritten(text, ((hole.start, hole.end, _escaped(hole)) for hole in _holes(text)))


def _escaped(hole: _Hole) -> str:
    return "\\" * (2 * hole.backslashes + 1) + hole.braces


@dataclass(frozen=True)
class Segment:
    """A stretch of a prompt: literal text when `variable` is None, else a hole as it was written."""

    text: str
    variable: Variable | None = None


def segments(text: str, variables: Iterable[Variable]) -> list[Segment]:
    """`text` cut into literal stretches and holes, to draw it or to fill it.

    Only declared variables make holes; literal stretches have their escapes resolved.
    """
    declared = {variable.name: variable for variable in variables}
    cut: list[Segment] = []
    literal: list[str] = []
    position = 0
    for hole in _holes(text):
        literal += [text[position : hole.start], "\\" * (hole.backslashes // 2)]
        position = hole.end
        variable = declared.get(hole.name) if hole.is_live else None
        if variable is None:
            literal.append(hole.braces)
            continue
        cut += [*_literal(literal), Segment(hole.braces, variable)]
        literal = []
    literal.append(text[position:])
    return [*cut, *_literal(literal)]


def _literal(parts: list[str]) -> list[Segment]:
    text = "".join(parts)
    return [Segment(text)] if text else []


def fill(
    text: str, values: Mapping[str, str], variables: Iterable[Variable], *, partial: bool = False
) -> str:
    """`text` with its holes replaced, once and literally: braces inside a value stay as they are.

    A hole takes its value, else its default, else nothing when it is not required; an empty value
    is none. A required hole without a value, or with nothing but spaces, raises MissingVariables
    naming all of them. When `partial`, holes without a value stay as written instead. Values of
    undeclared names are ignored.
    """
    filled: list[str] = []
    missing: dict[str, None] = {}
    for segment in segments(text, variables):
        variable = segment.variable
        if variable is None:
            filled.append(segment.text)
            continue
        value = values.get(variable.name) or variable.default
        is_missing = variable.required and not value.strip()
        if is_missing:
            missing[variable.name] = None
        stays = is_missing or (partial and not value)
        filled.append(segment.text if stays else value)
    if missing and not partial:
        raise MissingVariables(list(missing))
    return "".join(filled)


def filled_length(text: str, values: Mapping[str, str], variables: Iterable[Variable]) -> int:
    """Characters `fill` would make of `text`, told without making them: to refuse in time.

    A long value in many holes fills a machine's memory; callers refuse beyond LONGEST_FILLED.
    """
    length = 0
    for segment in segments(text, variables):
        variable = segment.variable
        value = values.get(variable.name) or variable.default if variable else ""
        length += len(value or segment.text)
    return length


def _rewritten(text: str, replacements: Iterable[tuple[int, int, str]]) -> str:
    """`text` with the given spans, sorted and apart from each other, replaced."""
    parts: list[str] = []
    position = 0
    for start, end, replacement in replacements:
        parts += [text[position:start], replacement]
        position = end
    return "".join([*parts, text[position:]])


# --- Placeholders in other people's syntaxes ---------------------------------------------------


@dataclass(frozen=True)
class Candidate:
    """A spelling that looks like a placeholder, proposed for conversion.

    `raw` is the spelling itself and appears `count` times; two spellings are two candidates even
    when they give the same `name`. `type` and `options` are a guess from name and default.
    """

    syntax: Syntax
    raw: str
    name: str
    label: str
    default: str
    type: VariableType
    options: tuple[str, ...]
    count: int


@dataclass(frozen=True)
class Converted:
    """`text` in the `{{ name }}` form, its variables in order of appearance.

    `left` are the spellings that stayed as they were because 60 variables is the limit.
    """

    text: str
    variables: tuple[Variable, ...]
    left: tuple[str, ...] = ()


def detect(text: str, syntaxes: Collection[Syntax] = SYNTAXES) -> list[Candidate]:
    """Spellings in `text` that a person would call placeholders, in order of first appearance.

    Meant to be shown and accepted one by one, and careful about what only looks like one: code,
    shell variables, links, check boxes, citations, mark-up, option lists, song and log labels.
    `[X]`, `{X}`, `<X>` and `%X%` count only in capitals.
    """
    return _candidates(spellings(text, syntaxes))


def convert(
    text: str,
    accepted: Collection[str] | None = None,
    *,
    syntaxes: Collection[Syntax] = SYNTAXES,
    adopt_existing: bool = True,
) -> Converted:
    """Rewrite the accepted spellings (`raw` of candidates; None: all of them) to `{{ name }}`.

    Holes already in the text become variables too, unless `adopt_existing` is False: then `text`
    is foreign, means nothing by `{{x}}`, and such braces are escaped. Spellings with one name and
    one label are one variable, with the first default among them; same name and another label
    gives `name_2`. Whatever is not rewritten reads the same after `fill` as before.
    """
    found = spellings(text, syntaxes)
    wanted = {
        candidate.raw: candidate
        for candidate in _candidates(found)
        if accepted is None or candidate.raw in accepted
    }
    existing = list(_holes(text))
    taken = {hole.name for hole in existing if hole.is_live and adopt_existing}
    names_by_raw = _distinct_names(wanted.values(), taken)
    places: list[Spelling | _Hole] = [*existing, *(s for s in found if s.raw in wanted)]
    places.sort(key=lambda place: place.start)
    variables: dict[str, Variable] = {}
    left: dict[str, None] = {}
    replacements: list[tuple[int, int, str]] = []
    for place in places:
        if isinstance(place, _Hole):
            if not adopt_existing:
                replacements.append((place.start, place.end, _escaped(place)))
            elif place.is_live:
                _declare(variables, place.name, _label(place.name))
            continue
        candidate, name = wanted[place.raw], names_by_raw[place.raw]
        if _declare(variables, name, candidate.label, candidate.default, candidate.options):
            replacements.append((place.start, place.end, f"{{{{ {name} }}}}"))
        else:
            left[place.raw] = None
    return Converted(_rewritten(text, replacements), tuple(variables.values()), tuple(left))


def _candidates(found: Sequence[Spelling]) -> list[Candidate]:
    firsts: dict[str, Spelling] = {}
    for spelling in found:
        firsts.setdefault(spelling.raw, spelling)
    counts = Counter(spelling.raw for spelling in found)
    return [
        Candidate(
            syntax=first.syntax,
            raw=raw,
            name=name,
            label=_label(first.inner),
            default="" if (options := _options(first.default)) else first.default,
            type="choice" if options else _type(name, first.default),
            options=options,
            count=counts[raw],
        )
        for raw, first in firsts.items()
        if is_name(name := _name(first.inner))
    ]


def _declare(
    variables: dict[str, Variable],
    name: str,
    label: str,
    default: str = "",
    options: tuple[str, ...] = (),
) -> bool:
    """Add a variable, or give the known one the default it lacks; False when there is no room."""
    known = variables.get(name)
    if known is None and len(variables) >= MOST_VARIABLES:
        return False
    lacks_default = known is None or not (known.default or known.options)
    if known is None or (lacks_default and (default or options)):
        variables[name] = Variable(
            name,
            label=known.label if known else label,
            type="choice" if options else _type(name, default),
            default=default,
            options=options,
        )
    return True


def _distinct_names(candidates: Iterable[Candidate], taken: Iterable[str]) -> dict[str, str]:
    """A name for each raw spelling: shared by equal labels, numbered where labels differ."""
    given = {(name, _comparable(_label(name))): name for name in taken}
    used = set(given.values())
    numbers: dict[str, int] = {}
    chosen: dict[str, str] = {}
    for candidate in candidates:
        key = (candidate.name, _comparable(candidate.label))
        if key not in given:
            name = candidate.name
            while name in used:
                numbers[candidate.name] = number = numbers.get(candidate.name, 1) + 1
                name = f"{candidate.name[: NAME_LENGTH - len(str(number)) - 1]}_{number}"
            used.add(name)
            given[key] = name
        chosen[candidate.raw] = given[key]
    return chosen


def _comparable(label: str) -> str:
    return " ".join(label.casefold().split())


# --- Naming ----------------------------------------------------------------------------------


def _name(inner: str) -> str:
    """`inner` as a name: kept when it is one already, else lower case with `_` between words."""
    if is_name(inner) and not inner.isupper():
        return inner
    signs = (sign if _continues_a_name(sign) and sign != "-" else "_" for sign in inner.lower())
    name = re.sub("_+", "_", unicodedata.normalize("NFC", "".join(signs)))
    if len(name) > NAME_LENGTH:
        name = name[: NAME_LENGTH + 1].rpartition("_")[0] or name[:NAME_LENGTH]
    return name.strip("_")


def _label(inner: str) -> str:
    """`inner` as a person would caption a field: COMPANY_NAME and companyName → Company name."""
    words = inner.replace("_", " ").split()
    if len(words) == 1 and not words[0].isupper():
        words = _HUMP.sub(" ", words[0].replace("-", " ")).split()
        words = [word if word.isupper() and len(word) > 1 else word.lower() for word in words]
    label = " ".join(words)
    if label.isupper():
        label = label.lower()
    return (label[:1].upper() + label[1:])[:LABEL_LENGTH]


_HUMP = re.compile(r"(?<=[^\W\d_A-Z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def _options(default: str) -> tuple[str, ...]:
    """The alternatives of `${level:low | medium | high}`; none for any other default."""
    options = tuple(option.strip() for option in default.split("|"))
    is_list = 1 < len(options) <= MOST_OPTIONS and len(set(options)) == len(options)
    are_short = all(0 < len(option) <= OPTION_LENGTH for option in options)
    return options if is_list and are_short else ()


_NUMBER = re.compile(r"[+-]?\d+(?:[.,]\d+)?")
_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_DATE_WORDS = frozenset({"date", "deadline", "échéance", "birthday"})
_LONG_WORDS = frozenset(
    {
        *("article", "content", "contenu", "context", "contexte", "description", "letter"),
        *("lettre", "resume", "résumé", "text", "texte", "transcript", "transcription"),
    }
)
_LONG_ALONE = frozenset({"code", "conversation", "cv", "document", "email", "input", "notes"})
"""Words that announce much text only when they are the whole name: not “country code”."""


def _type(name: str, default: str) -> VariableType:
    """What the field most likely holds; `text` unless default or name speak clearly."""
    if _NUMBER.fullmatch(default):
        return "number"
    words = _HUMP.sub(" ", name.replace("_", " ").replace("-", " ")).lower().split()
    if _ISO_DATE.fullmatch(default) or (not default and words[-1] in _DATE_WORDS):
        return "date"
    is_long = (
        words[-1] in _LONG_WORDS
        or "paste" in words
        or (words[0] in _LONG_ALONE and len(words) == 1)
    )
    return "long_text" if is_long and not default else "text"
