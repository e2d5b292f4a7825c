"""Deploy: swap the candidate in, see it answer, and make it the champion."""

from __future__ import annotations

import json
import logging

from pipeline_tasks import logged, publishing
from pipeline_tasks.core import clock, registry
from pipeline_tasks.core.values import Champion, HistoryEntry, Ref
from pipeline_tasks.run import Run, step
from pipeline_tasks.validation import card

log = logging.getLogger(__name__)


@step(reads=("target",), reusable=False)
def deploy(
    run: Run, exported: Ref, verified: Ref, verdict: Ref, evaluation: Ref, model: Ref, prepared: Ref
) -> Ref:
    """Publish the candidate as the next version, wait until traffic is answered by it, promote it.

    When the target does not take it, the version is withdrawn and the champion stays.
    Writes the artifact `deployment`: deployment.json, and card.md, the version's model card.
    Raises DeploymentError or TransientError, both of which are retried.
    """
    target = run.config.target
    part = registry.part("targets", target.kind)
    params = registry.params("targets", target.kind, target.settings())
    run.open(verified)
    source = run.open(exported)
    described = card.of(run, run.inputs)
    part.check_ready(params, run)
    with run.store.lock(run.config.name):
        folder = part.folder(params, run)
        logged.write(folder, run.config.logged)
        version = publishing.publish(source, folder)
        log.info("published version %s; waiting for the target to take it", version)
        try:
            part.confirm(params, run, version, source)
        except BaseException:  # whatever it was, a version nobody has confirmed must not answer
            publishing.withdraw(folder, version)
            log.error("withdrew version %s: the champion stays as it was", version)
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
        previous = _promote(run, champion, str(verdict.summary.get("reasons", "")))
    with run.write("deployment") as draft:
        content = {"version": version, "previous_version": previous}
        (draft.folder / "deployment.json").write_text(json.dumps(content))
        (draft.folder / card.FILE).write_text(card.titled(run, version, described))
        draft.summary |= content
    return draft.done()


def _promote(run: Run, champion: Champion, reasons: str) -> int | None:
    name = run.config.name
    before = run.store.champion(name)
    run.store.set_champion(name, champion)
    if before and before.version == champion.version:
        return None
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
