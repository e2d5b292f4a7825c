"""Records of an HTTP API that answers with JSON, page by page."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from pipeline_tasks import sources
from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core.errors import ConfigError, DataError
from pipeline_tasks.core.values import Frozen
from pipeline_tasks.data import tables

if TYPE_CHECKING:
    import httpx
    import pandas as pd

FILE = "records.jsonl"
SHOWN, REFUSED = 200, (401, 403)
NAME = r"[A-Z_][A-Z0-9_]*"


class ByPage(Frozen):
    """Pages have numbers; the first one without a record is the end."""

    by: Literal["page"]
    parameter: str = "page"
    first: int = Field(1, ge=0, description="The number of the first page.")
    size_parameter: str | None = Field(None, description="The parameter of the page's size.")
    size: int = Field(100, ge=1)


class ByCursor(Frozen):
    """Each reply has the cursor of the next one, until it has none."""

    by: Literal["cursor"]
    path: str = Field(description="The dotted path of the next cursor in the reply.")
    parameter: str = "cursor"


class ByLink(Frozen):
    """Each reply has a Link header (RFC 8288) with rel=next, until one has none."""

    by: Literal["link"]


class Params(sources.Patience):
    """What to ask, how to go on, and who asks.

    source: {kind: http_api, url: "https://shop.example/orders?status=paid", records: data.items,
             pagination: {by: cursor, path: data.next, parameter: after},
             fields: {city: customer.address.city}, token_variable: SHOP_TOKEN}
    """

    url: str = Field(pattern=r"^(https?://|\$\{)", description="${NAME} is a variable.")
    records: str = Field("", description="The dotted path of the list; nothing: the reply is it.")
    fields: dict[str, str] = Field({}, description="Columns whose dotted path is not their name.")
    pagination: Annotated[ByPage | ByCursor | ByLink, Field(discriminator="by")] | None = None
    maximum_pages: int = Field(1000, ge=1, description="More of them are an error.")
    connection: str | None = Field(None, description="Of Airflow, or in AIRFLOW_CONN_<NAME>.")
    token_variable: str | None = Field(
        None, description="The environment variable with the token; for basic, login:password."
    )
    auth: Literal["bearer", "basic", "header"] = "bearer"
    header: str = Field("X-API-Key", description="What `auth: header` puts the token into.")
    attempts: sources.Attempts = 5

    @model_validator(mode="before")
    @classmethod
    def _has_no_secrets(cls, content: object) -> object:
        name = content.get("token_variable") if isinstance(content, dict) else None
        if isinstance(name, str) and not re.fullmatch(NAME, name):
            text = "must be the name of an environment variable, in capitals, and not a token"
            raise sources.refusal("token_variable", "***", text)
        return sources.refuse_secrets(content)

    @model_validator(mode="after")
    def _one_secret(self) -> Self:
        if self.connection is not None and self.token_variable is not None:
            raise ValueError("needs one of `connection` and `token_variable`, not both")
        return self


def digest(params: Params) -> str:
    """The digest of the records in their order; the API is asked for all of them, none is kept."""
    found = hashlib.sha256()
    for records in _pages(params):
        for record in records:
            found.update(_line(record))
    return found.hexdigest()


def fetch(params: Params, folder: Path) -> int:
    """Keep the records as they came, one a line."""
    with (folder / FILE).open("wb") as file:
        return sum(file.write(_line(one)) > 0 for page in _pages(params) for one in page)


def read(params: Params, folder: Path, config: PipelineConfig) -> pd.DataFrame:
    """The declared columns in their declared types; what a record does not have is missing.

    Raises DataError that names the record, column and value.
    """
    where = partial(place, params)
    return tables.of_records(_kept(folder), config, fields=params.fields, place=where)


def undeclared(params: Params, folder: Path, config: PipelineConfig) -> list[str]:
    """Keys with plain values that the pipeline file does not declare."""
    keys = {key: value for record in _kept(folder) for key, value in record.items()}
    used = {path.split(".")[0] for path in params.fields.values()}
    nested = {key for key, value in keys.items() if isinstance(value, dict | list)}
    return tables.undeclared([key for key in keys if key not in used | nested], config)


def place(params: Params, row: int) -> str:
    """How a person finds row number `row` (from 0)."""
    return f"{params.url} record {row + 1}"


def _line(record: Any) -> bytes:
    return json.dumps(record).encode() + b"\n"


def _kept(folder: Path) -> Iterator[dict[str, Any]]:
    with (folder / FILE).open() as file:
        yield from map(json.loads, file)


def _pages(params: Params) -> Iterator[list[dict[str, Any]]]:
    import httpx

    # Its log of requests would show what stands for ${NAME} in the address.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    url, headers, secrets = _first(params), _headers(params), _secrets(params)
    seen: set[str] = set()
    before: list[dict[str, Any]] | None = None
    with httpx.Client(headers=headers, timeout=params.timeout_seconds) as client:
        for page in count(1):
            _check_progress(params, page, str(url) in seen)
            seen.add(str(url))
            response = _answer(params, client, url, f"{params.url} page {page}", secrets)
            content = _json(params, response, page, secrets)
            records = _records(params, content, page)
            _check_progress(params, page, is_repeated=bool(records) and records == before)
            yield records
            following = _following(params, response, content, page, bool(records))
            if following is None:
                return
            url, before = following, records


def _check_progress(params: Params, page: int, is_repeated: bool) -> None:
    if is_repeated:
        raise DataError(
            f"{params.url} page {page} is the one before again: the API does not go on",
            expected="other records, or the end",
            fix="look at source.pagination: the API may know its parameter by another name",
        )
    if page > params.maximum_pages:
        raise DataError(
            f"{params.url} has more than {params.maximum_pages} pages",
            expected="the end: some of the rows would look like all of them",
            fix="ask for less in source.url, or raise source.maximum_pages",
        )


def _first(params: Params) -> httpx.URL:
    import httpx

    try:
        url = httpx.URL(sources.expand(params.url))
    except httpx.InvalidURL:
        problem, fix = f"{params.url} is no address", "mend source.url"
        raise ConfigError(problem, expected="https://host/path", fix=fix) from None
    if not isinstance(how := params.pagination, ByPage):
        return url
    size = {how.size_parameter: how.size} if how.size_parameter else {}
    return url.copy_merge_params({how.parameter: how.first} | size)


def _following(
    params: Params, response: httpx.Response, content: Any, page: int, has_records: bool
) -> httpx.URL | None:
    url, how = response.url, params.pagination
    if isinstance(how, ByPage) and has_records:
        return url.copy_set_param(how.parameter, how.first + page)
    if isinstance(how, ByCursor):
        cursor = tables.dig(content, how.path)
        is_end = cursor in (tables.ABSENT, None, "", False)
        return None if is_end else url.copy_set_param(how.parameter, cursor)
    if isinstance(how, ByLink) and "next" in response.links:
        following = url.join(response.links["next"]["url"])
        if (following.scheme, following.netloc) != (url.scheme, url.netloc):
            raise DataError(
                f"{params.url} page {page}: the next page is on {following.host}",
                expected=f"a page on {url.host}: another host must not see the token",
                fix="name the right host in source.url",
            )
        return following
    return None


def _answer(
    params: Params, client: httpx.Client, url: httpx.URL, what: str, secrets: Sequence[str]
) -> httpx.Response:
    import httpx

    def once() -> httpx.Response:
        try:
            response = client.get(url)
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise sources.Busy(sources.hide(f"{type(error).__name__}: {error}", secrets)) from None
        sources.check_busy(response.status_code, response.headers, _beginning(response, secrets))
        return response

    response = sources.patiently(once, params, what=what)
    if response.is_success:
        return response
    told = f"{what}: status {response.status_code}: {_beginning(response, secrets)}"
    if response.status_code in REFUSED:
        raise ConfigError(told, expected="access", fix="look at source.auth and whose token it is")
    moved = sources.hide(response.headers.get("Location", ""), secrets)
    fix = f"use the new address: {moved}" if moved else "mend source.url and its parameters"
    raise DataError(told, expected="status 200", fix=fix)


def _json(params: Params, response: httpx.Response, page: int, secrets: Sequence[str]) -> Any:
    try:
        return json.loads(response.content)
    except ValueError as error:
        raise DataError(
            f"{params.url} page {page} is no JSON: {error}: {_beginning(response, secrets)}",
            expected="a reply in JSON",
            fix="look at the address; some APIs need `.json` or a parameter for that",
        ) from None


def _records(params: Params, content: Any, page: int) -> list[dict[str, Any]]:
    found = tables.dig(content, params.records)
    if isinstance(found, list) and all(isinstance(record, dict) for record in found):
        return found
    where = f"at {params.records!r}" if params.records else "as the whole reply"
    has = ", ".join(content) if isinstance(content, dict) else "no keys"
    raise DataError(
        f"{params.url} page {page}: there is no list of objects {where}; the reply has {has}",
        expected="a list of objects, one for each row",
        fix="name its dotted path in source.records",
    )


def _beginning(response: httpx.Response, secrets: Sequence[str]) -> str:
    text = sources.hide(" ".join(response.text.split()), secrets)
    return text[:SHOWN] + ("..." if len(text) > SHOWN else "")


def _token(params: Params) -> tuple[str, str]:
    if params.connection is not None:
        found = sources.connection(params.connection)
        return found.login, found.password.get_secret_value().strip()
    text = sources.variable(params.token_variable).strip() if params.token_variable else ""
    login, _, password = text.partition(":") if params.auth == "basic" else ("", "", text)
    return login, password


def _headers(params: Params) -> dict[str, str]:
    login, password = _token(params)
    if not (login or password):
        return {"Accept": "application/json"}
    pair = b64encode(f"{login}:{password}".encode()).decode()
    name, value = {
        "bearer": ("Authorization", f"Bearer {password}"),
        "basic": ("Authorization", f"Basic {pair}"),
        "header": (params.header, password),
    }[params.auth]
    return {"Accept": "application/json", name: value}


def _secrets(params: Params) -> list[str]:
    """What must be in no message: the password, its header, and the variables in the address."""
    header = [value.split(" ")[-1] for value in list(_headers(params).values())[1:]]
    return [
        *header,
        _token(params)[1],
        *map(sources.variable, re.findall(sources.VARIABLE, params.url)),
    ]
