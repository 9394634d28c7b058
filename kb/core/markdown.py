"""Markdown to safe HTML: the only place where text of people becomes markup.

Rendered once, when a text is saved, never while a page waits: Python-Markdown takes quadratic time
on some inputs (thousands of opening brackets), so such inputs are shown as plain text instead.
"""

from __future__ import annotations

import html
import re
from xml.etree.ElementTree import Element

import markdown
import nh3
from markdown.inlinepatterns import ImageInlineProcessor
from markdown.preprocessors import Preprocessor

LONGEST = 60_000
"""Characters; above it a text is shown as typed. Four sections of a write-up fit in it easily."""
MOST_BRACKETS = 400
"""Opening brackets; 4,000 of them cost 2.8 s, 400 cost a hundredth of that."""
MOST_FENCES = 400
"""Code fences; 12,000 of them cost 2 s."""

_TAGS = frozenset(
    [
        "p",
        "br",
        "hr",
        "h3",
        "h4",
        "h5",
        "h6",
        "strong",
        "em",
        "del",
        "ins",
        "mark",
        "sub",
        "sup",
        "code",
        "pre",
        "blockquote",
        "ul",
        "ol",
        "li",
        "dl",
        "dt",
        "dd",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "a",
        "abbr",
        "kbd",
        "details",
        "summary",
        "div",
        "span",
    ]
)
_ATTRIBUTES = {
    "a": {"href", "title"},
    "abbr": {"title"},
    "code": {"class"},
    "div": {"class"},
    "span": {"class"},
    "ol": {"start"},
    "th": {"class", "scope"},
    "td": {"class"},
}
_CLASSES = re.compile(r"^(?:highlight|language-[a-z0-9+#-]{1,20}|[a-z]{1,3}\d?)$")
_EXTENSIONS = [
    "pymdownx.superfences",
    "pymdownx.highlight",
    "pymdownx.betterem",
    "pymdownx.tilde",
    "pymdownx.magiclink",
    "tables",
    "sane_lists",
    "nl2br",
]
_EXTENSION_CONFIGS = {
    "pymdownx.highlight": {"guess_lang": False, "use_pygments": True},
    "pymdownx.magiclink": {"hide_protocol": False},
    "tables": {"use_align_attribute": False},
}
_DEMOTE = {"h1": "h3", "h2": "h4", "h3": "h5", "h4": "h6", "h5": "h6"}
_HEADING = re.compile(r"<(/?)h([1-6])\b[^>]*>")
_IMAGE = r"!\["
_LIST_ITEM = re.compile(r"^ {0,3}(?:[-*+]|\d{1,9}[.)]) ")
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")


class _ImageAsLink(ImageInlineProcessor):
    """An image would load a foreign resource; its link tells what it was."""

    def handleMatch(  # type: ignore[override]  # noqa: N802
        self, m: re.Match[str], data: str
    ) -> tuple[Element | None, int | None, int | None]:
        image, start, end = super().handleMatch(m, data)
        if not isinstance(image, Element):
            return None, None, None
        link = Element("a", {"href": image.get("src", "")})
        link.text = image.get("alt") or image.get("src")
        return link, start, end


class _RoomForLists(Preprocessor):
    """People start a list right under a sentence; Python-Markdown wants an empty line between."""

    def run(self, lines: list[str]) -> list[str]:
        roomy: list[str] = []
        fence = ""
        for line in lines:
            before = roomy[-1] if roomy else ""
            mark = _FENCE.match(line)
            if fence:
                roomy.append(line)
                if mark and mark.group(1).startswith(fence) and not line.strip(" `~"):
                    fence = ""
                    roomy.append("")
                continue
            starts_list = _LIST_ITEM.match(line) and not _LIST_ITEM.match(before)
            if before.strip() and not before.startswith((" ", "\t")) and (starts_list or mark):
                roomy.append("")
            if mark:
                fence = mark.group(1)
            roomy.append(line)
        return roomy


def render(text: str) -> str:
    """Safe HTML of a Markdown text: no foreign resource, no script, no style, headings from h3 down.

    Raw HTML is shown as typed, images become links, links are http(s) or mailto and open without
    telling the other side where they came from. Never raises; what cannot be rendered is shown as
    typed.
    """
    text = text.replace("\r\n", "\n").replace("\x00", "").strip()
    if not text:
        return ""
    if (
        len(text) > LONGEST
        or text.count("[") > MOST_BRACKETS
        or text.count("```") + text.count("~~~") > MOST_FENCES
    ):
        return _as_typed(text)
    # A new converter each time: they are not thread-safe and keep state between texts.
    converter = markdown.Markdown(
        extensions=_EXTENSIONS, extension_configs=_EXTENSION_CONFIGS, output_format="html"
    )
    converter.preprocessors.deregister("html_block")
    converter.inlinePatterns.deregister("html")
    for name in ("image_reference", "short_image_ref"):
        converter.inlinePatterns.deregister(name)
    converter.inlinePatterns.register(_ImageAsLink(_IMAGE, converter), "image_link", 150)
    converter.preprocessors.register(_RoomForLists(converter), "room_for_lists", 26)
    try:
        made = converter.convert(text)
    except (RecursionError, ValueError):
        return _as_typed(text)
    return clean(_HEADING.sub(_demoted, made))


def clean(made: str) -> str:
    """What is left of HTML after our rules; safe for any page."""
    return nh3.clean(
        made,
        tags=set(_TAGS),
        attributes={tag: set(names) for tag, names in _ATTRIBUTES.items()},
        attribute_filter=_filter,
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer nofollow",
    )


def _as_typed(text: str) -> str:
    return f"<pre><code>{html.escape(text)}</code></pre>"


def _demoted(match: re.Match[str]) -> str:
    closing, level = match.group(1), f"h{match.group(2)}"
    return f"<{closing}{_DEMOTE.get(level, level)}>"


def _filter(tag: str, attribute: str, value: str) -> str | None:
    if attribute != "class":
        return value
    kept = [name for name in value.split() if _CLASSES.match(name)]
    return " ".join(kept) or None
