"""Retraining policies on three streams: accuracy, trainings, CPU and recovery of each.

SEA and the hyperplane have seeds 1, 2 and 3; what decides was chosen on others, and on the first
15,000 rows of electricity: the rows after them, which were held out, are shown on their own.
Usage: python -m bench.replay [FOLDER]: the charts and the trainings with their reasons go there.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from statistics import mean

from rich.console import Console

from bench.measure import data
from pipeline_tasks.replay import living, report, streams
from pipeline_tasks.replay.living import Life
from pipeline_tasks.replay.policies import USUAL, Rules
from pipeline_tasks.replay.streams import Stream
from pipeline_tasks.sections.production import Budget

SEEDS, HELD_OUT = (1, 2, 3), 15_000
# Days until the age of a model calls for training, and of a budget of 11 trainings.
FRONTIER = ((5, 45), (20, 180), (40, 360))


def main() -> None:
    """Measure every policy, then triggered with other budgets; a CPU minute or two."""
    say = Console(stderr=True).print
    market = streams.electricity(data("electricity.csv"))
    groups = {
        "electricity": [market],
        "sea": [streams.sea(seed) for seed in SEEDS],
        "hyperplane": [streams.hyperplane(seed) for seed in SEEDS],
    }
    found: dict[str, object] = {"bench": "replay"}
    for name, of in groups.items():
        say(f"{name} ...")
        lives = [life for one in of for life in living.lives(one, tuple(living.POLICIES), USUAL)]
        result = report.as_json(lives)
        if len(sys.argv) > 1:
            report.write(lives, Path(sys.argv[1]))
        Console(width=120).print(report.table(result))
        if name == "electricity":
            found["electricity, held out"] = _held_out(lives)
            print(f"  rows after {HELD_OUT:,}: {found['electricity, held out']}")
        frontier = [_frontier(of, age, days) for age, days in FRONTIER]
        for one in frontier:
            print(
                f"  age {one['age']}, 11 in {one['days']} days: {one['trainings']} trainings, "
                f"{one['triggered']:.4f}; calendar with as many {one['calendar']:.4f}",
                flush=True,
            )
        found[name] = {"policies": _short(result), "frontier": frontier}
    print(json.dumps(found))


def _held_out(lives: list[Life]) -> dict[str, float]:
    """Accuracy on the rows that nothing was chosen on."""
    start = HELD_OUT - lives[0].stream.first_rows
    return {life.policy: round(float(life.right[start:].mean()), 5) for life in lives}


def _frontier(of: list[Stream], age: int, days: int) -> dict[str, float]:
    rules = _rules(age, days)
    ours: list[Life] = []
    peers: list[Life] = []
    for stream in of:
        peer, mine = living.lives(stream, ("calendar", "triggered"), rules)
        ours.append(mine)
        peers.append(peer)
    return {
        "age": age,
        "days": days,
        "trainings": round(mean(len(one.events) for one in ours), 1),
        "triggered": round(mean(one.accuracy for one in ours), 5),
        "calendar": round(mean(one.accuracy for one in peers), 5),
    }


def _rules(age: int, days: int) -> Rules:
    budget = Budget(retrainings=11, days=days)
    retraining = USUAL.retraining.model_copy(update={"maximum_age_days": age, "budget": budget})
    return replace(USUAL, retraining=retraining)


def _short(result: dict[str, object]) -> dict[str, object]:
    policies = result["policies"]
    assert isinstance(policies, dict)
    return {
        name: {key: value for key, value in one.items() if key != "seeds"}
        for name, one in policies.items()
    }


if __name__ == "__main__":
    main()
