from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kb.prompts.template import (
    Candidate,
    Converted,
    InvalidVariable,
    MissingVariables,
    Segment,
    Variable,
    convert,
    detect,
    escape,
    fill,
    is_name,
    names,
    segments,
    variables_from,
)
from tests.shared_data import real_prompts

CLIENT = Variable("client")
TONE = Variable("tone", default="formal")
NOTE = Variable("note", required=False)


def raws(text):
    return [candidate.raw for candidate in detect(text)]


# --- Variables ---------------------------------------------------------------------------------


def test_a_variable_survives_its_dict():
    variable = Variable(
        "société",
        label="Société",
        type="choice",
        default="ACME",
        help="Who signs",
        required=False,
        options=("ACME", "Dupont & fils"),
    )

    data = variable.to_dict()

    assert data == {
        "name": "société",
        "label": "Société",
        "type": "choice",
        "default": "ACME",
        "help": "Who signs",
        "required": False,
        "options": ["ACME", "Dupont & fils"],
    }
    assert Variable.from_dict(data) == variable


def test_a_name_alone_makes_a_required_text_variable():
    assert Variable.from_dict({"name": "client"}) == Variable(
        "client", label="", type="text", default="", help="", required=True, options=()
    )


def test_a_name_typed_with_loose_accents_is_composed():
    assert Variable.from_dict({"name": unicodedata.normalize("NFD", "société")}).name == "société"


@pytest.mark.parametrize(
    "name", ["x", "société", "Kunde-2", "公司", "नाम", "a" * 64, "имя_клиента"]
)
def test_a_letter_then_letters_digits_underscores_and_hyphens_are_a_name(name):
    assert is_name(name)


@pytest.mark.parametrize(
    "name",
    ["", "2nd", "_x", "-x", "a b", "a.b", "a" * 65, "x²", "é".encode().decode("latin1") + "€"],
)
def test_anything_else_is_no_name(name):
    assert not is_name(name)


@pytest.mark.parametrize(
    ("data", "value", "reason"),
    [
        ({}, None, "A variable has a name."),
        ({"name": 3}, 3, "A variable has a name."),
        (
            {"name": "2nd"},
            "2nd",
            "A name is a letter, then letters, digits, _ or -, 64 at most.",
        ),
        (
            {"name": "x", "type": "colour"},
            "colour",
            "The type is one of text, long_text, number, date, choice.",
        ),
        ({"name": "x", "colour": "red"}, "colour", "A variable has no such field."),
        ({"name": "x", "label": None}, None, "This field is a text."),
        ({"name": "x", "required": "yes"}, "yes", "This field is true or false."),
        ({"name": "x", "options": "a, b"}, "a, b", "Options are a list of texts."),
        (
            {"name": "x", "type": "choice", "options": ["a", 2]},
            ["a", 2],
            "Options are a list of texts.",
        ),
        ({"name": "x", "label": "l" * 121}, "l" * 30 + "…", "A label has at most 120 characters."),
        (
            {"name": "x", "help": "h" * 301},
            "h" * 30 + "…",
            "A help text has at most 300 characters.",
        ),
        (
            {"name": "x", "default": "d" * 20_001},
            "d" * 30 + "…",
            "A default has at most 20,000 characters.",
        ),
        (
            {"name": "x", "default": "a\x00b"},
            "a\x00b",
            "The text holds a character that is not text.",
        ),
        (
            {"name": "x", "help": "a\ud800"},
            "a\ud800",
            "The text holds a character that is not text.",
        ),
        ({"name": "x", "type": "choice"}, (), "A choice needs at least one option."),
        ({"name": "x", "options": ["a"]}, ("a",), "Only a choice has options."),
        (
            {"name": "x", "type": "choice", "options": ["a", " "]},
            ("a", " "),
            "An option cannot be empty.",
        ),
        (
            {"name": "x", "type": "choice", "options": ["a", "a"]},
            ("a", "a"),
            "Each option is listed once.",
        ),
        (
            {"name": "x", "type": "choice", "options": ["a"], "default": "b"},
            "b",
            "The default is one of the options.",
        ),
        (
            {"name": "x", "type": "choice", "options": [str(n) for n in range(51)]},
            51,
            "A choice has at most 50 options.",
        ),
        (
            {"name": "x", "type": "choice", "options": ["o" * 201]},
            "o" * 30 + "…",
            "An option has at most 200 characters.",
        ),
    ],
)
def test_a_bad_description_is_refused_by_name_value_and_reason(data, value, reason):
    with pytest.raises(InvalidVariable) as refused:
        Variable.from_dict(data)

    assert (refused.value.value, refused.value.reason) == (value, reason)
    assert refused.value.name == str(data.get("name") or "")
    assert reason in str(refused.value)


def test_two_variables_of_one_name_are_refused():
    with pytest.raises(InvalidVariable, match="Two variables have this name"):
        variables_from([{"name": "société"}, {"name": unicodedata.normalize("NFD", "société")}])


def test_sixty_variables_are_kept_and_one_more_is_refused():
    sixty = [{"name": f"v{number}"} for number in range(60)]

    assert [variable.name for variable in variables_from(sixty)] == [f"v{n}" for n in range(60)]
    with pytest.raises(InvalidVariable, match="at most 60 variables"):
        variables_from([*sixty, {"name": "last"}])


# --- Holes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "written", ["{{client}}", "{{ client }}", "{{  client\t}}", "{{\u00a0client\u202f}}"]
)
def test_spaces_inside_the_braces_do_not_matter(written):
    assert names(written) == ["client"]
    assert fill(f"Dear {written}!", {"client": "Ada"}, [CLIENT]) == "Dear Ada!"


def test_names_come_once_each_in_order_of_appearance():
    assert names("{{b}} {{a}} {{ b }} \\{{c}} \\\\{{d}} {{e f}} {{1}} {{x.y}}") == ["b", "a", "d"]


def test_a_hole_written_with_loose_accents_is_the_declared_one():
    text = unicodedata.normalize("NFD", "Pour {{société}}.")

    assert fill(text, {"société": "ACME"}, [Variable("société")]) == "Pour ACME."


def test_only_declared_variables_are_substituted():
    text = "{{client}} {{ other }} {client} ${client} {{client }"

    assert fill(text, {"client": "Ada", "other": "x"}, [CLIENT]) == (
        "Ada {{ other }} {client} ${client} {{client }"
    )


def test_a_value_is_never_read_again():
    text = "{{client}} {{tone}}"

    assert fill(
        text, {"client": "{{tone}} \\{{client}}", "tone": "\\1 {{client}}"}, [CLIENT, TONE]
    ) == ("{{tone}} \\{{client}} \\1 {{client}}")


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("\\{{client}}", "{{client}}"),
        ("\\\\{{client}}", "\\Ada"),
        ("\\\\\\{{client}}", "\\{{client}}"),
        ("\\{{other}}", "{{other}}"),
        ("C:\\client \\{x} \\n", "C:\\client \\{x} \\n"),
        ("{{{client}}}", "{Ada}"),
        ("{{ {{client}} }}", "{{ Ada }}"),
    ],
)
def test_a_backslash_makes_the_braces_literal(text, filled):
    assert fill(text, {"client": "Ada"}, [CLIENT]) == filled


def test_a_default_fills_what_nobody_filled():
    assert fill("{{tone}}|{{note}}|", {}, [TONE, NOTE]) == "formal||"
    assert fill("{{tone}}", {"tone": "warm"}, [TONE]) == "warm"


def test_an_empty_value_is_none():
    assert fill("{{tone}}|{{note}}|", {"tone": "", "note": ""}, [TONE, NOTE]) == "formal||"


def test_every_missing_value_is_named_at_once():
    text = "{{b}} {{client}} {{client}} {{tone}} {{note}}"
    declared = [CLIENT, Variable("b"), TONE, NOTE, Variable("unused")]

    with pytest.raises(MissingVariables) as missing:
        fill(text, {"client": "  "}, declared)

    assert missing.value.names == ("b", "client")
    assert str(missing.value) == "Give a value to: b, client."


def test_a_partial_fill_leaves_unfilled_holes_as_written():
    text = "{{ client }} {{tone}} {{note}} \\{{x}}"

    assert fill(text, {}, [CLIENT, TONE, NOTE], partial=True) == (
        "{{ client }} formal {{note}} {{x}}"
    )
    assert fill(text, {"client": "Ada", "note": "!"}, [CLIENT, TONE, NOTE], partial=True) == (
        "Ada formal ! {{x}}"
    )


def test_segments_draw_the_text_with_its_holes():
    assert segments("Dear {{ client }},\\{{x}} {{tone}}{{y}}", [CLIENT, TONE]) == [
        Segment("Dear "),
        Segment("{{ client }}", CLIENT),
        Segment(",{{x}} "),
        Segment("{{tone}}", TONE),
        Segment("{{y}}"),
    ]
    assert segments("", [CLIENT]) == []


# --- Candidates --------------------------------------------------------------------------------


def test_each_distinct_spelling_is_a_candidate():
    text = "For [COMPANY NAME]: ${tone:formal}, ${tone}, [COMPANY NAME], {{company name}}"

    assert detect(text) == [
        Candidate("brackets", "[COMPANY NAME]", "company_name", "Company name", "", "text", (), 2),
        Candidate("dollar", "${tone:formal}", "tone", "Tone", "formal", "text", (), 1),
        Candidate("dollar", "${tone}", "tone", "Tone", "", "text", (), 1),
        Candidate(
            "double_braces", "{{company name}}", "company_name", "Company name", "", "text", (), 1
        ),
    ]


@pytest.mark.parametrize(
    ("text", "name", "label"),
    [
        ("pour [NOM DU CLIENT] et", "nom_du_client", "Nom du client"),
        ("pour [SOCIÉTÉ] et", "société", "Société"),
        ("${projectName}", "projectName", "Project name"),
        ("${userID}", "userID", "User ID"),
        ("${first-name}", "first-name", "First name"),
        ("${ Company Type: Big }", "company_type", "Company Type"),
        (
            "${Product/Service Description}",
            "product_service_description",
            "Product/Service Description",
        ),
        ("[[numéro d’écriture]]", "numéro_d_écriture", "Numéro d’écriture"),
        ("[[公司]]", "公司", "公司"),
        ("a {OBJECT_NAME} b", "object_name", "Object name"),
        ("a <PASTE FULL RESUME> b", "paste_full_resume", "Paste full resume"),
        ("a %FIRST NAME% b", "first_name", "First name"),
        ("to [CLIENT NAME/JOB TITLE] now", "client_name_job_title", "Client name/job title"),
        ("${${variable}}", "variable", "Variable"),
        (
            "${a phrase much too long to be the name of anything at all, and then some more words}",
            "a_phrase_much_too_long_to_be_the_name_of_anything_at_all_and",
            "A phrase much too long to be the name of anything at all, and then some more words",
        ),
    ],
)
def test_a_spelling_becomes_a_name_and_a_label(text, name, label):
    [candidate] = detect(text)

    assert (candidate.name, candidate.label) == (name, label)


@pytest.mark.parametrize(
    ("text", "type_", "default", "options"),
    [
        ("${year:2084}", "number", "2084", ()),
        ("${ratio: 4,5 }", "number", "4,5", ()),
        ("${start:2026-01-31}", "date", "2026-01-31", ()),
        ("${birthDate}", "date", "", ()),
        ("${date:tomorrow}", "text", "tomorrow", ()),
        ("[[email text]]", "long_text", "", ()),
        ("${country_code}", "text", "", ()),
        ("${code}", "long_text", "", ()),
        ("[PASTE THE CV HERE]", "long_text", "", ()),
        ("${db:PostgreSQL | MySQL}", "choice", "", ("PostgreSQL", "MySQL")),
        ("${x:a||b}", "text", "a||b", ()),
        ("${x:a|a}", "text", "a|a", ()),
    ],
)
def test_the_type_is_guessed_from_default_and_name(text, type_, default, options):
    [candidate] = detect(text)

    assert (candidate.type, candidate.default, candidate.options) == (type_, default, options)


@pytest.mark.parametrize(
    "text",
    [
        "{{client}} \\{{company name}} \\[CLIENT] \\${x}",
        "[Yes] [1] [A] [X] [^1] [...] [a b]",
        "- [x] done\n- [X] done\n- [ ] open\n[ ] open",
        "[A](https://example.com) [NDA](url) ![ALT TEXT](image.png) [NDA][ref] [FIRST][SECOND]",
        "arr[INDEX] matrix[ROW][COL] f(x)[KEY] v[VERSION]",
        '{"a": [1, 2], "B": {"C": true}, "D": [TRUE], "E": [NULL]}',
        "\\frac{NUM}{DEN} \\text{ABC} x^{AB} x_{IJ} $\\mathbb{RR}$ \\[ XY \\]",
        "```bash\necho ${NAME} $HOME ${name}\nif [[ -f file ]]; then [ NAME ]\n```",
        "```\nexport A=${API_URL}\n```",
        "cd ${HOME} && ${VAR:-default} ${VAR:=x} ${VAR:?err} ${VAR:+y} ${#arr} ${arr[@]} ${1} ${1:a}",
        "```js\nconst a = `x ${name}`; <Name> {NAME} [NAME]\n```",
        "use `${variableName}` or `[NEEDS CLARIFICATION]` or `[[bin]]` or `<NAME>`",
        "${error.message} ${fn(x)} ${index + 1} ${a ? b : c} ${x/y} ${a,b}",
        "[YYYY-MM-DD] {JJ/MM/AAAA} [HH-MM] [MM] <DD MM>",
        "[YES/NO] [OUI/NON] [LOW / MEDIUM / HIGH] [TODO] [N/A] [X/Y] [OK]",
        "[CRITICAL | HIGH | LOW] [H: 0.95] [NAME: something]",
        "[RED, GREEN, BLUE] {RED, GREEN} [A-Z] [A-Z0-9]",
        "as in [RFC 2119], [ISO 9001] and [CVE-2021-44228], note [IV]",
        "[VERSE] Driving beat\n[CHORUS] Full arrangement\n**[SCANNING]** - when applying",
        "[NO ADVANCE]\n- Question fails\n\n[REFLECTION]\n- Bias",
        "[NAME]: text\n> [NOTE BOX] Careful",
        "<CONTEXT>x</CONTEXT> <DIV> <BR> List<STRING> <T> <<<TEXT>>> [INST] a [/INST] [URL]b[/URL]",
        "{{#if x}} {{/if}} {{json projects}} {{> partial}} {{user.name}} {{{json data}}} {{else if x}}",
        "50% OFF AND 20% %PATH% %APPDATA%\\x %C3%A9 100%PURE% %d %Y-%m-%d %%",
        'f"{API_BASE}/x" and print(f"Saved to {IDENTITY_FILE} now")',
        "[认证] [תקין / נכשל] [产区A]",
        "@{NAME} #{NAME} %{NAME} ${{NAME}} {{{{NAME AB}}}}",
    ],
)
def test_what_only_looks_like_a_placeholder_is_left_alone(text):
    assert raws(text) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("[COMPANY] is a start-up.", ["[COMPANY]"]),
        ("Analyse this:\n[FILE]\n\nExtract:", ["[FILE]"]),
        ("[PASTE THE TEXT HERE]\n- keep it", ["[PASTE THE TEXT HERE]"]),
        ("**[CLIENT] Profile**\n\nWrite to [CLIENT].", ["[CLIENT]"]),
        ("```\nYou are a [ROLE].\n```", ["[ROLE]"]),
        ("```markdown\nYou are a ${role}.\n```", ["${role}"]),
        ("```yaml\nlevel: ${level:high}\n```", ["${level:high}"]),
        ('"image": "<REFERENCE_IMAGE_URL>"', ["<REFERENCE_IMAGE_URL>"]),
        ("[INSERT DETAILS, FEARS, GOALS].", ["[INSERT DETAILS, FEARS, GOALS]"]),
        ("a `b` [CLIENT] `c`", ["[CLIENT]"]),
        ("请为[CLIENT]总结", ["[CLIENT]"]),
        ("x" * 30 + " [CLIENT] Profile", ["[CLIENT]"]),
        ("[VERSE] Driving\n~~~\ncode\n~~~\nwith [CLIENT]", ["[CLIENT]"]),
    ],
)
def test_what_a_person_would_call_a_placeholder_is_found(text, found):
    assert raws(text) == found


def test_real_prompts_give_the_placeholders_a_reader_finds():
    found: dict[str, list[str]] = {}
    for title, text in real_prompts():
        for candidate in detect(text):
            if candidate.syntax != "dollar":
                found.setdefault(title, []).append(candidate.raw)

    assert found == {
        "Any Programming Language to Python Converter": ["{{code here}}"],
        "Legebdary Exploded View Prompt For nanobanana": ["{OBJECT_NAME}"],
        "Professional Badge Photo, Ready to Use": ["[BACKGROUND_COLOR]", "[OUTFIT_STYLE]"],
        "Master Skills & Experience Summary Generator": [
            "[USER NAME]",
            "[USER JOB GOAL]",
            "[USER INPUT]",
            "[CURRENT DATE & TIME EST]",
            "[JOB GOAL TITLE]",
            "[YEARS]",
            "[CURRENT DATE EST]",
            "[JOB GOAL]",
            "[INSERT TODAY'S DATE & TIME EST]",
        ],
        "Comprehensive repository analysis": ["{ID}"],
        "Realistic Amateur Vibe Candid Photography Prompt": [
            "<REFERENCE_IMAGE_URL>",
            "<REFERENCE_FACE_CROP_OR_SAME_URL>",
        ],
        "transcript_to_notes": [
            "[[SOURCE INFORMATION]]",
            "[[LEARNING FOCUS]]",
            "[[NOTES]]",
            "[[EXAMPLES, PATTERNS, OR DEMONSTRATIONS]]",
            "[[KEY TAKEAWAYS]]",
            "[[EXAM-READY SUMMARY]]",
            "[TRIGGER]",
            "[PATTERN]",
            "[IMPLICATION]",
        ],
        "Customizable Job Scanner": ["[PASTE RESUME TEXT HERE]"],
        "“How It Works” Educational Dioramas": ["[PROCESS / CONCEPT]"],
        "GPT-5 | EXPERT PROMPT ENGINEER MODE (CONDENSED)": ["[INSERT TASK / PROBLEM]"],
        "Gerador de Tarefas": ["{FEATURE_NAME}"],
        "Advanced Account Research": ["[URL]"],
        "Prompt Engineering Expert": [
            "[YOUR PROMPT]",
            "[PROMPT]",
            "[DESCRIBE ISSUES]",
            "[ROLE]",
            "[DOMAIN]",
            "[IMAGE]",
            "[CHART IMAGE]",
            "[FILE]",
            "[PDF FILE]",
            "[EMBEDDINGS DATA]",
            "[PERIOD]",
            "[METRIC]",
            "[ORIGINAL PROMPT HERE]",
            "[YOUR SCENARIO HERE]",
            "[TASK]",
            "[CURRENT PROMPT]",
            "[ISSUE 1]",
            "[ISSUE 2]",
            "[ISSUE 3]",
        ],
        "Socratic Lens": [
            "[HUMAN DECISION NEEDED]",
            "[SOCRATIC META-REFLECTION]",
            "[İNSAN KARARI GEREKLİ]",
        ],
        "Lazy AI Email Detector": ["[PASTE THE EMAIL BODY HERE]"],
        "Deep Immersion Study Plan (7 Days)": ["[INSERT SKILL/TOPIC]"],
        "Strategic Decision-Making Matrix": ["[INSERT DETAILS, FEARS, GOALS]"],
        "High Conversion Cold Email": ["[CLIENT NAME/JOB TITLE]", "[DESCRIBE PRODUCT/SERVICE]"],
        "Overqualification Narrative Architect": ["<PASTE FULL RESUME>", "<PASTE FULL POSTING>"],
    }


def test_real_prompts_give_their_own_variables_but_not_their_code():
    found = [
        (title, candidate.raw)
        for title, text in real_prompts()
        for candidate in detect(text, ["dollar"])
    ]

    assert len(found) == 1155
    assert [raw for title, raw in found if "MCP" in title] == []


# --- Conversion --------------------------------------------------------------------------------


def test_everything_detected_is_converted():
    converted = convert("For [COMPANY NAME], {{tone}}: ${level:low | high} ${tone:formal} [Yes]")

    assert converted == Converted(
        "For {{ company_name }}, {{tone}}: {{ level }} {{ tone }} [Yes]",
        (
            Variable("company_name", label="Company name"),
            Variable("tone", label="Tone", default="formal"),
            Variable("level", label="Level", type="choice", options=("low", "high")),
        ),
    )


def test_a_label_is_cut_where_a_variable_ends():
    [variable] = convert("${" + "aB" * 50 + "}").variables

    assert (len(variable.name), len(variable.label)) == (64, 120)


def test_only_accepted_spellings_are_converted():
    assert convert("${a} [BOX] ${b}", accepted=["[BOX]"]) == Converted(
        "${a} {{ box }} ${b}", (Variable("box", label="Box"),)
    )
    assert convert("${a}", accepted=[]) == Converted("${a}", ())


def test_of_two_defaults_the_first_wins():
    converted = convert("${tone} ${tone:warm} ${tone:cold}")

    assert converted == Converted(
        "{{ tone }} {{ tone }} {{ tone }}", (Variable("tone", label="Tone", default="warm"),)
    )


def test_one_name_with_two_labels_is_two_variables():
    converted = convert("for [A B C/D EF], [A B C D EF], [A B C/D EF] and {{a_b_c_d_ef_3}}")

    assert converted == Converted(
        "for {{ a_b_c_d_ef }}, {{ a_b_c_d_ef_2 }}, {{ a_b_c_d_ef }} and {{a_b_c_d_ef_3}}",
        (
            Variable("a_b_c_d_ef", label="A b c/d ef"),
            Variable("a_b_c_d_ef_2", label="A b c d ef"),
            Variable("a_b_c_d_ef_3", label="A b c d ef 3"),
        ),
    )


def test_a_spelling_that_says_what_a_hole_says_joins_it():
    assert convert("{{client_name}} to [CLIENT NAME]") == Converted(
        "{{client_name}} to {{ client_name }}", (Variable("client_name", label="Client name"),)
    )


def test_braces_that_mean_nothing_where_they_come_from_are_escaped():
    converted = convert("${x} {{x}} {{ rank }} \\{{x}}", adopt_existing=False)

    assert converted == Converted(
        "{{ x }} \\{{x}} \\{{ rank }} \\\\\\{{x}}", (Variable("x", label="X"),)
    )
    assert fill(converted.text, {"x": "1"}, converted.variables) == "1 {{x}} {{ rank }} \\{{x}}"


def test_no_more_than_sixty_variables_are_made_and_the_rest_is_named():
    text = " ".join(f"${{v{number}}}" for number in range(62)) + " ${v60}"

    converted = convert(text)

    assert [variable.name for variable in converted.variables] == [f"v{n}" for n in range(60)]
    assert converted.left == ("${v60}", "${v61}")
    assert converted.text.endswith("{{ v59 }} ${v60} ${v61} ${v60}")


# --- What holds for every text -----------------------------------------------------------------

BRACES_AND_LETTERS = st.text(alphabet="{}[]<>$%\\ab:/ AB-`\n", max_size=60)
HOLES_AND_LIKENESSES = [
    *("{{a}}", "{{ b }}", "{{", "}}", "\\", "${a}", "${b:AB}", "[AB]", "[[a]]", "{AB}", "<AB>"),
    *("%AB%", "{{a b}}", "${${a}}", "`", "\n", " ", "x", "é", "{", "}", "$", "```"),
]
TRICKY = st.lists(st.sampled_from(HOLES_AND_LIKENESSES), max_size=20).map("".join)
TEXTS = st.one_of(BRACES_AND_LETTERS, TRICKY, st.text(max_size=20))
ALL_DECLARED = [
    Variable("a", required=False),
    Variable("b", required=False),
    Variable("ab", required=False),
]


@settings(deadline=None)  # a busy machine is no bug
@given(
    st.lists(
        st.one_of(TEXTS.map(lambda text: (text, None)), st.tuples(TEXTS, st.sampled_from("ab")))
    )
)
def test_a_fill_is_its_literals_and_values_side_by_side(parts):
    # Each part is some literal text, or a hole and the value it gets.
    text, expected, values = "", "", {}
    for literal, name in parts:
        if name is None:
            text += escape(literal) + "|"
            expected += literal + "|"
        else:
            value = values.setdefault(name, literal)
            text += f"{{{{ {name} }}}}|"
            expected += value + "|"

    assert fill(text, values, ALL_DECLARED) == expected


@settings(deadline=None)  # a busy machine is no bug
@given(TEXTS)
def test_an_escaped_text_fills_to_itself(text):
    assert fill(escape(text), {"a": "1", "b": "2", "ab": "3"}, ALL_DECLARED) == text


@settings(deadline=None)  # a busy machine is no bug
@given(TEXTS)
def test_segments_hold_the_whole_text(text):
    drawn = "".join(segment.text for segment in segments(text, ALL_DECLARED))

    assert drawn == fill(text, {}, ALL_DECLARED, partial=True)
    assert {s.variable.name for s in segments(text, ALL_DECLARED) if s.variable} == set(
        names(text)
    ) & {"a", "b", "ab"}


@settings(deadline=None)  # a busy machine is no bug
@given(TEXTS, st.integers(min_value=0))
def test_a_conversion_filled_with_what_it_replaced_is_the_text_again(text, choice):
    spellings = raws(text)
    accepted = spellings[choice % len(spellings) :][:1] if spellings else []

    converted = convert(text, accepted, adopt_existing=False)

    values = {
        variable.name: raw for variable, raw in zip(converted.variables, accepted, strict=True)
    }
    assert fill(converted.text, values, converted.variables) == text


@settings(deadline=None)  # a busy machine is no bug
@given(TEXTS)
def test_a_conversion_fills_existing_holes_as_before(text):
    before = convert(text, accepted=[])
    for raw in raws(text):
        after = convert(text, [raw])
        values = {name: f"<{name}>" for name in names(text)}
        new = {v.name: raw for v in after.variables if v.name not in values}

        if new:
            assert fill(after.text, values | new, after.variables) == fill(
                text, values, before.variables
            )


@settings(deadline=None)  # a busy machine is no bug
@given(TEXTS)
def test_a_conversion_declares_every_hole_it_leaves(text):
    converted = convert(text)

    assert [variable.name for variable in converted.variables] == names(converted.text)


ATTACKS = {
    "open brackets": "[" * 144_000,
    "open dollars": "${" * 72_000,
    "open braces": "{{" * 72_000,
    "backslashes": "\\" * 144_000,
    "spaces in braces": "{{" + " " * 144_000,
    "half a default": "${a:b" * 28_000,
    "percents": "%A" * 72_000,
    "angles": "<A" * 72_000,
    "backticks": "`a" * 72_000,
    "fences": "```\n" * 36_000,
    "different spellings": "".join(f"[AB {n}/CD]" for n in range(12_000)),
    "different names": "".join(f"{{{{a{n}}}}}" for n in range(15_000)),
    "labels": "\n[AB]" * 28_000,
    "one name, many labels": "".join(
        "[AB" + "".join(" /&-"[(n >> 2 * k) & 3] + "CD" for k in range(8)) + "] "
        for n in range(5_000)
    ),
}
MOST_SECONDS = 5.0
"""A hundred times what a quiet machine needs; reading twice as slowly for each sign takes minutes."""


@pytest.mark.parametrize("attack", ATTACKS)
def test_no_text_takes_longer_than_its_length(attack):
    text = ATTACKS[attack]

    start = time.process_time()
    converted = convert(text)
    fill(converted.text, {}, converted.variables, partial=True)

    assert time.process_time() - start < MOST_SECONDS
