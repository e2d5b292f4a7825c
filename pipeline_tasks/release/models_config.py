"""TensorFlow Serving's `models.config`: the desired state of every model, in its own words.

TensorFlow Serving has no version that answers by default and no trials: of the versions it has
loaded, the highest answers. So it is told to load only what answers by default.
"""

from __future__ import annotations

import fcntl
from contextlib import suppress

from pipeline_tasks.core.bucket import Bucket, Place
from pipeline_tasks.core.errors import TransientError
from pipeline_tasks.core.store import write_text
from pipeline_tasks.release import desired, publishing

FILE = "models.config"
BASE_PATH = "/models"
MOST_TRIES = 5


def write(models: Place, base_path: str | None = None) -> None:
    """Bring `models.config` in the models folder up to date, in one atomic step.

    base_path: the models folder as TensorFlow Serving sees it; where docker-compose.yaml has it, or
    the bucket itself. What several pipelines write at the same time in a bucket is made again from
    what they have left; raises TransientError when that happens too often.
    """
    base_path = base_path or (models.uri if isinstance(models, Bucket) else BASE_PATH)
    if isinstance(models, Bucket):
        for _ in range(MOST_TRIES - 1):
            with suppress(TransientError):
                return _swap(models, base_path)
        return _swap(models, base_path)
    with (models / f".{FILE}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return write_text(models / FILE, text(models, base_path))


def _swap(models: Bucket, base_path: str) -> None:
    models.look(FILE)
    models.swap(FILE, text(models, base_path))


def text(models: Place, base_path: str) -> str:
    """A ModelServerConfig in protobuf's text format, of every folder that has versions."""
    from google.protobuf import text_format
    from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

    config = ModelServerConfig()
    for folder in _folders(models):
        present = publishing.versions(folder)
        if not present:
            continue
        model = config.model_config_list.config.add()
        model.name, model.model_platform = folder.name, "tensorflow"
        model.base_path = f"{base_path.rstrip('/')}/{folder.name}"
        wanted = desired.read(folder)
        loaded = _loaded(wanted)
        if loaded:
            model.model_version_policy.specific.versions.extend(loaded)
        elif wanted.policy == "all":
            model.model_version_policy.all.SetInParent()
        else:
            model.model_version_policy.latest.num_versions = wanted.latest
        for label, version in sorted(wanted.labels.items()):
            if version in (loaded or present):
                model.version_labels[label] = version
    return str(text_format.MessageToString(config))


def _folders(models: Place) -> list[Place]:
    if isinstance(models, Bucket):
        names = {key.partition("/")[0] for key in models.sizes("") if "/" in key}
        return [models / name for name in sorted(names)]
    return [*sorted(path for path in models.iterdir() if path.is_dir())]


def _loaded(wanted: desired.Desired) -> tuple[int, ...]:
    return (wanted.default,) if wanted.default is not None else wanted.specific
