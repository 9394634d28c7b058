from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import DatabaseError, connection, transaction

from accounts.actions import set_role
from kb.core.errors import Conflict, Invalid, NotAllowed, NotFound
from kb.notifications.models import Notification
from kb.prompts import actions, queries
from kb.prompts.actions import PromptFields
from kb.prompts.models import Prompt, PromptVersion, Tag
from kb.prompts.template import Variable
from kb.prompts.writeup import WriteUpSections
from kb.search.models import SearchEntry
from tests.factories import NOW, later, make_department, make_person, make_prompt, make_tool

pytestmark = pytest.mark.django_db


def edit(prompt, by, based_on=None, change_note="", **fields):
    return actions.edit_prompt(
        prompt=prompt,
        fields=PromptFields(**fields),
        by=by,
        now=later(hours=1),
        based_on=based_on,
        change_note=change_note,
    )


def test_a_new_prompt_has_a_version_its_variables_and_an_address():
    author = make_person()

    prompt = make_prompt(
        author, title="Relire un bail", text="Relisez {{ bail }} pour {{ société }}."
    )

    assert (prompt.slug, prompt.status, prompt.published) == ("relire-un-bail", "published", NOW)
    assert prompt.current.number == 1
    assert [v["name"] for v in prompt.current.variables] == ["bail", "société"]


def test_prompts_of_one_title_get_different_addresses():
    slugs = [make_prompt(title="Même titre").slug for _ in range(3)]

    assert slugs == ["meme-titre", "meme-titre-2", "meme-titre-3"]


@pytest.mark.parametrize(
    ("title", "slug"), [("New", "new-2"), ("你好", "prompt"), ("¿?", "prompt")]
)
def test_every_title_gets_an_address(title, slug):
    assert make_prompt(title=title).slug == slug


def test_a_reader_cannot_publish():
    with pytest.raises(NotAllowed):
        make_prompt(make_person("reader"))


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"title": ""}, {"title"}),
        ({"text": "  \n"}, {"text"}),
        ({"title": "x" * 161, "summary": "y" * 301}, {"title", "summary"}),
        ({"language": "français"}, {"language"}),
        ({"status": "gone", "visibility": "world"}, {"status", "visibility"}),
        ({"tags": ["–"]}, {"tags"}),
        ({"tags": [str(n) for n in range(13)]}, {"tags"}),
        ({"variables": [Variable("unused")]}, {"variables"}),
        ({"visibility": "departments"}, {"departments"}),
        ({"text": "".join(f"{{{{ v{n} }}}}" for n in range(61))}, {"variables"}),
    ],
)
def test_what_cannot_be_kept_is_named(fields, names):
    with pytest.raises(Invalid) as refused:
        make_prompt(**fields)

    assert set(refused.value.fields) == names
    assert not Prompt.objects.exists()


def test_control_characters_are_left_out():
    prompt = make_prompt(title="a\x00b\tc", text="one\r\ntwo\x00\ud800\x07")

    assert (prompt.title, prompt.current.text) == ("ab c", "one\ntwo")


def test_a_changed_text_makes_the_next_version_and_other_changes_do_not():
    author = make_person()
    prompt = make_prompt(author)

    edit(prompt, author, summary="Shorter")
    edit(prompt, author, text="Say good morning.", change_note="Politer")
    edit(prompt, author, text="Say good morning.")

    assert list(prompt.versions.values_list("number", "text", "change_note")) == [
        (2, "Say good morning.", "Politer"),
        (1, "Say hello.", ""),
    ]


def test_a_version_cannot_be_rewritten_even_by_the_database():
    version = make_prompt().current

    with pytest.raises(DatabaseError), transaction.atomic():
        PromptVersion.objects.filter(pk=version.pk).update(text="Other")

    version.refresh_from_db()
    assert version.text == "Say hello."


def test_an_edit_based_on_an_older_edition_is_a_conflict():
    author = make_person()
    prompt = make_prompt(author)
    seen = prompt.edition
    edit(prompt, author, based_on=seen, text="First.")

    with pytest.raises(Conflict):
        edit(prompt, author, based_on=seen, text="Second.")

    assert queries.by_slug(author, prompt.slug).current.text == "First."


def test_restoring_makes_a_new_version():
    author = make_person()
    prompt = make_prompt(author, text="First {{ a }}.")
    edit(prompt, author, text="Second.")

    version = actions.restore_version(prompt=prompt, number=1, by=author, now=later(hours=2))

    assert (version.number, version.text, version.restored_from) == (3, "First {{ a }}.", 1)
    with pytest.raises(Invalid):
        actions.restore_version(prompt=prompt, number=3, by=author, now=later(hours=2))


def test_described_variables_survive_an_edit_of_the_text():
    author = make_person()
    described = Variable("a", label="Alpha", type="number", default="1")
    prompt = make_prompt(author, text="{{ a }}", variables=[described])

    prompt = edit(prompt, author, text="{{ b }} and {{ a }}")

    assert prompt.current.variables == [Variable("b").to_dict(), described.to_dict()]


def test_the_write_up_is_rendered_once_and_its_typos_make_no_version():
    author = make_person()
    prompt = make_prompt(author, write_up=WriteUpSections("For **leases**", "", "<script>", ""))

    prompt = edit(
        prompt, author, write_up=WriteUpSections("For **all** leases", "", "<script>", "")
    )

    assert prompt.write_up.html == {
        "purpose": "<p>For <strong>all</strong> leases</p>",
        "failed": "<p>&lt;script&gt;</p>",
    }
    assert (prompt.write_ups.count(), prompt.versions.count()) == (2, 1)


def test_tags_are_shared_and_synonyms_lead_to_what_they_stand_for():
    nda = Tag.objects.create(slug="nda", name="NDA")
    Tag.objects.create(
        slug="accord-de-confidentialité", name="accord de confidentialité", synonym_of=nda
    )

    prompt = make_prompt(tags=["NDA", "Accord de confidentialité", "Nouveau"])

    assert set(prompt.tags.values_list("slug", flat=True)) == {"nda", "nouveau"}


def test_a_long_tag_of_ligatures_fits_its_address():
    prompt = make_prompt(tags=["ﬃ" * 60])

    assert len(prompt.tags.get().slug) == 60


class TestWhoReads:
    @pytest.fixture
    def world(self):
        legal, sales = make_department("legal"), make_department("sales")
        return {
            "author": make_person("author", legal),
            "colleague": make_person("reader", legal),
            "other": make_person("reader", sales),
            "steward": make_person("curator"),
            "nobody": make_person(None),
            "legal": legal,
        }

    @pytest.mark.parametrize(
        ("fields", "readers"),
        [
            ({}, {"author", "colleague", "other", "steward"}),
            ({"visibility": "departments"}, {"author", "colleague", "steward"}),
            ({"visibility": "private"}, {"author"}),
            ({"status": "draft"}, {"author"}),
        ],
    )
    def test_visibility_decides(self, world, fields, readers):
        prompt = make_prompt(world["author"], departments=[world["legal"]], **fields)

        people = {name: person for name, person in world.items() if name != "legal"}
        seen = {name for name, person in people.items() if queries.visible_to(person).exists()}
        loaded = {name for name, person in people.items() if queries.is_readable(prompt, person)}

        assert (seen, loaded) == (readers, readers)

    def test_what_is_hidden_looks_like_what_does_not_exist(self, world):
        prompt = make_prompt(world["author"], visibility="private")

        with pytest.raises(NotFound) as hidden:
            queries.by_slug(world["other"], prompt.slug)
        with pytest.raises(NotFound) as missing:
            queries.by_slug(world["other"], "no-such-thing")

        assert str(hidden.value).replace(prompt.slug, "X") == str(missing.value).replace(
            "no-such-thing", "X"
        )

    def test_losing_the_role_ends_the_reading_at_once(self, world):
        make_person("admin")
        make_prompt(world["author"], departments=[world["legal"]], visibility="departments")
        person = world["colleague"]

        set_role(person=person, department=world["legal"], role=None, by=None)

        again = type(person).objects.get(pk=person.pk)
        assert not queries.visible_to(again).exists()

    def test_curators_edit_what_is_theirs_to_look_after(self, world):
        prompt = make_prompt(world["author"], departments=[world["legal"]])
        curator = make_person("curator", world["legal"])

        edit(prompt, curator, summary="Tidied")

        with pytest.raises(NotAllowed):
            edit(prompt, world["colleague"], summary="Mine now")
        draft = make_prompt(world["author"], status="draft", departments=[world["legal"]])
        with pytest.raises(NotAllowed):
            edit(draft, curator, summary="Peeking")


def test_a_published_prompt_is_archived_and_comes_back_but_never_a_draft_again():
    author = make_person()
    prompt = make_prompt(author)

    archived = actions.archive(prompt=prompt, by=author, now=later(days=1))
    back = actions.publish(prompt=prompt, by=author, now=later(days=2))

    assert (archived.status, back.status, back.published, back.archived) == (
        "archived",
        "published",
        NOW,
        None,
    )
    with pytest.raises(Invalid):
        edit(prompt, author, status="draft")


def test_the_search_knows_in_the_same_transaction():
    author = make_person()
    tool = make_tool("le-chat")
    sid = transaction.savepoint_create()
    make_prompt(author, title="Undone")
    transaction.savepoint_rollback(sid)

    prompt = make_prompt(author, title="Kept", tools=[tool])

    entries = SearchEntry.objects.values_list("slug", "title", "keys", "audience")
    assert list(entries) == [
        (prompt.slug, "Kept", ["t:le-chat", "l:en", "s:published", "e:none"], prompt.audience)
    ]


def test_followers_hear_of_a_new_version_once_and_its_author_does_not():
    author, follower = make_person(), make_person("reader")
    prompt = make_prompt(author)
    actions.watch(prompt=prompt, by=follower)
    actions.watch(prompt=prompt, by=follower)

    edit(prompt, author, text="New.", change_note="Better")

    assert list(Notification.objects.values_list("recipient", "kind")) == [
        (follower.pk, "prompt_changed")
    ]


def test_followers_who_may_no_longer_read_hear_nothing():
    author, follower = make_person(), make_person("reader")
    prompt = make_prompt(author, departments=[make_department("legal")])
    actions.watch(prompt=prompt, by=follower)
    edit(prompt, author, visibility="departments")

    edit(prompt, author, text="Secret.")

    assert not Notification.objects.exists()


def test_only_a_curator_verifies():
    author, curator = make_person(), make_person("curator")
    prompt = make_prompt(author)

    actions.verify(prompt=prompt, by=curator, now=NOW, model="GPT-4o")

    assert queries.latest_verification(prompt).model == "GPT-4o"
    with pytest.raises(NotAllowed):
        actions.verify(prompt=prompt, by=author, now=NOW)


def test_filled_in_values_are_remembered_for_the_person_alone():
    author, other = make_person(), make_person()
    prompt = make_prompt(author, text="{{ a }}")

    actions.remember_values(prompt=prompt, by=author, values={"a": "x"}, now=NOW)
    actions.remember_values(prompt=prompt, by=author, values={"a": "y" * 200_001}, now=NOW)

    assert queries.remembered_values(author, prompt) == {"a": "x"}
    assert queries.remembered_values(other, prompt) == {}


@pytest.mark.parametrize("count", [1, 3])
def test_cards_cost_one_query_however_many(count, django_assert_num_queries):
    ids = [
        make_prompt(departments=[make_department("legal")], tags=["a", "b"]).pk
        for _ in range(count)
    ]

    with django_assert_num_queries(1):
        cards = queries.cards(ids)

    assert [card.pk for card in cards] == ids
    assert [facet.slug for facet in cards[0].tags] == ["a", "b"]


@pytest.mark.django_db(transaction=True)
def test_two_edits_at_once_make_dense_version_numbers():
    author = make_person()
    prompt = make_prompt(author)

    def write(number):
        try:
            edit(prompt, author, text=f"Text {number}.")
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(8)))

    numbers = sorted(prompt.versions.values_list("number", flat=True))
    assert numbers == list(range(1, 10))


@pytest.mark.django_db(transaction=True)
def test_two_prompts_of_one_title_at_once_both_get_in():
    author = make_person()

    def write(_):
        try:
            return make_prompt(author, title="Same").slug
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        slugs = list(pool.map(write, range(6)))

    assert len(set(slugs)) == 6
