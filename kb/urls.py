"""Every address of the product."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from kb.views import browse, health, home, preferences, prompts, soon, voices

urlpatterns = [
    path("", home.home, name="home"),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("language/", preferences.set_language, name="set-language"),
    path("theme/", preferences.set_theme, name="set-theme"),
    path("accounts/", include("allauth.account.urls")),
    path("admin/", admin.site.urls),
    # Writing prompts (replace each soon.soon by its view)
    path("prompts/new/", soon.soon, name="prompt-new"),
    path("prompts/<slug:slug>/edit/", soon.soon, name="prompt-edit"),
    path("prompts/<slug:slug>/versions/", soon.soon, name="prompt-versions"),
    path("prompts/<slug:slug>/versions/<int:number>/", soon.soon, name="prompt-version"),
    path("prompts/<slug:slug>/versions/<int:number>/restore/", soon.soon, name="prompt-restore"),
    path("prompts/<slug:slug>/diff/", soon.soon, name="prompt-diff"),
    # Reports, wishes, mine
    path("retrospectives/", soon.soon, name="retrospectives"),
    path("retrospectives/new/", soon.soon, name="retrospective-new"),
    path("retrospectives/<int:pk>/", soon.soon, name="retrospective"),
    path("wanted/", soon.soon, name="wishes"),
    path("wanted/new/", soon.soon, name="wish-new"),
    path("mine/", soon.soon, name="mine"),
    # Drift and connections
    path("prompts/<slug:slug>/monitors/new/", soon.soon, name="monitor-new"),
    path("drift/", soon.soon, name="monitors"),
    path("drift/<int:pk>/", soon.soon, name="monitor"),
    path("drift/runs/<int:pk>/", soon.soon, name="run"),
    path("connections/", soon.soon, name="connections"),
    # People, settings, notifications, style
    path("settings/", soon.soon, name="profile"),
    path("notifications/", soon.soon, name="notifications"),
    path("unsubscribe/<str:token>/", soon.soon, name="unsubscribe"),
    path("people/", soon.soon, name="people"),
    path("style/", soon.soon, name="style"),
    # Programs
    path("api/v1/docs/", soon.soon, name="api-docs"),
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
