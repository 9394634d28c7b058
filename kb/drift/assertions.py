"""Rules an answer must satisfy, with the names and the meaning they have in promptfoo. Pure.

What follows promptfoo to the letter: ``equals`` compares the whole answer, outer white space
included; ``contains`` and its kin look for parts as they are written; lower case is that of
Unicode; a text given where a list is expected is split at its commas; the usual thresholds. What
differs: ``regex`` is RE2 (no back-references, no look-around), so that no pattern can hang; JSON
Schemas are a part of the whole (kb.drift.json_schema); ``bleu`` has the brevity penalty of its
paper; ``cost`` is in the currency of the price table; nothing is ever executed.

``similar`` and ``llm-rubric`` need a model: `check` leaves them open and kb.drift.grading asks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import re2

from kb.drift import json_schema, textscores, xml_shape
from kb.drift.json_schema import InvalidSchema, Schema
from kb.drift.refusals import refusal_in

MAX_VALUES = 50
MAX_VALUE_LENGTH = 20_000
MAX_PATTERN_LENGTH = 1_000
MAX_PATTERN_PROGRAM = 12_000
"""Instructions of a compiled pattern; ``.{1,900}`` takes 8,103. The costliest patterns of this size
take some 20 µs for each character of an answer (measured), and other threads run meanwhile."""
MAX_PATTERN_MEMORY = 8 * 1024 * 1024
MAX_ANSWER_LENGTH = 1_000_000
"""Ten times what the most talkative models can write; a longer text is not judged."""
MAX_RUBRIC_LENGTH = 4_000
"""Of what a judge is told to look for: three hundred words say more than a judge keeps in mind."""
MAX_DISTANCE = 20_000
MAX_LATENCY_MS = 24 * 60 * 60 * 1000
MAX_COST = 1_000_000
MAX_JSON_EFFORT = 2_000_000
"""Characters read in vain in search of JSON inside an answer, as long as it takes to read them:
some tenths of a second (measured). Prose needs a few hundred."""
_FAILED_START = 200
"""What one bracket that begins no JSON costs besides, in the time of so many characters, ..."""
_CHARACTERS_COUNTED = 50
"""... and one more for each so many before it: the decoder counts their lines to say where."""
EXCERPT_LENGTH = 80
MAX_WORDS = 1_000_000
MAX_EXACT_DIGITS = 4_000
"""Of a whole number; Python refuses to read longer ones, and nobody counts that far."""
NEGATION = "not-"
VERSION = 1
"""Raise it when an assertion comes to judge the same answer differently: old answers are graded again."""
FINISHES = ("stop", "length", "refusal", "content_filter", "tool", "other")
"""How an answer can have ended: kb.llm.base.Finish."""
_FINISH_ALIASES: Mapping[str, str] = {"tool_calls": "tool"}


class InvalidAssertion(ValueError):
    """An assertion that cannot be used. ``type`` and ``value`` are those that were given.

    ``code`` names what is wrong for programs: unknown_type, unknown_key, missing_value,
    wrong_value, too_long, too_many, bad_pattern or unsupported.
    """

    def __init__(self, code: str, message: str, *, type: str = "", value: object = None) -> None:
        super().__init__(message)
        self.code = code
        self.type = type
        self.value = value


@dataclass(frozen=True, slots=True)
class Bounds:
    """A number of words from ``least`` to ``most``, both included; None is open."""

    least: int | None
    most: int | None


type Value = str | tuple[str, ...] | Bounds | Schema | None


@dataclass(frozen=True, slots=True)
class Assertion:
    """One rule. ``type`` is the name without ``not-``; ``negated`` stands for it.

    ``threshold`` belongs to the types that measure: at most so much for latency (milliseconds), cost
    and levenshtein (characters), at least so much, from 0 to 1, for rouge-n, bleu and similar.
    """

    type: str
    value: Value = None
    negated: bool = False
    threshold: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """The rule as it is stored and exported; `parse` reads it back."""
        item: dict[str, Any] = {"type": f"{NEGATION}{self.type}" if self.negated else self.type}
        if self.value is not None:
            item["value"] = _written(self.value)
        if self.threshold is not None:
            is_whole = float(self.threshold).is_integer()
            item["threshold"] = int(self.threshold) if is_whole else self.threshold
        return item


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known about an answer besides its text; None for what nobody told.

    ``finish`` is one of FINISHES, ``cost`` is in the currency of the price table.
    """

    finish: str | None = None
    latency_ms: int | None = None
    cost: Decimal | None = None


NOTHING_KNOWN = Facts()


@dataclass(frozen=True, slots=True)
class Reason:
    """What was seen in the answer, for a page to put into words.

    ``code`` with its ``params``: found and not_found {value}; one_found {value}; none_found,
    all_found {values}; some_missing {missing}; equal {}; different {position: the first
    character that differs, from 0}; starts, does_not_start, ends, does_not_end {value}; matched
    {pattern, excerpt}; not_matched {pattern}; json {}; not_json {line, column}; json_found,
    no_json, json_search_given_up {}; schema_mismatch {path, keyword, wanted}; xml {}; not_xml
    {line, column}; xml_has_document_type, xml_too_deep {}; xml_lacks {missing}; words {count,
    least, most}; distance {distance: None above most, most}; score {score, least}; took
    {milliseconds, most}; cost {cost, most}; refusal {excerpt}; refused, no_refusal {}; finished
    {finish, wanted}; not_told {what: latency, cost or finish}; needs_a_model {};
    too_long_to_judge {characters, limit}. Those of kb.drift.grading: judged {}, judges_disagree
    {}, judge_unclear {}, judge_away {kind}, no_whole_answer {}; of kb.drift.anchors: judge_changed
    {}.
    """

    code: str
    params: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the answer satisfies the rule; None when that could not be judged."""

    passed: bool | None
    reason: Reason


def parse(item: Mapping[str, Any]) -> Assertion:
    """Read ``{"type": "not-contains", "value": "…"}``, with a ``threshold`` where one belongs.

    Numbers are accepted where a text is expected. Raises InvalidAssertion.
    """
    name = item.get("type")
    if not isinstance(name, str):
        raise InvalidAssertion("unknown_type", f"An assertion needs a type; {_known()}.")
    base = name.removeprefix(NEGATION)
    if base in _NEVER_EXECUTED:
        raise InvalidAssertion(
            "unsupported",
            f"{name} is not supported: {_NEVER_EXECUTED[base]} Use regex, is-json with a schema, or "
            f"llm-rubric instead.",
            type=name,
        )
    if base not in _RULES:
        raise InvalidAssertion(
            "unknown_type", f"{name!r} is not a type of assertion; {_known()}.", type=name
        )
    rule = _RULES[base]
    keys = ("type", "value", "threshold") if rule.limit else ("type", "value")
    unknown = sorted(str(key) for key in item if key not in keys)
    if unknown:
        raise InvalidAssertion(
            "unknown_key",
            f"{name}: {unknown[0]!r} is not supported; it has: {', '.join(keys)}.",
            type=name,
            value=item.get("value"),
        )
    value = rule.read(name, item.get("value"))
    threshold = rule.limit.read(name, item.get("threshold")) if rule.limit else None
    return Assertion(base, value, negated=base != name, threshold=threshold)


def check(assertion: Assertion, text: str, facts: Facts = NOTHING_KNOWN) -> Verdict:
    """Judge one answer. Never raises on text; takes time in proportion to its length.

    What would need a fact that nobody told, or a model, is not judged: None, negated or not.
    """
    if len(text) > MAX_ANSWER_LENGTH:
        params = {"characters": len(text), "limit": MAX_ANSWER_LENGTH}
        return Verdict(None, Reason("too_long_to_judge", params))
    holds, reason = _RULES[assertion.type].look(assertion, text, facts)
    return Verdict(None if holds is None else holds != assertion.negated, reason)


def together(rules: Sequence[Assertion], verdicts: Sequence[bool | None]) -> bool | None:
    """Whether an answer satisfies all its rules; None without rules or when one was not judged.

    A failure does not outweigh a rule that was not judged: where a judge is away, the answers that
    pass all else would drop out while those that fail stayed, and that would look like drift. Only
    a failed rule about how the answer ended (ENDINGS) decides alone, because after a refusal or a
    cut there is nothing the other rules could look at.
    """
    for rule, verdict in zip(rules, verdicts, strict=True):
        if rule.type in ENDINGS and verdict is False:
            return False
    if not verdicts or None in verdicts:
        return None
    return all(verdicts)


# --- reading values ----------------------------------------------------------------------------


def _read_text(name: str, value: object) -> str:
    """A text that may be empty."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        code = "missing_value" if value is None else "wrong_value"
        raise InvalidAssertion(code, f"{name} needs a text as its value.", type=name, value=value)
    text = value if isinstance(value, str) else _number(value)
    if len(text) > MAX_VALUE_LENGTH:
        raise InvalidAssertion(
            "too_long",
            f"{name}: the value has {len(text):,} characters; the limit is {MAX_VALUE_LENGTH:,}.",
            type=name,
            value=value,
        )
    return text


def _read_part(name: str, value: object) -> str:
    """A text that is looked for, and therefore not empty."""
    text = _read_text(name, value)
    if not text:
        raise InvalidAssertion("missing_value", f"{name} needs a value.", type=name, value=value)
    return text


def _read_list(name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        value = _split(name, _read_part(name, value))
    if not isinstance(value, list | tuple) or not value:
        raise InvalidAssertion(
            "missing_value" if not value else "wrong_value",
            f"{name} needs a list of texts, or one text with commas between them.",
            type=name,
            value=value,
        )
    if len(value) > MAX_VALUES:
        raise InvalidAssertion(
            "too_many",
            f"{name}: {len(value)} values are more than the limit of {MAX_VALUES}.",
            type=name,
            value=value,
        )
    return tuple(_read_part(name, part) for part in value)


# Quoted parts may hold commas; inside them a quote is doubled or follows a backslash. What is
# skipped before a part is never given back: an unclosed quote must not pass as an unquoted part.
_PART = re.compile(r'[\s,]*+(?:"((?:[^"\\]|""|\\.)*)"\s*(?=,|$)|([^",][^,]*|$))', re.DOTALL)


def _split(name: str, text: str) -> list[str]:
    """The parts of a text with commas between them; empty ones are passed over."""
    parts: list[str] = []
    position = 0
    while position < len(text):
        found = _PART.match(text, position)
        if not found:
            raise InvalidAssertion(
                "wrong_value",
                f"{name}: a quotation mark is not closed, or not followed by a comma.",
                type=name,
                value=text,
            )
        if found[1] is not None:
            parts.append(re.sub(r'""|\\(["\\])', lambda quote: quote[1] or '"', found[1]))
        elif found[2]:
            parts.append(found[2].strip())
        position = found.end()
    return parts


def _read_pattern(name: str, value: object) -> str:
    pattern = _read_part(name, value)
    if len(pattern) > MAX_PATTERN_LENGTH:
        raise InvalidAssertion(
            "too_long",
            f"{name}: the pattern has {len(pattern):,} characters; "
            f"the limit is {MAX_PATTERN_LENGTH:,}.",
            type=name,
            value=value,
        )
    try:
        size = _compiled(pattern).programsize
    except (re2.error, UnicodeEncodeError) as error:
        raise InvalidAssertion(
            "bad_pattern",
            f"{name}: {pattern!r} is not a pattern RE2 accepts ({_said_by_re2(error)}). "
            f"Back-references and look-around do not exist there.",
            type=name,
            value=value,
        ) from error
    if size > MAX_PATTERN_PROGRAM:
        raise InvalidAssertion(
            "bad_pattern",
            f"{name}: {pattern!r} is too costly to search for; repeat fewer times or use simpler "
            f"classes of characters.",
            type=name,
            value=value,
        )
    return pattern


def _read_nothing(name: str, value: object) -> None:
    if value not in (None, ""):
        raise InvalidAssertion("wrong_value", f"{name} takes no value.", type=name, value=value)


def _read_schema(name: str, value: object) -> Schema | None:
    """A JSON Schema, as an object or as the text of one; nothing for no schema."""
    if value in (None, ""):
        return None
    source = _read_text(name, value) if isinstance(value, str) else value
    if isinstance(source, str):
        try:
            source = json.loads(source, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise InvalidAssertion(
                "bad_schema", f"{name}: the schema is not JSON ({error}).", type=name, value=value
            ) from error
    try:
        return json_schema.read(
            source, matches=_occurs, check_pattern=lambda pattern: _check_pattern(name, pattern)
        )
    except InvalidSchema as error:
        raise InvalidAssertion("bad_schema", f"{name}: {error}", type=name, value=value) from error


def _check_pattern(name: str, pattern: str) -> None:
    _read_pattern(name, pattern)


def _read_elements(name: str, value: object) -> tuple[str, ...] | None:
    """Paths of XML elements, as a list or with commas between them; nothing for any XML."""
    return None if value in (None, "") else _read_list(name, value)


def _read_finish(name: str, value: object) -> str:
    finish = value.strip().lower() if isinstance(value, str) else ""
    finish = _FINISH_ALIASES.get(finish, finish)
    if finish not in FINISHES:
        raise InvalidAssertion(
            "wrong_value",
            f"{name}: {value!r} is not a way to end; use: {', '.join(FINISHES)}.",
            type=name,
            value=value,
        )
    return finish


def _read_rubric(name: str, value: object) -> str:
    rubric = _read_part(name, value)
    if len(rubric) > MAX_RUBRIC_LENGTH:
        raise InvalidAssertion(
            "too_long",
            f"{name}: the rubric has {len(rubric):,} characters; the limit is "
            f"{MAX_RUBRIC_LENGTH:,}.",
            type=name,
            value=value,
        )
    if not rubric.strip():
        raise InvalidAssertion("missing_value", f"{name} needs a value.", type=name, value=value)
    return rubric


@dataclass(frozen=True, slots=True)
class _Limit:
    """A threshold: from 0 to ``most``, ``usual`` when none is given; without one it must be."""

    most: float
    unit: str
    usual: float | None = None
    is_whole: bool = False

    def read(self, name: str, given: object) -> float:
        """The threshold as a number. Raises InvalidAssertion."""
        number = self.usual if given in (None, "") else given
        is_number = isinstance(number, int | float) and not isinstance(number, bool)
        if (
            not is_number
            or not 0 <= number <= self.most  # type: ignore[operator]
            or (self.is_whole and number != int(number))  # type: ignore[call-overload]
        ):
            kind = "a whole number" if self.is_whole else "a number"
            raise InvalidAssertion(
                "wrong_threshold",
                f"{name} needs a threshold: {kind} from 0 to {self.most:,}, {self.unit}.",
                type=name,
                value=given,
            )
        return float(number)  # type: ignore[arg-type]


def _read_bounds(name: str, value: object) -> Bounds:
    if isinstance(value, Mapping) and value and value.keys() <= {"min", "max"}:
        least, most = value.get("min"), value.get("max")
    else:
        least = most = _count(value)
        value = {"min": least}
    for bound in value.values():
        if isinstance(bound, bool) or not isinstance(bound, int) or not 0 <= bound <= MAX_WORDS:
            raise InvalidAssertion(
                "wrong_value",
                f'{name} needs a number of words, or {{"min": …, "max": …}} with whole numbers '
                f"up to {MAX_WORDS:,}.",
                type=name,
                value=value,
            )
    if least is not None and most is not None and least > most:
        raise InvalidAssertion(
            "wrong_value", f"{name}: min {least} is above max {most}.", type=name, value=value
        )
    return Bounds(least, most)


def _count(value: object) -> object:
    """Whole numbers may be written as a text or, by YAML and JSON, as 50.0."""
    if isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,9}\s*", value):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _number(value: float) -> str:
    """A number in the spelling JSON gives it: 3, not 3.0."""
    return str(int(value)) if value.is_integer() else str(value)


# --- looking at answers ------------------------------------------------------------------------


def _as_written(text: str) -> str:
    return text


def _contains(fold: Callable[[str], str]) -> Callable[[str, str], tuple[bool, Reason]]:
    def look(value: str, text: str) -> tuple[bool, Reason]:
        holds = fold(value) in fold(text)
        return holds, Reason("found" if holds else "not_found", {"value": value})

    return look


def _contains_any(
    fold: Callable[[str], str],
) -> Callable[[tuple[str, ...], str], tuple[bool, Reason]]:
    def look(values: tuple[str, ...], text: str) -> tuple[bool, Reason]:
        folded = fold(text)
        for value in values:
            if fold(value) in folded:
                return True, Reason("one_found", {"value": value})
        return False, Reason("none_found", {"values": values})

    return look


def _contains_all(
    fold: Callable[[str], str],
) -> Callable[[tuple[str, ...], str], tuple[bool, Reason]]:
    def look(values: tuple[str, ...], text: str) -> tuple[bool, Reason]:
        folded = fold(text)
        missing = tuple(value for value in values if fold(value) not in folded)
        if missing:
            return False, Reason("some_missing", {"missing": missing})
        return True, Reason("all_found", {"values": values})

    return look


def _equals(value: str, text: str) -> tuple[bool, Reason]:
    if value == text:
        return True, Reason("equal", {})
    pairs = enumerate(zip(value, text, strict=False))
    shorter = min(len(value), len(text))
    position = next((index for index, (one, other) in pairs if one != other), shorter)
    return False, Reason("different", {"position": position})


def _starts_with(value: str, text: str) -> tuple[bool, Reason]:
    holds = text.startswith(value)
    return holds, Reason("starts" if holds else "does_not_start", {"value": value})


def _ends_with(value: str, text: str) -> tuple[bool, Reason]:
    holds = text.endswith(value)
    return holds, Reason("ends" if holds else "does_not_end", {"value": value})


def _matches(pattern: str, text: str) -> tuple[bool, Reason]:
    found = _compiled(pattern).search(text.encode("utf-8", "replace"))
    if not found:
        return False, Reason("not_matched", {"pattern": pattern})
    excerpt = found.group().decode("utf-8", "replace")[:EXCERPT_LENGTH]
    return True, Reason("matched", {"pattern": pattern, "excerpt": excerpt})


def _is_json(schema: Schema | None, text: str) -> tuple[bool, Reason]:
    try:
        value = _JSON.decode(text)
    except json.JSONDecodeError as error:
        return False, Reason("not_json", {"line": error.lineno, "column": error.colno})
    except (ValueError, RecursionError):
        return False, Reason("not_json", {"line": 1, "column": 1})
    mismatch = json_schema.mismatch(schema, value) if schema else None
    return (False, _as_reason(mismatch)) if mismatch else (True, Reason("json", {}))


def _contains_json(schema: Schema | None, text: str) -> tuple[bool | None, Reason]:
    found: json_schema.Mismatch | None = None
    for value in _json_inside(text):
        if value is _GIVEN_UP:
            return None, Reason("json_search_given_up", {})
        mismatch = json_schema.mismatch(schema, value) if schema else None
        if mismatch is None:
            return True, Reason("json_found", {})
        found = found or mismatch
    return False, _as_reason(found) if found else Reason("no_json", {})


def _json_inside(text: str) -> Iterator[object]:
    """The objects and lists in a text, outermost first; _GIVEN_UP ends a search that takes long."""
    effort, position = 0, 0
    while (start := _JSON_START.search(text, position)) is not None:
        try:
            value, position = _JSON.raw_decode(text, start.start())
        except json.JSONDecodeError as error:
            read = error.pos - start.start()
            effort += read + _FAILED_START + error.pos // _CHARACTERS_COUNTED
        except (ValueError, RecursionError):
            effort += MAX_JSON_EFFORT // 20
        else:
            yield value
            continue
        position = start.start() + 1
        if effort > MAX_JSON_EFFORT:
            yield _GIVEN_UP
            return


def _as_reason(mismatch: json_schema.Mismatch) -> Reason:
    wanted = json.dumps(mismatch.wanted, ensure_ascii=False)[:EXCERPT_LENGTH]
    params = {"path": mismatch.path[:EXCERPT_LENGTH], "keyword": mismatch.keyword, "wanted": wanted}
    return Reason("schema_mismatch", params)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _whole_number(digits: str) -> int | float:
    return int(digits) if len(digits) <= MAX_EXACT_DIGITS else float(digits)


_JSON = json.JSONDecoder(parse_int=_whole_number, parse_constant=_no_constant)
_JSON_START = re.compile(r"[\[{]")
_GIVEN_UP = object()


def _is_xml(wanted: tuple[str, ...] | None, text: str) -> tuple[bool, Reason]:
    shape = xml_shape.shape_of(text, wanted or ())
    match shape.problem:
        case "not_xml":
            return False, Reason("not_xml", {"line": shape.line, "column": shape.column})
        case "document_type":
            return False, Reason("xml_has_document_type", {})
        case "too_deep":
            return False, Reason("xml_too_deep", {})
    if shape.missing:
        return False, Reason("xml_lacks", {"missing": shape.missing})
    return True, Reason("xml", {})


def _counts_words(bounds: Bounds, text: str) -> tuple[bool, Reason]:
    count = len(text.split())
    holds = (bounds.least is None or count >= bounds.least) and (
        bounds.most is None or count <= bounds.most
    )
    return holds, Reason("words", {"count": count, "least": bounds.least, "most": bounds.most})


def _levenshtein(rule: Assertion, text: str, _facts: Facts) -> tuple[bool, Reason]:
    most = int(rule.threshold or 0)
    distance = textscores.edit_distance(str(rule.value), text, most)
    return distance is not None, Reason("distance", {"distance": distance, "most": most})


def _scored(score: Callable[[str, str], float]) -> _Look:
    def look(rule: Assertion, text: str, _facts: Facts) -> tuple[bool, Reason]:
        reached, least = score(text, str(rule.value)), rule.threshold or 0.0
        return reached >= least, Reason("score", {"score": reached, "least": least})

    return look


def _is_quick(rule: Assertion, _text: str, facts: Facts) -> tuple[bool | None, Reason]:
    if facts.latency_ms is None:
        return None, Reason("not_told", {"what": "latency"})
    most = int(rule.threshold or 0)
    params = {"milliseconds": facts.latency_ms, "most": most}
    return facts.latency_ms <= most, Reason("took", params)


def _is_cheap(rule: Assertion, _text: str, facts: Facts) -> tuple[bool | None, Reason]:
    if facts.cost is None:
        return None, Reason("not_told", {"what": "cost"})
    most = Decimal(str(rule.threshold or 0))
    return facts.cost <= most, Reason("cost", {"cost": facts.cost, "most": most})


def _is_refusal(_rule: Assertion, text: str, facts: Facts) -> tuple[bool, Reason]:
    if facts.finish in ("refusal", "content_filter"):
        return True, Reason("refused", {})
    words = refusal_in(text)
    return (True, Reason("refusal", {"excerpt": words})) if words else (False, _NO_REFUSAL)


_NO_REFUSAL = Reason("no_refusal", {})


def _has_finished(rule: Assertion, _text: str, facts: Facts) -> tuple[bool | None, Reason]:
    if facts.finish is None:
        return None, Reason("not_told", {"what": "finish"})
    params = {"finish": facts.finish, "wanted": rule.value}
    return facts.finish == rule.value, Reason("finished", params)


def _needs_a_model(_rule: Assertion, _text: str, _facts: Facts) -> tuple[None, Reason]:
    return None, Reason("needs_a_model", {})


# --- the catalogue -----------------------------------------------------------------------------


type _Look = Callable[[Assertion, str, Facts], tuple[bool | None, Reason]]


@dataclass(frozen=True, slots=True)
class _Rule:
    """How a value and a threshold are read, and how an answer is looked at with what was read."""

    read: Callable[[str, object], Value]
    look: _Look
    limit: _Limit | None = None


def _of_text(look: Callable[[Any, str], tuple[bool | None, Reason]]) -> _Look:
    """A look that needs the value and the text alone."""
    return lambda rule, text, _facts: look(rule.value, text)


_SHARE = "the share of the words from which on it passes"
_RULES: Mapping[str, _Rule] = {
    "equals": _Rule(_read_text, _of_text(_equals)),
    "contains": _Rule(_read_part, _of_text(_contains(_as_written))),
    "icontains": _Rule(_read_part, _of_text(_contains(str.lower))),
    "contains-any": _Rule(_read_list, _of_text(_contains_any(_as_written))),
    "icontains-any": _Rule(_read_list, _of_text(_contains_any(str.lower))),
    "contains-all": _Rule(_read_list, _of_text(_contains_all(_as_written))),
    "icontains-all": _Rule(_read_list, _of_text(_contains_all(str.lower))),
    "starts-with": _Rule(_read_part, _of_text(_starts_with)),
    "ends-with": _Rule(_read_part, _of_text(_ends_with)),
    "regex": _Rule(_read_pattern, _of_text(_matches)),
    "is-json": _Rule(_read_schema, _of_text(_is_json)),
    "contains-json": _Rule(_read_schema, _of_text(_contains_json)),
    "is-xml": _Rule(_read_elements, _of_text(_is_xml)),
    "word-count": _Rule(_read_bounds, _of_text(_counts_words)),
    "levenshtein": _Rule(
        _read_part,
        _levenshtein,
        _Limit(MAX_DISTANCE, "the characters that may differ", usual=5, is_whole=True),
    ),
    "rouge-n": _Rule(_read_part, _scored(textscores.rouge_n), _Limit(1, _SHARE, usual=0.75)),
    "bleu": _Rule(_read_part, _scored(textscores.bleu), _Limit(1, _SHARE, usual=0.5)),
    "latency": _Rule(
        _read_nothing, _is_quick, _Limit(MAX_LATENCY_MS, "in milliseconds", is_whole=True)
    ),
    "cost": _Rule(_read_nothing, _is_cheap, _Limit(MAX_COST, "in the currency of the prices")),
    "is-refusal": _Rule(_read_nothing, _is_refusal),
    "finish-reason": _Rule(_read_finish, _has_finished),
    "similar": _Rule(
        _read_part, _needs_a_model, _Limit(1, "the cosine from which on it passes", usual=0.75)
    ),
    "llm-rubric": _Rule(_read_rubric, _needs_a_model),
}
TYPES = tuple(_RULES)
"""The names that `parse` knows; each also with ``not-`` before it."""
MODEL_TYPES = ("similar", "llm-rubric")
"""Those that only kb.drift.grading can judge: by an embeddings model, by a judge."""
ENDINGS = ("is-refusal", "finish-reason")
"""Those about how an answer ended; they can be judged when there is no whole answer."""
CIRCUMSTANCES = (*ENDINGS, "latency", "cost")
"""Those that need no whole answer; the others are not judged on a refused, cut or empty one."""
USUAL_THRESHOLDS: Mapping[str, float] = {
    name: rule.limit.usual
    for name, rule in _RULES.items()
    if rule.limit and rule.limit.usual is not None
}
THRESHOLD_TYPES = tuple(name for name, rule in _RULES.items() if rule.limit)
_NEVER_EXECUTED: Mapping[str, str] = {
    "javascript": "it would run code that somebody wrote, and Retex never does.",
    "python": "it would run code that somebody wrote, and Retex never does.",
    "ruby": "it would run code that somebody wrote, and Retex never does.",
    "webhook": "it would send answers to an address that somebody wrote, and Retex never does.",
}


def _known() -> str:
    return f"known: {', '.join(TYPES)}, each also with {NEGATION} before it"


def _compiled(pattern: str) -> Any:
    # re2 keeps the last 128 compiled patterns itself.
    return re2.compile(pattern.encode("utf-8"), _PATTERN_OPTIONS)


def _occurs(pattern: str, text: str) -> bool:
    return _compiled(pattern).search(text.encode("utf-8", "replace")) is not None


def _pattern_options() -> Any:
    options = re2.Options()
    options.max_mem = MAX_PATTERN_MEMORY
    options.log_errors = False  # they reach the author as InvalidAssertion
    return options


_PATTERN_OPTIONS = _pattern_options()


def _said_by_re2(error: Exception) -> str:
    said = error.args[0] if error.args else ""
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)


def _written(value: str | tuple[str, ...] | Bounds | Schema) -> Any:
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, str):
        return value
    if isinstance(value, Schema):
        return value.source
    if value.least == value.most:
        return value.least
    bounds = {"min": value.least, "max": value.most}
    return {name: bound for name, bound in bounds.items() if bound is not None}
