"""Writes about what prompts are found by: departments, tools and use cases. Curated for the company."""

from __future__ import annotations

from django.db import IntegrityError, transaction
from django.utils.text import slugify
from django.utils.translation import gettext as _

from accounts import actions as accounts
from accounts.models import Department, Membership, User
from accounts.standing import standing
from kb.core.errors import Invalid, NotAllowed
from kb.core.words import clean_line
from kb.prompts.actions import reindex
from kb.prompts.models import Tool, UseCase

type Row = Department | Tool | UseCase

LONGEST_NAME: dict[type[Row], int] = {Department: 120, UseCase: 120, Tool: 80}
LONGEST_SLUG = 80
LONGEST_HELP = 200
LONGEST_ADDRESS = 200
HIGHEST_POSITION = 32_767
"""What the column holds; nobody has that many."""
MOST_REINDEXED = 1_000
"""Prompts told to the search at once when a name changes; others follow with their next edit."""
PLACE = "{prompt}"
"""Where the text goes in the address of a tool."""
_NAMES: dict[type[Row], tuple[str, ...]] = {
    Department: ("name_en", "name_fr"),
    UseCase: ("name_en", "name_fr"),
    Tool: ("name",),
}


def can_curate_catalogue(person: User) -> bool:
    """Whether the person may change departments, tools and use cases: curators of the company."""
    return standing(person).has(Membership.Role.CURATOR, ())


@transaction.atomic
def save_department(
    *,
    by: User,
    department: Department | None = None,
    name_en: str | None = None,
    name_fr: str | None = None,
    slug: str | None = None,
    position: int | None = None,
) -> Department:
    """Enter or change a department; None leaves a field as it is.

    One name stands for both languages while only one is given. The slug is given once, from the
    English name unless named. Raises NotAllowed, Invalid naming every wrong field.
    """
    _must_curate(by)
    row = department or Department()
    was_called = _names_of(row)
    wrong: dict[str, str] = {}
    _take_names(row, {"name_en": name_en, "name_fr": name_fr}, wrong)
    _take_place(row, slug, position, wrong)
    _refuse(wrong)
    try:
        saved = accounts.save_department(
            department=department, name_en=row.name_en, name_fr=row.name_fr, by=by
        )
    except accounts.AccountError as error:
        raise Invalid(
            str(error), fields={error.field: str(error)} if error.field else {}
        ) from error
    if department is None and slug is not None:
        saved.slug = slug
    if position is not None:
        saved.position = position
    _write(saved)
    _tell_search(saved, was_called)
    return saved


@transaction.atomic
def save_use_case(
    *,
    by: User,
    use_case: UseCase | None = None,
    name_en: str | None = None,
    name_fr: str | None = None,
    help_en: str | None = None,
    help_fr: str | None = None,
    slug: str | None = None,
    position: int | None = None,
) -> UseCase:
    """Enter or change a use case, as `save_department` does."""
    _must_curate(by)
    row = use_case or UseCase()
    was_called = _names_of(row)
    wrong: dict[str, str] = {}
    for field, text in (("help_en", help_en), ("help_fr", help_fr)):
        if text is not None:
            setattr(row, field, _line(text, field, LONGEST_HELP, wrong))
    _take_names(row, {"name_en": name_en, "name_fr": name_fr}, wrong)
    _take_place(row, slug, position, wrong)
    _refuse(wrong)
    _write(row)
    _tell_search(row, was_called)
    return row


@transaction.atomic
def save_tool(
    *,
    by: User,
    tool: Tool | None = None,
    name: str | None = None,
    kind: str | None = None,
    open_url: str | None = None,
    is_retired: bool | None = None,
    slug: str | None = None,
    position: int | None = None,
) -> Tool:
    """Enter or change a tool, as `save_department` does. `open_url` holds {prompt} or is empty."""
    _must_curate(by)
    row = tool or Tool()
    was_called = _names_of(row)
    wrong: dict[str, str] = {}
    if kind is not None:
        row.kind = kind
        if kind not in Tool.Kind.values:
            wrong["kind"] = _("“%(value)s” is not known; use one of: %(known)s.") % {
                "value": kind,
                "known": ", ".join(Tool.Kind.values),
            }
    if open_url is not None:
        row.open_url = _line(open_url, "open_url", LONGEST_ADDRESS, wrong)
        _check_open_url(row.open_url, wrong)
    if is_retired is not None:
        row.is_retired = is_retired
    _take_names(row, {"name": name}, wrong)
    _take_place(row, slug, position, wrong)
    _refuse(wrong)
    _write(row)
    _tell_search(row, was_called)
    return row


# --- inside ----------------------------------------------------------------------------------


def _must_curate(by: User) -> None:
    if not can_curate_catalogue(by):
        raise NotAllowed(
            _(
                "Only a curator or an administrator of the whole company can change departments, tools and use cases."
            )
        )


def _refuse(wrong: dict[str, str]) -> None:
    if wrong:
        raise Invalid(
            _("Nothing was saved. Please look at: %(names)s.") % {"names": ", ".join(wrong)},
            fields=wrong,
        )


def _names_of(row: Row) -> tuple[str, ...]:
    return tuple(getattr(row, field) for field in _NAMES[type(row)])


def _take_names(row: Row, given: dict[str, str | None], wrong: dict[str, str]) -> None:
    fields = _NAMES[type(row)]
    for field in fields:
        if (name := given[field]) is not None:
            setattr(row, field, _line(name, field, LONGEST_NAME[type(row)], wrong))
    one = next((name for name in _names_of(row) if name), "")
    for field in fields:
        if row.pk is None and given[field] is None:
            setattr(row, field, one)
        if not getattr(row, field):
            wrong[field] = _("This is needed.")


def _take_place(row: Row, slug: str | None, position: int | None, wrong: dict[str, str]) -> None:
    if row.pk is None:
        row.slug = _new_slug(row, slug, wrong)
    elif slug not in (None, row.slug):
        wrong["slug"] = _("The slug “%(slug)s” is in addresses already and stays as it is.") % {
            "slug": row.slug
        }
    if position is None:
        return
    if not 0 <= position <= HIGHEST_POSITION:
        wrong["position"] = _("%(value)s is outside 0 to %(most)s.") % {
            "value": position,
            "most": HIGHEST_POSITION,
        }
    row.position = position


def _new_slug(row: Row, slug: str | None, wrong: dict[str, str]) -> str:
    name = row.name if isinstance(row, Tool) else row.name_en
    made = slugify(slug if slug is not None else name)[:LONGEST_SLUG].strip("-")
    if slug is not None and made != slug:
        wrong["slug"] = _(
            "“%(slug)s” is no slug: small letters, digits and hyphens, at most %(most)s."
        ) % {"slug": slug[:LONGEST_SLUG], "most": LONGEST_SLUG}
    elif not made and not wrong:
        wrong["slug"] = _("No slug can be made of “%(name)s”; give one.") % {"name": name}
    elif made and type(row).objects.filter(slug=made).exists():
        wrong["slug"] = _taken(made)
    return made


def _taken(slug: str) -> str:
    return _("“%(slug)s” exists already; change that one, or give another slug.") % {"slug": slug}


def _tell_search(row: Row, was_called: tuple[str, ...]) -> None:
    """Prompts are found by the names of what they belong to."""
    if was_called != _names_of(row):
        for prompt in row.prompts.order_by("-updated")[:MOST_REINDEXED]:
            reindex(prompt)


def _write(row: Row) -> None:
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError as error:  # somebody was quicker with the same slug
        message = _taken(row.slug)
        raise Invalid(message, fields={"slug": message}) from error


def _line(text: str, field: str, limit: int, wrong: dict[str, str]) -> str:
    text = clean_line(text)
    if len(text) > limit:
        wrong[field] = _("%(count)s characters; at most %(limit)s fit. Shorten it by %(over)s.") % {
            "count": len(text),
            "limit": limit,
            "over": len(text) - limit,
        }
    return text


def _check_open_url(address: str, wrong: dict[str, str]) -> None:
    """A link people click: only the web, never a script."""
    if address and not (address.startswith("https://") and PLACE in address):
        wrong["open_url"] = _(
            "“%(value)s” cannot take a prompt; write it like https://example.com/?q={prompt}."
        ) % {"value": address[:80]}
