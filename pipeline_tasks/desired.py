"""What a server is to do with a model's versions: `desired.json` beside the version folders.

Without the file a server loads the highest version and lets it answer, as TensorFlow Serving does.
Deployment writes it, servers read it at every poll; nothing else tells a server what to serve.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError, model_validator

from pipeline_tasks.core.errors import ArtifactError
from pipeline_tasks.core.store import write_text
from pipeline_tasks.core.values import Frozen

FILE = "desired.json"
BUCKETS = 10_000


class Trial(Frozen):
    """A candidate that shows itself beside the version that answers by default."""

    version: int = Field(ge=1)
    mode: Literal["canary", "shadow"] = Field(
        description="canary: answers its share of the requests; shadow: answers in the "
        "background, and the client gets the default version's answer."
    )
    percent: float = Field(ge=0, le=100, description="Share of the requests, by their key.")
    until: str = Field(
        description="UTC, as clock.text writes it. After that moment servers go back to the "
        "default version: whoever conducts the trial renews it, and a trial nobody conducts ends."
    )


class Desired(Frozen):
    """The desired state of one model in every server that watches its folder."""

    policy: Literal["latest", "all", "specific"] = "latest"
    latest: int = Field(1, ge=1, description="How many of the highest versions are loaded.")
    specific: tuple[int, ...] = Field((), description="The versions loaded, for that policy.")
    labels: dict[str, int] = Field(
        {}, description="Names for versions; one moves only once its version is AVAILABLE."
    )
    default: int | None = Field(
        None,
        description="Who answers a request that names no version; unless given, or while it is "
        "not AVAILABLE, the highest version that is.",
    )
    trial: Trial | None = None

    @model_validator(mode="after")
    def _what_is_named_is_there(self) -> Self:
        if (self.policy == "specific") != bool(self.specific):
            raise ValueError("the policy specific names versions, and no other does")
        if self.trial and self.default is None:
            raise ValueError("a trial needs `default`: who answers the other requests")
        return self


def read(folder: Path) -> Desired:
    """The desired state of the model in `folder`. Raises ArtifactError when it cannot be read."""
    path = folder / FILE
    try:
        return Desired.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Desired()
    except ValidationError as error:
        raise ArtifactError(
            f"{path} is no desired state: {error}", fix="delete it, or deploy or roll back again"
        ) from None


def write(folder: Path, desired: Desired) -> None:
    """Replace the desired state in one atomic step."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / FILE, desired.model_dump_json(indent=1))


def is_chosen(model: str, key: str, percent: float) -> bool:
    """A request with this key belongs to a trial of this share; always the same ones do.

    >>> is_chosen("digits", "customer 7", 100), is_chosen("digits", "customer 7", 0)
    (True, False)
    """
    digest = hashlib.blake2b(f"{model}\0{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % BUCKETS < percent * BUCKETS / 100


def settled(version: int) -> Desired:
    """One version answers, under the names `champion` and `stable`."""
    labels = {"champion": version, "stable": version}
    return Desired(policy="specific", specific=(version,), labels=labels, default=version)


def beside(champion: int, candidate: int, trial: Trial | None = None) -> Desired:
    """The champion answers, with a candidate loaded beside it; on trial, or asked by number."""
    labels = settled(champion).labels | {"canary": candidate}
    return Desired(
        policy="specific",
        specific=(champion, candidate),
        labels=labels,
        default=champion,
        trial=trial,
    )
