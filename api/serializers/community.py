"""Votes, signals, comments, retrospectives and wishes, as JSON both ways."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import TextChoices
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.models import Department, User
from api.serializers.fields import (
    Choice,
    Day,
    Flag,
    Language,
    Many,
    Moment,
    PersonShown,
    Sent,
    Slug,
    Slugs,
    Text,
    Whole,
)
from api.serializers.prompts import EvidenceShown
from kb.community.actions import MOST_FOLLOW_UPS, MOST_MINUTES
from kb.community.models import (
    COMMENT_LENGTH,
    LESSON_LENGTH,
    NOTE_LENGTH,
    FollowUp,
    Retrospective,
    RetrospectiveLink,
    UsageSignal,
)
from kb.community.reports import links_from
from kb.community.rules import can_edit_report
from kb.core.errors import NotFound
from kb.prompts.models import TEXT_LENGTH, TITLE_LENGTH, Prompt, Tool, UseCase
from kb.prompts.queries import by_slug, is_readable

_NO_PROMPT = _("There is no prompt “{value}” here.")


def _readable(serializer: Sent, slug: str) -> Prompt:
    try:
        return by_slug(serializer.context["person"], slug)
    except NotFound:
        serializer.fail("prompt", value=slug[:60])


class VoteShown(serializers.Serializer[Any]):
    """The recommendations of a prompt."""

    votes = serializers.IntegerField()
    voted = serializers.BooleanField(help_text="Whether yours is among them.")


class SignalSent(Sent):
    """How a use went, in one word."""

    outcome = Choice(UsageSignal.Outcome)
    version = Whole(low=1, required=False, allow_null=True, help_text="The current one without.")


class SignalShown(EvidenceShown):
    """How often a prompt worked, by its current version once anybody has used that."""

    all_versions = EvidenceShown()
    today = Choice(
        UsageSignal.Outcome,
        allow_null=True,
        help_text="What you said today of the current version.",
    )


class CommentSent(Sent):
    """A remark, or with `parent` an answer to one."""

    text = Text(most=COMMENT_LENGTH)
    parent = Whole(low=1, required=False, allow_null=True)  # type: ignore[assignment]

    def shown_as(self) -> type[serializers.Serializer[Any]]:
        return CommentShown


class CommentChanged(Sent):
    """The new words of a remark."""

    text = Text(most=COMMENT_LENGTH)

    def shown_as(self) -> type[serializers.Serializer[Any]]:
        return CommentShown


class CommentShown(serializers.Serializer[Any]):
    """A remark. A withdrawn one keeps its place without words while answers stand under it."""

    id = serializers.IntegerField()
    parent = serializers.IntegerField(  # type: ignore[assignment]
        source="parent_id", allow_null=True
    )
    author = PersonShown(allow_null=True)
    text = serializers.CharField(help_text="Markdown.")
    created = Moment()
    edited = Moment(allow_null=True)
    withdrawn = Moment(allow_null=True)


class FollowUpSent(Sent):
    """Something to do because of a report."""

    text = Text(most=300)
    kind = Choice(FollowUp.Kind, required=False)
    owner = Text(required=False, allow_null=True, help_text="The e-mail address of a colleague.")
    due = Day(required=False, allow_null=True)
    state = Choice(FollowUp.State, required=False)

    default_error_messages: ClassVar[dict[str, Any]] = {
        "owner": _("Nobody here has the address “{value}”.")
    }

    def validate_owner(self, value: str | None) -> User | None:
        if value is None:
            return None
        person = User.objects.filter(email=value.strip().lower(), is_active=True).first()
        if person is None:
            self.fail("owner", value=value[:60])
        return person


class FollowUpState(Sent):
    """How far a follow-up is."""

    state = Choice(FollowUp.State)


class FollowUpShown(serializers.Serializer[Any]):
    """Something to do because of a report."""

    id = serializers.IntegerField()
    text = serializers.CharField()
    kind = Choice(FollowUp.Kind)
    state = Choice(FollowUp.State)
    owner = PersonShown(allow_null=True)
    due = Day(allow_null=True)
    created = Moment()


class AddendumSent(Sent):
    """A dated word added to one's report."""

    text = Text(most=NOTE_LENGTH)


class AddendumShown(serializers.Serializer[Any]):
    """A dated word added to a report."""

    id = serializers.IntegerField()
    text = serializers.CharField(help_text="Markdown.")
    created = Moment()


class LinkSent(Sent):
    """What a report says of another report (its id) or of a prompt (its slug)."""

    kind = Choice(RetrospectiveLink.Kind)
    report = Whole(low=1, required=False, allow_null=True)
    prompt = Text(required=False, allow_null=True, most=100)


class LinkShown(serializers.Serializer[Any]):
    """What a report says of another report or of a prompt."""

    kind = Choice(RetrospectiveLink.Kind)
    report = serializers.IntegerField(source="report_id", allow_null=True)
    prompt = serializers.SerializerMethodField(allow_null=True)

    def get_prompt(self, link: Any) -> str | None:
        return link.prompt.slug if link.prompt else None


def _choice(choices: type[TextChoices]) -> Choice:
    """A question that may be left unanswered."""
    return Choice(choices, required=False, allow_blank=True)


def _number(low: int, high: int) -> Whole:
    return Whole(low=low, high=high, required=False, allow_null=True)


def _minutes() -> Whole:
    return _number(0, MOST_MINUTES)


def _note(most: int = NOTE_LENGTH) -> Text:
    return Text(most=most, required=False, allow_blank=True)


class ReportSent(Sent):
    """A retrospective: what one real use was like. Three answers are needed, the rest is welcome."""

    title = Text(most=TITLE_LENGTH)
    lesson = Text(most=LESSON_LENGTH)
    outcome = Choice(Retrospective.Outcome)
    language = Language(required=False)
    is_anonymous = Flag(required=False)
    department = Slug(Department, required=False, allow_null=True)
    use_case = Slug(UseCase, required=False, allow_null=True)
    prompt = Text(required=False, allow_null=True, most=100, help_text="The slug of the prompt.")
    version = Whole(low=1, required=False, allow_null=True, help_text="The current one without.")
    pasted_text = _note(TEXT_LENGTH)
    tool = Slug(Tool, required=False, allow_null=True)
    model = _note(80)
    task_date = Day(required=False, allow_null=True)
    stakes = _choice(Retrospective.Stakes)
    task_familiarity = _number(1, 5)
    tool_familiarity = _number(1, 5)
    data_class = _choice(Retrospective.DataClass)
    expectation = _note(300)
    kept_share = _number(0, 100)
    counterfactual = _choice(Retrospective.Counterfactual)
    minutes_preparing = _minutes()
    minutes_waiting = _minutes()
    minutes_checking = _minutes()
    minutes_without = _minutes()
    minutes_basis = _choice(Retrospective.MinutesBasis)
    attempts = _number(1, 1000)
    items = _number(1, 1_000_000)
    is_parallel_work = Flag(required=False)
    quality = _choice(Retrospective.Quality)
    checked = _choice(Retrospective.Checked)
    incidents = Many(child=Choice(Retrospective.IncidentKind), required=False)
    incident_severity = _choice(Retrospective.Severity)
    is_incident_caught = Flag(required=False, allow_null=True)
    evidence = _note()
    why_different = _note()
    worked = _note()
    failed = _note()
    lucky = _note()
    would_reuse = _choice(Retrospective.Reuse)
    reuse_note = _note(300)
    advice = _note()
    when_not = _note()
    follow_ups = Many(
        child=FollowUpSent(), required=False, most=MOST_FOLLOW_UPS, help_text="Only when posting."
    )

    default_error_messages: ClassVar[dict[str, Any]] = {
        "prompt": _NO_PROMPT,
        "version": _("“{title}” has no version {value}; the last one is {last}."),
        "alone": _("A version belongs to a prompt; name the prompt as well."),
    }

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        own = super().get_fields()
        if self.partial:
            own.pop("follow_ups")
        return own

    def shown_as(self) -> type[serializers.Serializer[Any]]:
        return ReportShown

    def validate_prompt(self, slug: str | None) -> Any:
        return _readable(self, slug) if slug else None

    def validate(self, attrs: Any) -> Any:
        """Turn prompt and number into the version the report is about."""
        asked = attrs.keys() & {"prompt", "version"}
        prompt, number = attrs.pop("prompt", None), attrs.pop("version", None)
        if asked and prompt is None and "prompt" not in asked:
            prompt = self.context.get("prompt")
        if number is not None and prompt is None:
            raise serializers.ValidationError({"version": [str(self.error_messages["alone"])]})
        if asked:
            attrs["version"] = None if prompt is None else self._version(prompt, number)
        return attrs

    def _version(self, prompt: Any, number: int | None) -> Any:
        if number is None:
            return prompt.current
        found = prompt.versions.filter(number=number).first()
        if found is None:
            message = str(self.error_messages["version"]).format(
                title=prompt.title, value=number, last=prompt.current.number
            )
            raise serializers.ValidationError({"version": [message]})
        return found


class ReportRow(serializers.Serializer[Any]):
    """A retrospective in a list: everything but its long answers."""

    id = serializers.IntegerField()
    url = serializers.SerializerMethodField()
    title = serializers.CharField()
    lesson = serializers.CharField()
    outcome = Choice(Retrospective.Outcome)
    language = serializers.CharField()
    author = serializers.SerializerMethodField(
        allow_null=True, help_text="Null when written as a colleague without a name."
    )
    is_anonymous = serializers.BooleanField()
    is_mine = serializers.SerializerMethodField()
    can_edit = serializers.SerializerMethodField()
    department = Slug(Department, allow_null=True)
    use_case = Slug(UseCase, allow_null=True)
    prompt = serializers.SerializerMethodField(allow_null=True)
    version = serializers.SerializerMethodField(allow_null=True)
    tool = Slug(Tool, allow_null=True)
    model = serializers.CharField()
    task_date = Day()
    stakes = Choice(Retrospective.Stakes, allow_blank=True)
    task_familiarity = serializers.IntegerField(allow_null=True)
    tool_familiarity = serializers.IntegerField(allow_null=True)
    data_class = Choice(Retrospective.DataClass, allow_blank=True)
    expectation = serializers.CharField()
    kept_share = serializers.IntegerField(allow_null=True)
    counterfactual = Choice(Retrospective.Counterfactual, allow_blank=True)
    minutes_preparing = serializers.IntegerField(allow_null=True)
    minutes_waiting = serializers.IntegerField(allow_null=True)
    minutes_checking = serializers.IntegerField(allow_null=True)
    minutes_without = serializers.IntegerField(allow_null=True)
    minutes_basis = Choice(Retrospective.MinutesBasis, allow_blank=True)
    attempts = serializers.IntegerField(allow_null=True)
    items = serializers.IntegerField(allow_null=True)
    is_parallel_work = serializers.BooleanField()
    quality = Choice(Retrospective.Quality, allow_blank=True)
    checked = Choice(Retrospective.Checked, allow_blank=True)
    incidents = serializers.ListField(child=Choice(Retrospective.IncidentKind))
    incident_severity = Choice(Retrospective.Severity, allow_blank=True)
    is_incident_caught = serializers.BooleanField(allow_null=True)
    would_reuse = Choice(Retrospective.Reuse, allow_blank=True)
    reuse_note = serializers.CharField()
    created = Moment()
    edited = Moment(allow_null=True)

    @extend_schema_field(OpenApiTypes.URI)
    def get_url(self, report: Any) -> str:
        """The page of the report."""
        address: str = self.context["request"].build_absolute_uri(
            reverse("retrospective", args=[report.pk])
        )
        return address

    @extend_schema_field(PersonShown)
    def get_author(self, report: Any) -> Any:
        if report.author is None or (report.is_anonymous and not self.get_is_mine(report)):
            return None
        return PersonShown(report.author).data

    def get_is_mine(self, report: Any) -> bool:
        return bool(report.author_id == self.context["person"].pk)

    def get_can_edit(self, report: Any) -> bool:
        return can_edit_report(self.context["person"], report, self.context["now"])

    def get_prompt(self, report: Any) -> str | None:
        """Its slug, as long as you may read it."""
        prompt = report.version.prompt if report.version else None
        is_open = prompt is not None and is_readable(prompt, self.context["person"])
        return prompt.slug if prompt is not None and is_open else None

    def get_version(self, report: Any) -> int | None:
        return report.version.number if report.version else None


class ReportShown(ReportRow):
    """A retrospective with its long answers and what was added to it."""

    pasted_text = serializers.CharField()
    evidence = serializers.CharField()
    why_different = serializers.CharField()
    worked = serializers.CharField()
    failed = serializers.CharField()
    lucky = serializers.CharField()
    advice = serializers.CharField()
    when_not = serializers.CharField()
    follow_ups = FollowUpShown(many=True)
    addenda = AddendumShown(many=True)
    links = serializers.SerializerMethodField()

    @extend_schema_field(LinkShown(many=True))
    def get_links(self, report: Any) -> Any:
        """What it says of other reports and prompts, as far as you may read those."""
        return LinkShown(links_from(report, self.context["person"]), many=True).data


class ReportQuery(Sent):
    """Which reports. A filter that repeats, or has commas, takes any of its values."""

    q = Text(required=False, allow_blank=True, most=200)
    prompt = Text(required=False, most=100)
    outcome = Many(child=Choice(Retrospective.Outcome), required=False)
    department = Slugs(Department, required=False)
    tool = Slugs(Tool, required=False)
    use_case = Slugs(UseCase, required=False)
    author = Choice(["me"], name="ReportAuthor", required=False)

    default_error_messages: ClassVar[dict[str, Any]] = {"prompt": _NO_PROMPT}

    def validate_prompt(self, slug: str) -> str:
        return str(_readable(self, slug).slug)


class WishSent(Sent):
    """A prompt one looks for."""

    title = Text(most=TITLE_LENGTH)
    text = Text(required=False, allow_blank=True, most=2_000)
    language = Language(required=False)
    department = Slug(Department, required=False, allow_null=True)

    def shown_as(self) -> type[serializers.Serializer[Any]]:
        return WishShown


class WishShown(serializers.Serializer[Any]):
    """A prompt somebody looks for, or looked for and found."""

    id = serializers.IntegerField()
    title = serializers.CharField()
    text = serializers.CharField()
    language = serializers.CharField()
    department = Slug(Department, allow_null=True)
    author = PersonShown(allow_null=True)
    supports = serializers.IntegerField(source="support_count")
    supported = serializers.BooleanField(source="is_supported")
    answer = serializers.SerializerMethodField(allow_null=True)
    created = Moment()
    closed = Moment(allow_null=True)

    def get_answer(self, wish: Any) -> str | None:
        """The slug of the prompt that answers it, as far as you may read that."""
        is_open = wish.answer is not None and is_readable(wish.answer, self.context["person"])
        return wish.answer.slug if is_open else None


class WishQuery(Sent):
    """Which wishes."""

    state = Choice(["open", "answered"], name="WishState", required=False, default="open")


class WishAnswer(Sent):
    """The prompt that is what was asked for."""

    prompt = Text(most=100, help_text="Its slug.")

    default_error_messages: ClassVar[dict[str, Any]] = {"prompt": _NO_PROMPT}

    def validate_prompt(self, slug: str) -> Prompt:
        return _readable(self, slug)


class SupportShown(serializers.Serializer[Any]):
    """How many want the same."""

    supports = serializers.IntegerField()
    supported = serializers.BooleanField(help_text="Whether you do.")
