"""The operators' window: everything can be looked up, the catalogue can be edited, history cannot.

What has rules of its own (people, prompts, runs, keys) changes through the pages and the API, where
the rules are. Visibility is that of the pages: an administrator does not read other people's drafts.
"""

from __future__ import annotations

from typing import Any

from allauth.account.models import EmailAddress
from django.contrib.admin import AdminSite, ModelAdmin, TabularInline
from django.contrib.admin.models import LogEntry
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache

from accounts.models import ApiToken, AuditEntry, Department, Membership, User
from accounts.rules import can_manage_people
from kb.community import queries as community
from kb.community.models import Retrospective, Wish
from kb.drift import queries as drift
from kb.drift.models import Baseline, DriftReport, Monitor, Run
from kb.llm.models import Connection, Price, Target
from kb.prompts import actions as prompt_actions
from kb.prompts import queries as prompts
from kb.prompts.models import Prompt, PromptVersion, Tag, Tool, UseCase, Verification


class Site(AdminSite):
    """Open to administrators of the company, who sign in where everybody does."""

    site_header = _("Retex administration")
    site_title = _("Retex administration")
    index_title = _("Look things up")
    enable_nav_sidebar = False

    def has_permission(self, request: HttpRequest) -> bool:
        return isinstance(request.user, User) and can_manage_people(request.user)

    # Sign-in by another door would be a door without lock-out.
    @method_decorator(never_cache)
    @method_decorator(login_not_required)
    def login(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        if self.has_permission(request):
            return redirect("admin:index")
        if request.user.is_authenticated:
            raise PermissionDenied
        return redirect_to_login(
            request.GET.get("next", reverse("admin:index")), reverse("account_login")
        )

    def password_change(  # type: ignore[override]
        self, request: HttpRequest, extra_context: Any = None
    ) -> HttpResponse:
        return redirect("account_change_password")


class Readable(ModelAdmin):  # type: ignore[type-arg]
    """Rows to look up; nothing here changes them."""

    show_full_result_count = False
    list_per_page = 50

    def has_module_permission(self, request: HttpRequest) -> bool:
        return site.has_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return site.has_permission(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class Editable(Readable):
    """Rows of the catalogue: added and changed here; retired rather than deleted."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return site.has_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return site.has_permission(request)


class Facet(Editable):
    """Names by which prompts are found: the search learns a new one at once."""

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        for prompt in obj.prompts.all():
            prompt_actions.reindex(prompt)


# --- People ----------------------------------------------------------------------------------


class Roles(TabularInline):  # type: ignore[type-arg]
    model = Membership
    extra = 0
    can_delete = False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return site.has_permission(request)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class People(Readable):
    list_display = ("email", "name", "language", "is_active", "last_login", "created")
    list_filter = ("is_active", "language")
    search_fields = ("email", "name")
    fields = (
        "email", "name", "language", "time_zone", "is_active", "is_superuser", "last_login", "created",
    )  # fmt: skip
    inlines = (Roles,)


class Departments(Readable):
    list_display = ("slug", "name_en", "name_fr", "position")


class Tokens(Readable):
    list_display = (
        "name",
        "person",
        "hint",
        "scopes",
        "created",
        "last_used",
        "expires",
        "revoked",
    )
    list_select_related = ("person",)
    search_fields = ("name", "hint", "person__email")
    fields = ("person", "name", "hint", "scopes", "created", "last_used", "expires", "revoked")


class Audit(Readable):
    list_display = ("at", "actor_label", "action", "target")
    list_filter = ("action",)
    search_fields = ("actor_label", "target", "action")
    fields = ("at", "actor_label", "action", "target", "details")


class Addresses(Readable):
    list_display = ("email", "user", "verified", "primary")
    list_select_related = ("user",)
    search_fields = ("email",)


class Edits(Readable):
    list_display = ("action_time", "user", "content_type", "object_repr", "action_flag")
    list_select_related = ("user", "content_type")


# --- Prompts ---------------------------------------------------------------------------------


class Prompts(Readable):
    list_display = ("slug", "title", "status", "visibility", "language", "author", "updated")
    list_filter = ("status", "visibility", "language", "departments")
    list_select_related = ("author",)
    search_fields = ("slug", "title", "author__email")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return prompts.visible_to(request.user).order_by("-updated", "-pk")


class Versions(Readable):
    list_display = ("prompt", "number", "author", "created", "change_note")
    list_select_related = ("prompt", "author")
    search_fields = ("prompt__slug", "prompt__title")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        readable = prompts.visible_to(request.user)
        return super().get_queryset(request).filter(prompt__in=readable).order_by("-created", "-pk")


class Verifications(Readable):
    list_display = ("version", "by", "created")
    list_select_related = ("version__prompt", "by")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        readable = prompts.visible_to(request.user)
        return super().get_queryset(request).filter(version__prompt__in=readable)


class Tools(Facet):
    list_display = ("name", "slug", "kind", "position", "is_retired")
    list_filter = ("kind", "is_retired")
    search_fields = ("name", "slug")
    prepopulated_fields = {"slug": ("name",)}


class UseCases(Facet):
    list_display = ("slug", "name_en", "name_fr", "position")
    search_fields = ("slug", "name_en", "name_fr")
    prepopulated_fields = {"slug": ("name_en",)}


class Tags(Facet):
    list_display = ("name", "slug", "synonym_of")
    list_select_related = ("synonym_of",)
    search_fields = ("name", "slug")
    raw_id_fields = ("synonym_of",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Without the words that only other people's drafts and private prompts bear."""
        readable = prompts.visible_to(request.user)
        tags: QuerySet[Any] = super().get_queryset(request)
        return tags.filter(Q(prompts__in=readable) | Q(prompts=None)).distinct()


# --- What people say -------------------------------------------------------------------------


class Retrospectives(Readable):
    list_display = ("title", "outcome", "department", "tool", "language", "created")
    list_filter = ("outcome", "department", "language")
    list_select_related = ("department", "tool")
    search_fields = ("title", "lesson")
    exclude = ("author",)  # some are told as 'a colleague in …', here as well

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return community.reports_visible_to(_person(request))


class Wishes(Readable):
    list_display = ("title", "department", "language", "created")
    list_select_related = ("department",)
    search_fields = ("title",)


# --- Drift and models ------------------------------------------------------------------------


class Monitors(Readable):
    list_display = ("pk", "prompt", "target", "schedule", "status", "status_since", "is_enabled", "halt", "next_slot")  # fmt: skip
    list_filter = ("status", "is_enabled", "halt")
    list_select_related = ("prompt", "target__connection")
    search_fields = ("prompt__slug", "prompt__title")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return drift.visible_to(_person(request)).order_by("-pk")


class _OfMonitor(Readable):
    path = "monitor"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        readable = drift.visible_to(_person(request)).values("pk")
        rows: QuerySet[Any] = super().get_queryset(request).filter(**{f"{self.path}__in": readable})
        return rows.order_by("-pk")


class Runs(_OfMonitor):
    list_display = ("pk", "monitor", "kind", "slot", "status", "reason", "started", "finished")
    list_filter = ("kind", "status")
    list_select_related = ("monitor",)


class Baselines(_OfMonitor):
    list_display = ("pk", "monitor", "accepted", "accepted_by", "created")
    list_select_related = ("monitor", "accepted_by")


class Reports(_OfMonitor):
    path = "run__monitor"
    list_display = ("pk", "run", "verdict")
    list_filter = ("verdict",)
    list_select_related = ("run",)


class Connections(Readable):
    list_display = ("name", "provider", "base_url", "key_hint", "key_host", "is_enabled")
    exclude = ("sealed_key",)


class Targets(Readable):
    list_display = ("model", "connection", "parameters", "created")
    list_select_related = ("connection",)


class Prices(Readable):
    list_display = ("model", "connection", "input_per_million", "output_per_million", "currency")
    list_select_related = ("connection",)


def _person(request: HttpRequest) -> User:
    if not isinstance(request.user, User):
        raise PermissionDenied
    return request.user


site = Site(name="admin")
for model, window in (
    (User, People),
    (Department, Departments),
    (ApiToken, Tokens),
    (AuditEntry, Audit),
    (EmailAddress, Addresses),
    (LogEntry, Edits),
    (Prompt, Prompts),
    (PromptVersion, Versions),
    (Verification, Verifications),
    (Tool, Tools),
    (UseCase, UseCases),
    (Tag, Tags),
    (Retrospective, Retrospectives),
    (Wish, Wishes),
    (Monitor, Monitors),
    (Run, Runs),
    (Baseline, Baselines),
    (DriftReport, Reports),
    (Connection, Connections),
    (Target, Targets),
    (Price, Prices),
):
    site.register(model, window)
