"""Where rows come from: one file, one kind of source.

Here is what they share: where things are (paths, environment variables, connections), what may
not be written into a pipeline file, and how to ask something that is not always there.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import Field, SecretStr
from pydantic_core import PydanticCustomError

from pipeline_tasks.core import clock
from pipeline_tasks.core.errors import ConfigError, DataError, TransientError
from pipeline_tasks.core.values import Frozen

if TYPE_CHECKING:
    import httpx

log = logging.getLogger(__name__)

VARIABLE = r"\$\{(\w+)\}"
VARIABLES = r"(?:\$\{\w+\})+"
PRIVATE = (
    r"(?i:password|passwd|secret|token|api_?key|access_?key|authorization|credentials?|signature)"
)
IN_PLAIN_TEXT = (
    "a secret must not be in this file: put it into an environment variable and write ${NAME}, "
    "or name a connection"
)
LONGEST_WAIT_SECONDS = 120.0
TOO_MANY_REQUESTS, SERVER_ERROR = 429, 500
Result = TypeVar("Result")

Attempts = Annotated[int, Field(ge=1, description="Tries, in all, of what is not answered.")]
Backoff = Annotated[float, Field(ge=0, description="The first wait; each next one doubles.")]
Timeout = Annotated[float, Field(gt=0, description="After it a try counts as not answered.")]


class Patience(Frozen):
    """What every part that asks something over a network is told of what does not answer."""

    attempts: Attempts = 3
    backoff_seconds: Backoff = 1.0
    timeout_seconds: Timeout = 30.0


class Busy(Exception):
    """Not now: another try may do. seconds: how long the other side asks to wait."""

    def __init__(self, reason: str, seconds: float | None = None) -> None:
        super().__init__(reason)
        self.seconds = seconds


@dataclass(frozen=True)
class Connection:
    """An Airflow connection, as far as sources need it; its repr tells no password."""

    kind: str
    host: str
    login: str
    password: SecretStr
    database: str
    port: int | None
    extra: dict[str, str]


def variable(name: str) -> str:
    """An environment variable's value. Raises ConfigError when it is not set."""
    value = os.environ.get(name)
    if value:
        return value
    raise ConfigError(
        f"the environment variable {name} is not set",
        expected=f"a value for {name}, which the pipeline file asks for",
        fix=f"set {name} where the pipeline runs",
    )


def expand(text: str) -> str:
    """`${NAME}` replaced by what the environment has.

    >>> expand("data/*.csv")
    'data/*.csv'
    """
    return re.sub(VARIABLE, lambda found: variable(found[1]), text)


def files(path: str, endings: tuple[str, ...], wanted: str) -> list[Path]:
    """The file, the files of a glob, or those of a folder with these endings; sorted.

    Raises DataError when there is none. wanted: what a person would put there.
    """
    text = expand(path)
    whole = Path(text)
    if whole.is_file():
        return [whole]
    is_glob = any(sign in text for sign in "*?[")
    if whole.is_dir() and endings:
        found: Iterable[Path] = (one for one in whole.rglob("*") if one.suffix in endings)
    else:
        root = Path(whole.anchor or ".")
        found = root.glob(str(whole.relative_to(whole.anchor))) if is_glob else ()
    if chosen := sorted(one for one in found if one.is_file()):
        return chosen
    raise DataError(
        f"{text}: "
        + ("no file is there" if is_glob or whole.is_dir() else "there is no such file"),
        expected=wanted,
        fix="put the file there, or change source.path in the pipeline file",
    )


def connection(name: str) -> Connection:
    """The Airflow connection that AIRFLOW_CONN_<NAME> describes, as a URI or as JSON.

    In a task of Airflow's, the variable is there for connections of its database, too.

    Raises ConfigError, without the variable's value, when there is none or it cannot be read.
    """
    key = f"AIRFLOW_CONN_{name.upper()}"
    text = os.environ.get(key, "").strip()
    try:
        if text:
            return _of_json(text) if text.startswith("{") else _of_uri(text)
        problem = (
            "is not set, and no connection of Airflow's is called so (only its tasks see them)"
        )
    except (ValueError, TypeError, AttributeError):
        problem = "is neither a URI nor a JSON object that describes a connection"
    raise ConfigError(
        f"the environment variable {key} {problem}",
        expected=f"{key}=<type>://<login>:<password>@<host>:<port>/<schema>, or the same as JSON",
        fix=f"set {key} where the pipeline runs, or add the connection in Airflow's UI",
    )


def _of_json(text: str) -> Connection:
    content: dict[str, Any] = json.loads(text)
    extra = content.get("extra") or {}
    extra = json.loads(extra) if isinstance(extra, str) else extra
    port = content.get("port")
    return Connection(
        kind=str(content["conn_type"]) if "conn_type" in content else "",
        host=str(content.get("host") or ""),
        login=str(content.get("login") or ""),
        password=SecretStr(str(content.get("password") or "")),
        database=str(content.get("schema") or ""),
        port=int(port) if port else None,
        extra={str(k): str(v) for k, v in extra.items() if not isinstance(v, dict | list)},
    )


def _of_uri(text: str) -> Connection:
    parts = urlsplit(text)
    if not parts.scheme:
        raise ValueError("no scheme")
    return Connection(
        kind=parts.scheme,
        host=unquote(parts.hostname or ""),
        login=unquote(parts.username or ""),
        password=SecretStr(unquote(parts.password or "")),
        database=unquote(parts.path[1:]),
        port=parts.port,
        extra={k: v for k, v in parse_qsl(parts.query) if k != "__extra__"},
    )


def refuse_secrets(content: object) -> object:
    """A validator of a source's settings: none of them holds a secret in plain text.

    What a secret is: a password in an address, and settings and parameters that are called so.
    The value that is refused is in no message.
    """
    if isinstance(content, dict):
        for key, value in content.items():
            if shown := _literal(str(key), value):
                raise refusal(str(key), shown, IN_PLAIN_TEXT)
    return content


def refusal(key: str, shown: str, text: str) -> PydanticCustomError:
    """What a validator raises about one setting; the report shows `shown` as its value."""
    found = {"type": "value_error", "loc": (key,), "msg": text, "input": shown}
    return PydanticCustomError("part", "{text}", {"text": text, "errors": [found]})


def _literal(key: str, value: object) -> str:
    """The value with its secret hidden, or "" when it has none."""
    if not isinstance(value, str):
        return ""
    if re.fullmatch(PRIVATE, key):
        return "***"
    hidden = re.sub(rf"(://[^/@:?#]*):(?!{VARIABLES}@)(?!\d+(?:/|$))[^@]*@", r"\1:***@", value)
    hidden = re.sub(rf"([?&][^=&]*{PRIVATE}[^=&]*)=(?!{VARIABLES})[^&#]+", r"\1=***", hidden)
    return hidden if hidden != value else ""


def patiently(action: Callable[[], Result], patience: Patience, *, what: str) -> Result:
    """The action's result, tried again after it raised Busy, with waits that double.

    Raises TransientError after all tries, or when asked to wait for more than two minutes.
    """
    attempts = patience.attempts
    for attempt in range(attempts):
        try:
            return action()
        except Busy as busy:
            asked = busy.seconds is not None
            doubled = patience.backoff_seconds * 2**attempt
            seconds = busy.seconds if busy.seconds is not None else doubled
            reason = str(busy)
        if attempt + 1 == attempts or seconds > LONGEST_WAIT_SECONDS:
            break
        log.warning("%s: %s; next try in %.1f s", what, reason, seconds)
        time.sleep(seconds)
    more = f"; it asks to wait for {seconds:g} s" if asked else ""
    raise TransientError(
        f"{what}: {reason}, after {attempt + 1} of {attempts} tries{more}",
        expected="an answer",
        fix="nothing, if it is there again soon: the run is retried; look at the other side if not",
    )


def check_busy(status: int, headers: Mapping[str, str], told: str) -> None:
    """Raise Busy if an HTTP answer says: not now. told: what a message may show of its body."""
    if status == TOO_MANY_REQUESTS or status >= SERVER_ERROR:
        asked = headers.get("Retry-After", "").strip()
        seconds = float(asked) if asked.isdigit() else None
        if asked and seconds is None:
            with suppress(ValueError, TypeError):
                moment = parsedate_to_datetime(asked)
                seconds = max(0.0, (moment - clock.now()).total_seconds())
        raise Busy(f"status {status}" + (f": {told}" if told else ""), seconds)


def hide(text: str, secrets: Iterable[str]) -> str:
    """The text with *** for each of the secrets."""
    for secret in filter(None, secrets):
        text = text.replace(secret, "***")
    return text


def whole(
    client: httpx.Client, url: str, *, limit_bytes: int, limit_seconds: float
) -> tuple[httpx.Response, bytes]:
    """An HTTP answer and its body, which is read only if it is HTML, XML or text.

    Redirects are not followed. Raises Busy when another try may do, DataError when it is too long.
    """
    import httpx

    content, end = b"", time.monotonic() + limit_seconds
    try:
        with client.stream("GET", url, follow_redirects=False) as response:
            check_busy(response.status_code, response.headers, "")
            if not re.search("html|xml|text/plain", response.headers.get("Content-Type", "html")):
                return response, b""
            for chunk in response.iter_bytes():
                content += chunk
                if len(content) > limit_bytes:
                    raise DataError(
                        f"{url}: has more than {limit_bytes} bytes",
                        expected="a smaller page",
                        fix="raise source.page_bytes, or leave it out with source.follow",
                    )
                if time.monotonic() > end:
                    raise Busy(f"not here after {limit_seconds:g} s")
    except (httpx.TransportError, httpx.DecodingError) as error:
        raise Busy(f"{type(error).__name__}: {error}") from None
    return response, content
