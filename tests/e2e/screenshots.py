"""Takes the pictures of the README from a demonstration started for it.

Run it as: python -m tests.e2e.screenshots
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from kb.supervisor import addresses
from kb.supervisor.browser import find_browser
from tests.e2e.company import Company
from tests.e2e.visitor import Visitor
from tests.stack.product import Product, ended, free_port

PICTURES = addresses.ROOT / "docs" / "images"
LARGEST_BYTES = 250_000
IN_ENGLISH = "/prompts/check-an-incoming-nda-against-our-five-positions/"
IN_FRENCH = "/prompts/repondre-a-la-reclamation-dun-client/"
DRIFTED = "SELECT '/drift/' || min(id) || '/' FROM kb_monitor WHERE status = 'drifted'"


def main():
    browser_path = find_browser(os.environ)
    if browser_path is None:
        sys.exit("No Chromium found; install one, or name it with RETEX_CHROMIUM.")
    folder = Path(tempfile.mkdtemp(prefix="retex-")).resolve()
    product = Product(folder / "var", free_port())
    product.environment["RETEX_DEMO"] = "1"
    try:
        product.start()
        company = Company(product)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=browser_path)
            for name, person, language, address, scheme in (
                ("home-fr", "lecteur", "fr", "/", "light"),
                ("prompt-en", "auteur", "en", IN_ENGLISH, "light"),
                ("drift-en", "auteur", "en", company.one(DRIFTED), "light"),
                ("prompt-dark", "lecteur", "fr", IN_FRENCH, "dark"),
            ):
                take(browser, company, name, person, language, address, scheme)
    finally:
        ended(product)
        shutil.rmtree(folder, ignore_errors=True)


def take(browser, company, name, person, language, address, scheme):
    """One picture of 1280 × 800, as a PNG file."""
    state = company.signed_in(browser, person)
    company.speaks(person, language)
    visitor = Visitor(browser, company.base, language=language, state=state, color_scheme=scheme)
    page = visitor.go(address)
    path = PICTURES / f"{name}.png"
    page.screenshot(path=path)
    visitor.close()
    if path.stat().st_size > LARGEST_BYTES:
        sys.exit(f"{path.name} has {path.stat().st_size} bytes; {LARGEST_BYTES} are enough.")


if __name__ == "__main__":
    main()
