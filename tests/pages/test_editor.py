"""The editor: publishing from a pasted text, holes, preview, refusals, two people at once."""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from kb.prompts import actions
from kb.prompts.models import Prompt
from kb.prompts.template import Variable
from kb.prompts.writeup import WriteUpSections
from tests.factories import (
    make_admin,
    make_department,
    make_person,
    make_prompt,
    make_tool,
    make_use_case,
)

pytestmark = pytest.mark.django_db

NEW = "/prompts/new/"
PASTED = "Write to [CLIENT NAME] about ${invoice:the last invoice}.\nKeep {TONE} out of it.\n"
FRENCH = (
    "Résume ce contrat pour les collègues qui ne sont pas juristes, et dis ce qui est inhabituel."
)


@pytest.fixture
def author(client):
    person = make_person("author", make_department("legal"), name="Ada Author")
    client.force_login(person)
    return person


def typed(prompt: Prompt | None = None, **changed):
    """What a browser would send of an untouched form, with some fields changed."""
    if prompt is None:
        values = {"title": "Remind a client", "text": "Remind {{ client }} of it."}
    else:
        version, write_up = prompt.current, prompt.write_up
        values = {
            "edition": prompt.edition,
            "title": prompt.title,
            "summary": prompt.summary,
            "text": version.text,
            "system": version.system,
            "departments": [row.slug for row in prompt.departments.all()],
            "tools": [row.slug for row in prompt.tools.all()],
            "use_cases": [row.slug for row in prompt.use_cases.all()],
            "tags": ", ".join(row.name for row in prompt.tags.all()),
            "language": prompt.language,
            **{
                name: getattr(write_up, name, "")
                for name in ("purpose", "worked", "failed", "limits")
            },
        }
        for number, variable in enumerate(version.variables):
            values |= row(number, **variable)
    return {"visibility": "company", "copy": "abc", "do": "save", **values, **changed}


def row(number, name, *, options=(), required=True, **described):
    described = {"label": "", "type": "text", "default": "", "help": "", **described}
    made = {f"variable-{number}-{key}": value for key, value in described.items()}
    return made | {
        f"variable-{number}-name": name,
        f"variable-{number}-options": "\n".join(options),
        f"variable-{number}-required": "on" if required else "",
    }


def part(page, pattern):
    found = re.search(pattern, page.content.decode(), re.DOTALL)
    assert found is not None, pattern
    return found[0]


def edit_url(prompt):
    return reverse("prompt-edit", args=[prompt.slug])


# --- Who may ------------------------------------------------------------------------------------


def test_a_stranger_is_sent_to_the_sign_in_page(client):
    response = client.get(NEW)

    assert response.status_code == 302
    assert response.url == f"/accounts/login/?next={NEW}"


def test_a_reader_meets_a_kind_page_that_names_the_administrators(client):
    make_admin(name="Rosa Boss")
    client.force_login(make_person("reader"))

    page = client.get(NEW)

    assert page.status_code == 403
    assert "Sharing prompts is for authors" in page.content.decode()
    assert "Rosa Boss" in page.content.decode()
    assert 'id="editor"' not in page.content.decode()


def test_a_reader_cannot_publish_by_posting(client):
    client.force_login(make_person("reader"))

    response = client.post(NEW, typed(do="publish"))

    assert response.status_code == 403
    assert Prompt.objects.count() == 0


def test_a_colleague_is_told_who_looks_after_the_prompt(client):
    prompt = make_prompt(make_person(name="Ada Author"))
    client.force_login(make_person("author", make_department("sales")))

    page = client.get(edit_url(prompt))

    assert page.status_code == 403
    assert "Only Ada Author and the curators" in page.content.decode()
    assert f"/prompts/{prompt.slug}/#comments" in page.content.decode()


def test_the_draft_of_somebody_else_does_not_exist(client):
    prompt = make_prompt(status="draft")
    client.force_login(make_person("author"))

    assert client.get(edit_url(prompt)).status_code == 404


def test_a_curator_of_its_department_may_edit(client):
    legal = make_department("legal")
    prompt = make_prompt(departments=[legal])
    client.force_login(make_person("curator", legal))

    response = client.post(edit_url(prompt), typed(prompt, title="Better title"))

    prompt.refresh_from_db()
    assert (response.status_code, prompt.title) == (302, "Better title")


# --- Publishing ---------------------------------------------------------------------------------


def test_a_new_form_starts_with_the_departments_of_the_person(client, author):
    make_department("sales")

    page = client.get(NEW + "?title=Relire un bail")

    ticked = re.findall(r'name="departments" value="(\w+)"[^>]*checked', page.content.decode())
    assert ticked == ["legal"]
    assert 'value="Relire un bail"' in page.content.decode()


def test_publishing_keeps_everything_said(client, author):
    make_tool("claude")
    make_use_case("draft-reply")

    response = client.post(
        NEW,
        typed(
            do="publish",
            summary="A kind reminder.",
            text="\nRemind {{ client }} of {{ amount }} €.\n",
            system="You are kind.",
            departments=["legal"],
            tools=["claude"],
            use_cases=["draft-reply"],
            tags="dunning, Invoice,dunning,",
            language="en",
            purpose="Late invoices.",
            worked="- numbers",
            failed="Nothing yet.",
            limits="No threats.",
            visibility="departments",
            **row(0, "client", label="Client", help="As in the ledger", required=False),
            **row(1, "amount", label="How much", type="choice", options=["10", "20"], default="20"),
        ),
    )

    prompt = Prompt.objects.get()
    assert response.url == f"/prompts/{prompt.slug}/"
    version, write_up = prompt.current, prompt.write_up
    assert (prompt.title, prompt.summary, prompt.language) == (
        "Remind a client",
        "A kind reminder.",
        "en",
    )
    assert (prompt.status, prompt.visibility, prompt.author) == (
        "published",
        "departments",
        author,
    )
    assert [
        [row.slug for row in rows.all()]
        for rows in (prompt.departments, prompt.tools, prompt.use_cases, prompt.tags)
    ] == [["legal"], ["claude"], ["draft-reply"], ["dunning", "invoice"]]
    assert (version.number, version.text, version.system) == (
        1,
        "Remind {{ client }} of {{ amount }} €.",
        "You are kind.",
    )
    assert version.variables == [
        Variable("client", "Client", help="As in the ledger", required=False).to_dict(),
        Variable("amount", "How much", "choice", "20", options=("10", "20")).to_dict(),
    ]
    assert (write_up.purpose, write_up.worked, write_up.failed, write_up.limits) == (
        "Late invoices.",
        "- numbers",
        "Nothing yet.",
        "No threats.",
    )


def test_a_title_and_a_text_are_enough(client, author):
    response = client.post(
        NEW, {"title": "T", "text": "Hello", "visibility": "company", "do": "publish"}
    )

    prompt = Prompt.objects.get()
    assert response.url == f"/prompts/{prompt.slug}/"
    assert (prompt.status, prompt.language, list(prompt.departments.all())) == (
        "published",
        "en",
        [],
    )


def test_the_language_is_recognised_from_the_text(client, author):
    client.post(NEW, typed(text=FRENCH, language="", do="publish"))

    assert Prompt.objects.get().language == "fr"


def test_a_saved_draft_opens_again_for_its_author(client, author):
    response = client.post(NEW, typed(do="draft"), follow=True)

    prompt = Prompt.objects.get()
    assert response.redirect_chain == [(edit_url(prompt), 302)]
    assert prompt.status == "draft"
    assert "Draft saved. Only you can see it." in response.content.decode()


def test_a_draft_without_a_title_takes_the_beginning_of_its_text(client, author):
    text = (
        "# Summarise the minutes of a meeting for everybody who could not come to it\nIn ten lines."
    )

    client.post(NEW, typed(title=" ", text=text, do="draft"))

    assert (
        Prompt.objects.get().title == "Summarise the minutes of a meeting for everybody who could…"
    )


def test_a_draft_is_published_from_the_editor(client, author):
    draft = make_prompt(author, status="draft")

    response = client.post(edit_url(draft), typed(draft, do="publish"))

    draft.refresh_from_db()
    assert (response.url, draft.status) == (f"/prompts/{draft.slug}/", "published")


def test_a_changed_text_is_the_next_version_with_its_note(client, author):
    prompt = make_prompt(author)

    response = client.post(
        edit_url(prompt),
        typed(prompt, text="Say hello twice.", change_note="Once was too little."),
        follow=True,
    )

    prompt.refresh_from_db()
    assert (prompt.current.number, prompt.current.change_note) == (2, "Once was too little.")
    assert "Saved as version 2." in response.content.decode()


def test_an_unchanged_text_keeps_its_version(client, author):
    prompt = make_prompt(author)

    response = client.post(edit_url(prompt), typed(prompt, summary="New words."), follow=True)

    prompt.refresh_from_db()
    assert (prompt.current.number, prompt.summary) == (1, "New words.")
    assert "the version and its evidence stay" in response.content.decode()


def test_the_editor_shows_a_prompt_as_it_is(client, author):
    prompt = make_prompt(
        author,
        text="Sell {{ thing }}.",
        system="Be brief.",
        variables=[Variable("thing", "What", "choice", "tea", options=("tea", "milk"))],
        tags=["tea", "trade"],
        write_up=WriteUpSections(purpose="To sell.", failed="Milk."),
        departments=[make_department("sales")],
        tools=[make_tool("claude", is_retired=True)],
    )

    page = client.get(edit_url(prompt))

    html = unescape(page.content.decode())
    assert ">\nSell {{ thing }}.</textarea>" in html
    assert ">\nBe brief.</textarea>" in html
    assert ">\ntea\nmilk</textarea>" in html
    assert ">\nTo sell.</textarea>" in html
    assert re.findall(r'name="(departments|tools|popular)" value="(\w+)"[^>]*checked', html) == [
        ("departments", "sales"),
        ("tools", "claude"),
        ("popular", "tea"),
        ("popular", "trade"),
    ]


def test_a_saved_form_changes_nothing_when_nothing_was_changed(client, author):
    prompt = make_prompt(
        author,
        text="Sell {{ thing }}\n\nto {{ whom }}.",
        variables=[
            Variable("thing", "What", default="tea\nor milk", help="Any", required=False),
            Variable("whom", "To whom", "choice", "her", options=("her", "him")),
        ],
        tags=["tea", "trade"],
        write_up=WriteUpSections(purpose="To sell.\n\n- tea", failed="Milk."),
        departments=[make_department("sales")],
    )

    sent = fields_of(client.get(edit_url(prompt)))
    client.post(edit_url(prompt), {**sent, "do": "save"})

    after = Prompt.objects.get()
    assert (after.current_id, after.write_up_id) == (prompt.current_id, prompt.write_up_id)
    assert sorted(tag.name for tag in after.tags.all()) == ["tea", "trade"]
    assert after.edition == prompt.edition + 1


def fields_of(page):
    """The fields of the editor's form as a browser would send them."""
    html = part(page, r'<form id="editor".*?</form>')
    sent: dict[str, list[str]] = {}
    for tag in re.findall(r"<input [^>]*>", html):
        kept = dict(re.findall(r'([\w-]+)="([^"]*)"', tag))
        is_off = kept["type"] in ("checkbox", "radio") and " checked" not in tag
        if not is_off:
            usual = "on" if kept["type"] == "checkbox" else ""
            sent.setdefault(kept["name"], []).append(unescape(kept.get("value", usual)))
    for name, text in re.findall(
        r'<textarea name="([^"]+)"[^>]*>\n(.*?)</textarea>', html, re.DOTALL
    ):
        sent.setdefault(name, []).append(unescape(text).replace("\n", "\r\n"))
    for name, options in re.findall(
        r'<select[^>]*name="([^"]+)"[^>]*>(.*?)</select>', html, re.DOTALL
    ):
        values = re.findall(r'<option value="([^"]*)"[^>]*selected', options)
        sent.setdefault(name, []).extend(values)
    return sent


def test_the_saved_copy_on_the_device_is_named_in_a_cookie(client, author):
    client.post(NEW, typed(copy="a1_-B"))

    assert client.cookies["retex_saved"].value == "a1_-B"
    assert client.cookies["retex_saved"]["samesite"] == "Lax"


def test_a_strange_name_of_a_copy_is_not_repeated(client, author):
    client.post(NEW, typed(copy='x"; Domain=evil'))

    assert "retex_saved" not in client.cookies


def test_an_archived_prompt_stays_archived(client, author):
    prompt = make_prompt(author)
    prompt = actions.archive(prompt=prompt, by=author, now=timezone.now())

    client.post(edit_url(prompt), typed(prompt, title="Old but gold"))

    prompt.refresh_from_db()
    assert (prompt.status, prompt.title) == ("archived", "Old but gold")


# --- Refusals -----------------------------------------------------------------------------------


def test_a_refused_form_keeps_what_was_typed(client, author):
    page = client.post(
        NEW,
        typed(title="", do="publish", purpose="Typed purpose", tags="mine", departments=["legal"]),
    )

    html = page.content.decode()
    assert page.status_code == 422
    assert "data-autofocus" in part(page, r'<div class="error-summary".*?</div>')
    assert '<a href="#id_title">Title</a>: A prompt needs a title.' in html
    assert "Typed purpose</textarea>" in html
    assert 'value="mine"' in html
    assert re.findall(r'name="departments" value="(\w+)"[^>]*checked', html) == ["legal"]
    assert "variable-0-name" in html
    assert Prompt.objects.count() == 0


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"title": "x" * 161}, "At most 160 characters; these are 161."),
        ({"text": " \n "}, "A prompt needs a text."),
        ({"summary": "x" * 301}, "At most 300 characters; these are 301."),
        ({"limits": "x" * 20_001}, "At most 20000 characters; these are 20001."),
        ({"tags": "!!"}, "has no letter or digit"),
        ({"tags": ",".join(f"t{n}" for n in range(13))}, "At most 12 tags; these are 13."),
        ({"visibility": "nobody"}, "nobody is not one of the available choices"),
        ({"visibility": "departments", "departments": []}, "Choose at least one department"),
        ({"departments": ["nowhere"]}, "nowhere is not one of the available choices"),
        ({"departments": ["a\x00"]}, "Enter a list of values."),
        ({"language": "xx"}, "xx is not one of the available choices"),
        ({"edition": "9" * 5_000, "title": ""}, "A prompt needs a title."),
        (
            {"text": " ".join(f"{{{{ hole{n} }}}}" for n in range(61))},
            "A prompt has at most 60 places to fill in; this one has 61.",
        ),
        (
            row(0, "client", type="choice", label="Which client"),
            "“Which client”: A list needs at least one line.",
        ),
        (
            row(0, "client", type="choice", options=["a", "b"], default="c"),
            "“client”: “c” is not in the list.",
        ),
        (
            row(0, "client", type="choice", options=[str(n) for n in range(51)]),
            "A list has at most 50 lines; these are 51.",
        ),
        (row(0, "client", type="choice", options=["x" * 201]), "is too long; a line has at most"),
        (row(0, "client", type="poem"), "poem is not one of the available choices"),
        (row(0, "client", label="x" * 121), "At most 120 characters; these are 121."),
    ],
)
def test_what_cannot_be_kept_is_refused_in_plain_words(client, author, changed, message):
    page = client.post(NEW, typed(do="publish", **changed))

    assert page.status_code == 422
    assert message in unescape(page.content.decode())
    assert Prompt.objects.count() == 0


def test_signs_no_database_takes_are_left_out(client, author):
    client.post(
        NEW, typed(text="He\x00llo \ud800{{ cli\x00ent }}".encode("utf-8", "replace").decode())
    )

    assert Prompt.objects.get().current.text == "Hello ?{{ client }}"


def test_a_published_prompt_cannot_be_saved_as_a_draft(client, author):
    prompt = make_prompt(author)

    page = client.post(edit_url(prompt), typed(prompt, do="draft"))

    assert page.status_code == 422
    assert "cannot become a draft again" in page.content.decode()


# --- Places to fill in --------------------------------------------------------------------------


def detect(client, **data):
    return client.post("/prompts/detect/", data, headers={"HX-Request": "true"})


def offered(page):
    return [
        unescape(raw)
        for raw in re.findall(r'name="offered" value="([^"]*)"', page.content.decode())
    ]


def holes(page):
    return re.findall(
        r'type="hidden" name="variable-\d+-name" value="([^"]*)"', page.content.decode()
    )


def test_placeholders_are_found_while_typing(client, author):
    page = detect(client, text=PASTED)

    assert offered(page) == ["[CLIENT NAME]", "${invoice:the last invoice}", "{TONE}"]
    assert "We found 3 places to fill in" in page.content.decode()
    assert "<html" not in page.content.decode()


def test_nothing_is_sent_again_when_nothing_changed(client, author):
    response = detect(
        client,
        text="{{ a }} [CLIENT NAME]",
        holes="a",
        offered=["[CLIENT NAME]"],
        accept=["[CLIENT NAME]"],
        **row(0, "a"),
    )

    assert (response.status_code, response.content) == (204, b"")


def test_ticked_spellings_become_holes_with_rows(client, author):
    page = detect(
        client,
        do="convert",
        text=PASTED,
        system="Speak for [CLIENT NAME].",
        offered=["[CLIENT NAME]", "${invoice:the last invoice}", "{TONE}"],
        accept=["[CLIENT NAME]", "${invoice:the last invoice}"],
    )

    html = unescape(page.content.decode())
    assert "Write to {{ client_name }} about {{ invoice }}.\nKeep {TONE} out of it." in html
    assert "Speak for {{ client_name }}." in html
    assert holes(page) == ["client_name", "invoice"]
    assert 'name="variable-0-label" value="Client name"' in html
    assert ">\nthe last invoice</textarea>" in html
    assert 'hx-swap-oob="true"' in html
    assert re.findall(r'name="accept" value="([^"]*)"( checked)?', html) == [("{TONE}", "")]
    assert page["HX-Trigger-After-Settle"] == "refresh-preview"


def test_what_was_said_of_a_hole_survives_a_conversion(client, author):
    page = detect(
        client,
        do="convert",
        text="{{ client }} and [OTHER SIDE]",
        accept=["[OTHER SIDE]"],
        **row(0, "client", label="Who is it", type="long_text"),
    )

    assert holes(page) == ["client", "other_side"]
    assert 'name="variable-0-label" value="Who is it"' in page.content.decode()
    assert '<option value="long_text" selected>' in page.content.decode()


def test_a_hole_taken_out_of_the_text_loses_its_row_but_not_its_words(client, author):
    page = detect(
        client, text="Only {{ b }}", **row(0, "a", label="Kept aside"), **row(1, "b", label="B")
    )

    html = page.content.decode()
    assert re.findall(r'<span class="hole" dir="auto">(\w+)</span>', html) == ["b"]
    assert '<input type="hidden" name="variable-1-label" value="Kept aside"' in html

    back = detect(
        client, text="{{ a }} {{ b }}", **row(0, "b", label="B"), **row(1, "a", label="Kept aside")
    )
    assert 'type="text" name="variable-0-label" value="Kept aside"' in back.content.decode()


def test_a_row_put_aside_is_not_saved(client, author):
    client.post(NEW, typed(**row(0, "client", label="Client"), **row(1, "gone", label="x" * 500)))

    assert [v["name"] for v in Prompt.objects.get().current.variables] == ["client"]


def test_without_a_script_a_button_looks_for_places(client, author):
    page = client.post(NEW, typed(do="look", title="Typed", text=PASTED, worked="Typed too"))

    html = unescape(page.content.decode())
    assert page.status_code == 200
    assert offered(page) == ["[CLIENT NAME]", "${invoice:the last invoice}", "{TONE}"]
    assert 'value="Typed"' in html
    assert "Typed too</textarea>" in html
    assert "error-summary" not in html
    assert Prompt.objects.count() == 0


def test_without_a_script_the_same_button_converts(client, author):
    page = client.post(
        NEW, typed(do="convert", text=PASTED, accept=["[CLIENT NAME]"], title="Typed")
    )

    html = unescape(page.content.decode())
    assert ">\nWrite to {{ client_name }} about" in html
    assert 'value="Typed"' in html


def test_spellings_left_in_a_saved_prompt_do_not_nag(client, author):
    prompt = make_prompt(author, text=PASTED)

    page = client.get(edit_url(prompt))

    assert offered(page) == ["[CLIENT NAME]", "${invoice:the last invoice}", "{TONE}"]
    assert "3 places left as they are" in page.content.decode()


def test_holes_that_are_typed_get_a_likely_row(client, author):
    page = detect(client, text="{{ société }} owes since {{ due_date }}")

    html = page.content.decode()
    assert holes(page) == ["société", "due_date"]
    assert 'name="variable-0-label" value="Société"' in html
    assert '<option value="date" selected>' in html


# --- Preview ------------------------------------------------------------------------------------

STORY = r'<div class="story".*?</section>'
TEXT = r'<div class="prompt-text.*?</div>'


def test_the_preview_is_the_published_page_to_the_byte(client, author):
    said = typed(
        do="publish",
        language="fr",
        text="Écris à {{ client }} :\n\n<b>{{ montant }}</b> & [merci](x)\n\\{{ non }}",
        purpose="Une *relance*.",
        worked="- un\n- deux",
        failed="```\n{{ rien }}\n```",
        limits="<script>alert(1)</script>",
        **row(0, "client", label="Le client", default="Durand & fils"),
        **row(1, "montant", required=False),
    )

    preview = client.post("/prompts/preview/", said, headers={"HX-Request": "true"})
    page = client.get(client.post(NEW, said).url)

    def story(html):
        return re.findall(r'<div class="prose">.*?</div></div>', html.content.decode(), re.DOTALL)

    assert part(preview, TEXT) == part(page, TEXT)
    assert story(preview) == story(page)
    assert len(story(page)) == 4


def test_the_preview_speaks_the_language_of_the_prompt_not_of_the_reader(client):
    reader = make_person("author", language="fr")
    client.force_login(reader)
    prompt = make_prompt(
        reader, language="en", write_up=WriteUpSections(worked="Yes."), summary="A word."
    )

    preview = part(client.get(edit_url(prompt)), r'<section id="preview".*?</section>')

    assert re.findall(r'lang="(\w+)"', preview) == ["en", "en", "en", "en", "fr"]
    assert "· English" in preview


def test_a_half_written_row_does_not_spoil_the_preview(client, author):
    preview = client.post(
        "/prompts/preview/",
        {"text": "To {{ client }}.", **row(0, "client", label="Client", type="choice")},
    )

    assert preview.status_code == 200
    assert 'data-hole="client"' in preview.content.decode()


def test_without_a_script_a_button_refreshes_the_preview(client, author):
    page = client.post(NEW, typed(do="preview", text="Hello *there*", worked="**Yes**"))

    assert "<strong>Yes</strong>" in part(page, r'<section id="preview".*?</section>')
    assert Prompt.objects.count() == 0


# --- Near titles --------------------------------------------------------------------------------


def test_near_titles_are_shown_while_typing(client, author):
    make_prompt(title="Review a lease before signing it")
    make_prompt(title="Write a job advert")

    page = client.get("/prompts/new/near/?title=Review my lease")

    assert re.findall(r'href="/prompts/([\w-]+)/"', page.content.decode()) == [
        "review-a-lease-before-signing-it"
    ]


def test_prompts_that_a_person_may_not_read_are_never_near(client, author):
    make_prompt(title="Review a lease before signing it", visibility="private")

    assert client.get("/prompts/new/near/?title=Review my lease").content.strip() == b""


@pytest.mark.parametrize("title", ["", "lease", "\x00 \x00", "x" * 5_000, "OR OR OR -", "' : & |"])
def test_a_title_that_tells_little_has_no_near_ones(client, author, title):
    make_prompt(title="Review a lease before signing it")

    page = client.get("/prompts/new/near/", {"title": title})

    assert (page.status_code, page.content.strip()) == (200, b"")


# --- Two people at once -------------------------------------------------------------------------


@pytest.fixture
def race(client, author):
    """A prompt of the author that a curator has changed since the author opened it."""
    legal = make_department("legal")
    prompt = make_prompt(
        author, title="Lease", text="Read the lease slowly.", departments=[legal], summary="Slow."
    )
    opened = Prompt.objects.get(pk=prompt.pk)
    curator = make_person("curator", legal, name="Carl Curator")
    actions.edit_prompt(
        prompt=prompt,
        fields=actions.PromptFields(text="Read the long lease slowly.", summary="Long."),
        by=curator,
        now=timezone.now(),
        based_on=None,
    )
    return opened


def test_saving_over_a_newer_edition_shows_both(client, race):
    page = client.post(edit_url(race), typed(race, text="Read the lease fast.", purpose="Mine."))

    html = page.content.decode()
    assert page.status_code == 409
    assert "Carl Curator saved this prompt" in html
    assert [
        button for button in ("keep-mine", "merge", "take-theirs") if f'id="{button}"' in html
    ] == [
        "keep-mine",
        "merge",
        "take-theirs",
    ]
    plain = re.sub(r"<span class=\"visually-hidden diff__word\">.*?</span>", "", html)
    assert "<del>long </del>" in plain
    assert "<ins>fast</ins>" in plain
    assert "<ins>Mine.</ins>" in plain
    race.refresh_from_db()
    assert race.current.text == "Read the long lease slowly."


def sent_again(page):
    html = part(page, r'<form class="stack stack--wide".*?</form>')
    found: dict[str, list[str]] = {}
    for tag in re.findall(r'<input type="hidden"[^>]*>', html):
        kept = dict(re.findall(r'(name|value)="([^"]*)"', tag))
        found.setdefault(kept["name"], []).append(unescape(kept.get("value", "")))
    return found


def test_keeping_mine_makes_it_the_new_version(client, race):
    mine = typed(race, text="Line one.\n\n{{ hole }}", tags="a, b", **row(0, "hole", label="What"))
    page = client.post(edit_url(race), mine)

    response = client.post(edit_url(race), {**sent_again(page), "do": "save"})

    assert response.url == f"/prompts/{race.slug}/"
    race.refresh_from_db()
    assert [version.text for version in race.versions.all()] == [
        "Line one.\n\n{{ hole }}",
        "Read the long lease slowly.",
        "Read the lease slowly.",
    ]
    assert race.current.variables == [Variable("hole", "What").to_dict()]
    assert (race.summary, sorted(tag.name for tag in race.tags.all())) == ("Slow.", ["a", "b"])
    assert [row.slug for row in race.departments.all()] == ["legal"]


def test_merging_opens_the_editor_with_mine_and_theirs_beside_it(client, race):
    page = client.post(edit_url(race), typed(race, text="Read the lease fast."))

    merging = client.post(edit_url(race), {**sent_again(page), "do": "merge"})

    assert merging.status_code == 200
    assert ">\nRead the lease fast.</textarea>" in merging.content.decode()
    assert "Read the long lease slowly." in part(merging, r"Their text in full</summary>.*?</div>")

    looked = client.post(edit_url(race), {**fields_of(merging), "do": "look"})
    assert 'class="theirs"' in looked.content.decode()

    saved = client.post(edit_url(race), {**fields_of(looked), "text": "Both.", "do": "save"})
    race.refresh_from_db()
    assert (saved.status_code, race.current.text) == (302, "Both.")


def test_a_third_change_meanwhile_is_a_conflict_again(client, race, author):
    page = client.post(edit_url(race), typed(race, text="Mine."))
    actions.edit_prompt(
        prompt=race,
        fields=actions.PromptFields(text="Third."),
        by=author,
        now=timezone.now(),
        based_on=None,
    )

    again = client.post(edit_url(race), {**sent_again(page), "do": "save"})

    assert again.status_code == 409
    assert "You saved this prompt" in again.content.decode()
    race.refresh_from_db()
    assert race.current.text == "Third."


def test_a_form_without_its_edition_overwrites_nothing(client, author):
    prompt = make_prompt(author)

    page = client.post(edit_url(prompt), typed(prompt, edition="", text="Something else."))

    assert page.status_code == 409
    prompt.refresh_from_db()
    assert prompt.current.text == "Say hello."


def test_sending_the_same_form_twice_is_saving_once(client, author):
    prompt = make_prompt(author)
    sent = typed(prompt, text="Say goodbye.")

    client.post(edit_url(prompt), sent)
    again = client.post(edit_url(prompt), sent, follow=True)

    prompt.refresh_from_db()
    assert prompt.versions.count() == 2
    assert "Saved already" in again.content.decode()
    assert client.cookies["retex_saved"].value == "abc"


def test_a_draft_is_published_from_a_stale_tab_when_nothing_differs(client, author):
    draft = make_prompt(author, status="draft")
    sent = typed(draft, do="publish", edition=0)

    response = client.post(edit_url(draft), sent)

    draft.refresh_from_db()
    assert (response.url, draft.status) == (f"/prompts/{draft.slug}/", "published")


def test_a_change_that_left_no_version_is_somebodys(client, author, race):
    actions.edit_prompt(
        prompt=race,
        fields=actions.PromptFields(summary="Nobody knows who."),
        by=author,
        now=timezone.now(),
        based_on=None,
    )

    page = client.post(edit_url(race), typed(race))

    assert "Somebody saved this prompt" in page.content.decode()


# --- Long and foreign texts ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "总结这份合同，并指出 {{ 条款 }} 中不寻常的地方。",
        "لخص هذا العقد لـ {{ الشركة }} واذكر ما هو غير معتاد.",
        "def f(x):\n\treturn {'a': [x]}  # {{ kind }}\n",
        "word " * 28_800 + "{{ end }}",
    ],
)
def test_any_text_survives_the_editor(client, author, text):
    client.post(NEW, typed(text=text, do="publish"))

    prompt = Prompt.objects.get()
    assert prompt.current.text == text.strip("\n")
    page = client.get(edit_url(prompt))
    sent = fields_of(page)
    client.post(edit_url(prompt), {**sent, "do": "save"})
    assert prompt.versions.count() == 1


@pytest.mark.parametrize("opener", ["[[[[", "${${", "{{{{", "<<<<", "[A][", "{{ a }}"])
def test_endless_openings_do_not_hold_the_editor_up(client, author, opener):
    text = opener * (100_000 // len(opener))

    assert detect(client, text=text).status_code in (200, 204)
    assert (
        client.post("/prompts/preview/", {"text": text, "worked": text[:20_000]}).status_code == 200
    )


def test_the_number_of_queries_does_not_grow_with_the_holes(
    client, author, django_assert_num_queries
):
    few = make_prompt(author, text="{{ a }}", tags=["one"])
    many = make_prompt(
        author,
        text="".join(f"{{{{ hole{n} }}}} [PLACE {n}]" for n in range(40)),
        tags=["one", "two", "three"],
        departments=[make_department(), make_department(), make_department()],
    )
    client.get(edit_url(few))

    with django_assert_num_queries(QUERIES):
        client.get(edit_url(few))
    with django_assert_num_queries(QUERIES):
        client.get(edit_url(many))


QUERIES = 13
"""Session, person, standing, prompt with facets, choices, tags, chrome."""


def test_only_the_person_may_post_the_form():
    client = Client(enforce_csrf_checks=True)
    client.force_login(make_person("author"))

    assert client.post(NEW, typed(do="publish")).status_code == 403
    assert Prompt.objects.count() == 0
