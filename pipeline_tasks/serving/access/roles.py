"""Who may do what: a role for every route, and the refusals of those who lack it."""

from __future__ import annotations

import ipaddress
import json
import re
import socket
from dataclasses import dataclass

from pipeline_tasks.serving.rest.app import ASKED, LABEL, METRICS_PATH, OVERVIEW, STATUS
from pipeline_tasks.serving.rest.exchange import JSON, Headers, Reply
from pipeline_tasks.serving.tokens import ROLES, Role, Tokens

SCHEME = "bearer "
OPEN_PATHS = ("/livez", "/readyz")  # who may not ask these could not restart what is dead

ROUTES: list[tuple[str, re.Pattern[str], Role]] = [
    ("POST", ASKED, "predict"),
    ("GET", STATUS, "predict"),
    ("GET", OVERVIEW, "predict"),
    ("GET", re.compile(re.escape(METRICS_PATH)), "predict"),
    ("POST", LABEL, "label"),
]
OTHERWISE: Role = "admin"  # a route that nobody has thought of here is for nobody else


@dataclass(frozen=True)
class Refusal:
    """Why the application is not asked. closes: the connection ends with it."""

    status: int
    message: str
    headers: Headers = ()
    closes: bool = False

    @property
    def reply(self) -> Reply:
        """As TensorFlow Serving writes errors."""
        body = json.dumps({"error": self.message}, indent=4).encode()
        return Reply(self.status, body, (*JSON, *self.headers), self.closes)


def role_for(method: str, path: str) -> Role | None:
    """The role a request needs; None where anybody may ask."""
    if method == "GET" and path in OPEN_PATHS:
        return None
    return next(
        (role for verb, route, role in ROUTES if verb == method and route.fullmatch(path)),
        OTHERWISE,
    )


def refusal(tokens: Tokens, role: Role | None, authorization: str) -> Refusal | None:
    """None when a header `Authorization` carries a token with that role, or one above it."""
    if role is None:
        return None
    if authorization[: len(SCHEME)].lower() != SCHEME:
        return _unauthenticated("a bearer token is required", "")
    token = tokens.find(authorization[len(SCHEME) :].strip())
    if token is None:
        return _unauthenticated("the token is not one this server knows", ', error="invalid_token"')
    if ROLES.index(token.role) < ROLES.index(role):
        challenge = f'Bearer realm="perennial", error="insufficient_scope", scope="{role}"'
        message = f"the token {token.name} has the role {token.role}; this needs {role}"
        return Refusal(403, message, ((b"www-authenticate", challenge.encode()),))
    return None


def is_loopback(host: str) -> bool:
    """Every address of `host` reaches this machine only. Raises OSError for an unknown name."""
    found = socket.getaddrinfo(host or "0.0.0.0", None)  # noqa: S104  # what an empty host binds
    return all(ipaddress.ip_address(one[4][0]).is_loopback for one in found)


def _unauthenticated(message: str, error: str) -> Refusal:
    challenge = f'Bearer realm="perennial"{error}'
    return Refusal(401, message, ((b"www-authenticate", challenge.encode()),))
