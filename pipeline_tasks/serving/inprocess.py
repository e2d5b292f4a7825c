"""The same server around one version folder, in this process and without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def loaded(folder: Path, model: str) -> Iterator[Callable[[bytes], tuple[int, bytes]]]:
    """Load `folder` as the server does; what is yielded POSTs a body to its :predict.

    It returns status and body. Raises what loading raises: ArtifactError when the folder is not
    whole, TensorFlow's errors.
    """
    from pipeline_tasks.serving.rest.app import App
    from pipeline_tasks.serving.rest.exchange import Request
    from pipeline_tasks.serving.service import Service
    from pipeline_tasks.serving.versions.model import load
    from pipeline_tasks.serving.versions.watched import Versions

    versions = Versions(folder.parent)
    versions.adopt(load(folder, name=model, version=1))
    service = Service(versions, store=None)
    app, path = App(service, labels=None), f"/v1/models/{model}:predict"
    try:
        with asyncio.Runner() as runner:
            yield lambda body: runner.run(app.reply(Request("POST", path, {}, body)))[:2]
    finally:
        service.close()
