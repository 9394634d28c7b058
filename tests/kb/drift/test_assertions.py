import json
import time
from decimal import Decimal
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kb.drift.assertions import (
    FINISHES,
    MAX_ANSWER_LENGTH,
    MODEL_TYPES,
    TYPES,
    Assertion,
    Bounds,
    Facts,
    InvalidAssertion,
    Reason,
    Verdict,
    check,
    parse,
    together,
)
from kb.llm.base import Finish

ANSWER = "Bonjour Zoé,\n\nLe total est de 120 €.\n"


VALUES = {"word-count": 3, "finish-reason": "stop"} | dict.fromkeys(
    ("is-json", "contains-json", "is-xml", "is-refusal", "latency", "cost")
)
THRESHOLDS = {"latency": 5_000, "cost": 0.5}


def usable(type):
    """An assertion of this type with what it needs."""
    item = {"type": type, "value": VALUES.get(type, "a"), "threshold": THRESHOLDS.get(type)}
    return {name: value for name, value in item.items() if value is not None}


def judged(type, value, text=ANSWER):
    """The verdict, and with not- before the type the opposite one for the same reason."""
    item = {"type": type} if value is None else {"type": type, "value": value}
    verdict = check(parse(item), text)
    negated = check(parse(item | {"type": f"not-{type}"}), text)
    assert negated == Verdict(not verdict.passed, verdict.reason)
    return verdict


@pytest.mark.parametrize(
    ("type", "value", "passed", "code", "params"),
    [
        ("contains", "total", True, "found", {"value": "total"}),
        ("contains", "Total", False, "not_found", {"value": "Total"}),
        ("contains", 120, True, "found", {"value": "120"}),
        ("contains", 120.0, True, "found", {"value": "120"}),
        ("contains", 120.5, False, "not_found", {"value": "120.5"}),
        ("icontains", "TOTAL EST", True, "found", {"value": "TOTAL EST"}),
        ("icontains", "ZOÉ", True, "found", {"value": "ZOÉ"}),
        ("icontains", "ZOE", False, "not_found", {"value": "ZOE"}),
        ("contains-any", ["x", "total", "120"], True, "one_found", {"value": "total"}),
        ("contains-any", ["x", "Total"], False, "none_found", {"values": ("x", "Total")}),
        ("contains-any", 'x, "de 120", y', True, "one_found", {"value": "de 120"}),
        ("icontains-any", ["x", "BONJOUR"], True, "one_found", {"value": "BONJOUR"}),
        ("icontains-any", ["x", "y"], False, "none_found", {"values": ("x", "y")}),
        ("contains-all", ["total", "120"], True, "all_found", {"values": ("total", "120")}),
        ("contains-all", ["total", "x", "Zoe"], False, "some_missing", {"missing": ("x", "Zoe")}),
        ("contains-all", "total, 120", True, "all_found", {"values": ("total", "120")}),
        ("icontains-all", ["TOTAL", "ZOÉ"], True, "all_found", {"values": ("TOTAL", "ZOÉ")}),
        ("icontains-all", ["TOTAL", "X"], False, "some_missing", {"missing": ("X",)}),
        ("starts-with", "Bonjour", True, "starts", {"value": "Bonjour"}),
        ("starts-with", "bonjour", False, "does_not_start", {"value": "bonjour"}),
        ("ends-with", "€.\n", True, "ends", {"value": "€.\n"}),
        ("ends-with", "€.", False, "does_not_end", {"value": "€."}),
        ("regex", r"\d+ €", True, "matched", {"pattern": r"\d+ €", "excerpt": "120 €"}),
        ("regex", r"^Le", False, "not_matched", {"pattern": "^Le"}),
        ("regex", r"(?m)^Le", True, "matched", {"pattern": "(?m)^Le", "excerpt": "Le"}),
        ("regex", r"BONJOUR", False, "not_matched", {"pattern": "BONJOUR"}),
        ("regex", "(?i)ZOÉ", True, "matched", {"pattern": "(?i)ZOÉ", "excerpt": "Zoé"}),
        ("is-json", None, False, "not_json", {"line": 1, "column": 1}),
        ("is-xml", None, False, "not_xml", {"line": 1, "column": 1}),
        ("contains-json", None, False, "no_json", {}),
        ("is-refusal", None, False, "no_refusal", {}),
        ("levenshtein", ANSWER[:-2], True, "distance", {"distance": 2, "most": 5}),
        ("levenshtein", "Bonjour", False, "distance", {"distance": None, "most": 5}),
        ("rouge-n", "total bonjour", True, "score", {"score": 1.0, "least": 0.75}),
        ("rouge-n", "total de rien", False, "score", {"score": 2 / 3, "least": 0.75}),
        ("bleu", ANSWER, True, "score", {"score": 1.0, "least": 0.5}),
        ("bleu", "autre chose", False, "score", {"score": 0.0, "least": 0.5}),
        ("word-count", 8, True, "words", {"count": 8, "least": 8, "most": 8}),
        ("word-count", "9", False, "words", {"count": 8, "least": 9, "most": 9}),
        ("word-count", {"min": 2}, True, "words", {"count": 8, "least": 2, "most": None}),
        ("word-count", {"max": 7}, False, "words", {"count": 8, "least": None, "most": 7}),
        ("word-count", {"min": 8, "max": 8}, True, "words", {"count": 8, "least": 8, "most": 8}),
    ],
)
def test_each_type_says_what_it_saw(type, value, passed, code, params):
    assert judged(type, value) == Verdict(passed, Reason(code, params))


@pytest.mark.parametrize(
    ("value", "text", "passed"),
    [
        ("oui", "oui", True),
        ("oui", "oui\n", False),
        ("oui", " oui", False),
        ("", "", True),
        (3, "3", True),
    ],
)
def test_equals_means_the_whole_answer_white_space_included(value, text, passed):
    assert judged("equals", value, text).passed is passed


@pytest.mark.parametrize(
    ("value", "text", "position"), [("abc", "abd", 2), ("abc", "ab", 2), ("", "x", 0), ("x", "", 0)]
)
def test_a_different_answer_says_where_it_begins_to_differ(value, text, position):
    assert judged("equals", value, text).reason == Reason("different", {"position": position})


@pytest.mark.parametrize(
    ("text", "passed"),
    [
        ('{"a": [1, 2.5, null]}', True),
        (' "text"\n', True),
        ("7", True),
        ("1" * 10_000, True),
        ("", False),
        ("```json\n{}\n```", False),
        ("{'a': 1}", False),
        ('{"a": NaN}', False),
        ("Infinity", False),
        ("[" * 200_000, False),
    ],
)
def test_only_json_and_nothing_around_it_is_json(text, passed):
    assert judged("is-json", None, text).passed is passed


def test_broken_json_says_where_it_breaks():
    reason = judged("is-json", None, '{"a": 1,\n "b": }').reason

    assert reason == Reason("not_json", {"line": 2, "column": 7})


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_whatever_python_writes_as_json_is_json(value):
    assert judged("is-json", None, json.dumps(value)).passed is True


SHAPE = {"type": "object", "required": ["total"], "properties": {"total": {"minimum": 0}}}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"total": 3}', Reason("json", {})),
        (
            '{"total": -1}',
            Reason("schema_mismatch", {"path": "$.total", "keyword": "minimum", "wanted": "0"}),
        ),
        (
            "[]",
            Reason("schema_mismatch", {"path": "$", "keyword": "type", "wanted": '"object"'}),
        ),
        ("{", Reason("not_json", {"line": 1, "column": 2})),
    ],
)
@pytest.mark.parametrize("schema", [SHAPE, json.dumps(SHAPE)])
def test_json_can_be_asked_for_in_a_shape(schema, text, reason):
    assert judged("is-json", schema, text).reason == reason


@pytest.mark.parametrize(
    ("text", "passed", "code"),
    [
        ('Here:\n```json\n{"total": 3}\n```', True, "json_found"),
        ("list [1, 2] inside", True, "json_found"),
        ("a [link] and {braces}", False, "no_json"),
        ("[" * 5_000 + "x", None, "json_search_given_up"),
        ("", False, "no_json"),
    ],
)
def test_json_is_found_inside_an_answer(text, passed, code):
    verdict = check(parse({"type": "contains-json"}), text)

    assert (verdict.passed, verdict.reason.code) == (passed, code)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('first {"a": 1} then {"total": 1}', "json_found"),
        ('only {"a": 1} and []', "schema_mismatch"),
        ("none", "no_json"),
    ],
)
def test_one_fitting_json_among_several_is_enough(text, code):
    assert judged("contains-json", SHAPE, text).reason.code == code


@pytest.mark.parametrize(
    "text",
    [
        "[" * 400 + "1," * 400_000,
        "{" * 1_000_000,
        "[" * 1_000_000,
        '["' * 500_000,
        "x{\n" * 300_000,
    ],
)
def test_a_hopeless_search_for_json_ends_as_not_judged(text):
    began = time.perf_counter()

    verdicts = [check(parse({"type": f"{no}contains-json"}), text) for no in ("", "not-")]

    assert verdicts == [Verdict(None, Reason("json_search_given_up", {}))] * 2
    assert time.perf_counter() - began < 10


@pytest.mark.parametrize(
    ("wanted", "text", "passed", "reason"),
    [
        (None, "\n<a>é</a>\n", True, Reason("xml", {})),
        ("a.b, a", "<a><b/></a>", True, Reason("xml", {})),
        (["a.c", "b"], "<a><b/></a>", False, Reason("xml_lacks", {"missing": ("a.c", "b")})),
        (None, "<!DOCTYPE a><a/>", False, Reason("xml_has_document_type", {})),
        (None, "<a>" * 200, False, Reason("xml_too_deep", {})),
    ],
)
def test_xml_can_be_asked_for_with_its_elements(wanted, text, passed, reason):
    assert judged("is-xml", wanted, text) == Verdict(passed, reason)


@pytest.mark.parametrize(
    ("item", "facts", "passed", "reason"),
    [
        (
            {"type": "latency", "threshold": 5_000},
            Facts(latency_ms=5_000),
            True,
            Reason("took", {"milliseconds": 5_000, "most": 5_000}),
        ),
        (
            {"type": "latency", "threshold": 5_000},
            Facts(latency_ms=5_001),
            False,
            Reason("took", {"milliseconds": 5_001, "most": 5_000}),
        ),
        (
            {"type": "cost", "threshold": 0.1},
            Facts(cost=Decimal("0.1")),
            True,
            Reason("cost", {"cost": Decimal("0.1"), "most": Decimal("0.1")}),
        ),
        (
            {"type": "cost", "threshold": 0.1},
            Facts(cost=Decimal("0.100001")),
            False,
            Reason("cost", {"cost": Decimal("0.100001"), "most": Decimal("0.1")}),
        ),
        (
            {"type": "finish-reason", "value": " Tool_Calls "},
            Facts(finish="tool"),
            True,
            Reason("finished", {"finish": "tool", "wanted": "tool"}),
        ),
        (
            {"type": "finish-reason", "value": "stop"},
            Facts(finish="length"),
            False,
            Reason("finished", {"finish": "length", "wanted": "stop"}),
        ),
        ({"type": "is-refusal"}, Facts(finish="refusal"), True, Reason("refused", {})),
        ({"type": "is-refusal"}, Facts(finish="content_filter"), True, Reason("refused", {})),
    ],
)
def test_what_surrounds_an_answer_is_judged_by_what_is_known(item, facts, passed, reason):
    negated = item | {"type": f"not-{item['type']}"}

    assert check(parse(item), "text", facts) == Verdict(passed, reason)
    assert check(parse(negated), "text", facts) == Verdict(not passed, reason)


@pytest.mark.parametrize(
    ("type", "reason"),
    [
        ("latency", Reason("not_told", {"what": "latency"})),
        ("cost", Reason("not_told", {"what": "cost"})),
        ("finish-reason", Reason("not_told", {"what": "finish"})),
        *((type, Reason("needs_a_model", {})) for type in MODEL_TYPES),
    ],
)
@pytest.mark.parametrize("no", ["", "not-"])
def test_what_nobody_told_is_not_judged_and_its_opposite_neither(type, reason, no):
    rule = parse(usable(type) | {"type": no + type})

    assert check(rule, "text") == Verdict(None, reason)


def test_the_ways_to_end_are_those_of_the_providers():
    assert get_args(Finish.__value__) == FINISHES


@pytest.mark.parametrize(
    ("types", "verdicts", "passed"),
    [
        ([], [], None),
        (["contains", "is-json"], [True, True], True),
        (["contains", "is-json"], [True, False], False),
        (["contains", "llm-rubric"], [True, None], None),
        (["contains", "llm-rubric"], [False, None], None),
        (["contains", "is-refusal"], [None, False], False),
        (["contains", "finish-reason"], [None, False], False),
        (["contains", "finish-reason"], [None, True], None),
        (["contains", "latency"], [None, False], None),
    ],
)
def test_a_rule_that_was_not_judged_leaves_the_answer_open(types, verdicts, passed):
    rules = [parse(usable(type)) for type in types]

    assert together(rules, verdicts) is passed


def test_a_long_match_is_quoted_in_part():
    excerpt = judged("regex", "a+", "b" + "a" * 500).reason.params["excerpt"]

    assert excerpt == "a" * 80


def test_an_answer_too_long_to_be_judged_is_neither_pass_nor_fail():
    text = "x" * (MAX_ANSWER_LENGTH + 1)

    for type in ("contains", "not-contains"):
        assert check(parse({"type": type, "value": "x"}), text) == Verdict(
            None,
            Reason("too_long_to_judge", {"characters": 1_000_001, "limit": 1_000_000}),
        )


@pytest.mark.parametrize(
    ("type", "value", "text"),
    [
        ("contains", "x", "x" * 1_000_000),
        ("equals", "x" * 20_000, "x" * 20_000),
        ("contains-all", ["x"] * 50, "x"),
        ("regex", "x" * 1_000, "x" * 1_000),
        ("regex", "^.{1,900}$", "é" * 900),
    ],
)
def test_the_limits_themselves_are_allowed(type, value, text):
    assert judged(type, value, text).passed is True


def test_a_pattern_that_explodes_elsewhere_is_quick():
    """(x+x+)+y on many x takes a backtracking engine longer than the universe lasts."""
    assert judged("regex", "(x+x+)+y", "x" * 20_000).passed is False


@pytest.mark.parametrize("text", ["", "\0", "\ud800 lone", "😀" * 10, "a\u2028b"])
@pytest.mark.parametrize(
    ("type", "value"),
    [
        ("contains", "é"),
        ("icontains-any", ["É", "x"]),
        ("regex", r"\w+\s"),
        ("is-json", None),
        ("contains-json", None),
        ("is-xml", None),
        ("is-refusal", None),
        ("levenshtein", "é"),
        ("rouge-n", "é x"),
        ("bleu", "é x"),
        ("word-count", 3),
        ("equals", "x"),
    ],
)
def test_no_text_makes_a_check_fail_to_answer(type, value, text):
    assert judged(type, value, text).passed in (True, False)


# --- reading and writing -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("item", "assertion", "written"),
    [
        ({"type": "contains", "value": "x"}, Assertion("contains", "x"), None),
        ({"type": "not-icontains", "value": "x"}, Assertion("icontains", "x", True), None),
        ({"type": "equals", "value": ""}, Assertion("equals", ""), None),
        ({"type": "is-json"}, Assertion("is-json"), None),
        (
            {"type": "not-is-json", "value": ""},
            Assertion("is-json", None, True),
            {"type": "not-is-json"},
        ),
        (
            {"type": "contains-any", "value": "a, b"},
            Assertion("contains-any", ("a", "b")),
            {"type": "contains-any", "value": ["a", "b"]},
        ),
        (
            {"type": "contains-all", "value": [1, "b"]},
            Assertion("contains-all", ("1", "b")),
            {"type": "contains-all", "value": ["1", "b"]},
        ),
        ({"type": "word-count", "value": 50}, Assertion("word-count", Bounds(50, 50)), None),
        (
            {"type": "word-count", "value": 50.0},
            Assertion("word-count", Bounds(50, 50)),
            {"type": "word-count", "value": 50},
        ),
        (
            {"type": "word-count", "value": " 50 "},
            Assertion("word-count", Bounds(50, 50)),
            {"type": "word-count", "value": 50},
        ),
        (
            {"type": "word-count", "value": {"min": 0}},
            Assertion("word-count", Bounds(0, None)),
            None,
        ),
        (
            {"type": "not-word-count", "value": {"min": 1, "max": 3}},
            Assertion("word-count", Bounds(1, 3), True),
            None,
        ),
        (
            {"type": "latency", "threshold": 900},
            Assertion("latency", threshold=900),
            None,
        ),
        ({"type": "cost", "threshold": 0.02}, Assertion("cost", threshold=0.02), None),
        (
            {"type": "not-levenshtein", "value": "x"},
            Assertion("levenshtein", "x", True, 5),
            {"type": "not-levenshtein", "value": "x", "threshold": 5},
        ),
        (
            {"type": "similar", "value": "x", "threshold": 0.9},
            Assertion("similar", "x", threshold=0.9),
            None,
        ),
        (
            {"type": "is-xml", "value": "a.b, c"},
            Assertion("is-xml", ("a.b", "c")),
            {"type": "is-xml", "value": ["a.b", "c"]},
        ),
        (
            {"type": "is-json", "value": '{"type": "array"}'},
            parse({"type": "is-json", "value": {"type": "array"}}),
            {"type": "is-json", "value": {"type": "array"}},
        ),
    ],
)
def test_an_assertion_is_read_and_written_back(item, assertion, written):
    assert parse(item) == assertion
    assert assertion.to_dict() == (written or item)
    assert parse(assertion.to_dict()) == assertion


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a", ("a",)),
        (" a , b c ,, d,", ("a", "b c", "d")),
        ('"a, b", c', ("a, b", "c")),
        ('"say ""hi""",x', ('say "hi"', "x")),
        (r'"back\"slash\\", c:\new', ('back"slash\\', r"c:\new")),
        ('say "hi", x', ('say "hi"', "x")),
        ('"  kept  "', ("  kept  ",)),
    ],
)
def test_a_text_is_split_at_its_commas(text, parts):
    assert parse({"type": "contains-any", "value": text}).value == parts


@settings(deadline=None)
@given(st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=10))
def test_quoting_every_part_gives_the_list_back(parts):
    quoted = [part.replace("\\", "\\\\").replace('"', '""') for part in parts]

    text = ", ".join(f'"{part}"' for part in quoted)

    assert parse({"type": "contains-all", "value": text}).value == tuple(parts)


@settings(deadline=None)
@given(st.text(alphabet='a"\\, ', max_size=60))
def test_every_text_is_split_into_parts_or_refused(text):
    try:
        parts = parse({"type": "contains-any", "value": text}).value
    except InvalidAssertion:
        parts = ()

    assert "" not in parts


@pytest.mark.parametrize(
    ("item", "code", "complaint"),
    [
        ({}, "unknown_type", "needs a type; known: equals, contains"),
        ({"type": 3}, "unknown_type", "needs a type"),
        ({"type": "factuality", "value": "x"}, "unknown_type", "'factuality' is not a type of assertion; known"),
        ({"type": "not-not-equals", "value": "x"}, "unknown_type", "'not-not-equals' is not a type"),
        ({"type": "javascript", "value": "1"}, "unsupported", "javascript is not supported: it would run code"),
        ({"type": "not-python", "value": "1"}, "unsupported", "not-python is not supported: it would run code"),
        ({"type": "webhook", "value": "https://a.example"}, "unsupported", "would send answers to an address"),
        ({"type": "contains", "value": "x", "weight": 2}, "unknown_key", "contains: 'weight' is not supported"),
        ({"type": "contains"}, "missing_value", "contains needs a text as its value"),
        ({"type": "contains", "value": ""}, "missing_value", "contains needs a value"),
        ({"type": "not-starts-with", "value": ""}, "missing_value", "not-starts-with needs a value"),
        ({"type": "contains", "value": True}, "wrong_value", "contains needs a text"),
        ({"type": "equals", "value": {"a": 1}}, "wrong_value", "equals needs a text"),
        ({"type": "contains", "value": "x" * 20_001}, "too_long", "20,001 characters; the limit is 20,000"),
        ({"type": "contains-any", "value": []}, "missing_value", "needs a list of texts"),
        ({"type": "contains-any", "value": " , "}, "missing_value", "needs a list of texts"),
        ({"type": "contains-any", "value": {"a": 1}}, "wrong_value", "needs a list of texts"),
        ({"type": "contains-any", "value": ["a", ""]}, "missing_value", "needs a value"),
        ({"type": "contains-any", "value": ["a", None]}, "missing_value", "needs a text"),
        ({"type": "contains-any", "value": ["a"] * 51}, "too_many", "51 values are more than the limit of 50"),
        ({"type": "contains-any", "value": ' "open'}, "wrong_value", "a quotation mark is not closed"),
        ({"type": "contains-any", "value": '"a" b'}, "wrong_value", "not followed by a comma"),
        ({"type": "regex", "value": "("}, "bad_pattern", r"'\(' is not a pattern RE2 accepts \(missing \)"),
        ({"type": "regex", "value": "(?<=a)b"}, "bad_pattern", "invalid perl operator"),
        ({"type": "regex", "value": r"(a)\1"}, "bad_pattern", "Back-references and look-around"),
        ({"type": "regex", "value": "\ud800"}, "bad_pattern", "is not a pattern"),
        ({"type": "regex", "value": "a" * 1_001}, "too_long", "1,001 characters; the limit is 1,000"),
        ({"type": "regex", "value": r"\p{L}{1000}"}, "bad_pattern", "pattern too large"),
        ({"type": "regex", "value": r"\p{L}{100}"}, "bad_pattern", "too costly to search for"),
        ({"type": "is-json", "value": {"oneOf": []}}, "bad_schema", r"\$: the keyword 'oneOf' is not supported"),
        ({"type": "is-json", "value": "{"}, "bad_schema", "the schema is not JSON"),
        ({"type": "is-json", "value": "[" * 9_000}, "bad_schema", "the schema is not JSON"),
        ({"type": "is-json", "value": "x" * 20_001}, "too_long", "20,001 characters"),
        ({"type": "is-json", "value": {"pattern": "("}}, "bad_pattern", "is not a pattern RE2 accepts"),
        ({"type": "contains-json", "value": 3}, "bad_schema", "A schema is an object, not a number"),
        ({"type": "is-refusal", "value": "x"}, "wrong_value", "is-refusal takes no value"),
        ({"type": "is-xml", "value": ["a", ""]}, "missing_value", "needs a value"),
        ({"type": "finish-reason"}, "wrong_value", "None is not a way to end; use: stop, length"),
        ({"type": "finish-reason", "value": "tired"}, "wrong_value", "'tired' is not a way to end"),
        ({"type": "latency"}, "wrong_threshold", "a whole number from 0 to 86,400,000, in milliseconds"),
        ({"type": "latency", "threshold": 1.5}, "wrong_threshold", "latency needs a threshold"),
        ({"type": "latency", "threshold": "5"}, "wrong_threshold", "latency needs a threshold"),
        ({"type": "latency", "threshold": True}, "wrong_threshold", "latency needs a threshold"),
        ({"type": "cost", "threshold": -0.1}, "wrong_threshold", "in the currency of the prices"),
        ({"type": "cost", "threshold": float("nan")}, "wrong_threshold", "cost needs a threshold"),
        ({"type": "levenshtein", "value": "x", "threshold": 20_001}, "wrong_threshold", "0 to 20,000"),
        ({"type": "bleu", "value": "x", "threshold": 1.01}, "wrong_threshold", "from 0 to 1"),
        ({"type": "bleu"}, "missing_value", "bleu needs a text"),
        ({"type": "llm-rubric", "value": " "}, "missing_value", "llm-rubric needs a value"),
        ({"type": "llm-rubric", "value": "x" * 4_001}, "too_long", "4,001 characters; the limit is 4,000"),
        ({"type": "contains", "value": "x", "threshold": 1}, "unknown_key", "it has: type, value"),
        ({"type": "word-count"}, "wrong_value", "word-count needs a number of words"),
        ({"type": "word-count", "value": "many"}, "wrong_value", "needs a number of words"),
        ({"type": "word-count", "value": 2.5}, "wrong_value", "needs a number of words"),
        ({"type": "word-count", "value": -1}, "wrong_value", "needs a number of words"),
        ({"type": "word-count", "value": True}, "wrong_value", "needs a number of words"),
        ({"type": "word-count", "value": {}}, "wrong_value", "needs a number of words"),
        ({"type": "word-count", "value": {"least": 1}}, "wrong_value", "needs a number of words"),
        ({"type": "word-count", "value": {"min": 1, "max": None}}, "wrong_value", "needs a number"),
        ({"type": "word-count", "value": {"min": 5, "max": 4}}, "wrong_value", "min 5 is above max 4"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named(item, code, complaint):
    with pytest.raises(InvalidAssertion, match=complaint) as refusal:
        parse(item)

    assert refusal.value.code == code
    if code != "unknown_type":
        assert refusal.value.type == item["type"]


def test_every_type_is_known_with_and_without_not():
    for type in TYPES:
        item = usable(type)
        assert parse(item).negated is False
        assert parse(item | {"type": f"not-{type}"}).negated is True
