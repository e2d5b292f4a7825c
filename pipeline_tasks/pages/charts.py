"""Charts as SVG, drawn here: no script, no network, readable by a screen reader and on paper.

Colours are classes of pages.css, so that a chart is light or dark with its page.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDE, NARROW, HEIGHT = 1160, 430, 250
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 28, 30
LABEL = 16
TICKS = 5


@dataclass(frozen=True)
class Point:
    """One value, with its interval where it has one. tip: what pointing at it says."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    tip: str = ""


@dataclass(frozen=True)
class Line:
    """Points from left to right. css: its colour; dots: draw each point."""

    name: str
    css: str
    points: Sequence[Point]
    dots: bool = True


@dataclass(frozen=True)
class Mark:
    """Something that happened at x."""

    x: float
    text: str
    css: str = "mark"


@dataclass(frozen=True)
class Level:
    """A threshold."""

    y: float
    text: str
    css: str = "limit"


@dataclass(frozen=True)
class Axis:
    """What an axis shows. label: with the unit; tick: how a value reads."""

    label: str
    tick: Callable[[float], str] = lambda value: f"{value:.4g}"
    first: float | None = None
    last: float | None = None


@dataclass(frozen=True)
class Chart:
    """Lines over a common axis. title: what it shows, in words."""

    title: str
    x: Axis
    y: Axis
    lines: Sequence[Line]
    marks: Sequence[Mark] = ()
    levels: Sequence[Level] = ()
    height: int = HEIGHT
    width: int = NARROW
    has_legend: bool = True

    def svg(self) -> Markup:
        """The chart; where there is no point to draw, nothing."""
        if not any(line.points for line in self.lines):
            return Markup("")
        body = Markup("").join(self._parts())
        keys = Markup("").join(self._keys()) if self.has_legend else Markup("")
        return Markup(
            '<figure class="chart"><div class="scroll"><svg style="{}" class="{}" '
            'viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg></div>{}</figure>'
        ).format(*_sized(self.width), self.width, self.height, self.told, body, keys)

    @property
    def told(self) -> str:
        """The chart in words and numbers, for who cannot see it."""
        lines = [self._line_told(line.name, line.points) for line in self.lines if line.points]
        return "; ".join([self.title, *lines, *(level.text for level in self.levels)])

    def _line_told(self, name: str, points: Sequence[Point]) -> str:
        ends = [f"{self.y.tick(p.y)} at {self.x.tick(p.x)}" for p in (points[0], points[-1])]
        values = [p.y for p in points]
        low, high = self.y.tick(min(values)), self.y.tick(max(values))
        return f"{name}: from {ends[0]} to {ends[1]}, between {low} and {high}"

    def _keys(self) -> Iterator[Markup]:
        names = [(line.css, line.name) for line in self.lines if line.points]
        names += [(level.css, level.text) for level in self.levels]
        names += list(dict.fromkeys((mark.css, mark.text.split(" ")[0]) for mark in self.marks))
        yield Markup("<figcaption>")
        for css, name in names:
            yield Markup('<span class="key"><i class="{}"></i>{}</span>').format(css, name)
        yield Markup("</figcaption>")

    def _parts(self) -> Iterator[Markup]:
        xs = _scale(
            [p.x for line in self.lines for p in line.points], self.x, LEFT, self.width - RIGHT
        )
        values = [
            value
            for line in self.lines
            for p in line.points
            for value in (p.y, p.low, p.high)
            if value is not None
        ] + [level.y for level in self.levels]
        ys = _scale(values, self.y, _bottom(self), TOP, margin=0.06)
        yield from self._grid(xs, ys)
        for level in self.levels:
            yield Markup('<line class="{}" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
                level.css, LEFT, self.width - RIGHT, _r(ys(level.y)), _r(ys(level.y))
            )
        for mark in self.marks:
            if xs.first <= mark.x <= xs.last:
                yield Markup(
                    '<line class="{}" x1="{}" x2="{}" y1="{}" y2="{}"><title>{}</title></line>'
                ).format(mark.css, _r(xs(mark.x)), _r(xs(mark.x)), TOP, _bottom(self), mark.text)
        for line in self.lines:
            yield from _drawn(line, xs, ys)

    def _grid(self, xs: Scale, ys: Scale) -> Iterator[Markup]:
        for value in _ticks(ys.first, ys.last):
            yield Markup('<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
                LEFT, self.width - RIGHT, _r(ys(value)), _r(ys(value))
            )
            yield Markup('<text class="tick end" x="{}" y="{}">{}</text>').format(
                LEFT - 7, _r(ys(value) + 4), self.y.tick(value)
            )
        last = TICKS - 1
        for number in range(TICKS):
            value = xs.first + (xs.last - xs.first) * number / last
            anchor = "start" if number == 0 else "end" if number == last else "middle"
            yield Markup('<text class="tick {}" x="{}" y="{}">{}</text>').format(
                anchor, _r(xs(value)), _bottom(self) + 18, self.x.tick(value)
            )
        yield Markup('<text class="tick" x="4" y="14">{}</text>').format(self.y.label)
        yield Markup('<text class="tick middle" x="{}" y="{}">{}</text>').format(
            (LEFT + self.width - RIGHT) // 2, self.height - 4, self.x.label
        )


@dataclass(frozen=True)
class Scale:
    """From values to the drawing."""

    first: float
    last: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.first) / (self.last - self.first) * (
            self.end - self.start
        )


def _scale(
    values: Sequence[float], axis: Axis, start: float, end: float, *, margin: float = 0.0
) -> Scale:
    known = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = min(known), max(known)
    if high - low < 1e-12:
        low, high = low - (abs(low) * 0.1 or 0.5), high + (abs(high) * 0.1 or 0.5)
    room = (high - low) * margin
    first = axis.first if axis.first is not None else low - room
    last = axis.last if axis.last is not None else high + room
    return Scale(min(first, low), max(last, high), start, end)


def _ticks(first: float, last: float) -> list[float]:
    """Round numbers between two.

    >>> _ticks(0.0, 1.0)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    raw = (last - first) / TICKS
    power = 10 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * 0.999)
    start = math.ceil(first / step - 1e-9)
    return [round(i * step, 12) for i in range(start, math.floor(last / step + 1e-9) + 1)]


def _drawn(line: Line, xs: Scale, ys: Scale) -> Iterator[Markup]:
    band = [p for p in line.points if p.low is not None and p.high is not None]
    if len(band) > 1:
        upper = [f"{_r(xs(p.x))},{_r(ys(p.high or 0))}" for p in band]
        lower = [f"{_r(xs(p.x))},{_r(ys(p.low or 0))}" for p in reversed(band)]
        yield Markup('<polygon class="band {}" points="{}"/>').format(
            line.css, " ".join(upper + lower)
        )
    at = " ".join(f"{_r(xs(p.x))},{_r(ys(p.y))}" for p in line.points)
    yield Markup('<polyline class="line {}" points="{}"/>').format(line.css, at)
    if line.dots:
        yield _dots(line, xs, ys)


def _dots(line: Line, xs: Scale, ys: Scale) -> Markup:
    """A page has hundreds; `Markup.format`, a `string.Formatter`, would be a third of its cost."""
    start = f'<circle class="dot {escape(line.css)}" r="3"'
    each = (
        f'{start} cx="{xs(p.x):.1f}" cy="{ys(p.y):.1f}"><title>{escape(p.tip)}</title></circle>'
        for p in line.points
    )
    return Markup("".join(each))  # noqa: S704 (each text in it is escaped)


def _sized(width: int) -> tuple[str, str]:
    """Smaller, a chart is scrolled instead; larger, its words would be too large."""
    least, name = (640, "wide") if width > NARROW else (300, "narrow")
    return f"min-width: {least}px; max-width: {round(width * 1.15)}px", name


def _bottom(chart: Chart) -> int:
    return chart.height - BOTTOM - (LABEL if chart.x.label else 0)


def _r(value: float) -> str:
    return f"{value:.1f}"


def overlay(
    names: Sequence[str], reference: Sequence[float], current: Sequence[float], title: str
) -> Markup:
    """Two distributions over the same cells, as bars side by side. Shares, each adding up to 1."""
    top = max([*reference, *current, 1e-9])
    wide = (WIDE - LEFT - RIGHT) / max(1, len(names))
    base = HEIGHT - BOTTOM
    parts = _share_lines(top, base)
    told = [
        f"{name}: reference {old:.1%}, current {new:.1%}"
        for name, old, new in zip(names, reference, current, strict=True)
    ]
    step = max(1, len(names) // 8)
    for number, (name, *both) in enumerate(zip(names, reference, current, strict=True)):
        for place, (css, share) in enumerate(zip(("reference", "current"), both, strict=True)):
            high = share / top * (base - TOP)
            parts.append(
                Markup(
                    '<rect class="{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>'
                ).format(
                    css,
                    _r(LEFT + number * wide + wide * (0.08 + 0.42 * place)),
                    _r(base - high),
                    _r(wide * 0.42),
                    _r(high),
                    f"{name}: {css} {share:.1%}",
                )
            )
        if number % step == 0:
            parts.append(
                Markup('<text class="tick middle" x="{}" y="{}">{}</text>').format(
                    _r(LEFT + (number + 0.5) * wide), base + 18, name[:14]
                )
            )
    keys = Markup("").join(
        Markup('<span class="key"><i class="{0}"></i>{0}</span>').format(css)
        for css in ("reference", "current")
    )
    return Markup(
        '<figure class="chart"><div class="scroll"><svg style="{}" class="{}" '
        'viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg></div>'
        "<figcaption>{}</figcaption></figure>"
    ).format(*_sized(WIDE), WIDE, HEIGHT, "; ".join([title, *told]), Markup("").join(parts), keys)


def _share_lines(top: float, base: int) -> list[Markup]:
    parts = []
    for value in _ticks(0, top):
        y = base - value / top * (base - TOP)
        line = Markup('<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>')
        text = Markup('<text class="tick end" x="{}" y="{}">{:.0%}</text>')
        parts.append(line.format(LEFT, WIDE - RIGHT, _r(y), _r(y)))
        parts.append(text.format(LEFT - 7, _r(y + 4), value))
    return parts
