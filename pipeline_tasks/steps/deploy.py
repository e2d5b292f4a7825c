"""Deploy: the candidate answers everything, and is the champion from now on."""

from __future__ import annotations

import json

from pipeline_tasks.core import clock
from pipeline_tasks.core.values import Champion, HistoryEntry, Ref
from pipeline_tasks.release import desired, quarantine, releasing
from pipeline_tasks.run import Run, step
from pipeline_tasks.validation import card


@step(reads=("target",), reusable=False)
def deploy(
    run: Run,
    published: Ref,
    verified: Ref,
    exported: Ref,
    verdict: Ref,
    evaluation: Ref,
    model: Ref,
    prepared: Ref,
) -> Ref:
    """Let the candidate answer, wait until it does, and promote it.

    When the target does not take it, the champion answers again.
    Writes the artifact `deployment`: deployment.json, and card.md, the version's model card.
    Raises QuarantineError for a model that was taken away before, and DeploymentError or
    TransientError, both of which are retried.
    """
    quarantine.refuse(run, model)
    run.open(verified)
    source = run.open(exported)
    described = card.of(run, run.inputs)
    version = int(str(published.summary["version"]))
    with releasing.target_of(run) as target:
        target.check_ready()
        before = run.store.champion(run.config.name)
        target.serve(desired.settled(version))
        try:
            target.confirm(version, source)
        except BaseException:  # whatever it was, a version nobody has confirmed must not answer
            if before:
                target.serve(desired.beside(before.version, version))
            raise
        champion = Champion(
            version=version,
            run=run.id,
            model=model,
            evaluation=evaluation,
            prepared=prepared,
            exported=exported,
            promoted_at=clock.text(clock.now()),
        )
        said = (verdict.summary.get("reasons"), exported.summary.get("refit"))
        previous = _promote(run, champion, before, "; ".join(str(one) for one in said if one))
    with run.write("deployment") as draft:
        content = {"version": version, "previous_version": previous}
        (draft.folder / "deployment.json").write_text(json.dumps(content))
        (draft.folder / card.FILE).write_text(card.titled(run, version, described))
        draft.summary |= content
    return draft.done()


def _promote(run: Run, champion: Champion, before: Champion | None, reasons: str) -> int | None:
    name = run.config.name
    run.store.set_champion(name, champion)
    if before and before.version == champion.version:
        return releasing.followed(run, champion.version)
    previous = before.version if before else None
    entry = HistoryEntry(
        at=champion.promoted_at,
        event="promotion",
        run=run.id,
        by=run.by,
        reasons=tuple(reasons.split("; ")),
        version=champion.version,
        previous_version=previous,
    )
    run.store.record(name, entry)
    return previous
