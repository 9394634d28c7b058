"""The real product with its demonstration, and Chromium to walk it.

Everything lives as long as the tests of this package: Playwright keeps an event loop running, beside
which Django refuses to ask the database.
"""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

from kb.supervisor.browser import find_browser
from tests.e2e.company import Company
from tests.e2e.visitor import PATIENCE_MS, lines
from tests.stack.product import Product, ended, free_port

HERE = Path(__file__).parent
PATIENCE_SECONDS = 300

expect.set_options(timeout=PATIENCE_MS)


@pytest.hookimpl(tryfirst=True)  # before marks are chosen by
def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(PATIENCE_SECONDS))


def pytest_generate_tests(metafunc):
    """Walks go in both languages; in one of them also without scripts, where pages promise that."""
    if {"language", "has_scripts"} <= set(metafunc.fixturenames):
        ways = [("fr", True), ("en", True), ("fr", False)]
        names = ["fr", "en", "fr without scripts"]
        metafunc.parametrize(("language", "has_scripts"), ways, ids=names)
    elif "language" in metafunc.fixturenames:
        metafunc.parametrize("language", ["fr", "en"])
    elif "has_scripts" in metafunc.fixturenames:
        metafunc.parametrize("has_scripts", [True, False], ids=["scripts", "without scripts"])


@pytest.fixture(scope="package")
def browser():
    """Chromium; without one the tests are skipped, or fail where CI is set."""
    path = find_browser(os.environ)
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("no Chromium found, and CI is set: the pages must be walked")
        pytest.skip("no Chromium found: the pages are not walked")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path)
        yield started
        started.close()


@pytest.fixture(scope="package")
def company(browser):
    folder = Path(tempfile.mkdtemp(prefix="retex-")).resolve()
    product = Product(folder / "var", free_port())
    product.environment["RETEX_DEMO"] = "1"
    try:
        product.start()
        yield Company(product)
    finally:
        ended(product)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def visit(browser, company):
    """Opens windows: visit("auteur", "fr"), visit(None, "en") for somebody who has not signed in.

    Afterwards no window may have said or done what windows must not.
    """
    windows = []

    def open_window(person, language, **window):
        windows.append(company.window(browser, person, language, **window))
        return windows[-1]

    yield open_window
    noise = [line for window in windows for line in window.noise]
    for window in windows:
        window.close()
    assert lines(noise) == ""
