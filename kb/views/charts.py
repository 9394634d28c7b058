"""Geometry of the charts: numbers in, coordinates out. Pages draw them as SVG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby

from kb.drift.queries import Night

_SMALL = (280, 64, 6, 6, 6, 8)
_LARGE = (760, 250, 46, 14, 30, 16)
_NARROW = (340, 230, 44, 10, 28, 14)
"""Width, height, then the margins left, right, bottom, top, in SVG units. The narrow one is for
phones, where the large one would shrink its words beyond reading."""
_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
_THINNEST_BAND = 2.0
"""Usual nights may all be the same; a strip of no height would not be seen."""
_DATES = {_LARGE: 6, _NARROW: 3}
"""How many dates fit under a chart."""


@dataclass(frozen=True)
class Point:
    """One night; coordinates are text, because a French page would put commas into floats.

    `tone` is usual, bad (drifted), warn (suspect), base (a baseline), hollow (not judged) or none
    (no answer to judge; drawn at the foot). `shape` is the path of its mark, so that nobody needs
    colours to tell them apart.
    """

    x: str
    y: str
    night: Night
    tone: str
    shape: str


@dataclass(frozen=True)
class Tick:
    y: str
    share: float


@dataclass(frozen=True)
class DateTick:
    """A date under the chart; `anchor` keeps the first and the last inside."""

    x: str
    day: datetime
    anchor: str


@dataclass(frozen=True)
class Span:
    """Neighbouring nights that drifted, from edge to edge."""

    x: str
    width: str


@dataclass(frozen=True)
class Chart:
    """Pass rates over time, with what the baseline passed as the usual level.

    `usual_path` follows the baselines: each step is a new one. `usual` is the level of today.
    """

    width: int
    height: int
    left: str
    right: str
    top: str
    plot_width: str
    plot_height: str
    foot: str
    points: Sequence[Point]
    path: str
    usual_path: str
    usual: float | None
    ticks: Sequence[Tick]
    dates: Sequence[DateTick]
    spans: Sequence[Span]
    band: tuple[float, float] | None = None
    """Where usual nights lie; `band_y` and `band_height` draw it."""
    band_y: str = ""
    band_height: str = ""

    @property
    def is_one_day(self) -> bool:
        """Whether times tell more than dates."""
        days = {point.night.slot.date() for point in self.points}
        return len(days) == 1

    @property
    def tones(self) -> frozenset[str]:
        """The marks that occur, for the legend."""
        return frozenset(point.tone for point in self.points)


def pass_rate_chart(nights: Sequence[Night], *, is_small: bool, is_narrow: bool = False) -> Chart:
    """A chart of the share of checks passed, run by run, evenly spaced."""
    size = _SMALL if is_small else _NARROW if is_narrow else _LARGE
    return _Drawing(nights, size).chart()


def likeness_chart(
    nights: Sequence[Night],
    band: tuple[float, float] | None,
    *,
    is_narrow: bool = False,
) -> Chart:
    """A chart of how alike the answers are to the usual ones, with the band of usual nights."""
    shown = [replace(night, pass_rate=night.likeness, usual=None) for night in nights]
    drawing = _Drawing(shown, _NARROW if is_narrow else _LARGE)
    chart = drawing.chart()
    if band is None:
        return chart
    y, height = drawing.band(*band)
    return replace(chart, band=band, band_y=y, band_height=height)


class _Drawing:
    """The nights on a sheet of one size."""

    def __init__(self, nights: Sequence[Night], size: tuple[int, int, int, int, int, int]) -> None:
        self.nights = nights
        self.size = size
        self.width, self.height, self.left, self.right, self.bottom, self.top = size
        self.radius = 2.5 if size == _SMALL else 4.0

    def chart(self) -> Chart:
        levels = [night.usual for night in self.nights if night.usual is not None]
        rates = [
            (place, night.pass_rate)
            for place, night in enumerate(self.nights)
            if night.pass_rate is not None
        ]
        return Chart(
            width=self.width,
            height=self.height,
            left=str(self.left),
            right=str(self.width - self.right),
            top=str(self.top),
            plot_width=str(self.width - self.left - self.right),
            plot_height=str(self.height - self.top - self.bottom),
            foot=str(self.height - 8),
            points=[self._point(place, night) for place, night in enumerate(self.nights)],
            path=" ".join(
                f"{'L' if i else 'M'}{_text(self._x(place))} {_text(self._y(rate))}"
                for i, (place, rate) in enumerate(rates)
            ),
            usual_path=" ".join(self._usual()),
            usual=levels[-1] if levels else None,
            ticks=[Tick(_text(self._y(share)), share) for share in _TICKS],
            dates=self._dates(),
            spans=list(self._spans()),
        )

    def band(self, low: float, high: float) -> tuple[str, str]:
        """Top and height of the strip between two levels."""
        top, bottom = self._y(high), self._y(low)
        return _text(top), _text(max(bottom - top, _THINNEST_BAND))

    def _x(self, place: float) -> float:
        span = max(1, len(self.nights) - 1)
        return self.left + (self.width - self.left - self.right) * place / span

    def _y(self, share: float) -> float:
        return self.height - self.bottom - (self.height - self.top - self.bottom) * share

    def _point(self, place: int, night: Night) -> Point:
        x, y = self._x(place), self._y(night.pass_rate or 0.0)
        tone = _tone(night)
        return Point(_text(x), _text(y), night, tone, _mark(tone, x, y, self.radius))

    def _usual(self) -> Iterator[str]:
        """The steps of the baseline's level; nights without one are bridged by their neighbours."""
        known = [(p, n.usual) for p, n in enumerate(self.nights) if n.usual is not None]
        for level, group in groupby(known, key=lambda item: item[1]):
            places = [place for place, _level in group]
            start = max(self.left, self._x(places[0] - 0.5))
            end = min(self.width - self.right, self._x(places[-1] + 0.5))
            yield f"M{_text(start)} {_text(self._y(level))}H{_text(end)}"

    def _dates(self) -> list[DateTick]:
        wanted = _DATES.get(self.size, 0)
        last = len(self.nights) - 1
        if not wanted or last < 0:
            return []
        places = sorted({round(last * i / (wanted - 1)) for i in range(wanted)})
        anchors = {0: "start", last: "end"}
        return [
            DateTick(_text(self._x(p)), self.nights[p].slot, anchors.get(p, "middle"))
            for p in places
        ]

    def _spans(self) -> Iterator[Span]:
        for has_drifted, group in groupby(
            enumerate(self.nights), key=lambda item: item[1].verdict == "drifted"
        ):
            if has_drifted:
                places = [place for place, _night in group]
                start = max(self.left, self._x(places[0] - 0.5))
                end = min(self.width - self.right, self._x(places[-1] + 0.5))
                yield Span(_text(start), _text(max(end - start, 1.0)))


def _text(number: float) -> str:
    return f"{number:.1f}"


def _mark(tone: str, x: float, y: float, radius: float) -> str:
    """A disc, a diamond for what drifted, a triangle for a suspicion, a square for a baseline."""
    r = radius * (1.0 if tone in ("usual", "none", "hollow") else 1.35)
    corners = {
        "bad": ((0, -r), (r, 0), (0, r), (-r, 0)),
        "warn": ((0, -r), (r, r * 0.8), (-r, r * 0.8)),
        "base": (
            (-r * 0.8, -r * 0.8),
            (r * 0.8, -r * 0.8),
            (r * 0.8, r * 0.8),
            (-r * 0.8, r * 0.8),
        ),
    }.get(tone)
    if corners:
        return "M" + "L".join(f"{_text(x + dx)} {_text(y + dy)}" for dx, dy in corners) + "Z"
    arc = f"A{_text(r)} {_text(r)} 0 1 0"
    return (
        f"M{_text(x - r)} {_text(y)}{arc} {_text(x + r)} {_text(y)}{arc} {_text(x - r)} {_text(y)}Z"
    )


def _tone(night: Night) -> str:
    if night.pass_rate is None:
        return "none"
    if night.kind == "baseline":
        return "base"
    tones = {"drifted": "bad", "suspect": "warn", "stable": "usual"}
    return tones.get(night.verdict, "hollow")
