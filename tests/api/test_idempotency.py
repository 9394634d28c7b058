from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
import time_machine
from django.db import connection
from django.utils import timezone

from kb.community.models import Comment, Retrospective
from kb.core.models import IdempotentAnswer
from kb.prompts import actions
from kb.prompts.models import Prompt
from tests.api.conftest import Caller, told
from tests.factories import make_person, make_prompt

PROMPT = {"title": "Once", "text": "Say it once."}


@pytest.mark.django_db
class TestOnce:
    @pytest.fixture
    def caller(self):
        return Caller(make_person())

    def test_the_same_key_is_done_once_and_answered_alike(self, caller):
        first = caller.post("prompts/", PROMPT, idempotency_key="k-1")
        again = caller.post("prompts/", dict(reversed(PROMPT.items())), idempotency_key="k-1")

        assert (first.status_code, again.status_code) == (201, 201)
        assert again.json() == first.json()
        assert [again[name] for name in ("ETag", "Location")] == [
            first[name] for name in ("ETag", "Location")
        ]
        assert ("Idempotent-Replayed" in first, again["Idempotent-Replayed"]) == (False, "true")
        assert Prompt.objects.count() == 1

    def test_comments_signals_and_reports_are_done_once_too(self, caller):
        path = f"prompts/{make_prompt().slug}/"
        sent = [
            (f"{path}comments/", {"text": "Hello"}),
            (f"{path}signals/", {"outcome": "worked"}),
            ("retrospectives/", {"title": "T", "lesson": "L", "outcome": "worked"}),
        ]

        for number, (address, body) in enumerate(sent):
            answers = [caller.post(address, body, idempotency_key=str(number)) for _ in range(2)]
            assert answers[0].json() == answers[1].json()

        assert (Comment.objects.count(), Retrospective.objects.count()) == (1, 1)

    def test_another_key_another_person_and_no_key_are_done_again(self, caller):
        caller.post("prompts/", PROMPT, idempotency_key="k-1")
        caller.post("prompts/", PROMPT, idempotency_key="k-2")
        caller.post("prompts/", PROMPT)
        caller.post("prompts/", PROMPT)
        Caller(make_person()).post("prompts/", PROMPT, idempotency_key="k-1")

        assert Prompt.objects.count() == 5

    def test_a_key_stands_for_one_request(self, caller):
        slug = caller.post("prompts/", PROMPT, idempotency_key="k-1").json()["slug"]

        other_body = caller.post("prompts/", {**PROMPT, "title": "Twice"}, idempotency_key="k-1")
        other_address = caller.post(
            f"prompts/{slug}/comments/", {"text": "x"}, idempotency_key="k-1"
        )

        for refused in (other_body, other_address):
            assert told(refused) == (422, "invalid", ["Idempotency-Key"])
        assert (Prompt.objects.count(), Comment.objects.count()) == (1, 0)

    def test_a_refused_request_leaves_its_key_free(self, caller):
        refused = caller.post("prompts/", {**PROMPT, "language": "klingon"}, idempotency_key="k-1")
        accepted = caller.post("prompts/", PROMPT, idempotency_key="k-1")

        assert (refused.status_code, accepted.status_code) == (422, 201)

    def test_a_key_is_forgotten_after_a_day(self, caller):
        now = timezone.now()
        for age in (timedelta(0), timedelta(hours=23, minutes=59), timedelta(hours=24)):
            with time_machine.travel(now + age, tick=False):
                caller.post("prompts/", PROMPT, idempotency_key="k-1")

        assert Prompt.objects.count() == 2
        assert IdempotentAnswer.objects.count() == 1

    def test_outlived_answers_of_others_are_cleared_away(self, caller):
        old = timezone.now() - timedelta(days=2)
        other = make_person()
        IdempotentAnswer.objects.bulk_create(
            IdempotentAnswer(person=other, key=str(n), fingerprint="f", status=201, created=old)
            for n in range(150)
        )

        caller.post("prompts/", PROMPT, idempotency_key="k-1")

        assert IdempotentAnswer.objects.count() == 51

    @pytest.mark.parametrize("key", ["", " ", "é", "a b", "x" * 201, "a\x00"])
    def test_a_key_is_visible_ascii(self, caller, key):
        refused = caller.post("prompts/", PROMPT, idempotency_key=key)

        assert told(refused) == (422, "invalid", ["Idempotency-Key"])
        assert Prompt.objects.count() == 0


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    def test_two_requests_at_once_are_done_once(self):
        caller = Caller(make_person())
        barrier = Barrier(4)

        def ask(_number):
            try:
                barrier.wait()
                return caller.post("prompts/", PROMPT, idempotency_key="k-1").json()["id"]
            finally:
                connection.close()

        with ThreadPoolExecutor(4) as pool:
            ids = list(pool.map(ask, range(4)))

        assert Prompt.objects.count() == 1
        assert ids == [Prompt.objects.get().pk] * 4

    def test_a_request_that_dies_half_way_leaves_nothing_behind(self, monkeypatch):
        caller = Caller(make_person())

        def dies(**given):
            create(**given)
            raise MemoryError

        create = actions.create_prompt
        monkeypatch.setattr(actions, "create_prompt", dies)
        with pytest.raises(MemoryError):
            caller.post("prompts/", PROMPT, idempotency_key="k-1")
        monkeypatch.undo()

        assert (Prompt.objects.count(), IdempotentAnswer.objects.count()) == (0, 0)
        assert caller.post("prompts/", PROMPT, idempotency_key="k-1").status_code == 201
