import csv
import io

import pytest

from kb.core.spreadsheet import csv_text


def cells(text, separator=","):
    assert text.startswith("\ufeff")
    return list(csv.reader(io.StringIO(text[1:]), delimiter=separator))


def test_a_table_reads_back_as_it_was():
    text = csv_text(["Title", "n"], [["Été, “so”\nto say", 3], ["", None]])

    assert cells(text) == [["Title", "n"], ["Été, “so”\nto say", "3"], ["", ""]]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_what_a_spreadsheet_would_run_is_text(start):
    text = csv_text([f"{start}1+1"], [[f"{start}HYPERLINK(1)", f"a{start}b"]])

    assert cells(text) == [[f"'{start}1+1"], [f"'{start}HYPERLINK(1)", f"a{start}b"]]


def test_a_loss_stays_a_number():
    assert cells(csv_text(["net"], [[-12]])) == [["net"], ["-12"]]


def test_the_separator_is_the_one_asked_for():
    text = csv_text(["a", "b"], [["1,5", "x;y"]], separator=";")

    assert cells(text, ";") == [["a", "b"], ["1,5", "x;y"]]
