"""What a server keeps of the requests for a model: `logged.json` beside the version folders.

Without the file it keeps every request, with every column. Deployment writes it before a version
is published, and collecting when the pipeline file has changed; servers read it once a second.
"""

from __future__ import annotations

import hashlib

from pydantic import Field, ValidationError

from pipeline_tasks.core.bucket import Bucket, Place
from pipeline_tasks.core.errors import ArtifactError
from pipeline_tasks.core.store import write_text
from pipeline_tasks.core.values import Frozen

FILE = "logged.json"
BUCKETS = 2**32


class Logged(Frozen):
    """Which requests are logged, and with which inputs."""

    share: float = Field(1.0, ge=0, le=1)
    columns: tuple[str, ...] | None = Field(
        None, description="The inputs kept; anything else a client sends is on no disk. null: all."
    )

    def has(self, identity: str) -> bool:
        """The request with this prediction id is logged; always the same ones are.

        >>> Logged(share=1).has("a"), Logged(share=0).has("a")
        (True, False)
        """
        if self.share >= 1:
            return True
        # Salted: a canary's share may be drawn by the same ids, and must not be all that is kept.
        digest = hashlib.blake2b(identity.encode(), digest_size=4, person=b"logged").digest()
        return int.from_bytes(digest, "big") < self.share * BUCKETS


def read(folder: Place) -> Logged:
    """What is logged of the model in `folder`. Raises ArtifactError when it cannot be read."""
    try:
        text = folder.read(FILE) if isinstance(folder, Bucket) else (folder / FILE).read_bytes()
        return Logged() if text is None else Logged.model_validate_json(text)
    except FileNotFoundError:
        return Logged()
    except ValidationError as error:
        raise ArtifactError(
            f"{folder / FILE} does not say what is logged: {error}",
            fix="deploy again, or delete it",
        ) from None


def write(folder: Place, rules: Logged) -> None:
    """Tell the servers in one atomic step, if that is not what they know already."""
    text = rules.model_dump_json(indent=1)
    if isinstance(folder, Bucket):
        if folder.read(FILE) != text:
            folder.write(FILE, text)
        return
    path = folder / FILE
    if not path.is_file() or path.read_text() != text:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
