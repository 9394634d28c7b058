"""Prompts, their immutable versions and write-ups, and the facets they are found by."""

from __future__ import annotations

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from accounts.bilingual import BilingualName
from accounts.models import Department

TITLE_LENGTH = 160
SUMMARY_LENGTH = 300
TEXT_LENGTH = 200_000
"""Characters. The longest real prompt we know has 144,260."""
WRITE_UP_SECTION_LENGTH = 20_000
CHANGE_NOTE_LENGTH = 300


class Tool(models.Model):
    """A product a person types into: ChatGPT, Le Chat, Midjourney."""

    class Kind(models.TextChoices):
        TEXT = "text", _("Text")
        IMAGE = "image", _("Images")
        CODE = "code", _("Code")
        AUDIO = "audio", _("Audio")
        VIDEO = "video", _("Video")

    slug = models.SlugField(max_length=80, unique=True)
    name = models.CharField(_("name"), max_length=80)
    kind = models.CharField(_("kind"), max_length=10, choices=Kind, default=Kind.TEXT)
    open_url = models.CharField(
        _("address that takes a prompt"),
        max_length=200,
        blank=True,
        help_text=_("With {prompt} where the text goes; empty when the tool takes none."),
    )
    position = models.PositiveSmallIntegerField(default=0)
    is_retired = models.BooleanField(_("retired"), default=False)

    class Meta:
        ordering = ("position", "name")

    def __str__(self) -> str:
        return self.name


class UseCase(BilingualName):
    """What people want to get done: summarise, draft a reply, review a contract. Curated."""

    help_en = models.CharField(max_length=200, blank=True)
    help_fr = models.CharField(max_length=200, blank=True)
    position = models.PositiveSmallIntegerField(default=0)

    class Meta:
        ordering = ("position", "slug")


class Tag(models.Model):
    """A free word put on prompts. A synonym points to the tag it stands for."""

    slug = models.SlugField(max_length=60, unique=True, allow_unicode=True)
    name = models.CharField(max_length=60)
    synonym_of = models.ForeignKey(
        "self", models.CASCADE, null=True, blank=True, related_name="synonyms"
    )

    class Meta:
        ordering = ("slug",)
        constraints = [
            models.CheckConstraint(
                condition=models.Q(synonym_of=None) | ~models.Q(synonym_of=models.F("pk")),
                name="a_tag_is_not_its_own_synonym",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Prompt(models.Model):
    """A named prompt with its story: the family of its versions."""

    class Status(models.TextChoices):
        DRAFT = "draft", _("Draft")
        PUBLISHED = "published", _("Published")
        ARCHIVED = "archived", _("Archived")

    class Visibility(models.TextChoices):
        COMPANY = "company", _("The whole company")
        DEPARTMENTS = "departments", _("Its departments only")
        PRIVATE = "private", _("Only me")

    slug = models.SlugField(max_length=100, unique=True)
    title = models.CharField(max_length=TITLE_LENGTH)
    summary = models.CharField(max_length=SUMMARY_LENGTH, blank=True)
    language = models.CharField(max_length=8, default="fr")
    status = models.CharField(max_length=10, choices=Status, default=Status.DRAFT)
    visibility = models.CharField(max_length=12, choices=Visibility, default=Visibility.COMPANY)
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="prompts"
    )
    departments = models.ManyToManyField(Department, blank=True, related_name="prompts")
    tools = models.ManyToManyField(Tool, blank=True, related_name="prompts")
    use_cases = models.ManyToManyField(UseCase, blank=True, related_name="prompts")
    tags = models.ManyToManyField(Tag, blank=True, related_name="prompts")
    current = models.ForeignKey(
        "PromptVersion", models.PROTECT, null=True, blank=True, related_name="+"
    )
    write_up = models.ForeignKey("WriteUp", models.PROTECT, null=True, blank=True, related_name="+")
    audience = ArrayField(models.CharField(max_length=40), default=list)
    """Who may read it, as the tokens of accounts.standing; kept by kb.prompts.actions."""
    edition = models.PositiveIntegerField(default=1)
    """Grows with every accepted edit; an edit based on an older one is a conflict."""
    origin = models.CharField(max_length=200, blank=True)
    origin_hash = models.CharField(max_length=64, blank=True)
    created = models.DateTimeField(db_default=Now())
    updated = models.DateTimeField(db_default=Now())
    published = models.DateTimeField(null=True, blank=True)
    archived = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [
            GinIndex(fields=["audience"], name="prompt_audience"),
            models.Index(fields=["status", "-published", "-id"], name="prompt_newest"),
            models.Index(fields=["author", "-updated"], name="prompt_of_author"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["origin_hash"],
                condition=~models.Q(origin_hash=""),
                name="imported_once",
            ),
            models.CheckConstraint(
                condition=models.Q(status="draft") | models.Q(published__isnull=False),
                name="published_prompts_have_a_date",
            ),
        ]

    def __str__(self) -> str:
        return self.title


class PromptVersion(models.Model):
    """Immutable snapshot of what is sent to a model. A trigger refuses changes to it."""

    prompt = models.ForeignKey(Prompt, models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    text = models.TextField()
    system = models.TextField(blank=True)
    variables = models.JSONField(default=list)
    """List of kb.prompts.template.Variable as dicts."""
    parameters = models.JSONField(default=dict)
    change_note = models.CharField(max_length=CHANGE_NOTE_LENGTH, blank=True)
    restored_from = models.PositiveIntegerField(null=True, blank=True)
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+"
    )
    created = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("-number",)
        constraints = [
            models.UniqueConstraint(fields=["prompt", "number"], name="version_numbers_are_unique"),
        ]

    def __str__(self) -> str:
        return f"{self.prompt_id} v{self.number}"


class WriteUp(models.Model):
    """One revision of the Markdown story of a prompt, with its rendered and sanitised HTML."""

    prompt = models.ForeignKey(Prompt, models.CASCADE, related_name="write_ups")
    number = models.PositiveIntegerField()
    purpose = models.TextField(blank=True)
    worked = models.TextField(blank=True)
    failed = models.TextField(blank=True)
    limits = models.TextField(blank=True)
    html = models.JSONField(default=dict)
    """Section name to safe HTML, written once by kb.core.markdown."""
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+"
    )
    created = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("-number",)
        constraints = [
            models.UniqueConstraint(
                fields=["prompt", "number"], name="write_up_numbers_are_unique"
            ),
        ]

    def __str__(self) -> str:
        return f"write-up {self.number} of {self.prompt_id}"


class Verification(models.Model):
    """A curator tried a version and vouches for it on a tool or model, on a day."""

    version = models.ForeignKey(PromptVersion, models.CASCADE, related_name="verifications")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    tool = models.ForeignKey(Tool, models.SET_NULL, null=True, blank=True, related_name="+")
    model = models.CharField(max_length=80, blank=True)
    note = models.CharField(max_length=300, blank=True)
    created = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("-created", "-pk")

    def __str__(self) -> str:
        return f"{self.version_id} verified {self.created:%Y-%m-%d}"


class Watch(models.Model):
    """A person who wants to hear of changes, reports and drift of a prompt."""

    prompt = models.ForeignKey(Prompt, models.CASCADE, related_name="watches")
    person = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="watches")
    created = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["prompt", "person"], name="one_watch_each"),
        ]

    def __str__(self) -> str:
        return f"{self.person_id} watches {self.prompt_id}"


class RememberedValues(models.Model):
    """What a person last filled into the variables of a prompt."""

    prompt = models.ForeignKey(Prompt, models.CASCADE, related_name="+")
    person = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    values = models.JSONField(default=dict)
    updated = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["prompt", "person"], name="one_memory_each"),
        ]

    def __str__(self) -> str:
        return f"values of {self.person_id} for {self.prompt_id}"
