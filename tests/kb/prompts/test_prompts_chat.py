from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kb.prompts.exchange import LONGEST_TEXT, Note, Problem, content_hash
from kb.prompts.exchange.prompts_chat import COLUMNS, LONGEST_RECORD, Row, read
from kb.prompts.spellings import spellings
from kb.prompts.template import Variable, fill
from tests.shared_data import real_prompts, shared_path

HEADER = "act,prompt,for_devs,type,contributor\n"


def rows(*lines):
    return list(read(io.StringIO(HEADER + "\n".join(lines), newline="")))


def test_a_row_is_read_in_our_terms():
    text = '"I want ${tone:formal} answers about ${topic}, not [x] or {y}."'

    assert rows(f"Linux Terminal,{text},TRUE,TEXT,ada") == [
        Row(
            line=2,
            title="Linux Terminal",
            text="I want {{ tone }} answers about {{ topic }}, not [x] or {y}.",
            variables=(
                Variable("tone", label="Tone", default="formal"),
                Variable("topic", label="Topic"),
            ),
            kind="text",
            is_structured=False,
            for_devs=True,
            contributors=("ada",),
            content_hash=content_hash(
                "I want {{ tone }} answers about {{ topic }}, not [x] or {y}."
            ),
            language="und",
            notes=(),
        )
    ]


def test_line_numbers_are_those_of_the_file():
    found = rows("A,one,,,", "", 'B,"two', "", 'lines",,,', "C,three,,,")

    assert [(row.line, row.title, row.text) for row in found] == [
        (2, "A", "one"),
        (4, "B", "two\n\nlines"),
        (7, "C", "three"),
    ]


def test_quotes_commas_and_windows_line_ends_are_read():
    file = io.StringIO('\ufeff"act",prompt\r\n"A ""b"", c","one,\r\ntwo"\r\n', newline="")

    [row] = read(file)

    assert (row.title, row.text) == ('A "b", c', "one,\ntwo")


def test_lines_without_their_ends_are_read():
    [row] = read(["act,prompt", 'A,"one', 'two"'])

    assert row.text == "one\ntwo"


def test_columns_may_stand_in_any_order():
    [row] = read(["Prompt, TYPE ,act", "one,IMAGE,A"])

    assert (row.title, row.text, row.kind, row.for_devs, row.contributors) == (
        "A",
        "one",
        "image",
        False,
        (),
    )


@pytest.mark.parametrize(
    ("type_", "kind", "is_structured", "notes"),
    [
        ("TEXT", "text", False, ()),
        ("structured", "text", True, ()),
        ("JSON", "text", True, ()),
        ("YAML", "text", True, ()),
        ("IMAGE", "image", False, ()),
        ("VIDEO", "video", False, ()),
        ("AUDIO", "audio", False, ()),
        ("", "text", False, ()),
        (
            "SMELL",
            "text",
            False,
            (Note("type", "approximated", "“SMELL” is not known; taken as text."),),
        ),
    ],
)
def test_the_type_becomes_a_kind(type_, kind, is_structured, notes):
    [row] = rows(f"A,one,FALSE,{type_},ada")

    assert (row.kind, row.is_structured, row.notes) == (kind, is_structured, notes)


def test_a_contributor_with_an_address_is_dropped_whole():
    [row] = rows('A,one,,,"@ada,bob@example.com, Eve <eve@example.com>,@ada,cy-2,,x@y"')

    assert row.contributors == ("ada", "cy-2")
    assert row.notes == (Note("contributor", "dropped", "E-mail addresses of contributors: 3."),)
    assert "example" not in repr(row)


def test_an_address_inside_a_text_is_kept():
    [row] = rows("A,Write to bob@example.com,,,bob@example.com")

    assert (row.text, row.contributors) == ("Write to bob@example.com", ())


def test_written_out_line_breaks_become_line_breaks():
    [row] = rows(r"A,one\n\ntwo \true,,,")

    assert row.text == "one\n\ntwo \\true"
    assert row.notes == (
        Note("prompt", "approximated", r"Each \n written out became a line break."),
    )


def test_a_text_with_real_line_breaks_keeps_the_written_out_ones():
    [row] = rows('B,"a\nprint(""x\\n"")",,,')

    assert (row.text, row.notes) == ('a\nprint("x\\n")', ())


def test_braces_of_other_products_are_text():
    [row] = rows("A,${x} {{x}} {{y}},,,")

    assert row.text == "{{ x }} \\{{x}} \\{{y}}"
    assert fill(row.text, {"x": "1"}, row.variables) == "1 {{x}} {{y}}"
    assert row.notes == (
        Note(
            "prompt",
            "approximated",
            "Double braces are marked with a backslash: they are text, not variables.",
        ),
    )


def test_what_happened_to_variables_is_told():
    many = " ".join(f"${{v{number}}}" for number in range(59))
    [row] = rows(f'A,"${{First Name}} ${{a:1}} ${{a:2}} ${{b:x | y}} {many}",,,')

    assert row.notes == (
        Note("variables", "approximated", "${First Name} is now called first_name."),
        Note(
            "variables",
            "approximated",
            "The default of “b” lists choices; it is now a choice without default.",
        ),
        Note("variables", "approximated", "“a” has 2 defaults; the first, “1”, is kept."),
        Note("variables", "approximated", "Only 60 variables are allowed; left as text: 2."),
    )
    assert row.variables[:3] == (
        Variable("first_name", label="First Name"),
        Variable("a", label="A", type="number", default="1"),
        Variable("b", label="B", type="choice", options=("x", "y")),
    )


def test_a_missing_title_is_taken_from_the_text():
    [short, long] = rows(",Say hello,,,", f" ,{'word ' * 20},,,")

    assert short.title == "Say hello"
    assert long.title == "word word word word word word word word word word word word…"
    assert short.notes == (
        Note("act", "approximated", "There was no title; the first words stand in."),
    )


def test_a_long_title_is_cut_at_a_word():
    [words, one] = rows(f"{'word ' * 40},x,,,", f"{'w' * 200},x,,,")

    assert (len(words.title), words.title[-6:]) == (160, " word…")
    assert one.title == "w" * 159 + "…"
    assert words.notes == (Note("act", "approximated", "The title was cut at 160 characters."),)


def test_control_characters_are_dropped():
    [row] = rows("A\x00B,one\x00\x1b\ttwo\x85,,,")

    assert (row.title, row.text) == ("AB", "one\ttwo")
    assert row.notes == (Note("prompt", "dropped", "Control characters."),)


def test_a_guessed_language_is_marked_as_added():
    [row] = rows("A,Tu es juriste et ton rôle est de relire les contrats pour une société.,,,")

    assert row.language == "fr"
    assert row.notes == (Note("language", "added", "Guessed from the text: fr."),)


# --- Problems ----------------------------------------------------------------------------------


def test_an_empty_file_is_a_problem():
    problem = Problem(1, "empty", "The file is empty. Export prompts.csv again and import that.")

    assert list(read([])) == [problem] == list(read(["\n", "  \n"]))


def test_a_missing_column_is_a_problem():
    assert list(read(["act;prompt;for_devs", "A;one;TRUE"])) == [
        Problem(
            1,
            "column",
            "The column “act” is missing; the first line reads “act;prompt;for_devs”."
            " The columns are act, prompt, for_devs, type, contributor, separated by commas.",
        )
    ]
    assert COLUMNS == ("act", "prompt", "for_devs", "type", "contributor")


def test_a_bad_row_does_not_hide_those_around_it():
    found = rows(
        "A,one,,,",
        "B,,,,",
        "C,one,two",
        'D,a "quoted" word,,,',
        'E,"one" two,,,',
        f"F,{'x' * (LONGEST_TEXT + 1)},,,",
        "G,\udce9,,,",
        'H,5" wide,,,',
        f'I,"{"y" * LONGEST_RECORD}\n\n",,,',
        "J,last,,,",
    )

    assert [row.title for row in found if isinstance(row, Row)] == ["A", "J"]
    assert [problem for problem in found if isinstance(problem, Problem)] == [
        Problem(3, "empty", "“B” (line 3) has no prompt. Write one, or remove the row."),
        Problem(
            4,
            "columns",
            "The row of line 4 has 3 columns, the first line 5."
            " Put a field that holds commas between quotation marks.",
        ),
        *(
            Problem(
                line,
                "csv",
                f"In the row of line {line}, a quotation mark stands inside a field."
                " Put the whole field between quotation marks and double those inside.",
            )
            for line in (5, 6)
        ),
        Problem(
            7,
            "too_long",
            "“F” (line 7) has 200,001 characters; 200,000 are allowed."
            " Shorten it, or cut it into two prompts.",
        ),
        Problem(
            8,
            "encoding",
            "The row of line 8 is not UTF-8. Save the file as UTF-8 and import it again.",
        ),
        Problem(
            9,
            "csv",
            "In the row of line 9, a quotation mark stands inside a field."
            " Put the whole field between quotation marks and double those inside.",
        ),
        Problem(
            10,
            "too_long",
            "The row of line 10 has 1,000,010 characters; 1,000,000 are allowed."
            " Look for a quotation mark that is not closed.",
        ),
    ]


def test_a_quotation_mark_never_closed_is_named_by_its_row():
    found = rows("A,one,,,", 'B,"two,,,', "C,three,,,")

    assert [row.title for row in found[:1]] == ["A"]
    assert found[1:] == [
        Problem(
            3,
            "csv",
            "The quotation mark opened in the row of line 3 is never closed."
            " Close it, or double the marks inside the text.",
        )
    ]


def test_a_file_that_is_not_utf_8_is_a_problem(tmp_path):
    path = tmp_path / "prompts.csv"
    path.write_bytes(HEADER.encode() + b"A,caf\xe9,,,\n")

    with path.open(encoding="utf-8-sig", newline="") as file:
        assert list(read(file)) == [
            Problem(
                1,
                "encoding",
                "Near line 1 the file is not UTF-8. Save it as UTF-8 and import it again.",
            )
        ]


def test_rows_before_undecodable_bytes_are_kept(tmp_path):
    path = tmp_path / "prompts.csv"
    path.write_bytes(HEADER.encode() + b"A,one,,,\n" * 10_000 + b"B,caf\xe9,,,\n")

    with path.open(encoding="utf-8-sig", newline="") as file:
        *found, problem = read(file)

    assert len(found) > 9_000
    assert {row.title for row in found} == {"A"}
    assert (problem.code, problem.line) == ("encoding", len(found) + 2)


def test_an_undecodable_row_can_be_read_around(tmp_path):
    path = tmp_path / "prompts.csv"
    path.write_bytes(HEADER.encode() + b"A,caf\xe9,,,\nB,tea,,,\n")

    with path.open(encoding="utf-8-sig", newline="", errors="surrogateescape") as file:
        problem, row = read(file)

    assert (problem.line, problem.code, row.title) == (2, "encoding", "B")


def test_the_limit_of_the_csv_module_is_left_alone():
    before = csv.field_size_limit()

    [row] = rows(f"A,{'x' * 150_000},,,")

    assert (len(row.text), csv.field_size_limit()) == (150_000, before)


# --- The real file -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real_rows():
    with shared_path("data", "prompts_chat.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(read(file))


def test_every_real_row_comes_through(real_rows):
    assert [row for row in real_rows if isinstance(row, Problem)] == []
    assert {
        "rows": len(real_rows),
        "contents": len({row.content_hash for row in real_rows}),
        "structured": sum(row.is_structured for row in real_rows),
        "images": sum(row.kind == "image" for row in real_rows),
        "for developers": sum(row.for_devs for row in real_rows),
        "with variables": sum(bool(row.variables) for row in real_rows),
        "several contributors": sum(len(row.contributors) > 1 for row in real_rows),
        "longest": max(len(row.text) for row in real_rows),
    } == {
        "rows": 1275,
        "contents": 1273,
        "structured": 198,
        "images": 22,
        "for developers": 86,
        "with variables": 382,
        "several contributors": 7,
        "longest": 144_241,
    }


def cleaned(text):
    text = "".join(
        sign for sign in text if sign in "\n\r\t" or not (ord(sign) < 32 or 127 <= ord(sign) < 160)
    )
    text = text.replace("\r\n", "\n").replace("\r", "\n").strip()
    return text if "\n" in text else text.replace("\\n", "\n").strip()


def test_real_rows_say_what_the_file_says(real_rows):
    compared = 0
    for row, (_title, original) in zip(real_rows, real_prompts(), strict=True):
        text = cleaned(original)
        raws = list(dict.fromkeys(spelling.raw for spelling in spellings(text, ["dollar"])))
        if len(raws) == len(row.variables):
            values = dict(zip((variable.name for variable in row.variables), raws, strict=True))
            compared += 1

            assert fill(row.text, values, row.variables) == text

    assert compared == 1255


# --- What holds for every file -----------------------------------------------------------------

FIELDS = st.text(alphabet=st.characters(blacklist_categories=["Cs"]), max_size=30)


@settings(deadline=None)  # a busy machine is no bug
@given(st.lists(st.tuples(FIELDS, FIELDS), max_size=6))
def test_what_the_csv_module_writes_is_read(pairs):
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(["act", "prompt"])
    writer.writerows(pairs)

    found = list(read(io.StringIO(file.getvalue(), newline="")))

    assert [problem.code for problem in found if isinstance(problem, Problem)] == [
        "empty" for _title, text in pairs if not cleaned(text)
    ]
    assert len(found) == len(pairs)


@settings(deadline=None)  # a busy machine is no bug
@given(st.lists(st.text(alphabet='a,"\n\r\\{}$ \udce9', max_size=20), max_size=8))
def test_no_file_makes_the_reader_raise(lines):
    for item in read(["act,prompt,contributor\n", *lines]):
        assert isinstance(item, Row | Problem)
        assert item.line >= 1
