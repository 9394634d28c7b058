"""From a retrospective to the first test case of a monitor."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _

from accounts.models import User
from kb.community import queries as community
from kb.community.models import Retrospective
from kb.core.errors import NotFound
from kb.forms.drift import CaseDraft, Draft, RuleDraft
from kb.prompts import queries as prompts
from kb.prompts.models import Prompt, PromptVersion

LONGEST_NUMBER = 9
"""Digits of a number in an address; longer ones are of nothing."""
WORKED = (Retrospective.Outcome.WORKED, Retrospective.Outcome.WITH_EDITS)
"""Outcomes after which the excerpt of a report is taken for a good answer."""
SENSITIVE = (Retrospective.DataClass.CONFIDENTIAL, Retrospective.DataClass.PERSONAL)
"""Classes of data that do not belong into a test case, which is sent again and again."""


def report_on(person: User, prompt: Prompt, typed: str) -> Retrospective | None:
    """The report the person came from; None without one. Raises NotFound for one on another prompt."""
    number = _number_of(typed)
    if number is None:
        return None
    report = community.report_by_id(person, number)
    if report.version is None or report.version.prompt_id != prompt.pk:
        raise NotFound(
            _("Report %(pk)s is not about “%(title)s”.") % {"pk": number, "title": prompt.title}
        )
    return report


def version_to_watch(
    prompt: Prompt, report: Retrospective | None, typed: str
) -> PromptVersion | None:
    """The version a report is about or a form names, else the newest. Raises NotFound."""
    if report is not None:
        return report.version
    number = _number_of(typed)
    return prompt.current if number is None else prompts.version_of(prompt, number)


def begin_with_report(
    draft: Draft, report: Retrospective, person: User, version: PromptVersion
) -> dict[str, Any]:
    """Make the report the first and only case: its version, its good answer. Returns what to say of it.

    Reports keep no values; those the person filled in last are taken.
    """
    case = CaseDraft(name=report.title[:120], is_open=True)
    case.values = prompts.remembered_values(person, version.prompt)
    if Retrospective.IncidentKind.REFUSAL in report.incidents:
        case.rules = [RuleDraft("not-is-refusal")]
    was_good = report.outcome in WORKED
    if was_good and report.evidence:
        case.answer = report.evidence
        case.propose()
    draft.cases = [case]
    if version.pk != version.prompt.current_id:
        draft.version, draft.follows = str(version.number), "no"
    return {
        "report": report,
        "report_was_good": was_good,
        "is_sensitive": report.data_class in SENSITIVE,
    }


def _number_of(typed: str) -> int | None:
    is_number = typed.isascii() and typed.isdigit() and len(typed) <= LONGEST_NUMBER
    return int(typed) if is_number else None
