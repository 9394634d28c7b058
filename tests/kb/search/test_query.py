from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kb.search.query import (
    FACETS,
    FIELD_NAMES,
    LONGEST_QUERY,
    MOST_TERMS,
    Facets,
    SearchQuery,
    Term,
    Understood,
    parse,
    parse_address,
)


def query(*terms, excluded=None, **facets):
    numbered = tuple(
        Term((term,), group=number) if isinstance(term, str) else term
        for number, term in enumerate(terms)
    )
    return SearchQuery(
        terms=numbered,
        excluded=Facets(**{name: frozenset(values) for name, values in (excluded or {}).items()}),
        **{name: frozenset(values) for name, values in facets.items()},
    )


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("", query()),
        ("contrat NDA", query("contrat", "NDA")),
        ("  contrat,\tNDA ! ", query("contrat", "NDA")),
        (
            "gpt-4o c++ C# .NET R&D l’utilisateur",
            query("gpt-4o", "c++", "C#", ".NET", "R&D", "l’utilisateur"),
        ),
        ("(review) 'contract' …", query("review", "contract")),
        ("comment ? & - -- + …", query("comment")),
        ('"non disclosure"', query(Term(("non", "disclosure"), phrase=True))),
        (
            "« clause de non-concurrence »",
            query(Term(("clause", "de", "non-concurrence"), phrase=True)),
        ),
        ("“exact” ''", query(Term(("exact",), phrase=True))),
        ("nda -draft", query("nda", Term(("draft",), negated=True, group=1))),
        ('-"old version"', query(Term(("old", "version"), phrase=True, negated=True))),
        ("a - b", query("a", "b")),
        ("a --b", query("a", Term(("b",), negated=True, group=1))),
    ],
)
def test_words_phrases_and_negations_are_read(raw, expected):
    assert parse(raw) == expected


@pytest.mark.parametrize(
    ("raw", "groups"),
    [
        ("nda OR contract", [0, 0]),
        ("nda OU contrat OR accord clause", [0, 0, 0, 1]),
        ("nda or contract", [0, 1, 2]),
        ("OR nda OR", [0]),
        ("nda OR OR contract", [0, 0]),
        ("nda OR -draft", [0, 1]),
        ("-draft OR nda", [0, 1]),
        ("nda OR tool:chatgpt contract", [0, 1]),
        ('"a b" OR c', [0, 0]),
        ('nda "OR" contract', [0, 1, 2]),
    ],
)
def test_alternatives_share_a_group(raw, groups):
    assert [term.group for term in parse(raw).terms] == groups


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("department:legal", query(departments={"legal"})),
        ("dept:Legal", query(departments={"legal"})),
        ("service:juridique outil:ChatGPT", query(departments={"juridique"}, tools={"chatgpt"})),
        ("Département:RH DEPARTEMENT:finance", query(departments={"rh", "finance"})),
        ("tool:chatgpt,claude tool:gemini", query(tools={"chatgpt", "claude", "gemini"})),
        ('tool:"Le Chat" outil:«Le  Chat»', query(tools={"le chat"})),
        ('tool:"Le Chat",claude nda', query("nda", tools={"le chat", "claude"})),
        ("use:summarise usage:x cas:y", query(use_cases={"summarise", "x", "y"})),
        ("tag:nda étiquette:rgpd etiquette:paie", query(tags={"nda", "rgpd", "paie"})),
        ("author:me auteur:moi autrice:ada", query(authors={"me", "ada"})),
        (
            "status:drifted statut:brouillon état:vérifié",
            query(statuses={"drifted", "draft", "verified"}),
        ),
        ("lang:fr langue:anglais language:de", query(languages={"fr", "en", "de"})),
        ("kind:rex type:prompt", query(kinds={"retrospective", "prompt"})),
        ("has:retrospective avec:échecs", query(has={"retrospective", "failures"})),
        ("evidence:proven preuve:none", query(evidence={"proven", "none"})),
        ("-tag:nda tag:rgpd", query(tags={"rgpd"}, excluded={"tags": {"nda"}})),
        ("-statut:archivé,brouillon", query(excluded={"statuses": {"archived", "draft"}})),
        ("langue : fr contrat", query("contrat", languages={"fr"})),
        ("tool: chatgpt", query(tools={"chatgpt"})),
        ("tool: tag:nda", query(tags={"nda"})),
        ("tool: -draft", query(Term(("draft",), negated=True))),
        ("nda: tag:", query("nda")),
        ("tag:a, b", query("b", tags={"a"})),
        (
            "colour:red https://example.com 12:30",
            query("colour:red", "https://example.com", "12:30"),
        ),
        ('"tool:claude"', query(Term(("tool:claude",), phrase=True))),
        ("(tag:nda)", query(tags={"nda"})),
    ],
)
def test_fields_are_read_in_both_languages(raw, expected):
    assert parse(raw) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ('"non disclosure', query("non", "disclosure")),
        ('nda "', query("nda")),
        ('-"old version', query(Term(("old",), negated=True), "version")),
        ('tool:"le chat', query("chat", tools={"le"})),
        ("«clause", query("clause")),
        ('""', query()),
        ('tool:""', query()),
        ('"?"', query()),
    ],
)
def test_a_slip_with_quotation_marks_is_no_error(raw, expected):
    assert parse(raw) == expected


def test_characters_that_do_not_show_are_dropped():
    assert parse("n\x00d\u200ba\x1b\ud800 tool:\x07cha\u00adtgpt\nx\u00a0y") == query(
        "nda", "x", "y", tools={"chatgpt"}
    )


def test_loose_accents_are_composed():
    assert parse("e\u0301tiquette:de\u0301lai re\u0301sume\u0301") == query(
        "résumé", tags={"délai"}
    )


def test_a_long_text_is_cut():
    assert parse("x" * 1_000_000) == query("x" * LONGEST_QUERY)
    assert parse("nda contract", limit=5) == query("nda", "c")
    assert parse("nda", limit=0) == query()


def test_no_more_than_sixteen_terms_are_read():
    read = parse(" ".join(f"w{number}" for number in range(20)) + " tag:nda")

    assert [term.words for term in read.terms] == [(f"w{number}",) for number in range(MOST_TERMS)]
    assert read.tags == frozenset({"nda"})


def test_what_is_kept_fits_its_canonical_spelling():
    read = parse("dept:a " * 20 + "type:rex " + "x" * 40 + " last")

    assert len(read.to_text()) <= LONGEST_QUERY
    assert parse("kind:rex b", limit=10) == query()
    assert parse("kind:rex b", limit=19) == query(kinds={"retrospective"})


def test_a_query_has_one_canonical_spelling():
    read = parse('outil:"Le Chat",claude -tag:nda  «mot à mot» OU nda -Brouillon service:rh')

    assert read.to_text() == (
        '"mot à mot" OR nda -Brouillon department:rh tool:claude tool:"le chat" -tag:nda'
    )


def test_a_chip_removes_its_value_wherever_it_stands():
    read = parse("nda tool:claude tool:gemini -tag:old tag:old")

    assert read.without("tools", "claude") == parse("nda tool:gemini -tag:old tag:old")
    assert read.without("tags", "old") == parse("nda tool:claude tool:gemini")
    assert read.without("tags", "absent") == read


def test_only_a_query_that_asks_nothing_is_empty():
    assert parse(" ? ").is_empty
    assert not parse("x").is_empty
    assert not parse("tag:x").is_empty
    assert not parse("-tag:x").is_empty


def test_excerpts_mark_what_was_wanted():
    assert parse('nda "clause type" -draft OR x tag:y').wanted_words == (
        "nda",
        "clause",
        "type",
        "x",
    )


def test_every_facet_has_names_and_no_name_two_facets():
    names = [name for facet in FACETS for name in FIELD_NAMES[facet]]

    assert set(FIELD_NAMES) == set(FACETS)
    assert len(names) == len(set(names))


# --- What holds for every query ----------------------------------------------------------------

PARTS = st.sampled_from(
    [
        *(
            "nda",
            "OR",
            "OU",
            "or",
            "-",
            '"',
            "“",
            "”",
            "«",
            "»",
            ":",
            ",",
            ".",
            " ",
            "  ",
            "tool",
            "tag:",
        ),
        *(
            "tool:",
            "étiquette:",
            "-tag:",
            "moi",
            "auteur:",
            "x y",
            "İ",
            "ß",
            "ǅ",
            "e\u0301",
            "\u0301",
        ),
        *(
            "+",
            "#",
            "@",
            "..",
            ".net",
            "c++",
            "(",
            "'",
            "\u00a0",
            "\x00",
            "8",
            "’",
            "a:b",
            "ﬁ",
            "Σ",
            "中",
        ),
    ]
)
TYPED = st.one_of(st.lists(PARTS, max_size=30).map("".join), st.text(max_size=250))


@settings(deadline=None)  # a busy machine is no bug
@given(TYPED)
@example("tool :x")
@example('a"tool" :b')
@example("(OR) (-x)")
@example("tag:İ")
@example('"a”\u0301b"')
def test_a_query_survives_its_own_spelling(raw):
    read = parse(raw)

    assert parse(read.to_text()) == read
    assert len(read.to_text()) <= LONGEST_QUERY


@settings(deadline=None)  # a busy machine is no bug
@given(TYPED, st.integers(min_value=0, max_value=30))
def test_a_query_is_bounded_and_clean(raw, limit):
    read = parse(raw, limit=limit)

    assert len(read.terms) <= MOST_TERMS
    assert len(read.to_text()) <= limit
    assert all(term.words and all(term.words) for term in read.terms)
    assert all(any(sign.isalnum() for sign in word) for term in read.terms for word in term.words)
    assert {unicodedata.category(sign) for sign in read.to_text()}.isdisjoint({"Cc", "Cf", "Cs"})
    groups = [term.group for term in read.terms]
    assert groups == sorted(groups)
    assert sorted(set(groups)) == list(range(len(set(groups))))


@given(st.text())
def test_any_address_is_read(address):
    parse_address(address)


def test_an_address_gives_words_and_ticked_values():
    query = parse_address("?q=bail+tool%3Achatgpt&department=legal&department=sales&page=3")

    assert query.to_text() == "bail department:legal department:sales tool:chatgpt"


def test_what_was_understood_is_told_back():
    query = parse('bail OR lease -draft "exact words" service:juridique -tag:nda')

    assert query.understood() == (
        Understood("words", ("bail", "lease")),
        Understood("words", ("draft",), is_excluded=True),
        Understood("phrase", ("exact words",)),
        Understood("department", ("juridique",)),
        Understood("tag", ("nda",), is_excluded=True),
    )
