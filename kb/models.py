"""Every table of the knowledge base, gathered for Django.

The definitions live with their feature; this file only lists them, so that Django finds one app
with one migration history. Inside kb, import a model from its feature.
"""

from kb.community.models import (
    Addendum,
    Comment,
    FollowUp,
    Retrospective,
    RetrospectiveLink,
    UsageSignal,
    Vote,
    Wish,
    WishSupport,
)
from kb.core.models import IdempotentAnswer
from kb.drift.grader_models import Anchor, AnchorLook, AnchorVote, Grader, RememberedVote
from kb.drift.models import (
    Baseline,
    Completion,
    DriftReport,
    Incident,
    Monitor,
    Run,
    TestCase,
)
from kb.drift.trial_models import Trial, TrialAnswer
from kb.finding.models import MeaningModel, SavedSearch
from kb.llm.models import (
    Cap,
    Connection,
    Expense,
    KnownModel,
    Price,
    Reservation,
    Retirement,
    Tally,
    Target,
)
from kb.notifications.models import MailChoice, Notification
from kb.prompts.models import (
    Prompt,
    PromptVersion,
    RememberedValues,
    Tag,
    Tool,
    UseCase,
    Verification,
    Watch,
    WriteUp,
)
from kb.search.models import (
    SearchChange,
    SearchCount,
    SearchEntry,
    SearchMeaning,
    SearchMiss,
    SearchState,
    SearchWord,
)

__all__ = [
    "Addendum",
    "Anchor",
    "AnchorLook",
    "AnchorVote",
    "Baseline",
    "Cap",
    "Comment",
    "Completion",
    "Connection",
    "DriftReport",
    "Expense",
    "FollowUp",
    "Grader",
    "IdempotentAnswer",
    "Incident",
    "KnownModel",
    "MailChoice",
    "MeaningModel",
    "Monitor",
    "Notification",
    "Price",
    "Prompt",
    "PromptVersion",
    "RememberedValues",
    "RememberedVote",
    "Reservation",
    "Retirement",
    "Retrospective",
    "RetrospectiveLink",
    "Run",
    "SavedSearch",
    "SearchChange",
    "SearchCount",
    "SearchEntry",
    "SearchMeaning",
    "SearchMiss",
    "SearchState",
    "SearchWord",
    "Tag",
    "Tally",
    "Target",
    "TestCase",
    "Tool",
    "Trial",
    "TrialAnswer",
    "UsageSignal",
    "UseCase",
    "Verification",
    "Vote",
    "Watch",
    "Wish",
    "WishSupport",
    "WriteUp",
]
