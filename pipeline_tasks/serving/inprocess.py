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
    from pipeline_tasks.serving.service import Service
    from pipeline_tasks.serving.versions.model import load
    from pipeline_tasks.serving.versions.watched import Versions

    versions = Versions(folder.parent)
    versions.adopt(load(folder, name=model, version=1))
    service = Service(versions, store=None)
    app, path = App(service, labels=None), f"/v1/models/{model}:predict"
    try:
        with asyncio.Runner() as runner:
            yield lambda body: runner.run(_post(app, path, body))
    finally:
        service.close()


async def _post(app: object, path: str, body: bytes) -> tuple[int, bytes]:
    import httpx

    transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://inprocess") as client:
        reply = await client.post(path, content=body)
    return reply.status_code, reply.content
