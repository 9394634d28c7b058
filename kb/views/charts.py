"""Geometry of the charts: numbers in, coordinates out. Pages draw them as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from kb.drift.queries import Night

_SMALL = (280, 64, 4, 6, 4, 6)
_LARGE = (760, 240, 44, 12, 28, 16)
"""Width, height, then the margins left, right, bottom, top, in SVG units."""
_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Point:
    """One night; coordinates are text, because a French page would put commas into floats."""

    x: str
    y: str
    night: Night
    tone: str


@dataclass(frozen=True)
class Tick:
    y: str
    share: float


@dataclass(frozen=True)
class Chart:
    """Pass rates over time, with the baseline's as the usual level."""

    width: int
    height: int
    left: str
    right: str
    points: Sequence[Point]
    path: str
    usual_y: str
    usual: float | None
    ticks: Sequence[Tick]
    first: datetime | None
    last: datetime | None


def pass_rate_chart(nights: Sequence[Night], *, is_small: bool) -> Chart:
    """A chart of the share of checks passed, night by night, evenly spaced."""
    width, height, left, right, bottom, top = _SMALL if is_small else _LARGE
    span = max(1, len(nights) - 1)

    def x(position: int) -> str:
        return f"{left + (width - left - right) * position / span:.1f}"

    def y(share: float) -> str:
        return f"{height - bottom - (height - top - bottom) * share:.1f}"

    points = [
        Point(
            x=x(i),
            y=y(night.pass_rate if night.pass_rate is not None else 0),
            night=night,
            tone=_tone(night),
        )
        for i, night in enumerate(nights)
    ]
    drawn = [point for point in points if point.night.pass_rate is not None]
    usual = next((night.pass_rate for night in reversed(nights) if night.kind == "baseline"), None)
    return Chart(
        width=width,
        height=height,
        left=str(left),
        right=str(width - right),
        points=points,
        path=" ".join(f"{'L' if i else 'M'}{point.x} {point.y}" for i, point in enumerate(drawn)),
        usual_y=y(usual) if usual is not None else "",
        usual=usual,
        ticks=[Tick(y(share), share) for share in _TICKS],
        first=nights[0].slot if nights else None,
        last=nights[-1].slot if nights else None,
    )


def _tone(night: Night) -> str:
    if night.pass_rate is None:
        return "none"
    return "bad" if night.verdict == "drifted" else "usual"
