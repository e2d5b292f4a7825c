"""What Airflow's own application answers each role on the pages, as JSON.

In one process, under the auth manager that the environment names. Everybody logs in as a person
does: from the page that refuses, through its link and the form there.
"""

from __future__ import annotations

import html
import json
import os
import re
import secrets
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastapi.testclient import TestClient

ROLES = ("Admin", "User", "Viewer", "Public")
PAGES = ("/", "/pipelines/small", "/dags/small__train", "/static/pages.js")
PAGES += ("/pipelines/small/try", "/pipelines/small/versions/1", "/pipelines/small/runs/none")
ACTIONS = ("train", "rollback", "answer", "snooze")
ADDRESS = os.environ.get("AIRFLOW__API__BASE_URL", "")
HTML = {"accept": "text/html"}


def main() -> None:
    """Ask as nobody, then as each role."""
    from airflow.api_fastapi.main import app
    from fastapi.testclient import TestClient

    passwords = {role: secrets.token_hex(8) for role in ROLES}
    passwords["Admin"] = os.environ["PERENNIAL_ADMIN_PASSWORD"]
    write_dags()
    with TestClient(app, base_url=ADDRESS) as client:
        found = {"nobody": looked(client) | acted(client)}
        make_users(client, passwords)
        for role in ROLES:
            client.cookies.clear()
            back = log_in(client, role.lower(), passwords[role])
            found[role] = {"back": back} | looked(client) | acted(client)
            found[role]["started"] = start(client)
    print(json.dumps(found))


def write_dags() -> None:
    """The DAGs, as the dag-processor writes them into the database."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db

    manager = DagBundlesManager()
    manager.sync_bundles_to_db()
    [bundle] = manager.get_all_dag_bundles()
    bag = BundleDagBag(bundle.path, bundle_path=bundle.path, bundle_name=bundle.name)
    sync_bag_to_db(bag, bundle.name, None)


def make_users(client: TestClient, passwords: dict[str, str]) -> None:
    """A user of each role but the admin, who makes them."""
    credentials = {"username": "admin", "password": passwords["Admin"]}
    token = client.post("/auth/token", json=credentials).raise_for_status().json()
    headers = {"authorization": f"Bearer {token['access_token']}"}
    for role in set(ROLES) - {"Admin"}:
        names = dict.fromkeys(("username", "first_name", "last_name"), role.lower())
        content = names | {"email": f"{role}@example.com", "password": passwords[role]}
        content |= {"roles": [{"name": role}]}
        client.post("/auth/fab/v1/users", json=content, headers=headers).raise_for_status()


def log_in(client: TestClient, name: str, password: str) -> str:
    """Where the login leads to in the end."""
    refused = client.get("/perennial/pipelines/small?span=50", headers=HTML)
    link = re.search(r'href="([^"]*)">Log in', refused.text)
    assert link, refused.text
    form = client.get(html.unescape(link[1]), headers=HTML)
    token = re.search(r'name="csrf_token"[^>]*value="([^"]*)"', form.text)
    assert token, form.text
    fields = {"username": name, "password": password, "csrf_token": token[1]}
    return str(client.post(str(form.url), data=fields, headers=HTML).url)


def looked(client: TestClient) -> dict[str, Any]:
    """The status of each page, the pipeline's page, and what the navigation is told to show."""
    replies = {path: client.get(f"/perennial{path}", headers=HTML) for path in PAGES}
    plugins = client.get("/api/v2/plugins")
    views = [
        view["name"]
        for plugin in (plugins.json()["plugins"] if plugins.is_success else [])
        for view in plugin["external_views"]
    ]
    return {
        "pages": {path: reply.status_code for path, reply in replies.items()},
        "text": replies["/pipelines/small"].text,
        "views": views,
    }


def acted(client: TestClient) -> dict[str, Any]:
    """The status of each action by where its request came from; a missing reason stops all."""
    origins = {"own": {"origin": ADDRESS}, "none": {}, "other": {"origin": "https://example.com"}}
    origins["basic"] = {"authorization": "Basic YTpi"}  # a browser sends it by itself as well
    form = {"reason": " ", "run": "none", "choice": "approve", "hours": "1"}
    return {
        where: {
            action: client.post(
                f"/perennial/pipelines/small/{action}", data=form, headers=headers
            ).status_code
            for action in ACTIONS
        }
        for where, headers in origins.items()
    }


def start(client: TestClient) -> int:
    """The status of a run that is started with a reason, from the page."""
    url, form = "/perennial/pipelines/small/train", {"reason": "the first model"}
    headers = HTML | {"origin": ADDRESS}
    return client.post(url, data=form, headers=headers, follow_redirects=False).status_code


if __name__ == "__main__":
    main()
