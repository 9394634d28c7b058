"""Writes the demonstration company into an empty database, through the same actions people use.

Everything is dated back from the day of loading, so that the demo is always fresh. The people are
invented, their accounts live under the reserved domain retex.example, and the monitored
prompts run on the simulated provider.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import yaml
from asgiref.sync import async_to_sync
from django.db import transaction
from django.utils import translation

from accounts.actions import create_user
from accounts.models import Department, Membership, User
from kb.community import actions as community
from kb.community.models import Comment, Retrospective, UsageSignal, Vote, Wish, WishSupport
from kb.core import markdown
from kb.core.http import EgressPolicy, HttpClient
from kb.demo.catalogue import CONTENT, load_catalogue, read
from kb.drift import actions as drift
from kb.drift import assessing as drift_assessing
from kb.drift import graders, judging, trials
from kb.drift import runs as drift_runs
from kb.drift.models import Monitor, Run
from kb.llm import actions as llm
from kb.llm import simulated, spending
from kb.llm.clients import open_provider
from kb.llm.models import CALLS, Connection
from kb.notifications.models import Notification
from kb.prompts import actions as prompts
from kb.prompts import template
from kb.prompts.models import Prompt, PromptVersion, Tool, UseCase
from kb.prompts.writeup import WriteUpSections

SEED = 20_250_301
"""Of everything that is drawn by chance: who clicked when, who voted."""
NIGHTS = 30
"""Nights of re-runs behind each monitored prompt."""
DAILY_AT_THIS_TIME = "daily-at-this-time"
"""The schedule of a monitor whose last run is at the moment of loading."""
MODEL_ENDS_IN_DAYS = 26
PRICE: Mapping[str, Any] = {
    "input_per_million": Decimal("2.50"),
    "output_per_million": Decimal(10),
    "currency": "EUR",
}
"""Of both simulated models: what a large hosted model costs, so that spending shows figures."""
TRIED = "reponse-client-reclamation"
"""The prompt the author tried in the playground."""
UNREAD_DAYS = 6
"""Notifications younger than this are left unread, so that the bell has something to say."""
_FRONT = re.compile(r"\A---\n(.*?)\n---\n(.*)\Z", re.DOTALL)
_PARTS = re.compile(r"^## (Prompt|Purpose|Worked|Failed|Limits|History)\n", re.MULTILINE)

Say = Callable[[str], None]


@transaction.atomic
def load_demo(*, passwords: Mapping[str, str], now: datetime, say: Say) -> None:
    """Write the whole demonstration; `passwords` maps the three open accounts to their passwords.

    `say` hears one line per step. Raises nothing on good content; all or nothing.
    """
    with translation.override("fr"):
        _Loader(passwords, now, say).load()


class _Loader:
    """The rows of the demo as they come into being, found again by the keys of the content files."""

    def __init__(self, passwords: Mapping[str, str], now: datetime, say: Say) -> None:
        self.passwords, self.now, self.say = passwords, now, say
        self.chance = random.Random(SEED)  # noqa: S311 - a repeatable demo, no secret
        self.people: dict[str, User] = {}
        self.prompts: dict[str, Prompt] = {}

    def load(self) -> None:
        load_catalogue()
        self._people()
        self._prompts()
        self._reports()
        self._talk()
        self._clicks()
        self._wishes()
        self._monitors()
        self._quieten()

    @cached_property
    def departments(self) -> Mapping[str, Department]:
        return {row.slug: row for row in Department.objects.all()}

    @cached_property
    def tools(self) -> Mapping[str, Tool]:
        return {row.slug: row for row in Tool.objects.all()}

    @cached_property
    def use_cases(self) -> Mapping[str, UseCase]:
        return {row.slug: row for row in UseCase.objects.all()}

    def ago(self, days: float) -> datetime:
        """That many days before now, at a working hour."""
        moment = self.now - timedelta(days=days)
        worked = moment.replace(hour=self.chance.randint(7, 17), minute=self.chance.randint(0, 59))
        return min(worked, self.now - timedelta(minutes=1))

    def _people(self) -> None:
        for item in read("people.yaml"):
            place = dict.fromkeys(item["departments"], Membership.Role.READER)
            company = None
            for role in item["roles"]:
                if role["department"] is None:
                    company = role["role"]
                else:
                    place[role["department"]] = role["role"]
            roles: list[tuple[Department | None, str]] = [
                (self.departments[s], r) for s, r in place.items()
            ]
            if company:
                roles.append((None, company))
            self.people[item["key"]] = create_user(
                email=item["email"],
                name=item["name"],
                password=self.passwords.get(item["email"]),
                roles=roles,
                language=item["language"],
                checks_password=False,
            )
        self.say(f"{len(self.people)} people in {len(self.departments)} departments")

    def _prompts(self) -> None:
        files = sorted((CONTENT / "prompts").glob("*.md"))
        for file in files:
            front, parts = _read_prompt(file)
            self._prompt(front, parts)
        self.say(f"{len(files)} prompts with their write-ups")

    def _prompt(self, front: Mapping[str, Any], parts: Mapping[str, str]) -> None:
        variables = {item["name"]: _variable(item) for item in front["variables"]}
        history: list[dict[str, Any]] = yaml.safe_load(parts.get("History", "")) or []
        last: dict[str, Any] = {
            "days_ago": front["published_days_ago"],
            "author": front["author"],
            "change_note": front.get("change_note", ""),
            "text": parts["Prompt"],
            "system": front.get("system", ""),
        }
        first, *later = [*history, last]
        author = self.people[front["author"]]
        fields = prompts.PromptFields(
            title=front["title"],
            summary=front["summary"],
            text=first["text"].strip(),
            system=first.get("system", ""),
            variables=_used(first, variables),
            language=front["language"],
            write_up=WriteUpSections(
                purpose=parts["Purpose"],
                worked=parts["Worked"],
                failed=parts["Failed"],
                limits=parts["Limits"],
            ),
            departments=[self.departments[slug] for slug in front["departments"]],
            tools=[self.tools[slug] for slug in front["tools"]],
            use_cases=[self.use_cases[slug] for slug in front["use_cases"]],
            tags=front["tags"],
            visibility=front["visibility"],
            status=Prompt.Status.PUBLISHED,
        )
        prompt = prompts.create_prompt(
            fields=fields,
            by=author,
            now=self.ago(first["days_ago"]),
            change_note=first.get("change_note", ""),
        )
        for version in later:
            prompt = prompts.edit_prompt(
                prompt=prompt,
                fields=prompts.PromptFields(
                    text=version["text"].strip(),
                    system=version.get("system", ""),
                    variables=_used(version, variables),
                ),
                by=author,
                now=self.ago(version["days_ago"]),
                based_on=None,
                change_note=version.get("change_note", ""),
            )
        self.prompts[front["slug"]] = prompt

    def _version(self, slug: str, number: int) -> PromptVersion:
        return self.prompts[slug].versions.get(number=number)

    def _reports(self) -> None:
        items = sorted(read("retrospectives.yaml"), key=lambda item: -item["days_ago"])
        made: dict[str, Retrospective] = {}
        for item in items:
            moment = self.ago(item["days_ago"])
            author = self.people[item["author"]]
            made[item["title"]] = community.write_retrospective(
                fields=self._report_fields(item, moment.date()),
                by=author,
                now=moment,
                follow_ups=[self._follow_up(f) for f in item.get("follow_ups", [])],
            )
            for addendum in item.get("addenda", []):
                community.add_to_retrospective(
                    report=made[item["title"]],
                    text=addendum["text"],
                    by=author,
                    now=self.ago(addendum["days_ago"]),
                )
        for item in items:
            for link in item.get("links", []):
                community.link_retrospective(
                    report=made[item["title"]],
                    kind=link["kind"],
                    by=self.people[item["author"]],
                    other=made[link["retrospective_title"]]
                    if "retrospective_title" in link
                    else None,
                    prompt=self.prompts[link["prompt"]] if "prompt" in link else None,
                )
        self.say(f"{len(made)} retrospectives, failures included")

    def _report_fields(self, item: Mapping[str, Any], day: date) -> community.ReportFields:
        plain = (
            "title", "language", "lesson", "outcome", "model", "stakes", "data_class", "expectation", "counterfactual",
            "minutes_basis", "quality", "why_different", "worked", "failed", "lucky", "would_reuse", "reuse_note",
            "advice", "when_not", "incident_severity", "pasted_text",
        )  # fmt: skip
        numbers = (
            "task_familiarity", "tool_familiarity", "kept_share", "minutes_preparing", "minutes_waiting",
            "minutes_checking", "minutes_without", "attempts", "items",
        )  # fmt: skip
        answers: dict[str, Any] = {name: item.get(name) or "" for name in plain}
        answers |= {name: item.get(name) for name in numbers}
        return community.ReportFields(
            **answers,
            is_anonymous=item["shown_as"] == "colleague",
            department=self.departments[item["department"]],
            use_case=self.use_cases[item["use_case"]],
            version=self._version(item["prompt"], item["version"]) if item.get("prompt") else None,
            tool=self.tools[item["tool"]] if item.get("tool") else None,
            task_date=day,
            is_parallel_work=bool(item.get("parallel_work")),
            checked=item.get("checked_how") or "",
            incidents=item.get("incidents") or (),
            is_incident_caught=item.get("incident_caught"),
            evidence=item.get("evidence_excerpt") or "",
        )

    def _follow_up(self, item: Mapping[str, Any]) -> community.FollowUpFields:
        return community.FollowUpFields(
            text=item["text"],
            kind=item["kind"],
            owner=self.people[item["owner"]],
            due=self.now.date() + timedelta(days=item["due_in_days"]),
            state=item["state"],
        )

    def _talk(self) -> None:
        count = 0
        for item in read("comments.yaml"):
            root = self._comment(item, self.prompts[item["prompt"]], None)
            for reply in item.get("replies") or []:
                self._comment(reply, self.prompts[item["prompt"]], root)
                count += 1
            count += 1
        self.say(f"{count} comments")

    def _comment(self, item: Mapping[str, Any], prompt: Prompt, parent: Comment | None) -> Comment:
        return Comment.objects.create(
            prompt=prompt,
            parent=parent,
            author=self.people[item["author"]],
            text=item["text"],
            html=markdown.render(item["text"]),
            created=self.ago(item["days_ago"]),
        )

    def _clicks(self) -> None:
        voters = [person for key, person in self.people.items() if key != "lecteur"]
        for slug, count in read("votes.yaml").items():
            prompt = self.prompts[slug]
            Vote.objects.bulk_create(
                Vote(prompt=prompt, person=person, created=self._within(prompt.created, 240))
                for person in self.chance.sample(voters, min(count, len(voters)))
            )
        signals = [
            signal for item in read("signals.yaml") for signal in self._signals(item, voters)
        ]
        UsageSignal.objects.bulk_create(signals)
        for prompt in self.prompts.values():
            community.refresh_standing(prompt, now=self.now)
        self.say(f"{len(signals)} uses reported with one click")

    def _signals(self, item: Mapping[str, Any], people: Sequence[User]) -> Iterator[UsageSignal]:
        version = self._version(item["prompt"], item["version"])
        days = item["months"] * 30
        outcomes = [
            *(["worked"] * item["worked"]),
            *(["with_edits"] * item["with_edits"]),
            *(["failed"] * item["failed"]),
        ]
        self.chance.shuffle(outcomes)
        taken: set[tuple[int, date]] = set()
        for outcome in outcomes:
            person, moment = self.chance.choice(people), self._within(version.created, days)
            while (person.pk, moment.date()) in taken:
                person, moment = self.chance.choice(people), self._within(version.created, days)
            taken.add((person.pk, moment.date()))
            yield UsageSignal(
                prompt_id=version.prompt_id,
                version=version,
                person=person,
                outcome=outcome,
                day=moment.date(),
                created=moment,
            )

    def _within(self, start: datetime, days: float) -> datetime:
        """A moment after `start`, at most `days` later and never in the future."""
        longest = min(timedelta(days=days), self.now - start)
        return start + longest * self.chance.random()

    def _wishes(self) -> None:
        items = read("wishes.yaml")
        for item in items:
            moment = self.ago(item["days_ago"])
            author = self.people[item["author"]]
            wish = community.make_wish(
                title=item["title"],
                text=item["text"],
                language=item["language"],
                department=self.departments[item["department"]],
                by=author,
                now=moment,
            )
            others = [person for person in self.people.values() if person.pk != author.pk]
            WishSupport.objects.bulk_create(
                WishSupport(wish=wish, person=person, created=self._within(moment, 30))
                for person in self.chance.sample(others, min(item["me_too"], len(others)))
            )
            if item["answered_by"]:
                self._answer(wish, item["answered_by"])
        self.say(f"{len(items)} wishes on the wanted board")

    def _answer(self, wish: Wish, slug: str) -> None:
        prompt = self.prompts[slug]
        assert prompt.author is not None  # noqa: S101 - every demo prompt has one
        answered = max(wish.created, prompt.created) + timedelta(hours=2)
        community.answer_wish(
            wish=wish, prompt=prompt, by=prompt.author, now=min(answered, self.now)
        )

    def _monitors(self) -> None:
        admin = self.people["admin"]
        connection = llm.save_connection(
            by=admin,
            name="Démonstration",
            provider="simulated",
            quirks={"scripts": self._scripts()},
        )
        for model in (simulated.DRIFTING, simulated.STABLE):
            llm.save_target(connection=connection, model=model, by=admin)
            llm.save_price(connection=connection, model=model, by=admin, **PRICE)
        self._graders(connection, admin)
        for item in read("monitors.yaml"):
            self._monitor(item, connection, admin)
        self._trial(connection)
        self._bounds(connection, admin)

    def _bounds(self, connection: Connection, admin: User) -> None:
        """What may be spent, and the end of a model; entered last, so that nothing above is stopped."""
        llm.save_cap(by=admin, period="month", unit="EUR", most=Decimal(5), connection=connection)
        llm.save_cap(by=admin, period="month", unit="EUR", most=Decimal(20))
        support = self.departments["customer-support"]
        llm.save_cap(by=admin, period="day", unit=CALLS, most=Decimal(200), department=support)
        llm.save_retirement(
            by=admin,
            connection=connection,
            model=simulated.DRIFTING,
            retires=spending.today(self.now) + timedelta(days=MODEL_ENDS_IN_DAYS),
            successor=simulated.STABLE,
            source="annonce inventée pour la démonstration",
        )
        self.say("Prices, caps and the announced end of a model")

    def _graders(self, connection: Connection, admin: User) -> None:
        """A judge and an embeddings model, simulated like the models they judge."""
        start = self.now - timedelta(days=NIGHTS + 1)
        for role, model in (("judge", simulated.STABLE), ("embeddings", simulated.VECTORS)):
            target = llm.save_target(
                connection=connection, model=model, by=admin, is_embedding=role == "embeddings"
            )
            graders.choose_grader(role=role, target=target, by=admin, now=start)

    def _scripts(self) -> dict[str, Any]:
        scripts = {}
        for number, item in enumerate(read("simulated.yaml")):
            script: dict[str, Any] = {"match": item["match"], "answers": item["answers"]}
            if item.get("answers_after"):
                day = (self.now - timedelta(days=item["after_days_ago"])).date()
                script |= {"after": day.isoformat(), "answers_after": item["answers_after"]}
            scripts[f"{number:03d}"] = script
        return scripts

    def _monitor(self, item: Mapping[str, Any], connection: Connection, admin: User) -> None:
        prompt = self.prompts[item["prompt"]]
        owner = prompt.author or admin
        nights = item.get("nights", NIGHTS)
        start = self.now - timedelta(days=nights + 1)
        is_daily = item["schedule"] == DAILY_AT_THIS_TIME
        monitor = drift.create_monitor(
            prompt=prompt,
            target=llm.save_target(connection=connection, model=item["model"], by=admin),
            cases=[
                drift.CaseFields(c["name"], c["variables"], c["assertions"]) for c in item["cases"]
            ],
            by=owner,
            now=start,
            schedule=self._at_this_time(owner) if is_daily else item["schedule"],
        )
        if item.get("learns"):
            drift.learn_over_nights(monitor=monitor, by=owner, now=start)
        else:
            self._play(drift.record_baseline(monitor=monitor, by=owner, now=start), connection)
        monitor.refresh_from_db()
        for night in range(nights, 0, -1):
            slot = self.now - timedelta(days=night - 1 if is_daily else night)
            if not is_daily:
                slot = slot.replace(hour=2, minute=monitor.pk % 60, second=0, microsecond=0)
            run = Run.objects.create(
                monitor=monitor, slot=slot, baseline=monitor.baseline, created=slot
            )
            self._play(run, connection)
        Monitor.objects.filter(pk=monitor.pk).update(next_slot=None)
        drift.change_monitor(monitor=monitor, by=owner, now=self.now, is_enabled=True)
        monitor.refresh_from_db()
        self.say(
            f"{nights} nights of re-runs of “{prompt.title}” on a simulated model: {monitor.status}"
        )

    def _at_this_time(self, person: User) -> str:
        """Every day at the time of loading, by the clock of this person."""
        return f"{self.now.astimezone(ZoneInfo(person.time_zone)):%-M %-H} * * *"

    def _trial(self, connection: Connection) -> None:
        """One trial of the author, on both models, with one answer kept as an example."""
        prompt, author = self.prompts[TRIED], self.people["auteur"]
        case = next(item for item in read("monitors.yaml") if item["prompt"] == TRIED)["cases"][0]
        moment = self.ago(2)
        assert prompt.current is not None  # noqa: S101 - it is published
        made = trials.request(
            version=prompt.current,
            targets=list(connection.targets.select_related("connection").order_by("-model")),
            values=case["variables"],
            by=author,
            now=moment,
        )
        claimed = trials.claim(made.pk, now=moment)
        assert claimed is not None  # noqa: S101 - nobody else is here

        async def ask() -> None:
            async with HttpClient(EgressPolicy.parse("")) as http:
                await trials.execute(
                    claimed,
                    open_provider=lambda asked: open_provider(asked, http),
                    clock=lambda: moment,
                )

        async_to_sync(ask)()
        answer = made.answers.select_related("trial__version__prompt").earliest("position")
        trials.keep_as_example(answer=answer, by=author, now=moment)
        self.say("A trial in the playground, on two simulated models")

    def _play(self, run: Run, connection: Connection) -> None:
        """Execute and assess one run as of its slot."""
        claimed = drift_runs.claim(run.pk, now=run.slot)
        assert claimed is not None  # noqa: S101 - nobody else is here
        claimed.monitor.target.connection = connection

        async def ask() -> None:
            async with HttpClient(EgressPolicy.parse("")) as http:
                await drift_runs.execute(
                    claimed,
                    provider=open_provider(connection, http),
                    clock=lambda: run.slot,
                    confirm=drift_assessing.confirmation_wanted,
                    access=judging.Access(lambda asked: open_provider(asked, http)),
                )

        async_to_sync(ask)()
        drift_assessing.assess(run.pk, now=run.slot + timedelta(seconds=30))

    def _quieten(self) -> None:
        """Nobody gets a mail about invented events; older messages count as read."""
        Notification.objects.update(mail_due=None)
        Notification.objects.filter(created__lt=self.now - timedelta(days=UNREAD_DAYS)).update(
            read=self.now
        )


def _read_prompt(file: Path) -> tuple[dict[str, Any], dict[str, str]]:
    match = _FRONT.match(file.read_text(encoding="utf-8"))
    if match is None:
        raise ValueError(
            f"{file.name} does not begin with a front matter between two lines of ---."
        )
    _before, *rest = _PARTS.split(match.group(2))
    return yaml.safe_load(match.group(1)), {
        name: body.strip() for name, body in zip(rest[::2], rest[1::2], strict=True)
    }


def _variable(item: Mapping[str, Any]) -> template.Variable:
    return template.Variable(
        name=item["name"],
        label=item.get("label", ""),
        type=item["type"],
        default=str(item.get("default", "")),
        help=item.get("help", ""),
        required=item.get("required", True),
        options=tuple(item.get("options", ())),
    )


def _used(
    version: Mapping[str, Any], variables: Mapping[str, template.Variable]
) -> list[template.Variable]:
    names = [*template.names(version["text"]), *template.names(version.get("system", ""))]
    return [variables[name] for name in dict.fromkeys(names)]
