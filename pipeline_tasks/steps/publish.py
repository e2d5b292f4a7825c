"""Publish: the candidate is loaded beside the champion, which goes on answering alone."""

from __future__ import annotations

import json
import logging

from pipeline_tasks.core.values import Ref
from pipeline_tasks.release import desired, publishing, quarantine, releasing
from pipeline_tasks.run import Run, step
from pipeline_tasks.sections import logged

log = logging.getLogger(__name__)


@step(reads=("target",), reusable=False)
def publish(run: Run, exported: Ref, verified: Ref, model: Ref) -> Ref:
    """Put the candidate beside the champion as the next version, and ask it the golden questions.

    The desired state is written first, so that no server lets a new version answer by accident.
    What a run that died has left behind is withdrawn. When the target does not take the candidate,
    it is withdrawn. Writes the artifact `published`: published.json.
    Raises QuarantineError for a model that was taken away before, and DeploymentError or
    TransientError, both of which are retried.
    """
    quarantine.refuse(run, model)
    run.open(verified)
    source = run.open(exported)
    with releasing.target_of(run) as target:
        target.check_ready()
        champion = run.store.champion(run.config.name)
        version = publishing.next_version(source, target.folder)
        if version not in publishing.versions(target.folder):
            releasing.settle(run, target)
        beside = desired.beside(champion.version, version) if champion else None
        target.serve(beside or desired.settled(version))
        logged.write(target.folder, run.config.logged)
        target.publish(source)
        log.info("published version %s; waiting for the target to load it", version)
        try:
            target.rehearse(version, source)
        except BaseException:  # whatever it was, a version nobody has confirmed must not answer
            releasing.settle(run, target)
            log.error("withdrew version %s: the champion stays as it was", version)
            raise
    with run.write("published") as draft:
        content = {"version": version, "champion": champion.version if champion else None}
        (draft.folder / "published.json").write_text(json.dumps(content))
        draft.summary |= content
    return draft.done()
