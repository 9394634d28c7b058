"""Every address of the product."""

from __future__ import annotations

from django.urls import include, path
from django.views.generic import RedirectView

from kb.admin import site
from kb.views import (
    browse,
    connections,
    editor,
    health,
    home,
    mine,
    monitor_setup,
    monitors,
    notifications,
    people_pages,
    preferences,
    prompts,
    retrospectives,
    runs,
    settings,
    style,
    versions,
    voices,
    wishes,
)

urlpatterns = [
    path("", home.home, name="home"),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("language/", preferences.set_language, name="set-language"),
    path("theme/", preferences.set_theme, name="set-theme"),
    # Sign-in, settings, notifications, people, style
    # Addresses are what people sign in with; administrators set them, not allauth's own page.
    path("accounts/email/", RedirectView.as_view(pattern_name="profile"), name="own-address"),
    path("accounts/", include("allauth.account.urls")),
    path("admin/", site.urls),
    path("settings/", settings.profile, name="profile"),
    path("settings/tokens/", settings.tokens, name="tokens"),
    path("settings/tokens/<int:pk>/revoke/", settings.revoke_token, name="token-revoke"),
    path("notifications/", notifications.notifications, name="notifications"),
    path("notifications/read/", notifications.read, name="notifications-read"),
    path("notifications/choices/", notifications.choices, name="notifications-choices"),
    path("notifications/<int:pk>/", notifications.notification, name="notification"),
    path("unsubscribe/<str:token>/", notifications.unsubscribe, name="unsubscribe"),
    path("people/", people_pages.people, name="people"),
    path("people/new/", people_pages.new, name="person-new"),
    path("people/<int:pk>/", people_pages.person, name="person"),
    path("people/<int:pk>/active/", people_pages.active, name="person-active"),
    path("people/<int:pk>/access/", people_pages.access, name="person-access"),
    path("departments/", people_pages.departments, name="departments"),
    path("departments/<int:pk>/", people_pages.department, name="department"),
    path("style/", style.style, name="style"),
    # Writing prompts and their versions
    path("prompts/new/", editor.new, name="prompt-new"),
    path("prompts/new/near/", editor.near, name="prompt-near"),
    path("prompts/detect/", editor.detect, name="prompt-detect"),
    path("prompts/preview/", editor.preview, name="prompt-preview"),
    path("prompts/<slug:slug>/edit/", editor.edit, name="prompt-edit"),
    path("prompts/<slug:slug>/versions/", versions.versions, name="prompt-versions"),
    path("prompts/<slug:slug>/versions/<int:number>/", versions.version, name="prompt-version"),
    path(
        "prompts/<slug:slug>/versions/<int:number>/restore/",
        versions.restore,
        name="prompt-restore",
    ),
    path("prompts/<slug:slug>/diff/", versions.difference, name="prompt-diff"),
    # Reports, wishes, mine
    path("retrospectives/", retrospectives.retrospectives, name="retrospectives"),
    path("retrospectives/new/", retrospectives.new, name="retrospective-new"),
    path("retrospectives/<int:pk>/", retrospectives.retrospective, name="retrospective"),
    path("retrospectives/<int:pk>/edit/", retrospectives.edit, name="retrospective-edit"),
    path("retrospectives/<int:pk>/add/", retrospectives.add, name="retrospective-add"),
    path("retrospectives/<int:pk>/link/", retrospectives.link, name="retrospective-link"),
    path(
        "retrospectives/<int:pk>/follow-up/",
        retrospectives.follow_up_new,
        name="retrospective-follow-up",
    ),
    path("follow-ups/<int:pk>/", retrospectives.follow_up, name="follow-up"),
    path("wanted/", wishes.wishes, name="wishes"),
    path("wanted/new/", wishes.new, name="wish-new"),
    path("wanted/<int:pk>/support/", wishes.support, name="wish-support"),
    path("wanted/<int:pk>/answer/", wishes.answer, name="wish-answer"),
    path("mine/", mine.mine, name="mine"),
    # Drift and connections
    path("prompts/<slug:slug>/monitors/new/", monitor_setup.new, name="monitor-new"),
    path("drift/", monitors.monitors, name="monitors"),
    path("drift/<int:pk>/", monitors.monitor, name="monitor"),
    path("drift/<int:pk>/edit/", monitor_setup.edit, name="monitor-edit"),
    path("drift/<int:pk>/baseline/", monitors.baseline, name="monitor-baseline"),
    path("drift/<int:pk>/run/", monitors.run_now, name="monitor-run"),
    path("drift/<int:pk>/accept/", monitors.accept, name="monitor-accept"),
    path("drift/<int:pk>/pause/", monitors.pause, name="monitor-pause"),
    path("drift/<int:pk>/delete/", monitors.delete, name="monitor-delete"),
    path("drift/runs/<int:pk>/", runs.run, name="run"),
    path("drift/runs/<int:pk>/cancel/", runs.cancel, name="run-cancel"),
    path("connections/", connections.connections, name="connections"),
    path("connections/new/", connections.connection_new, name="connection-new"),
    path("connections/<int:pk>/", connections.connection, name="connection"),
    path("connections/<int:pk>/edit/", connections.connection_edit, name="connection-edit"),
    path("connections/<int:pk>/switch/", connections.connection_switch, name="connection-switch"),
    path("connections/<int:pk>/delete/", connections.connection_delete, name="connection-delete"),
    path("connections/<int:pk>/target/", connections.connection_target, name="connection-target"),
    path("connections/<int:pk>/prices/", connections.connection_prices, name="connection-prices"),
    path("connections/<int:pk>/models/", connections.connection_models, name="connection-models"),
    path("connections/<int:pk>/try/", connections.connection_try, name="connection-try"),
    # Programs
    path("api/v1/", include("api.urls")),
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
