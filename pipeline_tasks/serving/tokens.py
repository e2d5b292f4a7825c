"""Access tokens: a file of names, roles and hashes, read again when it changes.

To make one: python -m pipeline_tasks.serving.tokens tokens.yaml NAME ROLE
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import logging
import os
import secrets
import stat
import sys
import time
from pathlib import Path
from typing import Literal, get_args

import yaml
from pydantic import Field, ValidationError, model_validator

from pipeline_tasks.core.errors import ConfigError
from pipeline_tasks.core.values import Frozen

log = logging.getLogger(__name__)

Role = Literal["predict", "label", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)  # each may do what those before it may
OWN = "PERENNIAL_SERVER_TOKEN"
LOOK_SECONDS = 1.0


class Token(Frozen):
    """Whose token it is, what it may do, and its hash: the token itself is nowhere."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    role: Role
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class TokenFile(Frozen):
    """What a token file says."""

    tokens: tuple[Token, ...]

    @model_validator(mode="after")
    def _names_differ(self) -> TokenFile:
        names = [token.name for token in self.tokens]
        if len(set(names)) < len(names):
            raise ValueError(f"a name is there twice: {sorted(names)}")
        return self


class Tokens:
    """The tokens a server knows: those of a file, and the project's own one."""

    def __init__(self, path: Path | None, own: str = "") -> None:
        self._path = path
        self._own = [Token(name="own", role="admin", sha256=_digest(own))] if own else []
        self._looked = time.monotonic()
        self._stamp: object = None  # so that a change while it is read is not missed
        self._tokens = self._own + (list(read(path).tokens) if path else [])

    def __bool__(self) -> bool:
        """Somebody asked for access control, even if no token is left."""
        return bool(self._path or self._own)

    def find(self, secret: str) -> Token | None:
        """The token with this secret; takes as long whichever it is, and if it is none."""
        self._look_again()
        digest = _digest(secret)
        found = None
        for token in self._tokens:
            if hmac.compare_digest(token.sha256, digest):
                found = token
        return found

    def _look_again(self) -> None:
        """Read the file when it has changed; what cannot be read changes nothing."""
        if self._path is None or time.monotonic() < self._looked + LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        try:
            if (stamp := _stamp(self._path)) == self._stamp:
                return
            self._stamp = stamp
            self._tokens = self._own + list(read(self._path).tokens)
            log.info("%s has changed: %s tokens", self._path, len(self._tokens))
        except (ConfigError, OSError) as error:
            log.error("the tokens read before stay in force: %s", error)


def read(path: Path) -> TokenFile:
    """A token file, YAML or JSON. Raises ConfigError when it cannot be used as it is."""
    try:
        mode = path.stat().st_mode
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the token file {path} cannot be read: {error}") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(
            f"the token file {path} is open to others: its mode is {stat.S_IMODE(mode):04o}",
            expected="0600",
            fix=f"chmod 600 {path}",
        )
    try:
        return TokenFile.model_validate(yaml.safe_load(text))
    except (yaml.YAMLError, ValidationError) as error:
        # Neither the parser's excerpt nor the value it refused: either may be a secret.
        where = (
            [".".join(map(str, one["loc"])) + ": " + one["msg"] for one in error.errors()]
            if isinstance(error, ValidationError)
            else ["no YAML"]
        )
        raise ConfigError(
            f"{path} is no token file: {'; '.join(where)}",
            expected="tokens: [{name: ..., role: predict | label | admin, sha256: ...}, ...]",
            fix=f"python -m pipeline_tasks.serving.tokens {path} NAME ROLE adds a token",
        ) from None


def create(path: Path, name: str, role: Role) -> str:
    """Add a token to the file, made if need be, and return it: it is stored nowhere."""
    secret = secrets.token_urlsafe(32)
    before = read(path).tokens if path.exists() else ()
    added = {"name": name, "role": role, "sha256": _digest(secret)}
    try:
        content = TokenFile.model_validate({"tokens": [*before, added]})
    except ValidationError as error:
        raise ConfigError(f"{name} cannot be added to {path}: {error.errors()[0]['msg']}") from None
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        yaml.safe_dump(content.model_dump(mode="json"), file, sort_keys=False)
        file.flush()
        os.fsync(descriptor)
    scratch.replace(path)
    return secret


def _digest(secret: str) -> str:
    # No slow hash: a token has 256 random bits, which nobody guesses.
    return hashlib.sha256(secret.encode()).hexdigest()


def _stamp(path: Path) -> tuple[int, int, int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_ino, found.st_size, found.st_mode


def main() -> int:
    """Make a token; prints it, once."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline_tasks.serving.tokens",
        description="Add an access token to a server's file and print it; only its hash is kept.",
    )
    parser.add_argument("file", type=Path, help="the server's --tokens; made if it is not there")
    parser.add_argument("name", help="whose it is; shown in refusals")
    parser.add_argument("role", choices=ROLES, help="each may do what those before it may")
    arguments = parser.parse_args()
    try:
        print(create(arguments.file, arguments.name, arguments.role))
    except (ConfigError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
