"""The living catalogue: every component in every state, drawn from the very pieces the pages use."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from accounts.models import User
from kb.community.evidence import Worked
from kb.community.models import Comment, Retrospective
from kb.community.queries import Thread
from kb.core.markdown import render as render_markdown
from kb.drift.queries import Night, State
from kb.forms.style import SampleForm
from kb.prompts.diff import fold, word_diff
from kb.prompts.queries import Card, Facet
from kb.prompts.template import Variable
from kb.views.charts import pass_rate_chart
from kb.views.shelf import Shelved

TOKENS = (
    "paper", "surface", "sunken", "line", "line-strong", "ink", "ink-soft",
    "accent", "accent-strong", "accent-soft", "on-accent", "good", "good-soft", "warn", "warn-soft", "bad", "bad-soft",
    "hole", "hole-ink",
)  # fmt: skip
"""Colours of retex.css; style.css has a swatch for each."""
ICONS = (
    "brand", "search", "plus", "bell", "check", "cross", "edits", "copy", "open", "up", "comment", "eye",
    "clock", "history", "report", "alert", "pulse", "verified", "menu", "globe", "moon", "user", "filter",
    "trash", "download", "play", "pause", "key", "lock", "print", "star", "archive", "settings", "exit",
    "info", "partly", "lab", "link", "next", "back",
)  # fmt: skip
_NIGHTS = (
    0.95, 1.0, 0.95, 1.0, 0.9, 0.9, 1.0, None, 1.0, 0.95, 1.0, 1.0, 0.6, 0.55, 0.65, 0.6,
)  # fmt: skip
_KEPT = "Keep the words of the contract, do not give advice, and say so when a clause is missing or cannot be read."
_BEFORE = f"Summarise the contract in five points. {_KEPT}"
_AFTER = f"Summarise the contract in six points. {_KEPT} Name who may give notice."


@require_safe
def style(request: HttpRequest) -> HttpResponse:
    """One page, sample values, no row of the database."""
    now = timezone.now()
    page = Paginator(range(240), 20).page(6)
    context = {
        "tokens": TOKENS,
        "icons": ICONS,
        "schemes": [("light", _("Light")), ("dark", _("Dark"))],
        "form": SampleForm(initial={"title": "NDA", "number": 3}, auto_id="sample_%s"),
        "mistaken": SampleForm({"title": "", "number": "-2", "choice": "a"}, auto_id="mistaken_%s"),
        "evidences": _evidences(),
        "drift_states": ["drifted", "suspect", "stable", "learning"],
        "outcomes": Retrospective.Outcome.values,
        "rows": _rows(now),
        "reports": _reports(now),
        "pieces": _pieces(),
        "story": _story(),
        "diff": fold(word_diff(_BEFORE, _AFTER).pieces, context_words=4),
        "thread": _thread(now),
        "page": page,
        "page_numbers": page.paginator.get_elided_page_range(6, on_each_side=1, on_ends=1),
        "chart": pass_rate_chart(_nights(now), is_small=False),
        "small_chart": pass_rate_chart(_nights(now), is_small=True),
        "can_take_part": False,
    }
    return render(request, "style.html", context)


def _evidences() -> list[tuple[str, Worked, bool]]:
    return [
        (_("No use yet"), Worked(), False),
        (_("Few uses: a wide interval"), Worked(3, 0, 0), False),
        (_("Many uses: a narrow one"), Worked(31, 9, 10), False),
        (_("Of an older version"), Worked(8, 3, 4), True),
    ]


def _rows(now: datetime) -> list[Shelved]:
    def row(worked: Worked, state: str, is_simulated: bool, **card: Any) -> Shelved:
        return Shelved(
            card=Card(
                pk=1, slug="sample", author="Hélène Marchand", author_id=1, version=2, variables=1,
                updated=now, published=now, use_cases=(), tags=(), **card,
            ),
            worked=worked, is_old_evidence=False, votes=8, reports=3,
            drift=State(state, now, "gpt-x", is_simulated, 1, now) if state else None,
        )  # fmt: skip

    return [
        row(
            Worked(50, 7, 2), "stable", False,
            title="Turn three bullet points into a support reply",
            summary="You know the answer and have no time to write it.",
            language="en", status="published",
            departments=(Facet("support", "Customer support"),),
            tools=(Facet("chatgpt", "ChatGPT"),),
        ),
        row(
            Worked(2, 1, 1), "drifted", True,
            title="Extraire les données d’une facture en JSON",
            summary="Fournisseur, numéro, date, montants, TVA.",
            language="fr", status="archived",
            departments=(Facet("finance", "Finance"),),
            tools=(Facet("le-chat", "Le Chat"),),
        ),
    ]  # fmt: skip


def _reports(now: datetime) -> list[Retrospective]:
    author = User(pk=1, name="Hélène Marchand")
    return [
        Retrospective(
            pk=1, title="Relance d’un client en retard", language="fr", author=author,
            lesson="Donner le ton voulu en un exemple marche mieux que trois adjectifs.",
            outcome="worked_with_edits", model="Le Chat", created=now - timedelta(days=3),
        ),
        Retrospective(
            pk=2, title="Summary of a supplier contract", language="en", is_anonymous=True,
            lesson="It invented a notice period; always look at clause 12 yourself.",
            outcome="failed", model="ChatGPT", created=now - timedelta(days=40),
        ),
    ]  # fmt: skip


def _pieces() -> list[SimpleNamespace]:
    def piece(text: str, variable: Variable | None = None, is_filled: bool = False) -> Any:
        raw = f"{{{{ {variable.name} }}}}" if variable else ""
        return SimpleNamespace(text=text, variable=variable, is_filled=is_filled, raw=raw)

    client, tone = Variable("client", label="Client"), Variable("ton", label="Ton")
    return [
        piece("Rédigez une réponse à "),
        piece("la société Brochard", client, True),
        piece(" sur un ton "),
        piece("Ton", tone),
        piece(".\nCommencez par ce que nous avons décidé."),
    ]


def _story() -> dict[str, str]:
    return {
        "purpose": render_markdown("A first reply within the hour, in *our* words."),
        "worked": render_markdown("- Bullets in, paragraphs out\n- The case number is always kept"),
        "failed": render_markdown("It apologises twice. Say `no apology` and it stops."),
        "limits": render_markdown("> Not for complaints about injuries: ask Legal first."),
    }


def _thread(now: datetime) -> Thread:
    first = Comment(
        pk=1, author=User(pk=1, name="Karim Benali"), created=now - timedelta(hours=5),
        html=render_markdown("Works with tables too, if one says *keep the columns*."),
    )  # fmt: skip
    answer = Comment(
        pk=2, author=User(pk=2, name="Julie Moreau"), created=now - timedelta(hours=2),
        edited=now, html=render_markdown("Merci, essayé ce matin : impeccable."),
    )  # fmt: skip
    gone = Comment(pk=3, created=now, withdrawn=now)
    return Thread(first, [Thread(answer), Thread(gone)])


def _nights(now: datetime) -> Sequence[Night]:
    return [
        Night(
            run_id=number,
            slot=now - timedelta(days=len(_NIGHTS) - number),
            kind="baseline" if number == 0 else "scheduled",
            status="done" if rate is not None else "failed",
            verdict="drifted" if rate is not None and rate < 0.7 else "stable",
            pass_rate=rate,
            reason="",
        )
        for number, rate in enumerate(_NIGHTS)
    ]
