"""Somebody with a browser: walks the pages and looks closely at each."""

import re

from axe_playwright_python.sync_playwright import Axe
from django.utils import translation

from tests.e2e.catalogue import english_in

PATIENCE_MS = 15_000
"""Generous: machines that run tests are busy."""
WIDE, NARROW = 1280, 320
HEIGHT = 800
MOST_TABS = 120

_AXE = Axe().axe_script
_NOT_OURS = {"exclude": [[".swagger-ui"]]}
"""Swagger UI draws the API's documentation; its nested buttons and its second <main> are its own."""
_AXE_OPTIONS = {"resultTypes": ["violations"], "elementRef": False}
_GIVEN_UP = ("htmx:afterRequest,", "htmx:sendError,")
"""What htmx says of a request that ended because its page was left; a request that failed says more."""
_BROWSER_S_OWN = "/favicon.ico"
"""Chromium now and then asks for it on its own account; pages name their icon."""
_LOAD_FAILED = re.compile(r"the server responded with a status of (\d+)")

# What a page says in its own language, one line per piece: texts, and what assistive technology reads.
_SHOWN = """() => {
  const own = document.documentElement.lang;
  const isOwn = (element) => element && element.closest("[lang]")?.lang === own;
  const lines = [document.title];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    if (isOwn(node.parentElement) && !node.parentElement.closest("script, style, template")) lines.push(node.data);
  }
  for (const element of document.body.querySelectorAll("[aria-label], [placeholder], [title], [alt]")) {
    if (isOwn(element)) for (const name of ["aria-label", "placeholder", "title", "alt"]) lines.push(element.getAttribute(name) ?? "");
  }
  return lines.map((line) => line.replace(/\\s+/g, " ").trim()).filter(Boolean).join("\\n");
}"""
_SIDEWAYS = """() => {
  const root = document.documentElement;
  const beyond = root.scrollWidth - root.clientWidth;
  if (beyond <= 0) return [];
  const widest = [...document.body.querySelectorAll("*")].filter((element) => element.getBoundingClientRect().right > root.clientWidth + 0.5);
  return widest.slice(0, 5).map((element) => `${element.tagName.toLowerCase()}.${element.className}`).concat([`${beyond} px`]);
}"""


class Visitor:
    """One person's browser window: its own cookies, language, colours and size.

    What the window must never do is noted all the time: errors in the console, refusals of the
    content security policy, requests to other hosts.
    """

    def __init__(self, browser, base, *, language="fr", state=None, **window):
        self.base, self.language = base, language
        self.has_scripts = window.get("java_script_enabled", True)
        self.noise = []
        self._refusals = set()
        window = {"viewport": {"width": WIDE, "height": HEIGHT}, **window}
        self.context = browser.new_context(
            base_url=base,
            locale="fr-FR" if language == "fr" else "en-GB",
            timezone_id="Europe/Paris",
            storage_state=state,
            reduced_motion="reduce",  # a colour on its way to another has no contrast to judge
            **window,
        )
        self.context.set_default_timeout(PATIENCE_MS)
        self.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=base)
        self.context.on("request", self._asked)
        self.context.on("console", self._said)
        self.context.on("weberror", lambda error: self.noise.append(f"script: {error.error}"))
        self.page = self.context.new_page()

    def _asked(self, request):
        if not request.url.startswith((self.base + "/", "data:", "blob:")):
            self.noise.append(f"asked another host: {request.url}")

    def _said(self, message):
        asked = message.location["url"]
        if message.type != "error" or asked.endswith(_BROWSER_S_OWN):
            return
        failed = _LOAD_FAILED.search(message.text)
        is_expected = failed and int(failed[1]) in self._refusals
        if not is_expected and not message.text.startswith(_GIVEN_UP):
            self.noise.append(f"console: {message.text} ({asked})")

    def go(self, path, status=200):
        """Open a page of the product, which answers with this status."""
        self.expect_refusal(status)
        answer = self.page.goto(path)
        assert (path, answer.status) == (path, status)
        return self.page

    def say(self, text, context=None, **blanks):
        """A text of the catalogue in this window's language, its blanks filled."""
        with translation.override(self.language):
            said = translation.pgettext(context, text) if context else translation.gettext(text)
        return said % blanks if blanks else said

    def tab_to(self, selector):
        """Press Tab until this has the focus, as somebody without a mouse does."""
        for _ in range(MOST_TABS):
            self.page.keyboard.press("Tab")
            if self.focused(selector):
                return
        raise AssertionError(f"{MOST_TABS} times Tab did not lead to {selector}")

    def focused(self, selector):
        return self.page.evaluate("selector => document.activeElement.matches(selector)", selector)

    def clipboard(self):
        """What was copied last."""
        return self.page.evaluate("navigator.clipboard.readText()")

    def expect_refusal(self, status):
        """Let the console say that a request was answered with this status."""
        self._refusals.add(status)

    def check(self):
        """The page as it stands has no fault that a machine can see."""
        faults = self.faults()
        assert not faults, lines(faults)

    def faults(self, *, looks=True):
        """Every fault of the page as it stands, in words; without what axe finds unless it looks."""
        found = list(self.noise)
        root = self.page.locator("html").get_attribute("lang")
        if root != self.language:
            found.append(f"the page says lang={root}")
        if beyond := self.page.evaluate(_SIDEWAYS):
            found.append(f"scrolls sideways: {beyond}")
        if self.language == "fr":
            shown = self.page.evaluate(_SHOWN)
            found += [f"English: {text}" for text in english_in(shown)]
        return found + (self._axe() if looks else [])

    def _axe(self):
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(_AXE)
        is_foreign = self.page.locator(".swagger-ui").count() > 0
        rules = {"landmark-no-duplicate-main": {"enabled": not is_foreign}}
        violations = self.page.evaluate(
            "([context, options]) => axe.run(context, options).then(found => found.violations)",
            [_NOT_OURS, {**_AXE_OPTIONS, "rules": rules}],
        )
        return [
            f"axe {violation['id']}: {node['target']} {node['html'][:200]}"
            for violation in violations
            for node in violation["nodes"]
        ]

    def close(self):
        self.context.close()


def lines(faults):
    """Faults one below the other, so that a failed comparison shows each whole."""
    return "\n".join(faults)
