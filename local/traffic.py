"""Production traffic for the demo: real held-out digits, and a world that turns and gets noisy."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline_tasks.core.errors import PipelineError
from pipeline_tasks.core.store import write_text
from pipeline_tasks.serving.client import Client
from pipeline_tasks.sources import digits

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PIPELINE = "digits"
FIRST_HELD_OUT = 1097
NOISE = 1.5


@dataclass(frozen=True)
class Digits:
    """Scans (n, 8, 8), 0 to 16, and what they show (n,)."""

    images: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, rows: slice) -> Digits:
        """Some of them."""
        return Digits(self.images[rows], self.labels[rows])


@dataclass(frozen=True)
class Pools:
    """The 700 digits no source holds: 200 healthy, those and 300 more to drift, 200 to judge by."""

    healthy: Digits
    drifted: Digits
    fresh: Digits


def pools() -> Pools:
    """The held-out digits, divided; the ones to judge by are never sent as traffic."""
    import numpy as np

    images, labels = digits.load()
    order = np.random.default_rng(0).permutation(np.arange(FIRST_HELD_OUT, len(labels)))
    parts = order[:200], order[:500], order[500:]
    return Pools(*(Digits(images[part], labels[part]) for part in parts))


def turned(found: Digits, *, degrees: float, copies: int, seed: int) -> Digits:
    """Each digit `copies` times in a row, rotated, with noise of its own; 0 degrees: as it is."""
    import numpy as np
    from scipy.ndimage import rotate

    if not degrees:
        return found
    random = np.random.default_rng(seed)
    images = np.stack([rotate(one, degrees, reshape=False, order=1) for one in found.images])
    images = np.repeat(images, copies, axis=0)
    noisy = images + random.normal(0, NOISE, images.shape)
    return Digits(
        np.clip(np.round(noisy), 0, 16).astype(np.float32), np.repeat(found.labels, copies)
    )


def send(client: Client, found: Digits) -> dict[str, int]:
    """Ask for each digit in a request of its own; returns the true labels by prediction id."""
    truth = {}
    for image, label in zip(found.images, found.labels, strict=True):
        _, _, identity = client.predict(PIPELINE, [{"image": image.tolist()}])
        truth[f"{identity}-0"] = int(label)
    return truth


def accuracy(client: Client, found: Digits) -> tuple[float, int]:
    """Share of right answers, and the version that gave them; not logged as traffic."""
    instances = [{"image": image.tolist()} for image in found.images]
    answers, version, _ = client.predict(PIPELINE, instances, is_probe=True)
    right = sum(one["label"] == label for one, label in zip(answers, found.labels, strict=True))
    return right / len(found), version


class World:
    """How far the digits are turned. Each demo turns them elsewhere, as history stays.

    What is healthy is what the champion has learned: the last turn before it was trained, found in
    a file that says which champion each turn surprised.
    """

    def __init__(self, path: Path, *, seed: int) -> None:
        self._path = path
        self._turns: list[list[float]] = json.loads(path.read_text()) if path.is_file() else []
        self.champion = 0
        self.next_degrees = 0.0
        self.seed = seed

    @property
    def degrees(self) -> float:
        """The world that the champion knows."""
        known = [degrees for surprised, degrees in self._turns if surprised < self.champion]
        return known[-1] if known else 0.0

    def turn(self) -> None:
        """Remember that they do."""
        self._turns.append([self.champion, self.next_degrees])
        write_text(self._path, json.dumps(self._turns))


class Stream:
    """Requests that keep flowing in the background; what fails is counted and kept."""

    def __init__(self, url: str, found: Digits, *, pause_seconds: float = 0.02) -> None:
        self._client = Client(url, timeout_seconds=10)
        self._digits = found
        self._pause_seconds = pause_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._flow, daemon=True)
        self.sent = 0
        self.failures: list[str] = []
        self.versions: Sequence[int] = ()

    def __enter__(self) -> Stream:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=30)

    def _flow(self) -> None:
        while not self._stop.is_set():
            image = self._digits.images[self.sent % len(self._digits)]
            self.sent += 1
            try:
                _, version, _ = self._client.predict(PIPELINE, [{"image": image.tolist()}])
            except PipelineError as error:
                self.failures.append(str(error))
            else:
                if version not in self.versions:
                    self.versions = (*self.versions, version)
            time.sleep(self._pause_seconds)
