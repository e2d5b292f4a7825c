"""A message as JSON to an address that Slack, Mattermost and others understand."""

from __future__ import annotations

import html
import logging
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from pipeline_tasks import sources
from pipeline_tasks.core.errors import ConfigError

if TYPE_CHECKING:
    import httpx

WHAT = "the webhook"
SLACK = "https://hooks.slack.com/services"
SCHEMES = ("http", "https")
SHOWN = 200
NOT_HERE = (
    "a webhook's address is a secret: put it into an environment variable and name that in "
    "`url_variable`, or name a connection"
)


class Params(sources.Patience):
    """Where the address is; it is never in the pipeline file.

    notifiers: [{kind: webhook, connection: team_chat}, {kind: log}]
    notifiers: [{kind: webhook, url_variable: TEAM_CHAT_URL}]
    """

    connection: str | None = Field(
        None,
        description="Of Airflow, or in AIRFLOW_CONN_<NAME>: host, and the path as its password.",
    )
    url_variable: str | None = Field(
        None, pattern=r"^[A-Z_][A-Z0-9_]*$", description="The environment variable of the address."
    )
    timeout_seconds: sources.Timeout = 10.0

    @model_validator(mode="before")
    @classmethod
    def _has_no_secrets(cls, content: object) -> object:
        for key, value in content.items() if isinstance(content, dict) else ():
            if key == "url" or "://" in str(value):
                raise sources.refusal(str(key), "***", NOT_HERE)
        return sources.refuse_secrets(content)

    @model_validator(mode="after")
    def _one_address(self) -> Self:
        if (self.connection is None) == (self.url_variable is None):
            raise ValueError("needs either `connection` or `url_variable`")
        return self


def notify(params: Params, *, title: str, text: str) -> None:
    """POST `{"text": ...}`, again with growing waits while the other side is busy or away.

    Raises TransientError when it stays so, ConfigError when it refuses; the address is in neither.
    """
    import httpx

    # Its log of requests would show the address.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    url = address(params)
    secrets = sorted({url, urlsplit(url).path.strip("/")}, key=len, reverse=True)
    # Slack's own signs are escaped as it asks for; the first line is bold.
    content = {"text": f"*{html.escape(title, quote=False)}*\n{html.escape(text, quote=False)}"}

    def once() -> httpx.Response:
        try:
            response = httpx.post(url, json=content, timeout=params.timeout_seconds)
        except httpx.TransportError as error:
            raise sources.Busy(sources.hide(f"{type(error).__name__}: {error}", secrets)) from None
        sources.check_busy(response.status_code, response.headers, _told(response, secrets))
        return response

    try:
        response = sources.patiently(once, params, what=WHAT)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol):
        raise _refused("its address is none") from None
    if not response.is_success:
        raise _refused(f"status {response.status_code}: {_told(response, secrets)}")


def address(params: Params) -> str:
    """The whole address. Raises ConfigError, without it, when there is none."""
    if params.url_variable is not None:
        return sources.variable(params.url_variable).strip()
    found = sources.connection(params.connection or "")
    # Airflow's form for HTTP keeps the scheme where other connections have a database.
    is_scheme = found.database in SCHEMES
    scheme = found.database if is_scheme else found.kind if found.kind in SCHEMES else "https"
    host = found.host or SLACK
    if "://" not in host:
        host = f"{scheme}://{host}" + (f":{found.port}" if found.port else "")
    path = ["" if is_scheme else found.database, found.password.get_secret_value()]
    return "/".join([host.rstrip("/"), *(part.strip("/") for part in path if part)])


def _told(response: httpx.Response, secrets: list[str]) -> str:
    return sources.hide(" ".join(response.text.split()), secrets)[:SHOWN]


def _refused(problem: str) -> ConfigError:
    return ConfigError(
        f"{WHAT}: {problem}",
        expected="status 200",
        fix="make a new address where the messages are read, and put it into the connection or "
        "variable that the notifier names",
    )
