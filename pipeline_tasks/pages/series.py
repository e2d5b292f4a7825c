"""A pipeline's numbers over time, as charts with what happened on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

from markupsafe import Markup

from pipeline_tasks.core import clock
from pipeline_tasks.core.store import RETRAINING
from pipeline_tasks.core.values import Answer, HistoryEntry
from pipeline_tasks.pages.charts import WIDE, Axis, Chart, Level, Line, Mark, Point
from pipeline_tasks.pages.quality import Limit
from pipeline_tasks.pages.reading import Estimate, Look

MOST_POINTS = 240
DAY_SECONDS = 86_400


def moment(text: str) -> float:
    """Seconds since 1970."""
    return clock.parse(text).timestamp()


def when(looks: Sequence[Look]) -> Axis:
    """Time, in UTC, as fine as the looks are apart."""
    span = moment(looks[-1].at) - moment(looks[0].at) if len(looks) > 1 else 0.0
    style = "%b %d" if span > 3 * DAY_SECONDS else "%H:%M" if span > 600 else "%H:%M:%S"

    def tick(value: float) -> str:
        return datetime.fromtimestamp(value, UTC).strftime(style)

    return Axis("", tick, moment(looks[0].at), moment(looks[-1].at))


def marks(history: Sequence[HistoryEntry]) -> list[Mark]:
    """Promotions, rollbacks and decisions to train again."""
    found = []
    for entry in history:
        at = moment(entry.at)
        if entry.event in ("promotion", "rollback"):
            css = "mark-version" if entry.event == "promotion" else "mark-rollback"
            text = f"{entry.event} of version {entry.version}, {entry.at[:16]}"
            found.append(Mark(at, text, css))
        elif entry.event == RETRAINING and entry.answer is Answer.YES:
            found.append(Mark(at, f"retraining decided, {entry.at[:16]}", "mark-retrain"))
    return found


def quality(
    looks: Sequence[Look],
    history: Sequence[HistoryEntry],
    limit: Limit | None,
    metric: str,
) -> Markup:
    """Realised quality with its interval, estimated quality with its band, and where it alarms."""
    if not looks:
        return Markup("")
    realised = list(_estimates(looks, lambda look: look.quality, metric))
    estimated = list(_estimates(looks, lambda look: look.estimated, f"estimated {metric}"))
    levels = []
    if limit is not None:
        levels = [
            Level(limit.alarm, f"alarm at {limit.alarm:.4g}"),
            Level(limit.promoted, f"promoted with {limit.promoted:.4g}", "promoted"),
        ]
    return Chart(
        f"{metric} in production over time",
        when(looks),
        Axis(metric),
        [
            Line("realised, with 95 % interval", "realised", thinned(realised)),
            Line("estimated without labels, with band", "estimated", thinned(estimated)),
        ],
        marks(history),
        levels,
        width=WIDE,
    ).svg()


def _estimates(
    looks: Sequence[Look], of: Callable[[Look], Estimate | None], name: str
) -> Iterator[Point]:
    for look in looks:
        found = of(look)
        if found is not None:
            ends = "" if found.low is None else f" ({found.low:.4g} to {found.high:.4g})"
            tip = f"{look.at[:16]}: {name} {found.value:.4g}{ends}, {found.rows} rows"
            yield Point(moment(look.at), found.value, found.low, found.high, tip)


def service(looks: Sequence[Look], latency_limit: float, memory_limit: float) -> list[Markup]:
    """Latency, errors and memory."""
    if not looks:
        return []
    latency = [_latency(looks, share) for share in ("p50", "p95", "p99")]
    top = max([p.y for line in latency for p in line.points], default=0.0)
    near = [Level(latency_limit, f"limit {latency_limit:g} ms")] if top > latency_limit / 4 else []
    memory = Line("memory", "realised", _points(looks, lambda one: one.memory_mb, "MB"))
    highest = max([p.y for p in memory.points], default=0.0)
    full = [Level(memory_limit, f"limit {memory_limit:g} MB")] if highest > memory_limit / 4 else []
    errors = Line("failed requests", "bad-line", _points(looks, lambda one: one.errors, "failed"))
    sent = Line(
        "predictions", "realised", _points(looks, lambda one: one.predictions, "predictions")
    )
    axis = when(looks)
    return [
        Chart("Latency over time", axis, Axis("ms", first=0), latency, (), near, 190).svg(),
        Chart("Requests over time", axis, Axis("rows", first=0), [sent, errors], height=190).svg(),
        Chart(
            "Memory of the server over time", axis, Axis("MB", first=0), [memory], (), full, 190
        ).svg(),
    ]


def _latency(looks: Sequence[Look], share: str) -> Line:
    points = _points(looks, lambda one: one.latency_ms.get(share), "ms")
    return Line(share, f"share-{share}", points)


def _points(
    looks: Sequence[Look], of: Callable[[Look], float | None], unit: str
) -> Sequence[Point]:
    found = [(look, of(look)) for look in looks]
    return thinned(
        [
            Point(moment(look.at), value, tip=f"{look.at[:16]}: {value:.4g} {unit}")
            for look, value in found
            if value is not None
        ]
    )


def thinned(points: Sequence[Point]) -> Sequence[Point]:
    """At most so many points: of each stretch the lowest and the highest, so that no peak is lost.

    >>> len(thinned([Point(x, x % 7) for x in range(5000)])) <= MOST_POINTS
    True
    """
    if len(points) <= MOST_POINTS:
        return points
    each = -(-len(points) // (MOST_POINTS // 2))
    found: list[Point] = []
    for start in range(0, len(points), each):
        part = points[start : start + each]
        ends = {min(part, key=lambda p: p.y), max(part, key=lambda p: p.y)}
        found += sorted(ends, key=lambda p: p.x)
    return found
