"""Hay: prompts that nobody wrote, made of what people did write, for a library of any size. Pure.

English texts and titles are resampled from the real prompts, French texts from what the people of
the demonstration wrote and French titles from a small grammar, because there are too few real ones.
A text is about one matter: its sentences come from one source, as those of a real prompt do.
No source are the prompts that judged queries look for, and those that any of three engines listed
among its first ten for one: a thousand copies of what may be as good an answer would measure only
that there are many answers. Everything is drawn from one seed, so the first ten thousand are the
same in a library of a million.
"""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache

from tests.benchmarks.search_judged import SETS, load, neighbours, plain_title
from tests.benchmarks.search_sources import Source, demo_prompts, demo_talk, imported

SEED = 20_260_301
FRENCH_SHARE = 0.3
MEDIAN_LOG_LENGTH = 6.4
"""Of the log-normal length of a text: e^6.4, about 600 characters, where the real median is 854 and the
real mean 2,130: a million prompts shall stay below six gigabytes."""
LENGTH_SPREAD = 0.7
LONGEST_TEXT = 3_000
SENTENCE_LENGTHS = range(25, 320)
RUN_LENGTHS = (1, 1, 1, 2, 2, 3, 4)
"""Sentences taken in a row from one source: people copy paragraphs, not only sentences."""
COINED_SHARE = 0.3
"""Of prompts that name a product, customer or site nobody else has heard of: rare words."""
COINED_NAMES = 40_000
PLAIN_PLACES = 0.4
"""Of French titles that end without a coined name; with more, a million would repeat themselves."""
ACTIVITY_TAIL = 1.2
"""Of the Pareto law of liveliness: one prompt in a hundred draws half of the clicks."""
MOST_VOTES = 40
DAYS = 1_000
"""Age of the oldest prompt."""
ZIPF = 1.0
"""Exponent by which departments, tools, use cases, tags and sources are more or less popular."""

TOOLS = ("chatgpt", "claude", "le-chat", "gemini", "copilot", "perplexity", "midjourney", "margot", "deepl-write")  # fmt: skip
USE_CASES = ("summarise", "draft-reply", "write-text", "rewrite", "extract-data", "prepare-meeting", "write-minutes", "write-code")  # fmt: skip
NEW_DEPARTMENTS = (("information-technology", "Information technology", "Informatique"), ("logistics", "Logistics", "Logistique"))  # fmt: skip
"""Beside the ten of the demonstration."""
_TOPICS = (
    "planning", "congés", "stock", "formation", "inventaire", "parking", "badge", "cantine", "archives", "standard",
    "warehouse", "payroll", "holiday", "printer", "laptop", "newsletter", "parking-lot", "travel", "canteen", "visitor",
    "calendar", "garden", "fleet", "library",
)  # fmt: skip
_ASPECTS = ("modèle", "checklist", "suivi", "draft", "essai")
TAGS = tuple(f"{topic}-{aspect}" for topic in _TOPICS for aspect in _ASPECTS)
"""120, none of which the demonstration uses."""

_FRENCH_VERBS = (
    "Organiser", "Planifier", "Ranger", "Suivre", "Répartir", "Vérifier", "Mettre à jour", "Présenter", "Rédiger",
    "Réviser", "Classer", "Harmoniser", "Chiffrer", "Annoncer", "Lancer", "Clore", "Documenter", "Simplifier",
    "Préparer", "Comparer",
)  # fmt: skip
_FRENCH_THINGS = (
    "le planning des congés", "l’inventaire du stock", "le plan de formation", "les badges d’accès", "la salle de réunion",
    "le parc de véhicules", "le menu de la cantine", "les vœux de fin d’année", "le séminaire d’équipe", "la revue de presse",
    "le tableau de bord", "les archives papier", "le calendrier des salons", "la visite médicale", "les astreintes",
    "le covoiturage", "la collecte de déchets", "les commandes de fournitures", "la boîte à idées", "le plan de classement",
    "la charte graphique", "le standard téléphonique", "l’audit énergétique", "les entretiens de véhicule",
    "la réunion de chantier", "le suivi des livraisons", "l’étiquetage des palettes", "la maintenance des serveurs",
    "le renouvellement des licences", "la sauvegarde des postes",
)  # fmt: skip
_FRENCH_PLACES = (
    "pour l’agence de Nantes", "pour le site de Lyon", "avant l’été", "en dix minutes", "sans tableur", "à plusieurs",
    "pour les nouveaux", "au troisième trimestre", "pour la direction", "avec un modèle", "pas à pas", "en anglais",
    "pour l’équipe de nuit", "après la fusion", "en une page", "chaque lundi", "pour le télétravail", "à partir d’une photo",
    "pour trois sites", "dans les délais",
)  # fmt: skip
_SYLLABLES = ("bra", "cor", "del", "fen", "gal", "hol", "kir", "lum", "mor", "nex", "ost", "pra", "quin", "rav", "sol", "tur", "vel", "wes", "yor", "zan")  # fmt: skip
_SENTENCE = re.compile(r"(?<=[.!?:;])\s+|\n+")


@dataclass(frozen=True)
class Straw:
    """One prompt of the hay; facets are slugs, `activity` is never negative, `proven` from 0 to 1."""

    number: int
    title: str
    summary: str
    text: str
    language: str
    departments: Sequence[str]
    tools: Sequence[str]
    use_cases: Sequence[str]
    tags: Sequence[str]
    activity: float
    proven: float
    votes: int
    published: datetime

    @property
    def slug(self) -> str:
        return f"hay-{self.number}"


@dataclass
class Zipf:
    """Draws from a sequence, the first most often."""

    values: Sequence[str]
    weights: list[float] = field(init=False)

    def __post_init__(self) -> None:
        shares = (1 / rank**ZIPF for rank in range(1, len(self.values) + 1))
        self.weights = list(itertools.accumulate(shares))

    def some(self, chance: random.Random, most: int) -> list[str]:
        """From one to `most` values, each once."""
        drawn = chance.choices(self.values, cum_weights=self.weights, k=chance.randint(1, most))
        return list(dict.fromkeys(drawn))


@dataclass(frozen=True)
class _Pool:
    """What one language is resampled from: the sentences of each source with its title in words."""

    sources: Sequence[Sequence[str]]
    titles: Sequence[Sequence[str]]
    """Of the sources, in their order; none in French."""


def straws(count: int, departments: Sequence[str], now: datetime) -> Iterator[Straw]:
    """That many prompts, always the same ones; `now` is the day of the newest."""
    chance = random.Random(SEED)
    pools = _pools()
    facets = (Zipf(departments), Zipf(TOOLS), Zipf(USE_CASES), Zipf(TAGS))
    for number in range(1, count + 1):
        language = "fr" if chance.random() < FRENCH_SHARE else "en"
        pool = pools[language]
        source = chance.randrange(len(pool.sources))
        title = _mixed_title(pool, source, chance) if pool.titles else _french_title(chance)
        coined = _coined(chance) if chance.random() < COINED_SHARE else ""
        text = _text(pool.sources[source], chance, coined)
        activity, proven = standing(chance)
        yield Straw(
            number=number,
            title=f"{title} ({coined})" if coined and chance.random() < COINED_SHARE else title,
            summary=chance.choice(pool.sources[source])[:300],
            text=text,
            language=language,
            departments=facets[0].some(chance, 2),
            tools=facets[1].some(chance, 3),
            use_cases=facets[2].some(chance, 2),
            tags=facets[3].some(chance, 4),
            activity=activity,
            proven=proven,
            votes=min(MOST_VOTES, int(activity)),
            published=now - timedelta(days=DAYS * chance.random()),
        )


def standing(chance: random.Random) -> tuple[float, float]:
    """Liveliness and lower bound of 'worked' of a prompt of the hay, and of one buried in it."""
    activity = chance.paretovariate(ACTIVITY_TAIL) - 1
    return activity, chance.betavariate(2, 2) if activity > 1 else 0.0


def needles() -> frozenset[str]:
    """Plain titles of all prompts that a judged query looks for."""
    return frozenset().union(*(one.relevant for name in SETS for one in load(name)))


def _text(source: Sequence[str], chance: random.Random, coined: str) -> str:
    """Runs of sentences of one source, in any order."""
    wanted = min(LONGEST_TEXT, chance.lognormvariate(MEDIAN_LOG_LENGTH, LENGTH_SPREAD))
    parts, length = ([coined] if coined else []), 0
    while length < wanted:
        start = chance.randrange(len(source))
        run = source[start : start + chance.choice(RUN_LENGTHS)]
        parts += run
        length += sum(map(len, run))
    return " ".join(parts)


def _mixed_title(pool: _Pool, source: int, chance: random.Random) -> str:
    """The first half of its own title and the second half of another."""
    first, second = pool.titles[source], chance.choice(pool.titles)
    return " ".join((*first[: (len(first) + 1) // 2], *second[len(second) // 2 :]))[:150]


def _french_title(chance: random.Random) -> str:
    place = (
        chance.choice(_FRENCH_PLACES)
        if chance.random() < PLAIN_PLACES
        else f"pour {_coined(chance)}"
    )
    return f"{chance.choice(_FRENCH_VERBS)} {chance.choice(_FRENCH_THINGS)} {place}"


def _coined(chance: random.Random) -> str:
    """A made-up name; some are on everybody's lips and most are met a few times."""
    number = int(COINED_NAMES ** chance.random())
    syllables = [
        _SYLLABLES[number // len(_SYLLABLES) ** place % len(_SYLLABLES)] for place in range(4)
    ]
    return "".join(syllables).capitalize()


@cache
def _pools() -> dict[str, _Pool]:
    left_out = needles() | neighbours()
    english = [
        one for one in imported() if one.language == "en" and plain_title(one.title) not in left_out
    ]
    talk = [Source("", text, "fr") for text in demo_talk("fr")]
    # The stories told in write-ups are of no use here: each tells of the prompt it stands beside.
    talk += [
        one
        for one in demo_prompts()
        if one.language == "fr" and plain_title(one.title) not in left_out
    ]
    cut = [(one.title.split(), _sentences(one.text)) for one in english]
    whole = [(title, sentences) for title, sentences in cut if sentences]
    return {
        "en": _Pool([sentences for _, sentences in whole], [title for title, _ in whole]),
        "fr": _Pool(_by_tens([s for one in talk for s in _sentences(one.text)]), ()),
    }


def _sentences(text: str) -> list[str]:
    cut = (" ".join(sentence.split()) for sentence in _SENTENCE.split(text))
    return [s for s in cut if len(s) in SENTENCE_LENGTHS and " " in s]


def _by_tens(sentences: Sequence[str]) -> list[Sequence[str]]:
    """Short texts joined by tens, so that a run of sentences finds a next one."""
    return [sentences[start : start + 10] for start in range(0, len(sentences), 10)]
