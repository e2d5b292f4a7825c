"""Everything that can go wrong, and whether trying again can help.

PipelineError
├── ConfigError          fix the pipeline file
│   └── UnknownPartError fix the name, or add the file it stands for
├── DataError            fix the source
│   └── EmptyError       look at what fills it
├── TrainingError        change the data or the training settings
├── ArtifactError        rerun the step that makes the artifact
├── DeploymentError      read the target's answer; retried
│   └── QuarantineError  train another model, or lift the quarantine
└── TransientError       nothing to fix; retried
"""

from __future__ import annotations


class PipelineError(Exception):
    """Says what happened with which values, what was expected, and what to do."""

    is_retryable = False

    def __init__(self, what: str, *, expected: str = "", fix: str = "") -> None:
        self.what, self.expected, self.fix = what, expected, fix
        lines = [what]
        lines += [f"  expected: {expected}"] if expected else []
        lines += [f"  what to do: {fix}"] if fix else []
        super().__init__("\n".join(lines))


class ConfigError(PipelineError):
    """A pipeline file says something it may not say."""


class UnknownPartError(ConfigError):
    """A pipeline file names a part that has no file."""


class DataError(PipelineError):
    """The source's rows are not what the pipeline file declares."""


class EmptyError(DataError):
    """The source has no row."""


class TrainingError(PipelineError):
    """Training cannot go on: a loss that is not finite, or nothing to learn from."""


class ArtifactError(PipelineError):
    """An artifact is missing, half-written or altered."""


class DeploymentError(PipelineError):
    """A target did not take the model, or the model it serves answers wrongly."""

    is_retryable = True


class QuarantineError(DeploymentError):
    """A model that was taken away for a fault was to be promoted again."""

    is_retryable = False


class TransientError(PipelineError):
    """Something outside was not there for a moment."""

    is_retryable = True
