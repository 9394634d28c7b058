import time

import pytest

from kb.drift.xml_shape import Shape, shape_of

BILLION_LAUGHS = """<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol "lol">
<!ENTITY lol2 "&lol;&lol;&lol;&lol;">]><lolz>&lol2;</lolz>"""
OUTSIDE_FILE = """<!DOCTYPE a [<!ENTITY secret SYSTEM "file:///etc/hostname">]><a>&secret;</a>"""


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("<a/>", Shape("")),
        ("\n <?xml version='1.0'?><a>é &amp; &#233;</a>\n", Shape("")),
        ("<?xml version='1.0' encoding='UTF-16'?><a>é</a>", Shape("")),
        ("", Shape("not_xml", 1, 1)),
        ("text", Shape("not_xml", 1, 1)),
        ("<a>\n<b></a>", Shape("not_xml", 2, 6)),
        ("<a/><b/>", Shape("not_xml", 1, 5)),
        ("<a>&nbsp;</a>", Shape("not_xml", 1, 4)),
        ("<a>\x00</a>", Shape("not_xml", 1, 4)),
        ("<a>\ud800</a>", Shape("")),
    ],
)
def test_one_whole_document_is_xml_and_nothing_else(text, shape):
    assert shape_of(text) == shape


@pytest.mark.parametrize("text", [BILLION_LAUGHS, OUTSIDE_FILE, "<!DOCTYPE html><html></html>"])
def test_a_document_type_is_refused_before_it_does_anything(text):
    assert shape_of(text).problem == "document_type"


def test_elements_are_asked_for_by_their_path_from_the_root():
    text = "<order><line><sku>1</sku></line></order>"

    shape = shape_of(text, ("order.line.sku", "line", "order", "order.total"))

    assert shape == Shape("", missing=("line", "order.total"))


def test_levels_have_an_end():
    assert shape_of("<a>" * 100 + "</a>" * 100).problem == ""
    assert shape_of("<a>" * 101 + "</a>" * 101).problem == "too_deep"


def test_a_million_characters_of_elements_are_read_in_seconds():
    path = ".".join(["a"] * 100 + ["b"])
    text = "<a>" * 99 + "<a/>" * 249_000 + "</a>" * 99
    began = time.perf_counter()

    assert shape_of(text, (path, "a.a")).missing == (path,)
    assert time.perf_counter() - began < 10
