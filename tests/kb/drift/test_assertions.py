import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kb.drift.assertions import (
    MAX_ANSWER_LENGTH,
    TYPES,
    Assertion,
    Bounds,
    InvalidAssertion,
    Reason,
    Verdict,
    check,
    parse,
)

ANSWER = "Bonjour Zoé,\n\nLe total est de 120 €.\n"


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
        ({"type": "llm-rubric", "value": "x"}, "unknown_type", "'llm-rubric' is not a type of assertion; known"),
        ({"type": "not-not-equals", "value": "x"}, "unknown_type", "'not-not-equals' is not a type"),
        ({"type": "javascript", "value": "1"}, "unknown_type", "'javascript' is not a type"),
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
        ({"type": "is-json", "value": {"type": "object"}}, "unsupported", "JSON Schemas are not supported"),
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
    values = {"is-json": None, "word-count": 3, "contains-any": ["a"], "regex": "a"}

    for type in TYPES:
        item = {"type": type, "value": values.get(type, "a")}
        assert parse(item).negated is False
        assert parse(item | {"type": f"not-{type}"}).negated is True
