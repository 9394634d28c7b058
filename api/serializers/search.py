"""Finding, as JSON both ways."""

from __future__ import annotations

from typing import Any, ClassVar, get_args

from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

from accounts.models import Department
from api.serializers.fields import Choice, Flag, Language, Many, Moment, Sent, Slugs, Text
from kb.community.models import Retrospective
from kb.prompts.models import Prompt, Tool, UseCase
from kb.search.engine import KINDS, SORTS, Kind
from kb.search.keys import EVIDENCE
from kb.search.query import LONGEST_QUERY

KINDS_SUGGESTED = (*KINDS, "tag", "tool", "department")


class SearchAsked(Sent):
    """What is looked for: words and fields in `q`, filters beside it."""

    q = Text(required=False, allow_blank=True, most=200)
    kind = Choice(
        list(get_args(Kind)), name="SearchKind", required=False, help_text="prompt without it."
    )
    department = Slugs(Department, required=False)
    tool = Slugs(Tool, required=False)
    use_case = Slugs(UseCase, required=False)
    tag = Many(child=Text(), required=False)
    language = Many(child=Language(), required=False)
    status = Many(
        child=Choice(
            [*Prompt.Status.values, "drifted", "suspect", "stable", "learning"],
            name="PromptStatusFilter",
        ),
        required=False,
        help_text="Of prompts; published unless told otherwise.",
    )
    outcome = Many(
        child=Choice(Retrospective.Outcome), required=False, help_text="Of retrospectives."
    )
    evidence = Many(
        child=Choice(EVIDENCE, name="EvidenceFilter"), required=False, help_text="Of prompts."
    )
    exact = Flag(
        required=False, default=False, help_text="No word is corrected, none may be missing."
    )
    sort = Choice(list(SORTS), name="PromptOrdering", required=False)

    default_error_messages: ClassVar[dict[str, Any]] = {
        "other_kind": _("This filter is for {kind}s; ask with kind={kind}."),
    }

    def validate(self, attrs: Any) -> Any:
        others = {
            "prompt": ({"outcome": "retrospective"}),
            "retrospective": ({"status": "prompt", "evidence": "prompt"}),
        }
        wrong = {
            name: [str(self.error_messages["other_kind"]).format(kind=needed)]
            for name, needed in others.get(attrs.get("kind", "prompt"), {}).items()
            if attrs.get(name)
        }
        if wrong:
            raise serializers.ValidationError(wrong)
        return attrs


class HitShown(serializers.Serializer[Any]):
    """One thing found."""

    kind = Choice(list(KINDS), name="ResultKind")
    slug = serializers.CharField(help_text="Of a prompt; the id of a retrospective.")
    title = serializers.CharField()
    excerpt = serializers.CharField(help_text="A passage with the words looked for, as plain text.")
    matches = serializers.ListField(
        child=serializers.CharField(), help_text="The words of title and excerpt that matched."
    )
    language = serializers.CharField()
    dated = Moment()
    is_near = serializers.BooleanField(
        help_text="It has not the words looked for, but a meaning near to them."
    )
    url = serializers.URLField()


class CountShown(serializers.Serializer[Any]):
    """A value of a facet, and how many results choosing it would show."""

    value = serializers.CharField()
    count = serializers.IntegerField()


class FacetsShown(serializers.Serializer[Any]):
    """Counts of the values of each facet; a facet's own choice does not narrow its own counts."""

    departments = CountShown(many=True)
    tools = CountShown(many=True)
    use_cases = CountShown(many=True)
    tags = CountShown(many=True)
    languages = CountShown(many=True)
    statuses = CountShown(many=True)
    drifts = CountShown(many=True)
    evidence = CountShown(many=True)


class KindsShown(serializers.Serializer[Any]):
    """How many results the same search has of each kind."""

    prompt = serializers.IntegerField()
    retrospective = serializers.IntegerField()


class UnderstoodShown(serializers.Serializer[Any]):
    """One thing the search was understood to ask for."""

    field = serializers.CharField(help_text="words, phrase, or the name of a field of q.")
    values = serializers.ListField(child=serializers.CharField(), help_text="Any of them will do.")
    is_excluded = serializers.BooleanField(help_text="None of the values may occur.")


class CorrectionShown(serializers.Serializer[Any]):
    """A word nobody has used, and the word that was looked for instead."""

    asked = serializers.CharField()
    used = serializers.CharField()


class SuggestAsked(Sent):
    """What has been typed so far."""

    q = Text(most=LONGEST_QUERY)


class SuggestionShown(serializers.Serializer[Any]):
    """Something that may be meant."""

    kind = Choice(list(KINDS_SUGGESTED), name="SuggestionKind")
    value = serializers.CharField(help_text="The slug; the id of a retrospective.")
    label = serializers.CharField()  # type: ignore[assignment]
    url = serializers.URLField(help_text="Its page, or the page of prompts that have it.")


class SuggestionsShown(serializers.Serializer[Any]):
    """At most eight suggestions; none below two letters."""

    results = SuggestionShown(many=True)
