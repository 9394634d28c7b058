import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kb.core.markdown import render


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("", ""),
        ("One\ntwo", "<p>One<br>\ntwo</p>"),
        ("# Big\n## Less", "<h3>Big</h3>\n<h4>Less</h4>"),
        ("A list:\n- a\n- b", "<p>A list:</p>\n<ul>\n<li>a</li>\n<li>b</li>\n</ul>"),
        ("~~no~~ *so* **do**", "<p><del>no</del> <em>so</em> <strong>do</strong></p>"),
        ("<b onclick=x>hi</b>", "<p>&lt;b onclick=x&gt;hi&lt;/b&gt;</p>"),
        (
            "![plan](http://x.test/p.png)",
            '<p><a href="http://x.test/p.png" rel="noopener noreferrer nofollow">plan</a></p>',
        ),
        ("[a](javascript:alert(1))", '<p><a rel="noopener noreferrer nofollow">a</a></p>'),
        ("[a](data:text/html,x)", '<p><a rel="noopener noreferrer nofollow">a</a></p>'),
    ],
)
def test_markdown_becomes_safe_html(text, html):
    assert render(text) == html


def test_code_keeps_its_words():
    made = render("```python\nif a < b: pass\n- not a list\n```")

    assert "&lt;" in made
    assert "<ul>" not in made


@pytest.mark.parametrize(
    "text",
    [
        "[" * 50_000,
        "![a](<" * 10_000,
        "```\n" * 12_000,
        "> " * 20_000,
        "*a" * 20_000,
        "| " * 20_000,
        "x" * 60_001,
    ],
    ids=["brackets", "images", "fences", "quotes", "stars", "pipes", "long"],
)
def test_no_text_keeps_the_worker_busy(text):
    start = time.process_time()

    render(text)

    assert time.process_time() - start < 5


@given(
    st.text(
        alphabet=st.sampled_from(list("<>&\"'`*_[]()!#-~|:/ \nascriptonloaimgh=")), max_size=200
    )
)
def test_nothing_typed_becomes_a_script_or_loads_anything(text):
    made = render(text).lower()

    for danger in (
        "<script",
        "<img",
        "<style",
        "<iframe",
        " onload=",
        " onerror=",
        'href="javascript:',
    ):
        assert danger not in made
