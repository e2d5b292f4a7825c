"""May what has learned the rows that judged a candidate, too, answer in its place?"""

from __future__ import annotations

from pipeline_tasks.core.values import Answer, Verdict
from pipeline_tasks.sections.production import Retraining


def refitting(rules: Retraining, *, changed: float, rows: int) -> Verdict:
    """Yes when it answers the rows that judged almost as the proven candidate does.

    Their labels prove nothing of a model that has learned them; how far it is from the one they
    have proven needs no label, and bounds what is lost there. Elsewhere it may be a little further
    off, as it has learned to be right here: the release's watch is for that.
    changed: the share of rows with another class, by which accuracy may differ at most; of a
    number, the root mean squared change as a share of the candidate's own error, by which rmse may
    grow at most.

    >>> refitting(Retraining(), changed=0.02, rows=500).answer.value
    'yes'
    """
    within = changed <= rules.refit_change
    what = f"refit with the {rows} rows that judged, it answers {changed:.2%} of them otherwise"
    limit = f"{rules.refit_change:.0%} is allowed"
    if within:
        return Verdict(answer=Answer.YES, reasons=(f"{what}, {limit}: the refit answers",))
    return Verdict(answer=Answer.NO, reasons=(f"{what}, {limit}: the proven candidate answers",))
