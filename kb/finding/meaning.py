"""Finding by meaning: choosing the model that reads, having it read, and asking it about a question.

Optional: without a model things are found by their words, and whenever it cannot be asked, too.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from asgiref.sync import async_to_sync, sync_to_async
from django.core.cache import cache
from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from accounts.models import User
from kb.core import audit
from kb.core.errors import Invalid, NotAllowed
from kb.core.http import HttpClient, policy_from_settings
from kb.finding.models import MeaningModel
from kb.llm import rules as llm_rules
from kb.llm import spending
from kb.llm.base import EmbeddingRequest, LLMError, RetryPolicy
from kb.llm.clients import open_provider
from kb.llm.models import Target
from kb.llm.queries import embedding_targets, price_of
from kb.search import meaning
from kb.search.meaning import Question, Unread
from kb.search.query import SearchQuery

logger = logging.getLogger(__name__)

REFERENCE = "finding"
"""Under which spending is kept; no department pays."""
TEXTS_A_CALL = 32
"""At 1,800 characters each some 15,000 tokens, which every vendor takes."""
SHORT_TEXT = 600
"""Characters that models which read 256 tokens take."""
READ_SECONDS = 45.0
"""Of reading at a time; what is left is read the next minute."""
CALL_SECONDS = 30.0
ASK_SECONDS = 1.0
"""A person waits for results, which are there by their words alone."""
LEFT_ALONE_SECONDS = 60
"""How long nobody is kept waiting for a model that could not be asked."""
KEPT_SECONDS = 24 * 3600
LONGEST_ASKED = 200
"""Characters of a question that a model is asked about."""
KNOWN_SECONDS = 60
"""How long a process remembers that no model is chosen: then a search costs no statement more."""


@dataclass(frozen=True)
class State:
    """The model in use, how many entries it has read, and how many there are to read."""

    model: MeaningModel
    read: int
    readable: int


def must_see(person: User) -> None:
    """Refuse who may not choose the model. Raises NotAllowed."""
    if not llm_rules.can_manage(person):
        raise NotAllowed(
            _("Only a company-wide administrator can choose the model that finds by meaning.")
        )


def current() -> MeaningModel | None:
    """The model in use; None when things are found by their words alone."""
    return MeaningModel.objects.select_related("target__connection", "chosen_by").first()


def state() -> State | None:
    """The model in use and how far it has read."""
    model = current()
    if model is None:
        return None
    read, readable = meaning.progress(space=model.target_id, is_wide=model.is_wide)
    return State(model, read, readable)


def candidates() -> QuerySet[Target]:
    """The targets that can be chosen: embeddings models of connections that are switched on."""
    return embedding_targets()


@transaction.atomic
def choose_model(*, target: Target, is_wide: bool, by: User, now: datetime) -> MeaningModel:
    """Let an embeddings model read what the company shares, `is_wide` what departments share as well.

    What another model has read is forgotten, and what may no longer be sent. Raises NotAllowed,
    Invalid.
    """
    must_see(by)
    if not target.is_embedding:
        raise _wrong(
            _("“%(model)s” answers and makes no vectors; choose an embeddings model.")
            % {"model": target.model}
        )
    if not target.connection.is_enabled:
        raise _wrong(
            _("The connection “%(name)s” is switched off.") % {"name": target.connection.name}
        )
    before = MeaningModel.objects.select_for_update().first()
    if before is not None and (before.target_id, before.is_wide) == (target.pk, is_wide):
        return before
    values = {
        "target": target,
        "is_wide": is_wide,
        "chosen_by": by,
        "chosen": now,
        "trouble": "",
        "troubled": None,
    }
    model, _is_new = MeaningModel.objects.update_or_create(pk=1, defaults=values)
    meaning.forget(space=target.pk, is_wide=is_wide)
    _chosen()
    audit.record(action="meaning.chosen", target=target, by=by, is_wide=is_wide)
    return model


def _wrong(why: str) -> Invalid:
    return Invalid(why, fields={"target": why})


@transaction.atomic
def remove_model(*, by: User) -> bool:
    """Find by words alone, and forget all that was read. False when no model was chosen."""
    must_see(by)
    found = MeaningModel.objects.select_for_update().first()
    if found is None:
        return False
    target = found.target
    found.delete()
    meaning.forget()
    audit.record(action="meaning.removed", target=target, by=by)
    return True


def read_on(*, clock: Callable[[], datetime]) -> int:
    """Have the model read what is new, for some time; returns how many entries it read.

    What cannot be read now is tried again the next time; why is kept for the page.
    """
    model = current()
    if model is None:
        return 0
    meaning.forget(space=model.target_id, is_wide=model.is_wide)
    if not model.target.connection.is_enabled:
        return 0
    return async_to_sync(_read_on)(model, clock)


async def _read_on(model: MeaningModel, clock: Callable[[], datetime]) -> int:
    until = time.monotonic() + READ_SECONDS
    done = 0
    unread = sync_to_async(meaning.unread)
    async with HttpClient(policy_from_settings()) as http:
        while time.monotonic() < until:
            found = await unread(space=model.target_id, is_wide=model.is_wide, most=TEXTS_A_CALL)
            if not found:
                break
            try:
                kept = await _read(model, found, http, clock)
            except LLMError as error:
                await sync_to_async(_note)(model, error.kind, clock())
                break
            await sync_to_async(_note)(model, "" if kept else "bad_reply", clock())
            done += kept
            if kept < len(found):
                break  # what has no usable vector would be asked for again and again
    return done


async def _read(
    model: MeaningModel, found: list[Unread], http: HttpClient, clock: Callable[[], datetime]
) -> int:
    """Raises LLMError. Where texts may be too long for the model their beginnings are read."""
    deadline = time.monotonic() + CALL_SECONDS
    texts = tuple(one.text for one in found)
    try:
        vectors = await _vectors(model, texts, http, clock, deadline=deadline)
    except LLMError as error:
        if error.kind not in ("too_long", "bad_request"):
            raise
        texts = tuple(text[:SHORT_TEXT] for text in texts)
        vectors = await _vectors(model, texts, http, clock, deadline=deadline)
    return await sync_to_async(meaning.keep)(model.target_id, zip(found, vectors, strict=True))


async def _vectors(
    model: MeaningModel,
    texts: tuple[str, ...],
    http: HttpClient,
    clock: Callable[[], datetime],
    *,
    deadline: float,
    retry: RetryPolicy | None = None,
) -> tuple[tuple[float, ...], ...]:
    target = model.target
    purse = await sync_to_async(_purse)(target)
    provider = await sync_to_async(open_provider)(target.connection, http, retry)
    metered = spending.Metered(provider, purse, clock)
    request = EmbeddingRequest(texts, target.model, target.parameters)
    return (await metered.embed(request, deadline=deadline)).vectors


def _purse(target: Target) -> spending.Purse:
    return spending.purse_for(
        target, department_id=None, reference=REFERENCE, price=price_of(target)
    )


def _note(model: MeaningModel, trouble: str, now: datetime) -> None:
    troubled = now if trouble else None
    MeaningModel.objects.filter(pk=model.pk, target=model.target_id).exclude(
        trouble=trouble
    ).update(trouble=trouble, troubled=troubled)


# --- Asking ------------------------------------------------------------------------------------


def question(query: SearchQuery, *, clock: Callable[[], datetime]) -> Question | None:
    """The words of a search as a vector; None without a model, and where words are meant exactly.

    Waits ASK_SECONDS at most. The same question is asked once a day.
    """
    text = " ".join(query.wanted_words)[:LONGEST_ASKED] if is_for_meaning(query) else ""
    model = _in_use() if text else None
    if model is None or not model.target.connection.is_enabled:
        return None
    place = f"meaning:{model.target_id}"
    digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
    if known := cache.get(f"{place}:{digest}"):
        return Question(model.target_id, known)
    if cache.get(f"{place}:away"):
        return None
    try:
        vector = async_to_sync(_ask)(model, text, clock)
    except LLMError as error:
        logger.info("finding by meaning: not asked, %s", error.kind)
        cache.set(f"{place}:away", True, LEFT_ALONE_SECONDS)
        return None
    cache.set(f"{place}:{digest}", vector, KEPT_SECONDS)
    return Question(model.target_id, vector)


_none_until = 0.0


def _in_use() -> MeaningModel | None:
    global _none_until
    if time.monotonic() < _none_until:
        return None
    model = current()
    if model is None:
        _none_until = time.monotonic() + KNOWN_SECONDS
    return model


def _chosen() -> None:
    global _none_until
    _none_until = 0.0


def is_for_meaning(query: SearchQuery) -> bool:
    """Whether words are looked for, and not exactly: without quotes, a minus or OR."""
    groups = [term.group for term in query.terms]
    is_plain = not any(term.phrase or term.negated for term in query.terms)
    return bool(groups) and is_plain and len(set(groups)) == len(groups)


async def _ask(model: MeaningModel, text: str, clock: Callable[[], datetime]) -> tuple[float, ...]:
    async with HttpClient(policy_from_settings()) as http:
        deadline = time.monotonic() + ASK_SECONDS
        once = RetryPolicy(attempts=1)
        vectors = await _vectors(model, (text,), http, clock, deadline=deadline, retry=once)
    return vectors[0]
