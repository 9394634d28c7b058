"""People, their departments and what they may do. Knows nothing of the knowledge base."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Lower, Now
from django.utils.translation import gettext_lazy as _

from accounts.bilingual import BilingualName


class Department(BilingualName):
    """A part of the company. Facet of prompts, and the scope of a role."""

    position = models.PositiveSmallIntegerField(default=0)

    class Meta:
        ordering = ("position", "slug")
        verbose_name = _("department")
        verbose_name_plural = _("departments")
        constraints = [
            models.UniqueConstraint(Lower(field), name=f"department_{field}_is_unique")
            for field in ("name_en", "name_fr")
        ]


class UserManager(BaseUserManager["User"]):
    """Makes people from an e-mail address; Django's own commands call these two."""

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:
        person = self.model(email=email.strip().lower(), **fields)
        person.set_password(password)
        person.save(using=self._db)
        return person

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> User:
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)


class User(AbstractBaseUser, PermissionsMixin):
    """A person who signs in with an e-mail address and a password."""

    class Language(models.TextChoices):
        FRENCH = "fr", "Français"
        ENGLISH = "en", "English"

    email = models.EmailField(_("e-mail address"), unique=True)
    name = models.CharField(_("name"), max_length=120)
    language = models.CharField(
        _("language"), max_length=2, choices=Language, default=Language.FRENCH
    )
    time_zone = models.CharField(_("time zone"), max_length=64, default="Europe/Paris")
    has_key_shortcuts = models.BooleanField(_("single-key shortcuts"), default=True)
    is_active = models.BooleanField(_("active"), default=True)
    is_staff = models.BooleanField(_("may open the administration site"), default=False)
    created = models.DateTimeField(db_default=Now())
    departments = models.ManyToManyField(Department, through="Membership", related_name="people")

    objects: ClassVar[UserManager] = UserManager()

    EMAIL_FIELD = "email"
    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = ["name"]

    class Meta:
        verbose_name = _("person")
        verbose_name_plural = _("people")
        constraints = [
            models.UniqueConstraint(Lower("email"), name="one_account_per_address"),
        ]

    def __str__(self) -> str:
        return self.name or self.email

    def get_full_name(self) -> str:
        return str(self)

    def get_short_name(self) -> str:
        return str(self).split(" ")[0]


class Membership(models.Model):
    """A role of a person, in one department or, without a department, in the whole company."""

    class Role(models.TextChoices):
        READER = "reader", _("Reader")
        AUTHOR = "author", _("Author")
        CURATOR = "curator", _("Curator")
        ADMIN = "admin", _("Administrator")

    person = models.ForeignKey(User, models.CASCADE, related_name="memberships")
    department = models.ForeignKey(
        Department, models.CASCADE, null=True, blank=True, related_name="memberships"
    )
    role = models.CharField(max_length=10, choices=Role, default=Role.READER)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["person", "department"],
                name="one_role_per_person_and_department",
                nulls_distinct=False,
            ),
        ]

    def __str__(self) -> str:
        return f"{self.person_id}: {self.role} in {self.department_id or 'company'}"


class ApiToken(models.Model):
    """A bearer token of a person. Only its SHA-256 is kept; the token is shown once."""

    class Scope(models.TextChoices):
        READ = "read", _("read")
        WRITE = "write", _("write")
        ADMIN = "admin", _("administer")

    person = models.ForeignKey(User, models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=80)
    hint = models.CharField(max_length=12)
    digest = models.CharField(max_length=64, unique=True)
    scopes = ArrayField(models.CharField(max_length=10, choices=Scope))
    created = models.DateTimeField(db_default=Now())
    last_used = models.DateTimeField(null=True, blank=True)
    expires = models.DateTimeField(null=True, blank=True)
    revoked = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.name} ({self.hint}…)"


class AuditEntry(models.Model):
    """One security-relevant act, append-only (a trigger refuses changes), never with a secret value."""

    at = models.DateTimeField(db_default=Now(), db_index=True)
    actor = models.ForeignKey(User, models.SET_NULL, null=True, blank=True, related_name="+")
    actor_label = models.CharField(max_length=254)
    action = models.CharField(max_length=60)
    target = models.CharField(max_length=200)
    details = models.JSONField(default=dict)

    class Meta:
        ordering = ("-at", "-pk")

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M} {self.actor_label} {self.action} {self.target}"
