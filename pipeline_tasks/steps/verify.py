"""Verify: before any traffic, the server's own code loads the candidate and answers questions."""

from __future__ import annotations

import json

from pipeline_tasks import golden
from pipeline_tasks.core.errors import DeploymentError
from pipeline_tasks.core.values import Ref
from pipeline_tasks.learning import load_tensorflow
from pipeline_tasks.run import Run, step


@step(reads=())
def verify(run: Run, exported: Ref) -> Ref:
    """Load the exported model as the server does and ask it what the trained model was asked.

    Writes the artifact `verified`: verified.json. Raises DeploymentError when an answer differs.
    """
    load_tensorflow()
    from pipeline_tasks.serving.inprocess import ask

    folder = run.open(exported)
    instances, expected = golden.questions(folder)
    body = json.dumps({"instances": instances}).encode()
    status, answer = ask(folder, run.config.name, body)
    if status != 200:
        raise DeploymentError(
            f"the server refuses the candidate with status {status}: {answer.decode()[:500]}",
            expected="answers to the golden questions",
            fix="read the message: it is what a client would get",
        )
    worst = golden.compare(expected, json.loads(answer)["predictions"], who="the server")
    with run.write("verified") as draft:
        content = {"questions": len(instances), "largest_difference": worst}
        (draft.folder / "verified.json").write_text(json.dumps(content))
        draft.summary |= content
    return draft.done()
