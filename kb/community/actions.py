"""Writes about votes, comments, signals, retrospectives and wishes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

from accounts.models import Department, User
from accounts.standing import EVERYONE, standing
from kb.community import evidence, rules
from kb.community.models import (
    COMMENT_LENGTH,
    LESSON_LENGTH,
    NOTE_LENGTH,
    Addendum,
    Comment,
    FollowUp,
    Retrospective,
    RetrospectiveLink,
    UsageSignal,
    Vote,
    Wish,
    WishSupport,
)
from kb.community.rules import day_of
from kb.community.tally import tally
from kb.core import markdown
from kb.core.errors import Conflict, Invalid, NotAllowed
from kb.core.words import clean_line, clean_text
from kb.notifications import actions as notifications
from kb.prompts.actions import department_ids, readers_watching, subject
from kb.prompts.models import TEXT_LENGTH, Prompt, PromptVersion, Tool, UseCase
from kb.prompts.queries import is_readable
from kb.search import index

DEEPEST_REPLY = 4
"""Levels of a thread; deeper answers join the last level, so that phones can show them."""
MOST_MINUTES = 60 * 24 * 30
MOST_FOLLOW_UPS = 10
LONG_ANSWERS = ("evidence", "why_different", "worked", "failed", "lucky", "advice", "when_not")
"""Answers of a report written in Markdown."""
VOTE_HALF_LIFE_DAYS = 90.0
"""A quarter: a recommendation of last autumn still counts for something, not for everything."""
_WEIGHTS = {"vote": 1.0, "signal": 0.5, "comment": 0.5, "report": 2.0}
"""What a kind of activity says about interest; a report is an effort, a click is not."""


@transaction.atomic
def cast_vote(*, prompt: Prompt, by: User, now: datetime) -> int:
    """Recommend the prompt; twice is once. Returns the number of votes."""
    _must_take_part(by, prompt)
    Vote.objects.get_or_create(prompt=prompt, person=by, defaults={"created": now})
    return refresh_standing(prompt, now=now)


@transaction.atomic
def withdraw_vote(*, prompt: Prompt, by: User, now: datetime) -> int:
    """Take the vote back. Returns the number of votes."""
    _must_take_part(by, prompt)
    Vote.objects.filter(prompt=prompt, person=by).delete()
    return refresh_standing(prompt, now=now)


@transaction.atomic
def signal(
    *, prompt: Prompt, outcome: str, by: User, now: datetime, version: PromptVersion | None = None
) -> UsageSignal:
    """Say in one click how a use went; a second click the same day corrects the first.

    Ties to the current version without `version`. Raises Invalid for an unknown outcome.
    """
    _must_take_part(by, prompt)
    if outcome not in UsageSignal.Outcome.values:
        raise Invalid(
            _("“%(value)s” is not known; use one of: %(known)s.")
            % {"value": outcome, "known": ", ".join(UsageSignal.Outcome.values)},
            fields={"outcome": ", ".join(UsageSignal.Outcome.values)},
        )
    used = version or prompt.current
    if used is None or used.prompt_id != prompt.pk:
        raise Invalid(_("This version does not belong to “%(title)s”.") % {"title": prompt.title})
    found, _created = UsageSignal.objects.update_or_create(
        person=by,
        version=used,
        day=day_of(by, now),
        defaults={"prompt": prompt, "outcome": outcome},
        create_defaults={"prompt": prompt, "outcome": outcome, "created": now},
    )
    refresh_standing(prompt, now=now)
    return found


@transaction.atomic
def withdraw_signal(*, prompt: Prompt, by: User, now: datetime) -> None:
    """Take back today's click."""
    UsageSignal.objects.filter(prompt=prompt, person=by, day=day_of(by, now)).delete()
    refresh_standing(prompt, now=now)


@transaction.atomic
def comment(
    *, prompt: Prompt, text: str, by: User, now: datetime, parent: Comment | None = None
) -> Comment:
    """Remark on a prompt or answer a remark. Raises Invalid for an empty or overlong text."""
    _must_take_part(by, prompt)
    text = clean_text(text).strip()
    _need(text, "text", COMMENT_LENGTH)
    if parent is not None:
        if parent.prompt_id != prompt.pk:
            raise Invalid(_("The comment you answer stands under another prompt."))
        parent = _shallow(parent)
    made = Comment.objects.create(
        prompt=prompt, parent=parent, author=by, text=text, html=markdown.render(text), created=now
    )
    told = {by.pk}
    if parent is not None and parent.author is not None and parent.author_id != by.pk:
        told.add(parent.author.pk)
        if set(prompt.audience).intersection(standing(parent.author).audience_tokens):
            _tell(made, [parent.author], "replied", now)
    _tell(made, [p for p in readers_watching(prompt) if p.pk not in told], "commented", now)
    refresh_standing(prompt, now=now)
    return made


@transaction.atomic
def edit_comment(*, comment: Comment, text: str, by: User, now: datetime) -> Comment:
    """Change one's own words. Raises NotAllowed, Invalid."""
    if comment.author_id != by.pk or comment.withdrawn is not None:
        raise NotAllowed(_("Only its author can change a comment."))
    text = clean_text(text).strip()
    _need(text, "text", COMMENT_LENGTH)
    comment.text, comment.html, comment.edited = text, markdown.render(text), now
    comment.save(update_fields=["text", "html", "edited"])
    return comment


@transaction.atomic
def withdraw_comment(*, comment: Comment, by: User, now: datetime) -> None:
    """Take the words of a comment back; answers to it stay. Raises NotAllowed."""
    if not rules.can_withdraw(by, comment, department_ids(comment.prompt)):
        raise NotAllowed(_("Only its author or a curator can remove a comment."))
    comment.text, comment.html, comment.withdrawn = "", "", now
    comment.save(update_fields=["text", "html", "withdrawn"])
    refresh_standing(comment.prompt, now=now)


@dataclass(frozen=True)
class ReportFields:
    """What a retrospective says. None or empty: not answered. See Retrospective for the meanings."""

    title: str = ""
    lesson: str = ""
    outcome: str = ""
    language: str = "fr"
    is_anonymous: bool = False
    department: Department | None = None
    use_case: UseCase | None = None
    version: PromptVersion | None = None
    pasted_text: str = ""
    tool: Tool | None = None
    model: str = ""
    task_date: date | None = None
    stakes: str = ""
    task_familiarity: int | None = None
    tool_familiarity: int | None = None
    data_class: str = ""
    expectation: str = ""
    kept_share: int | None = None
    counterfactual: str = ""
    minutes_preparing: int | None = None
    minutes_waiting: int | None = None
    minutes_checking: int | None = None
    minutes_without: int | None = None
    minutes_basis: str = ""
    attempts: int | None = None
    items: int | None = None
    is_parallel_work: bool = False
    quality: str = ""
    checked: str = ""
    incidents: Sequence[str] = ()
    incident_severity: str = ""
    is_incident_caught: bool | None = None
    evidence: str = ""
    why_different: str = ""
    worked: str = ""
    failed: str = ""
    lucky: str = ""
    would_reuse: str = ""
    reuse_note: str = ""
    advice: str = ""
    when_not: str = ""


@dataclass(frozen=True)
class FollowUpFields:
    """Something to do because of a report."""

    text: str
    kind: str = FollowUp.Kind.PROMPT_CHANGE
    owner: User | None = None
    due: date | None = None
    state: str = FollowUp.State.OPEN


@transaction.atomic
def write_retrospective(
    *, fields: ReportFields, by: User, now: datetime, follow_ups: Sequence[FollowUpFields] = ()
) -> Retrospective:
    """Post a report on a real use. Raises Invalid naming every answer that cannot be kept.

    A click of the same day on the same version becomes part of the report, so that one use counts once.
    """
    prompt = fields.version.prompt if fields.version is not None else None
    _must_take_part(by, prompt)
    report = Retrospective(author=by, created=now)
    _fill(report, fields, now=now)
    report.save()
    for wanted in follow_ups[:MOST_FOLLOW_UPS]:
        add_follow_up(report=report, fields=wanted, by=by, now=now)
    if prompt is not None:
        UsageSignal.objects.filter(
            person=by, version=report.version, day=day_of(by, now), retrospective=None
        ).update(retrospective=report)
        refresh_standing(prompt, now=now)
        notifications.notify(
            recipients=readers_watching(prompt, besides=by),
            kind="reported",
            context={"title": prompt.title, "by": _shown_name(report), "lesson": report.lesson},
            path=f"/retrospectives/{report.pk}/",
            key=f"report:{report.pk}",
            now=now,
            about=subject(prompt),
        )
    reindex(report)
    return report


@transaction.atomic
def edit_retrospective(
    *, report: Retrospective, fields: ReportFields, by: User, now: datetime
) -> Retrospective:
    """Correct one's report within the edit window. Raises NotAllowed afterwards, Invalid."""
    report = Retrospective.objects.select_for_update().get(pk=report.pk)
    if not rules.can_edit_report(by, report, now):
        raise NotAllowed(
            _("A report can be corrected by its author for %(days)s days; after that, add to it.")
            % {"days": rules.EDIT_WINDOW.days}
        )
    was_on = report.version
    _fill(report, fields, now=now)
    if report.version is not None and report.version != was_on:
        _must_take_part(by, report.version.prompt)
    report.edited = now
    report.save()
    told = {v.prompt_id: v.prompt for v in (was_on, report.version) if v is not None}
    for prompt in told.values():
        refresh_standing(prompt, now=now)
    reindex(report)
    return report


@transaction.atomic
def add_to_retrospective(*, report: Retrospective, text: str, by: User, now: datetime) -> Addendum:
    """Add a dated word to one's report. Raises NotAllowed, Invalid."""
    if not rules.can_add_to_report(by, report):
        raise _not_your_report()
    text = clean_text(text).strip()
    _need(text, "text", NOTE_LENGTH)
    return Addendum.objects.create(
        retrospective=report, author=by, text=text, html=markdown.render(text), created=now
    )


@transaction.atomic
def add_follow_up(
    *, report: Retrospective, fields: FollowUpFields, by: User, now: datetime
) -> FollowUp:
    """Note something to do because of one's report, and tell its owner. Raises NotAllowed, Invalid."""
    if not rules.can_add_to_report(by, report):
        raise _not_your_report()
    text = clean_line(fields.text)
    _need(text, "text", 300)
    _choice("kind", fields.kind, FollowUp.Kind.values)
    _choice("state", fields.state, FollowUp.State.values)
    made = FollowUp.objects.create(
        retrospective=report,
        text=text,
        kind=fields.kind,
        state=fields.state,
        owner=fields.owner,
        due=fields.due,
        created=now,
    )
    if (
        fields.owner is not None
        and fields.owner.pk != by.pk
        and fields.state == FollowUp.State.OPEN
    ):
        notifications.notify(
            recipients=[fields.owner],
            kind="follow_up",
            context={"title": report.title, "by": _shown_name(report), "text": text},
            path=f"/retrospectives/{report.pk}/",
            key=f"follow_up:{made.pk}",
            now=now,
            about=subject(report.version.prompt) if report.version else None,
        )
    return made


def set_follow_up_state(*, follow_up: FollowUp, state: str, by: User) -> FollowUp:
    """Mark as done, dropped or open again: its owner or the report's author. Raises NotAllowed."""
    if by.pk not in (follow_up.owner_id, follow_up.retrospective.author_id):
        raise NotAllowed(_("Only the owner of a follow-up or the report's author can change it."))
    _choice("state", state, FollowUp.State.values)
    follow_up.state = state
    follow_up.save(update_fields=["state"])
    return follow_up


@transaction.atomic
def link_retrospective(
    *,
    report: Retrospective,
    kind: str,
    by: User,
    other: Retrospective | None = None,
    prompt: Prompt | None = None,
) -> RetrospectiveLink:
    """Say that a report confirms, nuances or contradicts another report or a prompt."""
    if report.author_id != by.pk:
        raise NotAllowed(_("Only its author can link a report."))
    _choice("kind", kind, RetrospectiveLink.Kind.values)
    if (other is None) == (prompt is None):
        raise Invalid(_("A link leads to one report or to one prompt."))
    if other is not None and other.pk == report.pk:
        raise Invalid(_("A report cannot speak about itself; link it to another one."))
    link, _created = RetrospectiveLink.objects.update_or_create(
        source=report, report=other, prompt=prompt, defaults={"kind": kind}
    )
    return link


def unlink_retrospective(*, link: RetrospectiveLink, by: User) -> None:
    """Take a link back. Raises NotAllowed."""
    if link.source.author_id != by.pk:
        raise NotAllowed(_("Only its author can link a report."))
    link.delete()


@transaction.atomic
def make_wish(
    *, title: str, text: str, language: str, department: Department | None, by: User, now: datetime
) -> Wish:
    """Ask for a prompt that does not exist yet. Raises Invalid without a title."""
    _must_take_part(by, None)
    title, text = clean_line(title), clean_text(text).strip()
    _need(title, "title", 160)
    if len(text) > 2_000:
        raise Invalid(_too_long(len(text), 2_000), fields={"text": _too_long(len(text), 2_000)})
    wish = Wish.objects.create(
        title=title, text=text, language=language, department=department, author=by, created=now
    )
    WishSupport.objects.create(wish=wish, person=by, created=now)
    return wish


def support_wish(*, wish: Wish, by: User, now: datetime) -> None:
    """Want it too. Twice is once."""
    _must_take_part(by, None)
    WishSupport.objects.get_or_create(wish=wish, person=by, defaults={"created": now})


def unsupport_wish(*, wish: Wish, by: User) -> None:
    """Want it no more."""
    WishSupport.objects.filter(wish=wish, person=by).delete()


@transaction.atomic
def answer_wish(*, wish: Wish, prompt: Prompt, by: User, now: datetime) -> None:
    """Say that this prompt is what was asked for, and tell those who asked."""
    _must_take_part(by, prompt)
    wish = Wish.objects.select_for_update().get(pk=wish.pk)
    if wish.answer_id is not None:
        raise Conflict(_("“%(title)s” has an answer already.") % {"title": wish.title})
    if prompt.status != Prompt.Status.PUBLISHED:
        raise Invalid(
            _("“%(title)s” is not published; publish it first.") % {"title": prompt.title}
        )
    wish.answer, wish.closed = prompt, now
    wish.save(update_fields=["answer", "closed"])
    supporters = User.objects.filter(pk__in=wish.supports.values("person"), is_active=True)
    notifications.notify(
        recipients=[p for p in supporters if p.pk != by.pk and is_readable(prompt, p)],
        kind="wish_answered",
        context={"title": prompt.title, "wish": wish.title},
        path=f"/prompts/{prompt.slug}/",
        key=f"wish:{wish.pk}",
        now=now,
        about=subject(prompt),
    )


def refresh_standing(prompt: Prompt, *, now: datetime) -> int:
    """Tell the search how proven and how lively the prompt is; returns its number of votes."""
    worked = tally([prompt.pk])[prompt.pk].worked
    votes = list(Vote.objects.filter(prompt=prompt).values_list("created", flat=True))
    reports = list(
        Retrospective.objects.filter(version__prompt=prompt).values_list("created", flat=True)
    )
    signals = UsageSignal.objects.filter(prompt=prompt).values_list("created", flat=True)
    comments = Comment.objects.filter(prompt=prompt, withdrawn=None).values_list(
        "created", flat=True
    )
    events = [
        *((_age(moment, now), _WEIGHTS["vote"]) for moment in votes),
        *((_age(moment, now), _WEIGHTS["report"]) for moment in reports),
        *((_age(moment, now), _WEIGHTS["signal"]) for moment in signals),
        *((_age(moment, now), _WEIGHTS["comment"]) for moment in comments),
    ]
    index.set_standing(
        kind="prompt",
        object_id=prompt.pk,
        proven=worked.lower_bound,
        activity=evidence.decayed_activity(events, half_life_days=VOTE_HALF_LIFE_DAYS),
        votes=len(votes),
        reports=len(reports),
    )
    return len(votes)


def reindex(report: Retrospective) -> None:
    """Tell the search what the report is now."""
    prompt = report.version.prompt if report.version else None
    index.put(
        index.Document(
            kind="retrospective",
            object_id=report.pk,
            slug=str(report.pk),
            title=report.title,
            summary=report.lesson,
            keywords=[
                name
                for thing in (report.department, report.use_case)
                if thing is not None
                for name in (thing.name_fr, thing.name_en)
            ]
            + ([report.tool.name] if report.tool else [])
            + ([report.model] if report.model else [])
            + ([prompt.title] if prompt else []),
            text="\n".join(getattr(report, name) for name in LONG_ANSWERS),
            notes="\n".join(
                filter(None, [report.expectation, report.reuse_note, report.pasted_text])
            ),
            language=report.language,
            status=report.outcome,
            author_id=None if report.is_anonymous else report.author_id,
            audience=prompt.audience if prompt else [EVERYONE],
            parent_id=prompt.pk if prompt else None,
            departments=[report.department.slug] if report.department else [],
            tools=[report.tool.slug] if report.tool else [],
            use_cases=[report.use_case.slug] if report.use_case else [],
            tags=[],
            dated=report.created,
        )
    )


# --- inside ----------------------------------------------------------------------------------


def _age(moment: datetime, now: datetime) -> float:
    return max(0.0, (now - moment) / timedelta(days=1))


def _not_your_report() -> NotAllowed:
    return NotAllowed(
        _("Only its author can add to a report; others can answer with a report of their own.")
    )


def _must_take_part(by: User, prompt: Prompt | None) -> None:
    if not rules.can_take_part(by):
        raise NotAllowed(
            _("You have no role yet. Ask an administrator to add you to a department.")
        )
    if prompt is not None and not is_readable(prompt, by):
        raise NotAllowed(_("This prompt is not open to you."))


def _shallow(parent: Comment) -> Comment:
    """The comment to hang an answer on, at most DEEPEST_REPLY levels down."""
    chain = [parent]
    while chain[-1].parent is not None:
        chain.append(chain[-1].parent)
    return chain[max(0, len(chain) - DEEPEST_REPLY)]


def _tell(made: Comment, people: Sequence[User], kind: str, now: datetime) -> None:
    notifications.notify(
        recipients=people,
        kind=kind,
        context={"title": made.prompt.title, "by": str(made.author)},
        path=f"/prompts/{made.prompt.slug}/#comment-{made.pk}",
        key=f"comment:{made.pk}",
        now=now,
        about=subject(made.prompt),
    )


def _shown_name(report: Retrospective) -> str:
    if not report.is_anonymous:
        return str(report.author)
    if report.department is None:
        return _("A colleague")
    return _("A colleague in %(department)s") % {"department": report.department}


_LINES = {"title": 160, "lesson": LESSON_LENGTH, "model": 80, "expectation": 300, "reuse_note": 300}
_CHOICES: dict[str, Any] = {
    "stakes": Retrospective.Stakes,
    "data_class": Retrospective.DataClass,
    "counterfactual": Retrospective.Counterfactual,
    "minutes_basis": Retrospective.MinutesBasis,
    "quality": Retrospective.Quality,
    "checked": Retrospective.Checked,
    "incident_severity": Retrospective.Severity,
    "would_reuse": Retrospective.Reuse,
}
_NUMBERS = {
    "task_familiarity": (1, 5),
    "tool_familiarity": (1, 5),
    "minutes_preparing": (0, MOST_MINUTES),
    "minutes_waiting": (0, MOST_MINUTES),
    "minutes_checking": (0, MOST_MINUTES),
    "minutes_without": (0, MOST_MINUTES),
    "attempts": (1, 1000),
    "items": (1, 1_000_000),
}


def _fill(report: Retrospective, given: ReportFields, *, now: datetime) -> None:
    """Clean the answers and put them on the row. Raises Invalid naming every wrong one."""
    wrong: dict[str, str] = {}
    for field in fields(given):
        value = getattr(given, field.name)
        if field.name in _LINES:
            value = clean_line(value)
            if len(value) > _LINES[field.name]:
                wrong[field.name] = _too_long(len(value), _LINES[field.name])
        elif field.name in (*LONG_ANSWERS, "pasted_text"):
            value = clean_text(value).strip()
            limit = TEXT_LENGTH if field.name == "pasted_text" else NOTE_LENGTH
            if len(value) > limit:
                wrong[field.name] = _too_long(len(value), limit)
        elif field.name in _CHOICES and value and value not in _CHOICES[field.name].values:
            wrong[field.name] = _unknown(value, _CHOICES[field.name].values)
        elif field.name in _NUMBERS and value is not None:
            low, high = _NUMBERS[field.name]
            if not low <= value <= high:
                wrong[field.name] = _("%(value)s is outside %(low)s to %(high)s.") % {
                    "value": value,
                    "low": low,
                    "high": high,
                }
        elif field.name == "incidents":
            value = list(dict.fromkeys(value))
            for kind in value:
                if kind not in Retrospective.IncidentKind.values:
                    wrong["incidents"] = _unknown(kind, Retrospective.IncidentKind.values)
        setattr(report, field.name, value)
    for name in ("title", "lesson"):
        if not getattr(report, name):
            wrong[name] = _("This is needed.")
    if report.outcome not in Retrospective.Outcome.values:
        wrong["outcome"] = _unknown(report.outcome, Retrospective.Outcome.values)
    if report.kept_share is not None and report.kept_share not in Retrospective.KeptShare.values:
        wrong["kept_share"] = _unknown(
            str(report.kept_share), [str(v) for v in Retrospective.KeptShare.values]
        )
    report.task_date = given.task_date or now.date()
    if report.task_date > now.date() + timedelta(days=1):
        wrong["task_date"] = _("%(date)s is in the future.") % {
            "date": report.task_date.isoformat()
        }
    if wrong:
        raise Invalid(
            _("The report was not saved. Please look at: %(names)s.") % {"names": ", ".join(wrong)},
            fields=wrong,
        )
    report.html = {
        name: markdown.render(text) for name in LONG_ANSWERS if (text := getattr(report, name))
    }


def _need(text: str, name: str, limit: int) -> None:
    if not text:
        raise Invalid(_("Write something first."), fields={name: _("This is needed.")})
    if len(text) > limit:
        raise Invalid(_too_long(len(text), limit), fields={name: _too_long(len(text), limit)})


def _choice(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise Invalid(_unknown(value, known), fields={name: _unknown(value, known)})


def _unknown(value: str, known: Sequence[str]) -> str:
    if not value:
        return _("Choose one of: %(known)s.") % {"known": ", ".join(known)}
    return _("“%(value)s” is not known; use one of: %(known)s.") % {
        "value": value,
        "known": ", ".join(known),
    }


def _too_long(count: int, limit: int) -> str:
    return _("%(count)s characters; at most %(limit)s fit. Shorten it by %(over)s.") % {
        "count": count,
        "limit": limit,
        "over": count - limit,
    }
