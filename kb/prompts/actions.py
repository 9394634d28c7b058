"""Writes about prompts. Each is one transaction; the actor is `by`; the clock is passed in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Max, ProtectedError
from django.utils.text import slugify
from django.utils.translation import gettext as _

from accounts.models import Department, User
from accounts.standing import standing
from kb.core import markdown
from kb.core.errors import Conflict, Invalid, NotAllowed
from kb.core.words import clean_line, clean_text
from kb.notifications import actions as notifications
from kb.prompts import rules, template
from kb.prompts.models import (
    CHANGE_NOTE_LENGTH,
    SUMMARY_LENGTH,
    TEXT_LENGTH,
    TITLE_LENGTH,
    WRITE_UP_SECTION_LENGTH,
    Prompt,
    PromptVersion,
    RememberedValues,
    Tag,
    Tool,
    UseCase,
    Verification,
    Watch,
    WriteUp,
)
from kb.prompts.writeup import SECTIONS, WriteUpSections
from kb.search import index

MOST_TAGS = 12
LONGEST_TAG = 60
MOST_DEPARTMENTS = 30
MOST_TOOLS = 20
MOST_USE_CASES = 12
LONGEST_VALUES = 200_000
"""Characters of remembered values of one person and prompt."""
_LANGUAGE = re.compile(r"^[a-z]{2,3}$")


@dataclass(frozen=True)
class PromptFields:
    """What an author may set. None leaves a field as it is."""

    title: str | None = None
    summary: str | None = None
    text: str | None = None
    system: str | None = None
    variables: Sequence[template.Variable] | None = None
    language: str | None = None
    write_up: WriteUpSections | None = None
    departments: Sequence[Department] | None = None
    tools: Sequence[Tool] | None = None
    use_cases: Sequence[UseCase] | None = None
    tags: Sequence[str] | None = None
    visibility: str | None = None
    status: str | None = None


@transaction.atomic
def create_prompt(
    *,
    fields: PromptFields,
    by: User,
    now: datetime,
    change_note: str = "",
    origin: str = "",
    origin_hash: str = "",
) -> Prompt:
    """A new prompt with its version 1; a draft unless `fields.status` says published.

    Raises NotAllowed without the author role, Invalid naming every wrong field.
    """
    if not rules.can_publish(by):
        raise NotAllowed(
            _(
                "Your role lets you read and report, not publish. Ask an administrator for the author role."
            )
        )
    clean = _clean(fields)
    _require(clean, ("title", "text"))
    prompt = _insert(
        Prompt(
            title=clean.title or "",
            author=by,
            edition=0,
            origin=origin,
            origin_hash=origin_hash,
            created=now,
            updated=now,
        )
    )
    Watch.objects.create(prompt=prompt, person=by)
    _apply(prompt, clean, by=by, now=now, change_note=change_note)
    return prompt


@transaction.atomic
def edit_prompt(
    *,
    prompt: Prompt,
    fields: PromptFields,
    by: User,
    now: datetime,
    based_on: int | None,
    change_note: str = "",
) -> Prompt:
    """Change a prompt; a changed text becomes the next version, a changed write-up its next revision.

    `based_on` is the edition the person had in front of them: Conflict when the prompt has moved on
    since. None skips that check. Raises NotAllowed, Invalid.
    """
    prompt = _locked(prompt)
    _must_edit(prompt, by)
    if based_on is not None and based_on != prompt.edition:
        raise Conflict(
            _("“%(title)s” was changed by somebody else while you were editing it.")
            % {"title": prompt.title}
        )
    _apply(prompt, _clean(fields), by=by, now=now, change_note=change_note)
    return prompt


def publish(*, prompt: Prompt, by: User, now: datetime) -> Prompt:
    """Let its audience read a draft, or bring an archived prompt back."""
    return edit_prompt(
        prompt=prompt,
        fields=PromptFields(status=Prompt.Status.PUBLISHED),
        by=by,
        now=now,
        based_on=None,
    )


def archive(*, prompt: Prompt, by: User, now: datetime) -> Prompt:
    """Take a prompt out of lists and search; its page and history stay. Twice is once."""
    if prompt.status == Prompt.Status.ARCHIVED:
        _must_edit(prompt, by)
        return prompt
    return edit_prompt(
        prompt=prompt,
        fields=PromptFields(status=Prompt.Status.ARCHIVED),
        by=by,
        now=now,
        based_on=None,
    )


@transaction.atomic
def discard_draft(*, prompt: Prompt, by: User) -> None:
    """Delete one's own draft, with its versions; nobody else has seen it.

    Raises NotAllowed, Conflict when it was published once or something depends on it.
    """
    prompt = _locked(prompt)
    if prompt.author_id != by.pk:
        raise NotAllowed(
            _("Only its author can delete the draft “%(title)s”.") % {"title": prompt.title}
        )
    if prompt.published is not None:
        raise Conflict(
            _("“%(title)s” was published; archive it instead.") % {"title": prompt.title}
        )
    number = prompt.pk
    Prompt.objects.filter(pk=number).update(current=None, write_up=None)
    try:
        with transaction.atomic():
            Prompt.objects.get(pk=number).delete()
    except ProtectedError as error:
        raise Conflict(
            _("A monitor watches “%(title)s”; remove the monitor first.") % {"title": prompt.title}
        ) from error
    index.forget(kind="prompt", object_id=number)


@transaction.atomic
def restore_version(*, prompt: Prompt, number: int, by: User, now: datetime) -> PromptVersion:
    """Make an older text the newest version again. Raises Invalid when it is the current text."""
    prompt = _locked(prompt)
    _must_edit(prompt, by)
    old = prompt.versions.filter(number=number).first()
    if old is None:
        raise Invalid(_("There is no version %(number)s of this prompt.") % {"number": number})
    current = prompt.current
    if current is not None and _same_text(current, old.text, old.system, old.variables):
        raise Invalid(_("Version %(number)s is what the prompt says today.") % {"number": number})
    version = _add_version(
        prompt,
        text=old.text,
        system=old.system,
        variables=old.variables,
        change_note=_("Restored version %(number)s") % {"number": number},
        by=by,
        now=now,
        restored_from=number,
    )
    _settle(prompt, now=now)
    return version


@transaction.atomic
def verify(
    *,
    prompt: Prompt,
    by: User,
    now: datetime,
    tool: Tool | None = None,
    model: str = "",
    note: str = "",
) -> Verification:
    """A curator vouches for the current version. Raises NotAllowed."""
    if not rules.can_curate(by, prompt, department_ids(prompt)) or prompt.current is None:
        raise NotAllowed(_("Only a curator of this prompt's departments can verify it."))
    return Verification.objects.create(
        version=prompt.current,
        by=by,
        tool=tool,
        model=clean_line(model)[:80],
        note=clean_line(note)[:300],
        created=now,
    )


def watch(*, prompt: Prompt, by: User) -> None:
    """Hear of what happens to the prompt. Twice is once."""
    Watch.objects.get_or_create(prompt=prompt, person=by)


def unwatch(*, prompt: Prompt, by: User) -> None:
    """Hear no more of it."""
    Watch.objects.filter(prompt=prompt, person=by).delete()


def remember_values(*, prompt: Prompt, by: User, values: dict[str, str], now: datetime) -> None:
    """Keep what the person filled in, for the next time; too much is not kept at all."""
    if sum(len(name) + len(value) for name, value in values.items()) > LONGEST_VALUES:
        return
    kept = {clean_line(name): clean_text(value) for name, value in values.items()}
    RememberedValues.objects.update_or_create(
        prompt=prompt, person=by, defaults={"values": kept, "updated": now}
    )


def department_ids(prompt: Prompt) -> list[int]:
    """Ids of the departments of a prompt (one query)."""
    return list(prompt.departments.values_list("pk", flat=True))


def reindex(prompt: Prompt) -> None:
    """Tell the search what the prompt is now. Called in the transaction of every change."""
    version, write_up = prompt.current, prompt.write_up
    departments = list(prompt.departments.all())
    tools = list(prompt.tools.all())
    use_cases = list(prompt.use_cases.all())
    tags = list(prompt.tags.prefetch_related("synonyms"))
    index.put(
        index.Document(
            kind="prompt",
            object_id=prompt.pk,
            slug=prompt.slug,
            title=prompt.title,
            summary=prompt.summary,
            keywords=[
                *(name for d in departments for name in (d.name_fr, d.name_en)),
                *(t.name for t in tools),
                *(name for u in use_cases for name in (u.name_fr, u.name_en)),
                *(t.name for t in tags),
                *(s.name for t in tags for s in t.synonyms.all()),
            ],
            text=f"{version.text}\n{version.system}" if version else "",
            notes="\n".join(getattr(write_up, section) for section in SECTIONS) if write_up else "",
            language=prompt.language,
            status=prompt.status,
            author_id=prompt.author_id,
            audience=prompt.audience,
            departments=[d.slug for d in departments],
            tools=[t.slug for t in tools],
            use_cases=[u.slug for u in use_cases],
            tags=[t.slug for t in tags],
            dated=prompt.published or prompt.created,
        )
    )


# --- inside ----------------------------------------------------------------------------------


def _locked(prompt: Prompt) -> Prompt:
    return Prompt.objects.select_for_update().get(pk=prompt.pk)


def _must_edit(prompt: Prompt, by: User) -> None:
    if not rules.can_edit(by, prompt, department_ids(prompt)):
        raise NotAllowed(
            _("Only the author of “%(title)s” or a curator can change it.")
            % {"title": prompt.title}
        )


def _apply(
    prompt: Prompt, clean: PromptFields, *, by: User, now: datetime, change_note: str
) -> None:
    """Write cleaned fields, bump the edition, tell the search and the watchers."""
    for name in ("title", "summary", "language", "visibility"):
        if (value := getattr(clean, name)) is not None:
            setattr(prompt, name, value)
    for name in ("departments", "tools", "use_cases"):
        if (rows := getattr(clean, name)) is not None:
            getattr(prompt, name).set(rows)
    if clean.tags is not None:
        prompt.tags.set(_tags(clean.tags))
    was_published = prompt.status == Prompt.Status.PUBLISHED
    if clean.status is not None:
        _set_status(prompt, clean.status, now)
    version = _version_for(prompt, clean, by=by, now=now, change_note=change_note)
    if clean.write_up is not None:
        _revise_write_up(prompt, clean.write_up, by=by, now=now)
    _settle(prompt, now=now)
    if version is not None and version.number > 1 and was_published:
        _tell_watchers(prompt, version, by)


def _set_status(prompt: Prompt, status: str, now: datetime) -> None:
    if status == Prompt.Status.DRAFT and prompt.status != Prompt.Status.DRAFT:
        raise Invalid(
            _("A published prompt cannot become a draft again; archive it instead."),
            fields={
                "status": _("A published prompt cannot become a draft again; archive it instead.")
            },
        )
    if status == Prompt.Status.ARCHIVED and prompt.published is None:
        raise Invalid(
            _("A draft cannot be archived; publish it first."),
            fields={"status": _("A draft cannot be archived; publish it first.")},
        )
    prompt.status = status
    if status == Prompt.Status.PUBLISHED:
        prompt.published = prompt.published or now
        prompt.archived = None
    elif status == Prompt.Status.ARCHIVED:
        prompt.archived = prompt.archived or now


def _version_for(
    prompt: Prompt, clean: PromptFields, *, by: User, now: datetime, change_note: str
) -> PromptVersion | None:
    """The next version when what is sent to a model changed, else None."""
    current = prompt.current
    if (
        clean.text is None
        and clean.system is None
        and clean.variables is None
        and current is not None
    ):
        return None
    text = clean.text if clean.text is not None else (current.text if current else "")
    system = clean.system if clean.system is not None else (current.system if current else "")
    known = (
        list(clean.variables)
        if clean.variables is not None
        else list(template.variables_from(current.variables) if current else ())
    )
    variables = [
        v.to_dict() for v in _variables_of(text, system, known, strict=clean.variables is not None)
    ]
    if current is not None and _same_text(current, text, system, variables):
        return None
    return _add_version(
        prompt,
        text=text,
        system=system,
        variables=variables,
        change_note=change_note,
        by=by,
        now=now,
    )


def _variables_of(
    text: str, system: str, known: Sequence[template.Variable], *, strict: bool
) -> list[template.Variable]:
    """The holes of the text in order, each as described in `known` or as a plain text variable."""
    names = list(dict.fromkeys([*template.names(text), *template.names(system)]))
    described = {variable.name: variable for variable in known}
    unused = [name for name in described if name not in names]
    if strict and unused:
        listed = ", ".join(unused)
        message = _(
            "The text has no place for: %(names)s. Write {{ %(first)s }} where it belongs, or remove the variable."
        ) % {"names": listed, "first": unused[0]}
        raise Invalid(message, fields={"variables": message})
    found = [described.get(name) or template.Variable(name) for name in names]
    try:
        return list(template.variables_from([variable.to_dict() for variable in found]))
    except template.InvalidVariable as error:
        raise Invalid(str(error), fields={"variables": str(error)}) from error


def _same_text(
    version: PromptVersion, text: str, system: str, variables: list[dict[str, Any]]
) -> bool:
    return (version.text, version.system, version.variables) == (text, system, variables)


def _add_version(
    prompt: Prompt,
    *,
    text: str,
    system: str,
    variables: list[dict[str, Any]],
    change_note: str,
    by: User,
    now: datetime,
    restored_from: int | None = None,
) -> PromptVersion:
    last = prompt.versions.aggregate(last=Max("number"))["last"] or 0
    version = PromptVersion.objects.create(
        prompt=prompt,
        number=last + 1,
        text=text,
        system=system,
        variables=variables,
        change_note=clean_line(change_note)[:CHANGE_NOTE_LENGTH],
        restored_from=restored_from,
        author=by,
        created=now,
    )
    prompt.current = version
    return version


def _revise_write_up(prompt: Prompt, sections: WriteUpSections, *, by: User, now: datetime) -> None:
    said = {section: getattr(sections, section) for section in SECTIONS}
    current = prompt.write_up
    if current is None and not any(said.values()):
        return
    if current is not None and said == {section: getattr(current, section) for section in SECTIONS}:
        return
    last = prompt.write_ups.aggregate(last=Max("number"))["last"] or 0
    prompt.write_up = WriteUp.objects.create(
        prompt=prompt,
        number=last + 1,
        html={section: markdown.render(text) for section, text in said.items() if text},
        author=by,
        created=now,
        **said,
    )


def _settle(prompt: Prompt, *, now: datetime) -> None:
    """Derive the audience, count the edit, save the row and tell the search."""
    departments = department_ids(prompt)
    if prompt.visibility == Prompt.Visibility.DEPARTMENTS and not departments:
        message = _("Choose at least one department, or show the prompt to the whole company.")
        raise Invalid(message, fields={"departments": message})
    before = prompt.audience
    prompt.audience = rules.audience(
        status=prompt.status,
        visibility=prompt.visibility,
        author_id=prompt.author_id,
        department_ids=departments,
    )
    prompt.edition += 1
    prompt.updated = now
    prompt.save()
    if prompt.audience != before:
        notifications.set_audience(subject(prompt))
    reindex(prompt)


def _tell_watchers(prompt: Prompt, version: PromptVersion, by: User) -> None:
    notifications.notify(
        recipients=readers_watching(prompt, besides=by),
        kind="prompt_changed",
        context={
            "title": prompt.title,
            "number": version.number,
            "by": str(by),
            "note": version.change_note,
        },
        path=f"/prompts/{prompt.slug}/versions/{version.number}/",
        key=f"version:{version.pk}",
        now=version.created,
        about=subject(prompt),
    )


def subject(prompt: Prompt) -> notifications.Subject:
    """The prompt as messages about it know it."""
    return notifications.Subject(prompt.pk, prompt.audience)


def readers_watching(prompt: Prompt, *, besides: User | None = None) -> list[User]:
    """The watchers who may (still) read the prompt."""
    watchers = User.objects.filter(watches__prompt=prompt, is_active=True).distinct()
    if besides is not None:
        watchers = watchers.exclude(pk=besides.pk)
    seen = set(prompt.audience)
    return [person for person in watchers if seen.intersection(standing(person).audience_tokens)]


def _insert(prompt: Prompt) -> Prompt:
    """Save a new row under a free slug, also when two people publish one title at once."""
    while True:
        prompt.slug = _free_slug(prompt.title)
        try:
            with transaction.atomic():
                prompt.save(force_insert=True)
        except IntegrityError:
            if not Prompt.objects.filter(slug=prompt.slug).exists():
                raise
        else:
            return prompt


def _free_slug(title: str) -> str:
    """A readable address that nobody has: 'relire-un-bail', 'relire-un-bail-2', …"""
    base = slugify(title)[:80].strip("-") or "prompt"
    taken = set(Prompt.objects.filter(slug__startswith=base).values_list("slug", flat=True))
    if base not in taken and base not in RESERVED_SLUGS:
        return base
    number = 2
    while f"{base}-{number}" in taken:
        number += 1
    return f"{base}-{number}"


RESERVED_SLUGS = frozenset({"new", "import", "preview", "detect", "drafts"})
"""Words that stand in addresses next to slugs."""


def _tags(names: Sequence[str]) -> list[Tag]:
    """The tags of these names, made when new, synonyms replaced by what they stand for."""
    found: dict[int, Tag] = {}
    for name in names:
        slug = slugify(name, allow_unicode=True)[:LONGEST_TAG]
        tag, _created = Tag.objects.select_related("synonym_of").get_or_create(
            slug=slug, defaults={"name": name}
        )
        tag = tag.synonym_of or tag
        found[tag.pk] = tag
    return list(found.values())


def _require(clean: PromptFields, names: Sequence[str]) -> None:
    missing = {name: _("This is needed.") for name in names if not getattr(clean, name)}
    if missing:
        raise Invalid(
            _("A prompt needs a title and a text. Missing: %(names)s.")
            % {"names": ", ".join(missing)},
            fields=missing,
        )


def _clean(given: PromptFields) -> PromptFields:
    """The same fields tidied. Raises Invalid naming every field that is too long or unknown."""
    wrong: dict[str, str] = {}
    made: dict[str, Any] = {field.name: getattr(given, field.name) for field in fields(given)}

    def short(name: str, limit: int) -> None:
        if made[name] is not None:
            made[name] = clean_line(made[name])
            _bound(name, made[name], limit, wrong)

    short("title", TITLE_LENGTH)
    short("summary", SUMMARY_LENGTH)
    for name in ("text", "system"):
        if made[name] is not None:
            made[name] = clean_text(made[name]).strip("\n")
            _bound(name, made[name], TEXT_LENGTH, wrong)
    if made["title"] == "":
        wrong["title"] = _("A prompt needs a title.")
    if made["text"] is not None and not made["text"].strip():
        wrong["text"] = _("A prompt needs a text.")
    if given.write_up is not None:
        sections = {s: clean_text(getattr(given.write_up, s)).strip() for s in SECTIONS}
        for section, text in sections.items():
            _bound(f"write_up.{section}", text, WRITE_UP_SECTION_LENGTH, wrong)
        made["write_up"] = WriteUpSections(**sections)
    if given.language is not None and not _LANGUAGE.fullmatch(given.language):
        wrong["language"] = _("“%(value)s” is not a language code; use fr, en, …") % {
            "value": given.language
        }
    for name, choices in (("status", Prompt.Status), ("visibility", Prompt.Visibility)):
        value = made[name]
        if value is not None and value not in choices.values:
            wrong[name] = _("“%(value)s” is not known; use one of: %(known)s.") % {
                "value": value,
                "known": ", ".join(choices.values),
            }
    if given.tags is not None:
        made["tags"] = _clean_tags(given.tags, wrong)
    for name, most in (
        ("departments", MOST_DEPARTMENTS),
        ("tools", MOST_TOOLS),
        ("use_cases", MOST_USE_CASES),
    ):
        if made[name] is not None and len(made[name]) > most:
            wrong[name] = _("At most %(most)s can be chosen; these are %(count)s.") % {
                "most": most,
                "count": len(made[name]),
            }
    if wrong:
        raise Invalid(
            _("The prompt was not saved. Please look at: %(names)s.") % {"names": ", ".join(wrong)},
            fields=wrong,
        )
    return PromptFields(**made)


def _clean_tags(given: Sequence[str], wrong: dict[str, str]) -> list[str]:
    names = list(dict.fromkeys(name for tag in given if (name := clean_line(tag))))
    useless = [name for name in names if not slugify(name, allow_unicode=True)]
    if useless:
        wrong["tags"] = _("“%(value)s” has no letter or digit; a tag needs one.") % {
            "value": useless[0]
        }
    elif long := [name for name in names if len(name) > LONGEST_TAG]:
        wrong["tags"] = _("“%(value)s…” is too long; a tag has at most %(most)s characters.") % {
            "value": long[0][:30],
            "most": LONGEST_TAG,
        }
    elif len(names) > MOST_TAGS:
        wrong["tags"] = _("At most %(most)s tags; these are %(count)s.") % {
            "most": MOST_TAGS,
            "count": len(names),
        }
    return names


def _bound(name: str, value: str, limit: int, wrong: dict[str, str]) -> None:
    if len(value) > limit:
        wrong[name] = _("%(count)s characters; at most %(limit)s fit. Shorten it by %(over)s.") % {
            "count": len(value),
            "limit": limit,
            "over": len(value) - limit,
        }
