"""Every address of the product."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from kb.views import browse, health, home, preferences, prompts, voices

urlpatterns = [
    path("", home.home, name="home"),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("language/", preferences.set_language, name="set-language"),
    path("theme/", preferences.set_theme, name="set-theme"),
    path("accounts/", include("allauth.account.urls")),
    path("admin/", admin.site.urls),
    # Prompts
    path("prompts/", browse.prompts, name="prompts"),
    path("prompts/<slug:slug>/", prompts.prompt, name="prompt"),
    path("prompts/<slug:slug>/fill/", prompts.fill, name="prompt-fill"),
    path("prompts/<slug:slug>/watch/", prompts.watch, name="prompt-watch"),
    path("prompts/<slug:slug>/publish/", prompts.publish, name="prompt-publish"),
    path("prompts/<slug:slug>/archive/", prompts.archive, name="prompt-archive"),
    path("prompts/<slug:slug>/verify/", prompts.verify, name="prompt-verify"),
    path("prompts/<slug:slug>/vote/", voices.vote, name="prompt-vote"),
    path("prompts/<slug:slug>/signal/", voices.signal, name="prompt-signal"),
    path("prompts/<slug:slug>/comment/", voices.comment, name="prompt-comment"),
    path("comments/<int:pk>/withdraw/", voices.withdraw_comment, name="comment-withdraw"),
]

handler400 = "kb.views.errors.bad_request"
handler403 = "kb.views.errors.permission_denied"
handler404 = "kb.views.errors.page_not_found"
handler500 = "kb.views.errors.server_error"
