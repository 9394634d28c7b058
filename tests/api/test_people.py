import pytest

from kb.community import actions as community
from kb.notifications.models import Notification
from kb.prompts.actions import PromptFields, edit_prompt
from tests.api.conftest import Caller, told
from tests.factories import NOW, make_department, make_person, make_prompt

pytestmark = pytest.mark.django_db


def test_me_is_who_the_token_belongs_to():
    person = make_person("author", make_department("legal"), name="Ada", email="ada@company.test")
    person.memberships.create(department=None, role="reader")

    me = Caller(person, ["write"]).get("me/").json()

    assert me == {
        "id": person.pk,
        "email": "ada@company.test",
        "name": "Ada",
        "language": "en",
        "time_zone": "Europe/Paris",
        "roles": [
            {"department": "legal", "role": "author"},
            {"department": None, "role": "reader"},
        ],
        "departments": ["legal"],
        "scopes": ["read", "write"],
    }


class TestNotifications:
    @pytest.fixture
    def author(self):
        author, colleague = make_person(name="Ada"), make_person(name="Bob")
        prompt = make_prompt(author, title="Greet")
        community.comment(prompt=prompt, text="Nice", by=colleague, now=NOW)
        edit_prompt(
            prompt=make_prompt(colleague),
            fields=PromptFields(text="New"),
            by=colleague,
            now=NOW,
            based_on=None,
        )
        return Caller(author)

    def test_they_are_told_in_the_language_asked_for(self, author):
        message = Notification.objects.get(recipient=author.person)

        (row,) = author.get("notifications/").json()["results"]

        assert row == {
            "id": message.pk,
            "kind": "commented",
            "text": "Bob commented on “Greet”.",
            "url": f"http://testserver{message.path}",
            "created": "2026-03-02T09:00:00Z",
            "read": None,
        }

    def test_reading_is_noted_once_and_only_ones_own(self, author):
        mine = Notification.objects.get(recipient=author.person)
        other = Caller(make_person())

        theirs = other.post("notifications/read/", {"ids": [mine.pk]}).json()
        some = author.post("notifications/read/", {"ids": [mine.pk, 999]}).json()
        rest = author.post("notifications/read/").json()

        assert (theirs, some, rest) == ({"read": 0}, {"read": 1}, {"read": 0})
        assert author.get("notifications/?unread=1").json()["count"] == 0
        assert author.get("notifications/?unread=0").json()["count"] == 1
        assert author.get("notifications/").json()["results"][0]["read"] is not None

    @pytest.mark.parametrize(
        ("sent", "field"),
        [
            ({"ids": "1"}, "ids"),
            ({"ids": ["x"]}, "ids.0"),
            ({"ids": [0]}, "ids.0"),
            ({"ids": [True]}, "ids.0"),
            ({"ids": [1] * 1001}, "ids"),
        ],
    )
    def test_ids_are_a_list_of_numbers(self, author, sent, field):
        assert told(author.post("notifications/read/", sent)) == (422, "invalid", [field])
