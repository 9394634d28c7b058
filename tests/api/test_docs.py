import re

import pytest
from django.contrib.staticfiles import finders
from django.test import Client

from tests.api.conftest import Caller, told
from tests.factories import make_person

pytestmark = pytest.mark.django_db


@pytest.fixture
def browser():
    browser = Client()
    browser.force_login(make_person())
    return browser


def test_strangers_sign_in_first():
    answer = Client().get("/api/v1/docs/")

    assert answer.status_code == 302
    assert answer["Location"] == "/accounts/login/?next=/api/v1/docs/"


def test_a_page_needs_nothing_the_policy_forbids(browser):
    page = browser.get("/api/v1/docs/", headers={"accept": "text/html"})

    assert page.status_code == 200
    assert page["Content-Type"].startswith("text/html")
    assert "unsafe" not in page["Content-Security-Policy"]
    assert re.findall(r"<script(?![^>]* src=)", page.text) == []
    assert re.findall(r"<style|\sstyle=|\son[a-z]+=", page.text) == []
    addresses = re.findall(r"(?:src|href)=\"([^\"]+\.(?:js|css))\"", page.text)
    assert [a for a in addresses if not a.startswith("/static/")] == []
    assert [a for a in addresses if finders.find(a.removeprefix("/static/")) is None] == []
    assert "/static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js" in addresses


def test_its_script_names_the_schema_and_carries_the_csrf_token(browser):
    page = browser.get("/api/v1/docs/")
    (address,) = re.findall(r"<script src=\"(/api/v1/docs/[^\"]+)\"", page.text)

    script = browser.get(address)

    assert script["Content-Type"] == "application/javascript"
    assert 'url: "/api/v1/schema/"' in script.text
    assert re.search(r'headers\["X-CSRFTOKEN"\] = "[A-Za-z0-9]{64}"', script.text)


def test_a_token_opens_it_as_well():
    assert Caller(make_person(), ["read"]).get("docs/").status_code == 200


def test_other_refusals_are_json(browser):
    assert told(browser.post("/api/v1/docs/", headers={"x-csrftoken": "x"})) == (
        405,
        "method_not_allowed",
        [],
    )
