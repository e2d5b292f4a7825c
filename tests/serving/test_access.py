"""Who may talk to the server: tokens, roles, TLS, and what is never written down."""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import stat
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import yaml

from pipeline_tasks.core.errors import ConfigError, DeploymentError
from pipeline_tasks.release import publishing
from pipeline_tasks.serving import tokens
from pipeline_tasks.serving.access import roles
from pipeline_tasks.serving.client import Client
from pipeline_tasks.serving.rest import app
from tests.server import COMMAND, PROJECT, Server, environment, self_made_certificate
from tests.serving.conftest import ROW

CANARY = "canary-5ecret-that-must-be-nowhere"
PREDICT = "/v1/models/small:predict"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory, models):
    """A server with a token of each role, over TLS."""
    folder = tmp_path_factory.mktemp("guarded")
    path = folder / "tokens.yaml"
    secrets = {role: tokens.create(path, f"{role}-client", role) for role in tokens.ROLES}
    certificate, key = self_made_certificate(folder)
    server = Server(
        folder,
        options=["--tokens", path, "--tls-certificate", certificate, "--tls-key", key],
        authority=certificate,
    )
    (server.models / "small").mkdir()
    publishing.publish(models.first, server.models / "small")
    server.start()
    server.wait(lambda: server.answers("/readyz"))
    yield server, secrets, path
    server.kill()


def ask(server: Server, method: str, path: str, token: str | None) -> httpx.Response:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    context = ssl.create_default_context(cafile=str(server.authority))
    with httpx.Client(base_url=server.url, verify=context) as client:
        body = {} if method == "GET" else {"json": {"instances": [ROW]}}
        return client.request(method, path, headers=headers, **body)


def routes() -> list[tuple[str, str]]:
    """Every route the application has, found in its code: its patterns and its plain paths."""
    examples = {
        "ASKED": [("POST", PREDICT), ("POST", "/v1/models/small/versions/1:classify")],
        "STATUS": [("GET", "/v1/models/small"), ("GET", "/v1/models/small/versions/1/metadata")],
        "LABEL": [("POST", "/v1/models/small:label")],
        "OVERVIEW": [("GET", "/perennial/models/small")],
    }
    patterns = {name: one for name, one in vars(app).items() if isinstance(one, re.Pattern)}
    assert set(patterns) == set(examples), "a new route needs a role, and an example here"
    found = [one for name in patterns for one in examples[name]]
    for name, pattern in patterns.items():
        assert all(pattern.fullmatch(path) for _, path in examples[name])
    plain = re.findall(r'"(/[a-z/]+)"', Path(app.__file__).read_text())
    return found + [("GET", path) for path in plain if not path.startswith("/v1/")]


NEEDS = {":label": "label", "/livez": None, "/readyz": None}


@pytest.mark.parametrize(("method", "path"), routes())
def test_every_route_demands_a_role_except_health(guarded, method, path):
    server, secrets, _ = guarded
    [needed] = [role for end, role in NEEDS.items() if path.endswith(end)] or ["predict"]
    assert roles.role_for(method, path) == needed
    for role, secret in [(None, None), ("wrong", "wrong"), *secrets.items()]:
        reply = ask(server, method, path, secret)
        if needed is None:
            assert reply.status_code == 200
        elif role not in secrets:
            assert reply.status_code == 401, path
            assert reply.headers["www-authenticate"].startswith("Bearer realm=")
            assert list(reply.json()) == ["error"]
        elif tokens.ROLES.index(role) < tokens.ROLES.index(needed):
            assert reply.status_code == 403, path
            assert "insufficient_scope" in reply.headers["www-authenticate"]
            assert role in reply.json()["error"]
        else:
            assert reply.status_code not in (401, 403), path


def test_a_path_nobody_thought_of_is_for_admins_only(guarded):
    server, secrets, _ = guarded
    assert ask(server, "GET", "/debug", None).status_code == 401
    assert ask(server, "GET", "/debug", secrets["label"]).status_code == 403
    assert ask(server, "GET", "/debug", secrets["admin"]).status_code == 404
    assert ask(server, "DELETE", "/v1/models/small", secrets["label"]).status_code == 403


def test_a_refusal_comes_before_the_body_is_read(guarded):
    server, _, _ = guarded
    context = ssl.create_default_context(cafile=str(server.authority))
    with httpx.Client(base_url=server.url, verify=context) as client:
        refused = client.post(PREDICT, content=b"[" + b" " * 2**20)
    assert refused.status_code == 401


def test_the_projects_client_shows_its_token_and_checks_the_certificate(guarded, monkeypatch):
    server, secrets, _ = guarded
    monkeypatch.setenv("PERENNIAL_SERVER_CA", str(server.authority))
    with (
        pytest.raises(DeploymentError, match=r"401(?s:.*)a bearer token is required"),
        Client(server.url) as client,
    ):
        client.predict("small", [ROW])
    monkeypatch.setenv("PERENNIAL_SERVER_TOKEN", secrets["label"])
    with Client(server.url) as client:
        _, version, identity = client.predict("small", [ROW])
        assert version == 1
        assert client.label("small", {f"{identity}-0": 1}) == 1
        assert client.memory_bytes() > 0


def test_the_token_may_be_in_a_file(guarded, monkeypatch, tmp_path):
    server, secrets, _ = guarded
    (tmp_path / "token").write_text(secrets["predict"] + "\n")
    monkeypatch.setenv("PERENNIAL_SERVER_CA", str(server.authority))
    monkeypatch.setenv("PERENNIAL_SERVER_TOKEN_FILE", str(tmp_path / "token"))
    with Client(server.url) as client:
        assert client.predict("small", [ROW])[1] == 1
    monkeypatch.setenv("PERENNIAL_SERVER_TOKEN_FILE", str(tmp_path / "nothing"))
    with pytest.raises(ConfigError, match="PERENNIAL_SERVER_TOKEN_FILE"):
        Client(server.url)


def test_a_client_without_the_authority_trusts_no_self_made_certificate(guarded):
    server, _, _ = guarded
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"{server.url}/livez")


def test_a_token_that_is_added_or_removed_counts_without_a_restart(guarded):
    server, _, path = guarded
    before = path.read_bytes()
    added = tokens.create(path, "newcomer", "predict")
    server.wait(lambda: ask(server, "POST", PREDICT, added).status_code == 200)
    path.write_bytes(b"tokens: [{name: broken}]")

    def is_in_force_although_broken() -> bool:
        assert ask(server, "POST", PREDICT, added).status_code == 200
        return "stay in force" in server.log()

    server.wait(is_in_force_although_broken)
    path.write_bytes(before)
    server.wait(lambda: ask(server, "POST", PREDICT, added).status_code == 401)


def test_no_secret_is_in_any_log_or_file(guarded):
    server, secrets, path = guarded
    for token in (CANARY, secrets["admin"]):
        with httpx.Client(base_url=server.url, verify=False, timeout=30) as client:
            headers = {"authorization": f"Bearer {token}", "x-api-key": CANARY}
            client.post(PREDICT, headers=headers, json={"instances": [{"colour": CANARY}]})
            client.post(PREDICT, headers=headers, content=f'{{"instances": [{CANARY}')
            client.post(PREDICT, headers=headers, json={"instances": [ROW | {"width": CANARY}]})
            client.get(f"/v1/models/nobody?token={CANARY}", headers=headers)
            client.get(f"/nothing?token={CANARY}", headers=headers)
    assert "/nothing: 401" in server.log(), "refusals are logged"
    assert "/nothing: 404" in server.log()
    files = [one for one in path.parent.rglob("*") if one.is_file()]
    assert len(files) > 5
    for one in files:
        content = one.read_bytes()
        for secret in (CANARY, *secrets.values()):
            assert secret.encode() not in content, one


def test_every_line_of_the_log_is_one_json_object(guarded):
    server, _, _ = guarded
    lines = [json.loads(line) for line in server.log().splitlines() if line[:1] == "{"]
    others = [line for line in server.log().splitlines() if line[:1] != "{"]
    assert len(lines) > 3
    assert not [line for line in others if "perennial" in line.lower()]
    for line in lines:
        assert {"time", "level", "logger", "message"} <= set(line)
    refused = next(line for line in lines if line.get("status") == 403)
    assert refused["level"] == "WARNING"


def run_server(*options: str, **changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *options],
        env=environment(**changes),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=PROJECT,
    )


REFUSED = {
    "open to all without tokens": (["--host", "0.0.0.0"], "there are no tokens"),
    "every IPv6 address without tokens": (["--host", "::"], "there are no tokens"),
    "a host that is none": (["--host", "no.such.host.invalid"], "is no address"),
    "a token file that is missing": (["--tokens", "/nowhere/tokens.yaml"], "cannot be read"),
    "half of TLS": (["--tls-key", "/nowhere/key.pem"], "need each other"),
}


@pytest.mark.parametrize(("options", "why"), REFUSED.values(), ids=REFUSED)
def test_a_server_that_would_be_open_or_half_configured_does_not_start(options, why):
    ended = run_server("--port", "0", *options)
    assert ended.returncode == 1
    assert why in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_token_file_others_can_read_is_refused(tmp_path):
    path = tmp_path / "tokens.yaml"
    tokens.create(path, "anyone", "predict")
    path.chmod(0o644)
    with pytest.raises(ConfigError, match=r"mode is 0644(?s:.*)chmod 600"):
        tokens.read(path)


BAD_FILES = {
    "no YAML": b"tokens: [",
    "a token instead of its hash": b"tokens: [{name: a, role: predict, sha256: " + CANARY.encode(),
    "a token in plain": f"tokens: [{{name: a, role: predict, token: {CANARY}}}]".encode(),
    "an unknown role": b"tokens: [{name: a, role: root, sha256: " + b"0" * 64 + b"}]",
    "a list": b"[1, 2]",
}


@pytest.mark.parametrize("content", BAD_FILES.values(), ids=BAD_FILES)
def test_a_token_file_that_says_something_else_is_refused_without_being_quoted(content, tmp_path):
    path = tmp_path / "tokens.yaml"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError) as caught:
        tokens.read(path)
    assert str(path) in str(caught.value)
    assert CANARY not in str(caught.value)


def test_a_token_is_printed_once_and_only_its_hash_is_kept(tmp_path):
    path = tmp_path / "tokens.yaml"

    def make(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pipeline_tasks.serving.tokens", str(path), *words]
        return subprocess.run(
            command, env=environment(), capture_output=True, text=True, check=False
        )

    first, second = make("shop", "predict"), make("operator", "admin")
    again = make("shop", "label")
    assert again.returncode == 1
    assert "a name is there twice" in again.stderr
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one["name"] for one in yaml.safe_load(path.read_text())["tokens"]] == [
        "shop",
        "operator",
    ]
    known = tokens.Tokens(path)
    for made, name in ((first, "shop"), (second, "operator")):
        secret = made.stdout.strip()
        assert len(secret) >= 43
        assert secret not in path.read_text()
        found = known.find(secret)
        assert found is not None
        assert found.name == name
    assert known.find("") is None


def test_the_token_of_the_environment_is_the_projects_own(tmp_path):
    server = Server(tmp_path, options=["--request-seconds", 2], PERENNIAL_SERVER_TOKEN=CANARY)
    server.start()
    try:
        assert httpx.get(f"{server.url}/v1/models/small").status_code == 401
        headers = {"authorization": f"Bearer {CANARY}"}
        assert httpx.get(f"{server.url}/v1/models/small", headers=headers).status_code == 404
        assert CANARY not in server.log()
        assert_a_body_that_is_not_wanted_is_not_waited_for(server)
    finally:
        server.kill()
    assert "PERENNIAL_SERVER_TOKEN" not in os.environ


def assert_a_body_that_is_not_wanted_is_not_waited_for(server):
    """One reply, although the body never comes, and then the connection is closed."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(f"POST {PREDICT} HTTP/1.1\r\ncontent-length: 99\r\n\r\n[".encode())
        reply = b""
        try:
            while part := connection.recv(65536):
                reply += part
        except ConnectionResetError:
            pass
    assert reply.startswith(b"HTTP/1.1 401 ")
    assert reply.count(b"HTTP/1.1") == 1
