"""Prompts and reports as lists show them, read in one statement.

Lists are looked at more often than all other pages together, so what a row says of its prompt, its
evidence, its votes and its drift comes in one trip to the database instead of one for each feature.
That each part equals what the feature itself says is a test.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import connection
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from accounts.models import User
from accounts.standing import standing
from kb.community.evidence import Worked
from kb.drift.queries import WORST_FIRST, State
from kb.prompts.queries import Card, Facet

CATALOGUES = ("departments", "tools", "use_cases")
"""Facets with curated values: all their names are read, because there are few."""
TOOLS_SHOWN = 3


@dataclass(frozen=True)
class Shelved:
    """One prompt in a list."""

    card: Card
    worked: Worked
    is_old_evidence: bool
    votes: int
    reports: int
    drift: State | None

    @property
    def places(self) -> list[str]:
        """Names of its departments, and of the first tools it is for."""
        facets = (*self.card.departments, *self.card.tools[:TOOLS_SHOWN])
        return [facet.name for facet in facets]


@dataclass(frozen=True)
class Told:
    """One report in a list; the prompt it is about only for people who may read that."""

    pk: int
    title: str
    lesson: str
    outcome: str
    language: str
    model: str
    created: datetime
    prompt_slug: str
    prompt_title: str
    prompt_language: str


@dataclass(frozen=True)
class Shelf:
    """What a list shows: its rows by id, and facet to value to its name."""

    prompts: Mapping[int, Shelved] = field(default_factory=dict)
    reports: Mapping[int, Told] = field(default_factory=dict)
    names: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def shelve(prompt_ids: Sequence[int]) -> list[Shelved]:
    """The rows of these prompts, in this order; one query for any number of them.

    Does not check visibility: the ids come from a query that did.
    """
    if not prompt_ids:
        return []
    found = _shelf(prompt_ids=prompt_ids).prompts
    return [found[pk] for pk in prompt_ids if pk in found]


def read_shelf(
    person: User,
    *,
    prompt_ids: Collection[int],
    report_ids: Collection[int],
    tags: Collection[str],
) -> Shelf:
    """The rows of these prompts and reports, and the names of facet values, these tags included.

    Does not check who may read the rows, only whether the prompts of reports may be named (one query).
    """
    return _shelf(
        prompt_ids=prompt_ids,
        report_ids=report_ids,
        tags=tags,
        tokens=standing(person).audience_tokens,
    )


_STATEMENT = """
SELECT 'prompt', p.id, jsonb_build_object(
  'slug', p.slug, 'title', p.title, 'summary', p.summary, 'language', p.language,
  'status', p.status, 'author', a.name, 'author_id', p.author_id, 'version', v.number,
  'variables', jsonb_array_length(v.variables), 'updated', p.updated, 'published', p.published,
  'departments', ARRAY(SELECT department_id FROM kb_prompt_departments WHERE prompt_id = p.id),
  'tools', ARRAY(SELECT tool_id FROM kb_prompt_tools WHERE prompt_id = p.id),
  'use_cases', ARRAY(SELECT usecase_id FROM kb_prompt_use_cases WHERE prompt_id = p.id),
  'tags', ARRAY(SELECT jsonb_build_array(t.slug, t.name) FROM kb_prompt_tags pt
                JOIN kb_tag t ON t.id = pt.tag_id WHERE pt.prompt_id = p.id ORDER BY t.slug))
FROM kb_prompt p LEFT JOIN accounts_user a ON a.id = p.author_id
LEFT JOIN kb_promptversion v ON v.id = p.current_id
WHERE p.id = ANY(%(prompts)s)
UNION ALL
SELECT 'use', u.prompt_id, jsonb_build_array(u.version_id = p.current_id, u.outcome, count(*))
FROM (SELECT prompt_id, version_id, outcome FROM kb_usagesignal
      WHERE prompt_id = ANY(%(prompts)s) AND retrospective_id IS NULL
      UNION ALL
      SELECT v.prompt_id, v.id, CASE r.outcome WHEN 'worked' THEN 'worked'
        WHEN 'worked_with_edits' THEN 'with_edits' ELSE 'failed' END
      FROM kb_retrospective r JOIN kb_promptversion v ON v.id = r.version_id
      WHERE v.prompt_id = ANY(%(prompts)s)) u JOIN kb_prompt p ON p.id = u.prompt_id
GROUP BY u.prompt_id, u.version_id = p.current_id, u.outcome
UNION ALL
SELECT 'votes', prompt_id, to_jsonb(count(*)) FROM kb_vote
WHERE prompt_id = ANY(%(prompts)s) GROUP BY prompt_id
UNION ALL
SELECT 'reports', v.prompt_id, to_jsonb(count(*)) FROM kb_retrospective r
JOIN kb_promptversion v ON v.id = r.version_id
WHERE v.prompt_id = ANY(%(prompts)s) GROUP BY v.prompt_id
UNION ALL
SELECT 'drift', m.prompt_id, jsonb_build_object(
  'status', m.status, 'since', m.status_since, 'model', t.model, 'monitor_id', m.id,
  'is_simulated', c.provider = 'simulated',
  'last_run', (SELECT max(slot) FROM kb_run WHERE monitor_id = m.id AND status = 'done'))
FROM kb_monitor m JOIN kb_target t ON t.id = m.target_id
JOIN kb_connection c ON c.id = t.connection_id
WHERE m.prompt_id = ANY(%(prompts)s) AND m.status <> 'new'
UNION ALL
SELECT 'report', r.id, jsonb_build_object(
  'title', r.title, 'lesson', r.lesson, 'outcome', r.outcome, 'language', r.language,
  'model', coalesce(nullif(r.model, ''), t.name, ''), 'created', r.created,
  'prompt_slug', coalesce(p.slug, ''), 'prompt_title', coalesce(p.title, ''),
  'prompt_language', coalesce(p.language, ''))
FROM kb_retrospective r LEFT JOIN kb_tool t ON t.id = r.tool_id
LEFT JOIN kb_promptversion v ON v.id = r.version_id
LEFT JOIN kb_prompt p ON p.id = v.prompt_id AND p.audience && %(tokens)s::varchar[]
WHERE r.id = ANY(%(reports)s)
UNION ALL
SELECT 'departments', id, jsonb_build_array(slug, {name}, position) FROM accounts_department
UNION ALL
SELECT 'tools', id, jsonb_build_array(slug, name, position) FROM kb_tool
UNION ALL
SELECT 'use_cases', id, jsonb_build_array(slug, {name}, position) FROM kb_usecase
UNION ALL
SELECT 'tags', id, jsonb_build_array(slug, name, 0) FROM kb_tag WHERE slug = ANY(%(tags)s)
"""
_STATEMENTS = {
    language: _STATEMENT.format(name=f"name_{language}")  # two constants of our own
    for language in ("fr", "en")
}


def _shelf(
    *,
    prompt_ids: Collection[int] = (),
    report_ids: Collection[int] = (),
    tags: Collection[str] = (),
    tokens: Collection[str] = (),
) -> Shelf:
    is_french = (get_language() or "en").startswith("fr")
    found: dict[str, list[tuple[int, Any]]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(
            _STATEMENTS["fr" if is_french else "en"],
            {
                "prompts": list(prompt_ids),
                "reports": list(report_ids),
                "tags": list(tags),
                "tokens": list(tokens),
            },
        )
        for kind, pk, told in cursor.fetchall():
            found[kind].append((pk, json.loads(told)))  # Django leaves jsonb as text
    facets = {catalogue: _facets(found[catalogue]) for catalogue in CATALOGUES}
    uses, drifts = _uses(found["use"]), _worst(found["drift"])
    votes, reports = dict(found["votes"]), dict(found["reports"])
    return Shelf(
        prompts={
            pk: Shelved(
                card=_card(pk, told, facets),
                worked=uses.get(pk, _UNUSED)[0],
                is_old_evidence=uses.get(pk, _UNUSED)[1],
                votes=votes.get(pk, 0),
                reports=reports.get(pk, 0),
                drift=drifts.get(pk),
            )
            for pk, told in found["prompt"]
        },
        reports={pk: _told(pk, told) for pk, told in found["report"]},
        names={
            **{name: {f.slug: f.name for f in rows.values()} for name, rows in facets.items()},
            "tags": {slug: name for _pk, (slug, name, _place) in found["tags"]},
        },
    )


_UNUSED = (Worked(), False)


def _facets(rows: Collection[tuple[int, Any]]) -> dict[int, Facet]:
    """Id to facet value, in the order curators gave them."""
    in_order = sorted(rows, key=lambda row: (row[1][2], row[1][0]))
    return {pk: Facet(slug, name) for pk, (slug, name, _place) in in_order}


def _uses(rows: Collection[tuple[int, Any]]) -> Mapping[int, tuple[Worked, bool]]:
    """Prompt id to the uses that count, and whether they are of older versions (as in Tally)."""
    counts: dict[int, tuple[dict[str, int], dict[str, int]]] = defaultdict(lambda: ({}, {}))
    for pk, (is_current, outcome, count) in rows:
        counts[pk][0 if is_current else 1][outcome] = count
    return {
        pk: (Worked(**(current or older)), not current) for pk, (current, older) in counts.items()
    }


def _worst(rows: Collection[tuple[int, Any]]) -> Mapping[int, State]:
    """Prompt id to the state of its worst monitor; of equals, the one set up last."""
    found: dict[int, State] = {}
    in_order = sorted(
        rows, key=lambda row: (WORST_FIRST.index(row[1]["status"]), -row[1]["monitor_id"])
    )
    for pk, told in in_order:
        last = told["last_run"]
        moments = {"since": _moment(told["since"]), "last_run": last and _moment(last)}
        found.setdefault(pk, State(**{**told, **moments}))
    return found


def _card(pk: int, told: Mapping[str, Any], facets: Mapping[str, Mapping[int, Facet]]) -> Card:
    published = told["published"]
    named = {
        name: [f for key, f in facets[name].items() if key in told[name]] for name in CATALOGUES
    }
    values = {
        **told,
        **named,
        "author": told["author"] or _("a former colleague"),
        "version": told["version"] or 0,
        "variables": told["variables"] or 0,
        "updated": _moment(told["updated"]),
        "published": published and _moment(published),
        "tags": [Facet(slug, name) for slug, name in told["tags"]],
    }
    return Card(pk=pk, **values)


def _told(pk: int, told: Mapping[str, Any]) -> Told:
    return Told(pk=pk, **{**told, "created": _moment(told["created"])})


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
