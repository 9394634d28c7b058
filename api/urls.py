"""Every address of the API, below /api/v1/."""

from __future__ import annotations

from django.urls import include, path

from api.views import (
    catalogue,
    connections,
    docs,
    graders,
    meaning,
    monitors,
    people,
    prompts,
    retrospectives,
    search,
    trials,
    voices,
    wishes,
)

endpoints = [
    path("", docs.Root.as_view(), name="root"),
    path("schema/", docs.Schema.as_view(), name="schema"),
    path("me/", people.Me.as_view(), name="me"),
    path("notifications/", people.Notifications.as_view(), name="notifications"),
    path("notifications/read/", people.NotificationsRead.as_view(), name="notifications-read"),
    path("search/", search.Search.as_view(), name="search"),
    path("suggest/", search.Suggest.as_view(), name="suggest"),
    # Prompts
    path("prompts/", prompts.Prompts.as_view(), name="prompts"),
    path("prompts/<slug:slug>/", prompts.OnePrompt.as_view(), name="prompt"),
    path("prompts/<slug:slug>/versions/", prompts.Versions.as_view(), name="versions"),
    path(
        "prompts/<slug:slug>/versions/<int:number>/", prompts.OneVersion.as_view(), name="version"
    ),
    path(
        "prompts/<slug:slug>/versions/<int:number>/restore/",
        prompts.Restore.as_view(),
        name="restore",
    ),
    path("prompts/<slug:slug>/render/", prompts.Render.as_view(), name="render"),
    path("prompts/<slug:slug>/watch/", prompts.Watching.as_view(), name="watch"),
    path("prompts/<slug:slug>/vote/", voices.Vote.as_view(), name="vote"),
    path("prompts/<slug:slug>/signals/", voices.Signals.as_view(), name="signals"),
    path("prompts/<slug:slug>/comments/", voices.Comments.as_view(), name="comments"),
    path("comments/<int:pk>/", voices.OneComment.as_view(), name="comment"),
    # Retrospectives and wishes
    path("retrospectives/", retrospectives.Retrospectives.as_view(), name="retrospectives"),
    path(
        "retrospectives/<int:pk>/",
        retrospectives.OneRetrospective.as_view(),
        name="retrospective",
    ),
    path("retrospectives/<int:pk>/addenda/", retrospectives.Addenda.as_view(), name="addenda"),
    path(
        "retrospectives/<int:pk>/follow-ups/",
        retrospectives.FollowUps.as_view(),
        name="follow-ups",
    ),
    path("retrospectives/<int:pk>/links/", retrospectives.Links.as_view(), name="links"),
    path("follow-ups/<int:pk>/", retrospectives.OneFollowUp.as_view(), name="follow-up"),
    path("wishes/", wishes.Wishes.as_view(), name="wishes"),
    path("wishes/<int:pk>/", wishes.OneWish.as_view(), name="wish"),
    path("wishes/<int:pk>/support/", wishes.Support.as_view(), name="wish-support"),
    path("wishes/<int:pk>/answer/", wishes.Answer.as_view(), name="wish-answer"),
    # Catalogue
    path("departments/", catalogue.Departments.as_view(), name="departments"),
    path("departments/<slug:slug>/", catalogue.OneDepartment.as_view(), name="department"),
    path("tools/", catalogue.Tools.as_view(), name="tools"),
    path("tools/<slug:slug>/", catalogue.OneTool.as_view(), name="tool"),
    path("use-cases/", catalogue.UseCases.as_view(), name="use-cases"),
    path("use-cases/<slug:slug>/", catalogue.OneUseCase.as_view(), name="use-case"),
    path("tags/", catalogue.Tags.as_view(), name="tags"),
    # Drift
    path("monitors/", monitors.Monitors.as_view(), name="monitors"),
    path("monitors/targets/", monitors.MonitorTargets.as_view(), name="monitor-targets"),
    path("monitors/<int:pk>/", monitors.OneMonitor.as_view(), name="monitor"),
    path("monitors/<int:pk>/baseline/", monitors.RecordBaseline.as_view(), name="baseline"),
    path("monitors/<int:pk>/run/", monitors.RunNow.as_view(), name="run-now"),
    path("monitors/<int:pk>/accept/", monitors.Accept.as_view(), name="accept"),
    path("monitors/<int:pk>/runs/", monitors.Runs.as_view(), name="runs"),
    path("runs/<int:pk>/", monitors.OneRun.as_view(), name="run"),
    path("runs/<int:pk>/cancel/", monitors.CancelRun.as_view(), name="run-cancel"),
    # Trials
    path("prompts/<slug:slug>/trials/", trials.Trials.as_view(), name="trials"),
    path("trials/<int:pk>/", trials.OneTrial.as_view(), name="trial"),
    # Connections
    path("connections/", connections.Connections.as_view(), name="connections"),
    path("connections/<int:pk>/", connections.OneConnection.as_view(), name="connection"),
    path("connections/<int:pk>/models/", connections.Models.as_view(), name="models"),
    path("connections/<int:pk>/prices/", connections.Prices.as_view(), name="prices"),
    path("graders/", graders.Graders.as_view(), name="graders"),
    path("graders/judge/accept/", graders.AcceptJudge.as_view(), name="judge-accept"),
    path("graders/<slug:role>/", graders.OneGrader.as_view(), name="grader"),
    path("semantic-search/", meaning.SemanticSearch.as_view(), name="semantic-search"),
    path("targets/", connections.Targets.as_view(), name="targets"),
    path("targets/<int:pk>/", connections.OneTarget.as_view(), name="target"),
    path("<path:rest>", docs.Nothing.as_view(), name="nothing"),
]

urlpatterns = [
    path("docs/", docs.Docs.as_view(), name="api-docs"),  # linked by pages, hence its plain name
    path("", include((endpoints, "api"))),
]
