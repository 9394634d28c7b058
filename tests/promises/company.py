"""A company with secrets: the same prompt in every state, each with all that can hang on a prompt.

What is hidden now was open before, wherever that is possible: people watched it, voted, reported and
were told of it, so that everything that could leak is there to leak.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from asgiref.sync import async_to_sync

from accounts.actions import create_token
from accounts.models import ApiToken, Department, User
from kb.community import actions as community
from kb.community.models import Comment, FollowUp, Retrospective, Wish
from kb.drift import actions as drift
from kb.drift import graders, trials
from kb.drift.actions import CaseFields
from kb.drift.models import DriftReport, Incident, Monitor, Run
from kb.drift.trial_models import Trial, TrialAnswer
from kb.finding import meaning
from kb.finding.actions import save_search
from kb.finding.models import SavedSearch
from kb.llm import actions as llm
from kb.llm.models import Cap, Connection, Retirement, Target
from kb.notifications.models import Notification
from kb.prompts import actions as prompts
from kb.prompts.models import Prompt
from kb.prompts.writeup import WriteUpSections
from tests.factories import (
    NOW,
    later,
    make_connection,
    make_department,
    make_monitor,
    make_person,
    make_prompt,
    make_report,
    make_target,
    make_tool,
    make_use_case,
)
from tests.pages.reruns import Answering, play, rerun

WORDS: Mapping[str, str] = {
    "draft": "quagga",
    "company": "tapir",
    "department": "okapi",
    "private": "numbat",
    "archived": "gecko",
}
"""State of a prompt to the word it can be found by, if one may find it."""
MARK = "77"
"""Behind the word it makes a word that no search echoes: `okapi77` stands in what is hidden only."""


@dataclass
class Things:
    """A prompt in one state with what hangs on it; the author's unless its name says otherwise."""

    prompt: Prompt
    comment: Comment
    report: Retrospective
    follow_up: FollowUp
    monitor: Monitor
    run: Run
    queued: Run
    incident: Incident
    trial: Trial
    answer: TrialAnswer
    example: TrialAnswer
    """Kept on the page of the prompt; of another trial."""


@dataclass
class Company:
    """Who works here (None stands for nobody signed in), and what they have made."""

    people: Mapping[str, User | None]
    legal: Department
    sales: Department
    things: Mapping[str, Things]
    wish: Wish
    connection: Connection
    target: Target
    idle: Connection
    """A connection no monitor uses."""
    cap: Cap
    retirement: Retirement
    other: Target
    """Another model than that of the monitors."""
    embeddings: Target
    """The model that finds by meaning."""
    tokens: Mapping[str, ApiToken]
    notifications: Mapping[str, Notification]
    searches: Mapping[str, SavedSearch]

    def person(self, name: str) -> User:
        found = self.people[name]
        assert found is not None
        return found


def build() -> Company:
    """The company, in the open transaction."""
    legal, sales = make_department("legal"), make_department("sales")
    people: dict[str, User | None] = {
        "anonymous": None,
        "nobody": make_person(None, name="Nell Nobody"),
        "outsider": make_person("reader", sales, name="Oscar Outsider"),
        "foreign_curator": make_person("curator", sales, name="Fay Foreign"),
        "reader": make_person("reader", legal, name="Rita Reader"),
        "colleague": make_person("author", legal, name="Carl Colleague"),
        "curator": make_person("curator", legal, name="Cora Curator"),
        "author": make_person("author", legal, name="Ada Author"),
        "admin": make_person("admin", name="Anna Admin"),
    }
    admin, author = people["admin"], people["author"]
    assert admin is not None
    assert author is not None
    make_tool("chatgpt")
    make_use_case("summarise")
    connection = make_connection(by=admin, name="Simulated")
    target, second = make_target(connection), make_target(connection, "simulated-drift-degrade")
    idle = make_connection(by=admin, name="Idle")
    cap = llm.save_cap(by=admin, period="month", unit="calls", most=Decimal(1_000), connection=idle)
    retirement = llm.save_retirement(model="gone", retires=date(2027, 1, 1), by=admin)
    graders.choose_grader(role="judge", target=target, by=admin, now=NOW)
    embeddings = make_target(connection, "simulated-embeddings", is_embedding=True)
    meaning.choose_model(target=embeddings, is_wide=False, by=admin, now=NOW)
    things = {state: _things(state, people, legal, (target, second)) for state in WORDS}
    wish = community.make_wish(
        title="A wish", text="", language="en", department=None, by=author, now=NOW
    )
    everybody = [(name, person) for name, person in people.items() if person is not None]
    tokens = {
        name: create_token(person=person, name="mine", scopes=["read"], by=person)[0]
        for name, person in everybody
    }
    notifications = {
        name: Notification.objects.create(
            recipient=person, kind="recovered", context={"title": "It"}, path="/", key="told"
        )
        for name, person in everybody
    }
    searches = {
        name: save_search(name="mine", address="q=nda", cadence="weekly", by=person, now=NOW)
        for name, person in everybody
    }
    return Company(
        people,
        legal,
        sales,
        things,
        wish,
        target.connection,
        target,
        idle,
        cap,
        retirement,
        second,
        embeddings,
        tokens,
        notifications,
        searches,
    )


def _things(
    state: str, people: Mapping[str, User | None], legal: Department, targets: Sequence[Target]
) -> Things:
    author = people["author"]
    assert author is not None
    word = WORDS[state]
    said = f"{word} {word}{MARK}"
    prompt = make_prompt(
        author,
        title=f"{said} title",
        summary=f"{said} summary",
        text=f"{said} {{{{ n }}}}",
        system=f"{said} system",
        write_up=WriteUpSections(purpose=said, worked=said, failed=said, limits=said),
        departments=[legal],
        tools=[make_tool("chatgpt")],
        use_cases=[make_use_case("summarise")],
        tags=[f"{word}{MARK}tag"],
        status="draft" if state == "draft" else "published",
    )
    prompt = _changed(prompt, author, text=f"{said} again {{{{ n }}}}")
    cases = [
        CaseFields(f"{said} {n}", {"n": f"{word}{MARK}{n}"}, [{"type": "contains", "value": "yes"}])
        for n in range(2)
    ]
    monitor, waiting = (make_monitor(prompt, target, cases=cases) for target in targets)
    play(drift.record_baseline(monitor=monitor, by=author, now=NOW), f"yes {said}")
    monitor.refresh_from_db()
    comment = community.comment(prompt=prompt, text=said, by=author, now=NOW)
    report = make_report(
        prompt,
        author,
        title=f"{said} report",
        lesson=f"{said} lesson",
        model=f"{word}{MARK}-model",
        evidence=said,
    )
    follow_up = community.add_follow_up(
        report=report,
        fields=community.FollowUpFields(f"{said} to do", owner=author),
        by=author,
        now=NOW,
    )
    community.add_to_retrospective(report=report, text=said, by=author, now=NOW)
    if state != "draft":
        for name, person in people.items():
            if person is not None and name not in ("nobody", "author"):
                _take_part(prompt, report, comment, person, word)
    run = rerun(monitor, f"no {said}", later(hours=1))
    final = {
        "department": {"visibility": "departments"},
        "private": {"visibility": "private"},
        "archived": {"status": "archived"},
    }.get(state, {})
    prompt = _changed(prompt, author, text=f"{said} at last {{{{ n }}}}", **final)
    prompt.refresh_from_db()
    monitor.refresh_from_db()
    incident = Incident.objects.create(
        target=monitor.target, opened=NOW, last_seen=NOW, closed=later(hours=1)
    )
    DriftReport.objects.filter(run=run).update(incident=incident)
    queued = drift.record_baseline(monitor=waiting, by=author, now=later(hours=2))
    trial, other = (_tried(prompt, targets, said, word) for _ in range(2))
    answer, example = trial.answers.all()[0], other.answers.all()[0]
    trials.keep_as_example(answer=example, by=author, now=NOW)
    return Things(
        prompt, comment, report, follow_up, monitor, run, queued, incident, trial, answer, example
    )


def _tried(prompt: Prompt, targets: Sequence[Target], said: str, word: str) -> Trial:
    assert prompt.author is not None
    assert prompt.current is not None
    made = trials.request(
        version=prompt.current,
        targets=targets,
        values={"n": f"{word}{MARK}-tried"},
        by=prompt.author,
        now=NOW,
    )
    claimed = trials.claim(made.pk, now=NOW)
    assert claimed is not None
    async_to_sync(trials.execute)(
        claimed, open_provider=lambda connection: Answering(said), clock=lambda: NOW
    )
    return claimed


def _changed(prompt: Prompt, by: User, **fields: str) -> Prompt:
    return prompts.edit_prompt(
        prompt=prompt,
        fields=prompts.PromptFields(**fields),
        by=by,
        now=NOW,
        based_on=None,
        change_note=prompt.title,
    )


def _take_part(
    prompt: Prompt, report: Retrospective, comment: Comment, person: User, word: str
) -> None:
    """Whatever ties a person to a prompt while it is open to them; nothing of theirs has its mark."""
    prompts.watch(prompt=prompt, by=person)
    prompts.remember_values(prompt=prompt, by=person, values={"n": "7"}, now=NOW)
    community.cast_vote(prompt=prompt, by=person, now=NOW)
    community.signal(prompt=prompt, outcome="worked", by=person, now=NOW)
    community.comment(prompt=prompt, text="Thanks.", by=person, now=NOW, parent=comment)
    make_report(prompt, person, title=f"My use of {word}")
    own = make_report(None, person, title="A use of nothing stored")
    community.link_retrospective(report=own, kind="confirms", by=person, prompt=prompt)
    community.link_retrospective(report=own, kind="confirms", by=person, other=report)
    assert report.author is not None
    community.add_follow_up(
        report=report,
        fields=community.FollowUpFields(f"{word}{MARK} for you", owner=person),
        by=report.author,
        now=NOW,
    )
    wish = community.make_wish(
        title=f"Somebody's {word}", text="", language="en", department=None, by=person, now=NOW
    )
    assert prompt.author is not None
    community.answer_wish(wish=wish, prompt=prompt, by=prompt.author, now=NOW)
