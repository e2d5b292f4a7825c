"""What a server is to do with a model's versions: `desired.json` beside the version folders.

Without the file a server loads the highest version and lets it answer, as TensorFlow Serving does.
Deployment writes it, servers read it at every poll; nothing else tells a server what to serve.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Literal, Self

from pydantic import Field, ValidationError, model_validator

from pipeline_tasks.core.bucket import Bucket, Place
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

    def loaded(self, present: Collection[int]) -> set[int]:
        """The versions to load, of those present: what the policy says, and what is named.

        >>> sorted(Desired(default=1).loaded([1, 2, 3]))
        [1, 3]
        """
        by_policy = {
            "latest": sorted(present)[-self.latest :],
            "all": present,
            "specific": self.specific,
        }
        trial = self.trial.version if self.trial else None
        named = {self.default, *self.labels.values(), trial}
        return set(present) & (named | set(by_policy[self.policy]))


def read(folder: Place) -> Desired:
    """The desired state of the model in `folder`. Raises ArtifactError when it cannot be read."""
    try:
        text = folder.read(FILE) if isinstance(folder, Bucket) else (folder / FILE).read_bytes()
        return Desired() if text is None else Desired.model_validate_json(text)
    except FileNotFoundError:
        return Desired()
    except ValidationError as error:
        raise ArtifactError(
            f"{folder / FILE} is no desired state: {error}",
            fix="delete it, or deploy or roll back again",
        ) from None


def write(folder: Place, desired: Desired) -> None:
    """Replace the desired state in one atomic step.

    In a bucket, raises TransientError when somebody else has since `look`.
    """
    text = desired.model_dump_json(indent=1)
    if isinstance(folder, Bucket):
        return folder.swap(FILE, text)
    folder.mkdir(parents=True, exist_ok=True)
    return write_text(folder / FILE, text)


def look(folder: Place) -> None:
    """Begin with what is desired now: who writes after this without having looked is too late."""
    if isinstance(folder, Bucket):
        folder.look(FILE)


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
