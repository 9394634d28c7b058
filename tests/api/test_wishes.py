import pytest

from tests.api.conftest import Caller, told
from tests.factories import make_department, make_person, make_prompt

pytestmark = pytest.mark.django_db


@pytest.fixture
def asker():
    make_department("legal")
    return Caller(make_person("reader", name="Rose"))


WISH = {"title": "Compare offers", "text": "Two suppliers", "language": "en", "department": "legal"}


class TestWishing:
    def test_a_wish_is_read_as_it_was_made(self, asker):
        made = asker.post("wishes/", WISH)

        assert made.status_code == 201
        shown = dict(made.json())
        assert asker.get("wishes/").json()["results"] == [shown]
        assert asker.get(f"wishes/{shown['id']}/").json() == shown
        assert shown.pop("created")
        assert shown == {
            **WISH,
            "id": shown["id"],
            "author": {"id": asker.person.pk, "name": "Rose"},
            "supports": 1,
            "supported": True,
            "answer": None,
            "closed": None,
        }

    def test_a_title_is_enough(self, asker):
        made = asker.post("wishes/", {"title": "Something"}).json()

        assert (made["text"], made["language"], made["department"]) == ("", "en", None)

    @pytest.mark.parametrize(
        ("sent", "field"),
        [
            ({"title": ""}, "title"),
            ({"title": " "}, "title"),
            ({"title": "x" * 161}, "title"),
            ({"text": "x" * 2_001}, "text"),
            ({"language": "klingon"}, "language"),
            ({"department": "none"}, "department"),
            ({"wish": "x"}, "wish"),
        ],
    )
    def test_what_is_wrong_is_named(self, asker, sent, field):
        assert told(asker.post("wishes/", {**WISH, **sent})) == (422, "invalid", [field])


def test_support_counts_once_and_can_be_taken_back(asker):
    pk = asker.post("wishes/", WISH).json()["id"]
    other, path = Caller(make_person()), f"wishes/{pk}/support/"

    answers = [call(path).json() for call in (other.put, other.put, other.delete)]

    assert answers == [
        {"supports": 2, "supported": True},
        {"supports": 2, "supported": True},
        {"supports": 1, "supported": False},
    ]


class TestAnswering:
    def test_an_answered_wish_moves_to_the_answered_ones(self, asker):
        pk = asker.post("wishes/", WISH).json()["id"]
        prompt = make_prompt()

        answered = Caller(make_person()).post(f"wishes/{pk}/answer/", {"prompt": prompt.slug})
        twice = asker.post(f"wishes/{pk}/answer/", {"prompt": prompt.slug})

        assert (answered.status_code, answered.json()["answer"]) == (200, prompt.slug)
        assert told(twice) == (409, "conflict", [])
        assert asker.get("wishes/").json()["count"] == 0
        assert asker.get("wishes/?state=answered").json()["results"][0]["id"] == pk

    def test_an_answer_one_may_not_read_stays_hidden(self, asker):
        author = make_person()
        pk = asker.post("wishes/", WISH).json()["id"]
        prompt = make_prompt(author, visibility="private")

        unknown = asker.post(f"wishes/{pk}/answer/", {"prompt": prompt.slug})
        Caller(author).post(f"wishes/{pk}/answer/", {"prompt": prompt.slug})

        assert told(unknown) == (422, "invalid", ["prompt"])
        assert asker.get(f"wishes/{pk}/").json()["answer"] is None
        assert asker.get("wishes/?state=answered").json()["count"] == 0
        assert Caller(author).get(f"wishes/{pk}/").json()["answer"] == prompt.slug


def test_what_is_not_there_is_not_found(asker):
    assert told(asker.get("wishes/999/")) == (404, "not_found", [])
    assert told(asker.put("wishes/999/support/")) == (404, "not_found", [])
    assert told(asker.get("wishes/?state=lost")) == (422, "invalid", ["state"])


def test_one_and_ten_take_the_same_queries(asker, django_assert_num_queries):
    asker.post("wishes/", WISH)
    with django_assert_num_queries(4):
        asker.get("wishes/")
    for _ in range(9):
        asker.post("wishes/", WISH)

    with django_assert_num_queries(4):
        assert len(asker.get("wishes/").json()["results"]) == 10
