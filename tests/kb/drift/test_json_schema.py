import time

import pytest

from kb.drift.json_schema import InvalidSchema, Mismatch, mismatch, read


def schema(source):
    return read(source, matches=lambda pattern, text: pattern in text, check_pattern=lambda _: None)


@pytest.mark.parametrize(
    ("source", "value", "found"),
    [
        ({}, {"a": [1]}, None),
        ({"type": "object"}, [], Mismatch("$", "type", "object")),
        ({"type": ["string", "null"]}, None, None),
        ({"type": "integer"}, 3.0, None),
        ({"type": "integer"}, 3.5, Mismatch("$", "type", "integer")),
        ({"type": "integer"}, True, Mismatch("$", "type", "integer")),
        ({"type": "number"}, 3, None),
        ({"type": "boolean"}, 0, Mismatch("$", "type", "boolean")),
        ({"enum": ["a", 1]}, 1.0, None),
        ({"enum": [1]}, True, Mismatch("$", "enum", [1])),
        ({"enum": ["a"]}, {"a": 1}, Mismatch("$", "enum", ["a"])),
        ({"minimum": 2, "maximum": 3}, 2, None),
        ({"minimum": 2}, 1.9, Mismatch("$", "minimum", 2)),
        ({"maximum": 3}, float("inf"), Mismatch("$", "maximum", 3)),
        ({"minimum": 2}, "1", None),
        ({"minLength": 2}, "é", Mismatch("$", "minLength", 2)),
        ({"maxLength": 2}, "été", Mismatch("$", "maxLength", 2)),
        ({"pattern": "ab"}, "xaby", None),
        ({"pattern": "ab"}, "ba", Mismatch("$", "pattern", "ab")),
        ({"pattern": "ab"}, 3, None),
        ({"required": ["a"]}, {}, Mismatch("$", "required", "a")),
        ({"required": ["a"]}, [], None),
        ({"properties": {"a": {"type": "string"}}}, {"a": 1}, Mismatch("$.a", "type", "string")),
        ({"properties": {"a": {}}}, {"b": 1}, None),
        (
            {"properties": {"a": {}}, "additionalProperties": False},
            {"a": 1, "b": 1},
            Mismatch("$", "additionalProperties", "b"),
        ),
        (
            {"additionalProperties": {"type": "string"}},
            {"a": "x", "b": 1},
            Mismatch("$.b", "type", "string"),
        ),
        ({"items": {"minimum": 1}}, [1, 0], Mismatch("$[1]", "minimum", 1)),
        (
            {"items": {"properties": {"a": {"items": {"enum": ["x"]}}}}},
            [{"a": ["x"]}, {"a": ["x", "y"]}],
            Mismatch("$[1].a[1]", "enum", ["x"]),
        ),
    ],
)
def test_the_first_place_that_differs_is_named(source, value, found):
    assert mismatch(schema(source), value) == found


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ([], "A schema is an object, not a list"),
        (None, "not nothing"),
        ({"oneOf": []}, r"\$: the keyword 'oneOf' is not supported; supported: type, enum"),
        ({"$ref": "#"}, "the keyword '\\$ref' is not supported"),
        ({"format": "email"}, "the keyword 'format' is not supported"),
        ({"type": "text"}, "type 'text' is not known; use: object"),
        ({"type": [["object"]]}, "is not known"),
        ({"type": []}, "is not known"),
        ({"properties": []}, "properties needs an object"),
        ({"properties": {"a": {"const": 1}}}, r"\$.properties.a: the keyword 'const'"),
        ({"properties": {"a": True}}, r"\$.properties.a: a schema is an object, not true or false"),
        ({"items": [{}]}, "items needs one schema"),
        ({"items": {"allOf": []}}, r"\$.items: the keyword 'allOf'"),
        ({"additionalProperties": "no"}, "additionalProperties needs"),
        ({"required": "a"}, "required needs a list of names"),
        ({"required": [1]}, "required needs a list of names"),
        ({"enum": []}, "enum needs a list of 1 to 200"),
        ({"enum": [1] * 201}, "enum needs a list of 1 to 200"),
        ({"enum": [{"a": 1}]}, "enum needs plain values"),
        ({"minimum": "1"}, "minimum needs a number"),
        ({"maximum": True}, "maximum needs a number"),
        ({"maximum": float("inf")}, "has to be JSON itself"),
        ({"minLength": -1}, "minLength needs a whole number"),
        ({"maxLength": 1.5}, "maxLength needs a whole number"),
        ({"pattern": 3}, "pattern needs a text"),
        ({"title": "x" * 20_000}, "the limit is 20,000"),
        ({"title": object()}, "has to be JSON itself"),
    ],
)
def test_a_schema_that_would_not_be_applied_whole_is_refused(source, complaint):
    with pytest.raises(InvalidSchema, match=complaint):
        schema(source)


def test_remarks_for_people_are_allowed():
    source = {"$schema": "x", "title": "An invoice", "description": "…", "type": "object"}

    assert mismatch(schema(source), {}) is None


def nested(levels):
    source = {}
    for _ in range(levels):
        source = {"items": source}
    return source


def test_levels_have_an_end():
    assert mismatch(schema(nested(19)), []) is None
    with pytest.raises(InvalidSchema, match="at most 20 levels"):
        schema(nested(20))


def test_a_large_value_is_judged_in_proportion_to_its_size():
    wanted = schema({"items": {"items": {"type": "integer", "enum": list(range(200))}}})
    value = [[199] * 300] * 300
    began = time.perf_counter()

    assert mismatch(wanted, value) is None
    assert time.perf_counter() - began < 10


def test_every_pattern_is_shown_to_whoever_checks_patterns():
    seen = []
    source = {"pattern": "a", "properties": {"b": {"pattern": "c"}}, "items": {"pattern": "d"}}

    read(source, matches=lambda *_: True, check_pattern=seen.append)

    assert seen == ["a", "c", "d"]
