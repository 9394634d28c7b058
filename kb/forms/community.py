"""What people enter about their uses and wishes: reports, follow-ups, links, addenda, wishes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, cast

from django import forms
from django.conf import settings
from django.db.models import Q
from django.utils import timezone
from django.utils.datastructures import MultiValueDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.bilingual import BilingualName
from accounts.models import Department, User
from kb.community import queries
from kb.community.actions import MOST_MINUTES, FollowUpFields, ReportFields
from kb.community.models import (
    LESSON_LENGTH,
    NOTE_LENGTH,
    FollowUp,
    Retrospective,
    RetrospectiveLink,
)
from kb.community.reports import FACETS, ReportQuery
from kb.core.errors import DomainError
from kb.core.words import clean_line, clean_text
from kb.prompts.models import TEXT_LENGTH, TITLE_LENGTH, Prompt, PromptVersion, Tool, UseCase
from kb.prompts.queries import is_readable
from kb.prompts.queries import visible_to as prompts_visible_to
from kb.search.query import LONGEST_QUERY

NO_PROMPT = "none"
"""The version of a report on a prompt that is not in the knowledge base."""
OTHER = "other"
"""The use case or tool that is not in the catalogue."""
FOLLOW_UP_ROWS = (1, 2, 3)
"""Lines for follow-ups in the form; more are added on the page of the report."""
LONGEST_VALUE = 80
LONGEST_SLUG = 100
MOST_VALUES = 20
WISH_LENGTH = 2_000
_REPORT_ADDRESS = re.compile(r"/retrospectives/([0-9]{1,18})")
_PROMPT_ADDRESS = re.compile(r"/prompts/([-\w]+)")
_FAMILIARITY = [
    ("", "–"),
    ("1", gettext_lazy("1 · new to me")),
    ("2", "2"),
    ("3", gettext_lazy("3 · now and then")),
    ("4", "4"),
    ("5", gettext_lazy("5 · I do it all the time")),
]


class LineField(forms.CharField):
    """A short text on one line, cleaned as the domain keeps it, so that its length is the same."""

    def to_python(self, value: Any) -> str:
        return clean_line(str(value or ""))


class LongTextField(forms.CharField):
    """A long text, cleaned as the domain keeps it."""

    widget = forms.Textarea(attrs={"rows": 3})

    def to_python(self, value: Any) -> str:
        return clean_text(str(value or "")).strip()


class Pills(forms.RadioSelect):
    """A few choices side by side."""

    template_name = "community/_pills.html"


class ManyPills(forms.CheckboxSelectMultiple):
    """A few things side by side, of which several may be true."""

    template_name = "community/_pills.html"


class Outcomes(forms.RadioSelect):
    """The five outcomes of a use, all of one size."""

    template_name = "community/_outcomes.html"


def optional(choices: Sequence[tuple[Any, Any]], label: Any, **more: Any) -> forms.ChoiceField:
    """A choice one may leave open, and leave open again."""
    return forms.ChoiceField(label=label, choices=[("", "–"), *choices], required=False, **more)


def optional_number(
    choices: Sequence[tuple[Any, Any]], label: Any, **more: Any
) -> forms.TypedChoiceField:
    """The same for a choice that is a number."""
    return forms.TypedChoiceField(
        label=label, choices=choices, coerce=int, empty_value=None, required=False, **more
    )


def minutes_field(label: Any, **more: Any) -> forms.IntegerField:
    """Whole minutes."""
    return forms.IntegerField(label=label, min_value=0, max_value=MOST_MINUTES, **more)


class ReportForm(forms.Form):
    """A retrospective. Eight answers are asked for, the rest is offered.

    Field names are those of ReportFields. `offered` are the prompts whose versions can be chosen;
    any version the person may read is accepted.
    """

    # One screen
    title = LineField(
        label=gettext_lazy("What you used AI for"),
        help_text=gettext_lazy("One line a colleague would understand."),
        max_length=TITLE_LENGTH,
    )
    use_case = forms.ChoiceField(label=gettext_lazy("Use case"))
    version = forms.CharField(label=gettext_lazy("Prompt you used"), widget=forms.Select)
    tool = forms.ChoiceField(label=gettext_lazy("Tool"))
    model = LineField(
        label=gettext_lazy("Model"),
        max_length=80,
        required=False,
        widget=forms.TextInput(attrs={"list": "models-used", "autocomplete": "off"}),
    )
    outcome = forms.ChoiceField(
        label=gettext_lazy("How it ended"),
        choices=Retrospective.Outcome.choices,
        widget=Outcomes,
    )
    minutes_checking = minutes_field(
        gettext_lazy("Minutes spent checking and fixing"),
        help_text=gettext_lazy("A good guess is fine; 0 if you used it unread."),
    )
    quality = forms.ChoiceField(
        label=gettext_lazy("Quality, against the usual"),
        choices=Retrospective.Quality.choices,
        widget=Pills,
    )
    lesson = LineField(
        label=gettext_lazy("The lesson, in one sentence"),
        help_text=gettext_lazy("What would you tell a colleague who tries this tomorrow?"),
        max_length=LESSON_LENGTH,
        widget=forms.Textarea(attrs={"rows": 2}),
    )
    pasted_text = LongTextField(
        label=gettext_lazy("The prompt, as you typed it"),
        help_text=gettext_lazy("Leave out names and anything confidential."),
        max_length=TEXT_LENGTH,
        required=False,
    )
    is_anonymous = forms.ChoiceField(label=gettext_lazy("Show as"), required=False, widget=Pills)
    seen = forms.CharField(required=False, widget=forms.HiddenInput)
    """When the report was last changed as its author saw it; empty for never."""
    # Context
    language = forms.ChoiceField(label=gettext_lazy("Language of the report"))
    department = forms.ChoiceField(label=gettext_lazy("Department"), required=False)
    task_date = forms.DateField(
        label=gettext_lazy("Day of the task"),
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
    )
    stakes = optional(Retrospective.Stakes.choices, gettext_lazy("What was at stake"))
    task_familiarity = optional_number(_FAMILIARITY, gettext_lazy("How well you know the task"))
    tool_familiarity = optional_number(_FAMILIARITY, gettext_lazy("How well you know the tool"))
    data_class = optional(
        Retrospective.DataClass.choices, gettext_lazy("What you gave the tool to read")
    )
    expectation = LineField(
        label=gettext_lazy("What you expected, in one sentence"), max_length=300, required=False
    )
    # Facts
    kept_share = optional_number(
        [("", "–"), *Retrospective.KeptShare.choices],
        gettext_lazy("How much of the answer you kept"),
    )
    counterfactual = optional(
        Retrospective.Counterfactual.choices,
        gettext_lazy("Without AI, it would have been"),
    )
    minutes_preparing = minutes_field(
        gettext_lazy("Minutes preparing and prompting"), required=False
    )
    minutes_waiting = minutes_field(gettext_lazy("Minutes waiting"), required=False)
    minutes_without = minutes_field(gettext_lazy("Minutes it takes without AI"), required=False)
    minutes_basis = optional(Retrospective.MinutesBasis.choices, gettext_lazy("How you know that"))
    is_parallel_work = forms.BooleanField(
        label=gettext_lazy("I did other work meanwhile"), required=False
    )
    attempts = forms.IntegerField(
        label=gettext_lazy("Attempts"), min_value=1, max_value=1000, required=False
    )
    items = forms.IntegerField(
        label=gettext_lazy("Things handled"),
        help_text=gettext_lazy("Mails, invoices, pages…"),
        min_value=1,
        max_value=1_000_000,
        required=False,
    )
    checked = optional(Retrospective.Checked.choices, gettext_lazy("How you checked the answer"))
    incidents = forms.MultipleChoiceField(
        label=gettext_lazy("What went wrong"),
        choices=Retrospective.IncidentKind.choices,
        required=False,
        widget=ManyPills,
    )
    incident_severity = optional(Retrospective.Severity.choices, gettext_lazy("How bad it was"))
    is_incident_caught = forms.TypedChoiceField(
        label=gettext_lazy("When it was noticed"),
        choices=[
            ("", "–"),
            ("1", gettext_lazy("Before the answer was used")),
            ("0", gettext_lazy("Only afterwards")),
        ],
        coerce=lambda value: value == "1",
        empty_value=None,
        required=False,
    )
    evidence = LongTextField(
        label=gettext_lazy("An excerpt that shows it"),
        help_text=gettext_lazy("Leave out names and anything confidential. Markdown works here."),
        max_length=NOTE_LENGTH,
        required=False,
    )
    # Analysis
    why_different = LongTextField(
        label=gettext_lazy("Why it went differently from what you expected"),
        max_length=NOTE_LENGTH,
        required=False,
    )
    worked = LongTextField(
        label=gettext_lazy("What worked"), max_length=NOTE_LENGTH, required=False
    )
    failed = LongTextField(
        label=gettext_lazy("What did not work"), max_length=NOTE_LENGTH, required=False
    )
    lucky = LongTextField(
        label=gettext_lazy("Where you were lucky"), max_length=NOTE_LENGTH, required=False
    )
    would_reuse = optional(Retrospective.Reuse.choices, gettext_lazy("Using it again"))
    reuse_note = LineField(
        label=gettext_lazy("With which changes, or for what"), max_length=300, required=False
    )
    advice = LongTextField(
        label=gettext_lazy("Your advice"), max_length=NOTE_LENGTH, required=False
    )
    when_not = LongTextField(
        label=gettext_lazy("When not to use it"), max_length=NOTE_LENGTH, required=False
    )

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        *,
        person: User,
        offered: Sequence[Prompt],
        department: Department | None,
        tools: Sequence[Tool],
        use_cases: Sequence[UseCase],
        corrected: Retrospective | None = None,
        **more: Any,
    ) -> None:
        """`department` is the one of the profile.

        A correction insists on nothing that was left open, keeps its version even when the prompt is
        not open to the author any more, and leaves follow-ups to the page of the report.
        """
        super().__init__(data, **more)
        self.person = person
        self.kept_version = corrected.version if corrected else None
        self._rows: dict[str, Mapping[str, BilingualName | Tool]] = {}
        if data is None:
            self.fields["title"].widget.attrs["autofocus"] = True
        self._let_choose("use_case", use_cases, _("Something else"))
        self._let_choose("tool", tools, _("Another tool"))
        self._let_choose("department", list(Department.objects.all()), "")
        cast("forms.Select", self.fields["version"].widget).choices = _version_choices(
            offered, self.kept_version
        )
        self._choices("language", _languages(self.initial.get("language")))
        self._choices("is_anonymous", _names_shown(person, department))
        if corrected is not None:
            for name in ("use_case", "version", "tool", "minutes_checking", "quality"):
                self.fields[name].required = False
        _ask_kindly(self)
        self.follow_up_rows = FOLLOW_UP_ROWS if corrected is None else ()
        for number in self.follow_up_rows:
            self.fields |= follow_up_fields(f"todo_{number}_")

    def _let_choose(self, name: str, rows: Sequence[BilingualName | Tool], other: str) -> None:
        self._rows[name] = {row.slug: row for row in rows}
        choices = [(row.slug, str(row)) for row in rows]
        last = [(OTHER, other)] if other else []
        first = ("", _("Choose…")) if other else ("", "–")
        self._choices(name, [first, *choices, *last])

    def _choices(self, name: str, choices: Sequence[tuple[Any, Any]]) -> None:
        cast("forms.ChoiceField", self.fields[name]).choices = choices

    def clean_version(self) -> PromptVersion | None:
        chosen = self.cleaned_data["version"]
        if chosen in ("", NO_PROMPT):
            return None
        if self.kept_version is not None and chosen == str(self.kept_version.pk):
            return self.kept_version
        version = _readable_version(self.person, chosen)
        if version is None:
            raise forms.ValidationError(_("This prompt is not open to you any more. Choose again."))
        return version

    def clean_use_case(self) -> UseCase | None:
        return cast("UseCase | None", self._row("use_case"))

    def clean_tool(self) -> Tool | None:
        return cast("Tool | None", self._row("tool"))

    def clean_department(self) -> Department | None:
        return cast("Department | None", self._row("department"))

    def _row(self, name: str) -> Any:
        return self._rows[name].get(self.cleaned_data[name])

    def clean_is_anonymous(self) -> bool:
        return bool(self.cleaned_data["is_anonymous"] == "1")

    def clean_task_date(self) -> Any:
        day = self.cleaned_data["task_date"]
        if day is not None and day > timezone.localdate():
            raise forms.ValidationError(_("This day is still to come."))
        return day

    def clean(self) -> dict[str, Any]:
        found = super().clean() or self.cleaned_data
        for number in self.follow_up_rows:
            _check_follow_up(self, f"todo_{number}_", found.get("version"))
        return found

    def to_fields(self) -> ReportFields:
        """The answers, as the domain takes them."""
        answers = {name: self.cleaned_data[name] for name in (f.name for f in fields(ReportFields))}
        if answers["version"] is not None:
            answers["pasted_text"] = ""
        return ReportFields(**answers)

    def to_follow_ups(self) -> list[FollowUpFields]:
        """The lines with a text."""
        found = (to_follow_up(self, f"todo_{number}_") for number in self.follow_up_rows)
        return [follow_up for follow_up in found if follow_up.text]

    # --- for the page

    @property
    def lesson_left(self) -> int:
        """Characters that still fit into the lesson."""
        return max(0, LESSON_LENGTH - len(clean_line(str(self["lesson"].value() or ""))))

    def has_mistake_in(self, names: Iterable[str]) -> bool:
        return any(name in self.errors for name in names)

    @property
    def context_is_open(self) -> bool:
        return self.has_mistake_in(
            ("language", "department", "task_date", "stakes", "task_familiarity",
             "tool_familiarity", "data_class", "expectation")
        )  # fmt: skip

    @property
    def facts_are_open(self) -> bool:
        return self.has_mistake_in(
            ("kept_share", "counterfactual", "minutes_preparing", "minutes_waiting",
             "minutes_without", "minutes_basis", "is_parallel_work", "attempts", "items",
             "checked", "incidents", "incident_severity", "is_incident_caught", "evidence")
        )  # fmt: skip

    @property
    def analysis_is_open(self) -> bool:
        return self.has_mistake_in(
            ("why_different", "worked", "failed", "lucky", "would_reuse", "reuse_note", "advice",
             "when_not")
        )  # fmt: skip

    @property
    def follow_ups_are_open(self) -> bool:
        return any(name.startswith("todo_") for name in self.errors)

    @property
    def follow_up_lines(self) -> list[list[forms.BoundField]]:
        """The fields of each line for a follow-up."""
        parts = ("text", "owner", "due", "kind")
        return [[self[f"todo_{n}_{part}"] for part in parts] for n in self.follow_up_rows]


def follow_up_fields(prefix: str = "") -> dict[str, forms.Field]:
    """The fields of one follow-up; a line without a text is none."""
    return {
        f"{prefix}text": LineField(
            label=gettext_lazy("What should be done"), max_length=300, required=False
        ),
        f"{prefix}owner": LineField(
            label=gettext_lazy("By whom"),
            max_length=254,
            required=False,
            widget=forms.TextInput(attrs={"list": "colleagues", "autocomplete": "off"}),
        ),
        f"{prefix}due": forms.DateField(
            label=gettext_lazy("By when"),
            required=False,
            widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        ),
        f"{prefix}kind": forms.ChoiceField(
            label=gettext_lazy("Kind"), choices=FollowUp.Kind.choices, required=False
        ),
    }


def to_follow_up(form: forms.Form, prefix: str = "") -> FollowUpFields:
    """One line as the domain takes it; its text may be empty."""
    return FollowUpFields(
        text=form.cleaned_data[f"{prefix}text"],
        owner=form.cleaned_data[f"{prefix}owner"] or None,
        due=form.cleaned_data[f"{prefix}due"],
        kind=form.cleaned_data[f"{prefix}kind"] or FollowUp.Kind.PROMPT_CHANGE.value,
    )


def _check_follow_up(form: forms.Form, prefix: str, version: PromptVersion | None) -> None:
    """Put the person in the place of the owner's name, or say what is wrong with the line."""
    asked = form.cleaned_data
    name = asked.get(f"{prefix}owner", "")
    if not asked.get(f"{prefix}text") and (name or asked.get(f"{prefix}due")):
        form.add_error(f"{prefix}text", _("Say what should be done, or empty this line."))
    if not name:
        return
    people = list(
        User.objects.filter(Q(email__iexact=name) | Q(name__iexact=name), is_active=True)[:2]
    )
    if not people:
        message = _(
            "Nobody here is called “%(name)s”. Choose from the list, or type an e-mail address."
        )
        form.add_error(f"{prefix}owner", message % {"name": name})
    elif len(people) > 1:
        message = _("More than one person is called “%(name)s”. Type the e-mail address.")
        form.add_error(f"{prefix}owner", message % {"name": name})
    elif version is not None and not is_readable(version.prompt, people[0]):
        message = _("%(name)s cannot read this prompt, so choose somebody else.")
        form.add_error(f"{prefix}owner", message % {"name": people[0]})
    else:
        asked[f"{prefix}owner"] = people[0]


class FollowUpForm(forms.Form):
    """One more thing to do because of a report."""

    def __init__(self, data: Mapping[str, Any] | None, report: Retrospective) -> None:
        super().__init__(data, auto_id="follow-up-%s")
        self.fields |= follow_up_fields()
        self.fields["text"].required = True
        self.report = report

    def clean(self) -> dict[str, Any]:
        _check_follow_up(self, "", self.report.version)
        return self.cleaned_data


class AddendumForm(forms.Form):
    """A dated word added to one's report."""

    text = LongTextField(
        label=gettext_lazy("What there is to add"),
        help_text=gettext_lazy("It is shown with today's date. Markdown works here."),
        max_length=NOTE_LENGTH,
    )


class LinkForm(forms.Form):
    """What a report says of another report or of a prompt."""

    kind = forms.ChoiceField(
        label=gettext_lazy("This report"), choices=RetrospectiveLink.Kind.choices
    )
    target = LineField(
        label=gettext_lazy("Report or prompt"),
        help_text=gettext_lazy("Its title, or the address of its page."),
        max_length=500,
        widget=forms.TextInput(attrs={"list": "link-targets", "autocomplete": "off"}),
    )

    def __init__(self, data: Mapping[str, Any] | None, report: Retrospective, person: User) -> None:
        super().__init__(data, auto_id="link-%s")
        self.report = report
        self.person = person

    def clean_target(self) -> Retrospective | Prompt:
        text = self.cleaned_data["target"]
        found = self._named(text)
        if not found:
            raise forms.ValidationError(
                _("There is no report or prompt “%(text)s” here. Paste the address of its page.")
                % {"text": text}
            )
        if len(found) > 1:
            raise forms.ValidationError(
                _("More than one has the title “%(text)s”. Paste the address of its page.")
                % {"text": text}
            )
        return found[0]

    def _named(self, text: str) -> list[Retrospective | Prompt]:
        reports = queries.reports_visible_to(self.person).exclude(pk=self.report.pk)
        prompts = prompts_visible_to(self.person)
        if address := _REPORT_ADDRESS.search(text):
            return [*reports.filter(pk=int(address[1]))]
        if address := _PROMPT_ADDRESS.search(text):
            return [*prompts.filter(slug=address[1])]
        return [*reports.filter(title__iexact=text)[:2], *prompts.filter(title__iexact=text)[:2]]


class WishForm(forms.Form):
    """A prompt somebody is looking for."""

    title = LineField(
        label=gettext_lazy("What you are looking for"),
        help_text=gettext_lazy("For example: explain a clause to a project manager."),
        max_length=TITLE_LENGTH,
    )
    text = LongTextField(
        label=gettext_lazy("What it is for"),
        help_text=gettext_lazy("The task, how often it comes up, and how you do it today."),
        max_length=WISH_LENGTH,
        required=False,
        widget=forms.Textarea(attrs={"rows": 4}),
    )
    department = forms.ChoiceField(label=gettext_lazy("Department"), required=False)
    language = forms.ChoiceField(label=gettext_lazy("Language of your wish"))

    def __init__(self, data: Mapping[str, Any] | None = None, **more: Any) -> None:
        super().__init__(data, **more)
        self._departments = {row.slug: row for row in Department.objects.all()}
        choices = [(slug, str(row)) for slug, row in self._departments.items()]
        cast("forms.ChoiceField", self.fields["department"]).choices = [("", "–"), *choices]
        cast("forms.ChoiceField", self.fields["language"]).choices = _languages(None)
        _ask_kindly(self)

    def clean_department(self) -> Department | None:
        return self._departments.get(self.cleaned_data["department"])


def to_report_query(asked: MultiValueDict[str, str]) -> ReportQuery:
    """What a list of reports is asked for in its address. Nothing is an error."""

    def line(name: str, longest: int) -> str:
        return clean_line(asked.get(name, ""))[:longest]

    def chosen(name: str) -> list[str]:
        values = (clean_line(value)[:LONGEST_VALUE] for value in asked.getlist(name))
        return [value for value in dict.fromkeys(values) if value][:MOST_VALUES]

    return ReportQuery(
        words=line("q", LONGEST_QUERY),
        facets={name: chosen(name) for name in FACETS},
        prompt=line("prompt", LONGEST_SLUG),
        is_mine=asked.get("author") == "me",
    )


def blame(form: forms.Form, error: DomainError) -> None:
    """Put what the domain refused beside the fields it names, else above the form."""
    for name, message in error.fields.items():
        form.add_error(name if name in form.fields else None, str(message))
    if not error.fields:
        form.add_error(None, str(error))


def _ask_kindly(form: forms.Form) -> None:
    for field in form.fields.values():
        field.error_messages["required"] = _("This answer is needed.")


def _readable_version(person: User, chosen: str) -> PromptVersion | None:
    if not chosen.isdecimal() or len(chosen) > 18:
        return None
    rows = PromptVersion.objects.select_related("prompt")
    return rows.filter(pk=int(chosen), prompt__in=prompts_visible_to(person)).first()


def _version_choices(
    offered: Sequence[Prompt], kept: PromptVersion | None
) -> list[tuple[Any, Any]]:
    groups: list[tuple[Any, Any]] = [
        (
            prompt.title,
            [
                (str(version.pk), _version_label(prompt, version))
                for version in prompt.versions.all()
            ],
        )
        for prompt in offered
    ]
    if kept is not None and kept.prompt_id not in [prompt.pk for prompt in offered]:
        words = _("the one you reported on, version %(number)s") % {"number": kept.number}
        groups.insert(0, (str(kept.pk), words))
    return [("", _("Choose…")), *groups, (NO_PROMPT, _("No stored prompt: I wrote my own"))]


def _version_label(prompt: Prompt, version: PromptVersion) -> str:
    words = {"title": prompt.title, "number": version.number}
    if version.pk == prompt.current_id:
        return _("%(title)s · version %(number)s, the newest") % words
    return _("%(title)s · version %(number)s") % words


def _languages(known: str | None) -> list[tuple[str, str]]:
    languages = dict(settings.LANGUAGES)
    return list((languages | ({known: known} if known and known not in languages else {})).items())


def _names_shown(person: User, department: Department | None) -> list[tuple[str, str]]:
    if department is None:
        return [("0", str(person)), ("1", _("a colleague, without my name"))]
    return [
        ("0", str(person)),
        ("1", _("a colleague in %(department)s") % {"department": department}),
    ]
