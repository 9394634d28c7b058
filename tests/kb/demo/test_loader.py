"""What the demonstration shows, and that it shows nothing the product has not worked out itself."""

from datetime import UTC, datetime, timedelta

import pytest

from kb.community.models import Retrospective
from kb.demo.loader import load_demo
from kb.drift import runs
from kb.drift.models import Completion, Monitor, Run
from kb.drift.trial_models import Trial
from kb.llm.models import Cap, Connection, Expense, Price, Retirement
from kb.prompts.models import Prompt

NOW = datetime(2026, 3, 2, 0, 4, tzinfo=UTC)
"""Just after midnight: the night before is another day."""


@pytest.mark.django_db
def test_the_demonstration_shows_each_state_and_what_it_costs():
    said = []
    load_demo(passwords={}, now=NOW, say=said.append)

    monitors = {monitor.prompt.slug: monitor for monitor in Monitor.objects.all()}
    assert {slug: monitor.status for slug, monitor in monitors.items()} == {
        "repondre-a-la-reclamation-dun-client": "stable",
        "extraire-les-donnees-dune-facture-en-json": "drifted",
        "relancer-un-devis-sans-etre-pesant": "suspect",
        "triage-a-mornings-worth-of-support-tickets": "learning",
    }
    suspect = monitors["relancer-un-devis-sans-etre-pesant"]
    assert suspect.confirm_at == NOW + timedelta(hours=1)
    assert runs.queue_confirmations(now=NOW) == []
    assert Run.objects.exclude(status=Run.Status.DONE).count() == 0
    assert Completion.objects.filter(outcome=Completion.Outcome.MISSING).count() == 0
    assert set(Connection.objects.values_list("provider", flat=True)) == {"simulated"}
    assert all(answer.is_simulated for answer in Trial.objects.get().answers.all())
    assert Expense.objects.filter(cost__gt=0, currency="EUR").exists()
    assert (Price.objects.count(), Cap.objects.count()) == (2, 3)
    end = Retirement.objects.get()
    assert (end.model, end.successor) == ("simulated-drifting", "simulated-stable")
    assert (Prompt.objects.count(), Retrospective.objects.count()) == (50, 38)
    assert said
