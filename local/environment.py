"""The environment every process of the embedded setup gets."""

from __future__ import annotations

import json
import os
import secrets
import sys
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from pathlib import Path

from pipeline_tasks.config import PROJECT
from pipeline_tasks.run import home

HOST = "127.0.0.1"
USER, VIEWER = "admin", "viewer"


class LocalError(Exception):
    """Something a person at the terminal can mend; printed without a traceback."""


@dataclass(frozen=True)
class Local:
    """Where state is and which ports are used."""

    home: Path = field(default_factory=home)
    ui_port: int = field(default_factory=lambda: _port("PERENNIAL_UI_PORT", 8080))
    server_port: int = field(default_factory=lambda: _port("PERENNIAL_SERVER_PORT", 8501))

    @property
    def ui(self) -> str:
        """Airflow's address."""
        return f"http://{HOST}:{self.ui_port}"

    @property
    def server(self) -> str:
        """The model server's address."""
        return f"http://{HOST}:{self.server_port}"

    @property
    def airflow_home(self) -> Path:
        """Airflow's own files: database, configuration, task logs."""
        return self.home / "airflow"

    @property
    def logs(self) -> Path:
        """One log file for each process."""
        return self.home / "log"

    @property
    def password_file(self) -> Path:
        """The passwords of Airflow's users; readable by its owner only."""
        return self.airflow_home / "passwords.json"

    def password(self, user: str = USER) -> str:
        """A user's password, made up on first use; the admin may act, the viewer only look."""
        text = self.password_file.read_text() if self.password_file.is_file() else "{}"
        found: dict[str, str] = json.loads(text.splitlines()[-1])
        if user not in found:
            missing = {name: secrets.token_urlsafe(12) for name in (USER, VIEWER)}
            found = missing | found
            _write_private(self.password_file, found)
        return found[user]

    def environment(self) -> dict[str, str]:
        """What every process of this setup is started with."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW__")}
        kept.pop("PYTHONDONTWRITEBYTECODE", None)
        return kept | self._perennial() | self._airflow() | self._secrets()

    def _perennial(self) -> dict[str, str]:
        paths = [str(PROJECT), str(PROJECT / "plugins"), os.environ.get("PYTHONPATH", "")]
        return {
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PERENNIAL_HOME": str(self.home),
            "PERENNIAL_STORE": os.environ.get("PERENNIAL_STORE") or str(self.home / "store"),
            "PERENNIAL_MODELS": os.environ.get("PERENNIAL_MODELS") or str(self.home / "models"),
            "PERENNIAL_SERVER": self.server,
            # Airflow's own, in every task's log; nothing a reader of that log could do about it.
            "PYTHONWARNINGS": "ignore:GitWildMatchPattern",
        }

    def _airflow(self) -> dict[str, str]:
        database = self.airflow_home / "airflow.db"
        return {
            "AIRFLOW_HOME": str(self.airflow_home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__EXECUTOR": "perennial.executor.PreloadLocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.ui}/execution/",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin,{VIEWER}:viewer",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.password_file),
            "AIRFLOW__CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": "5",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{database}",
            "AIRFLOW__API__HOST": HOST,
            "AIRFLOW__API__PORT": str(self.ui_port),
            "AIRFLOW__API__BASE_URL": self.ui,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "15",
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(self.airflow_home / "logs"),
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.25",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "30",
            "AIRFLOW__TRIGGERER__DEFAULT_CAPACITY": "100",
        }

    def _secrets(self) -> dict[str, str]:
        """Airflow's keys, made up once: a restart must be able to read what was encrypted."""
        path = self.airflow_home / "secrets.json"
        if not path.is_file():
            keys = {
                "AIRFLOW__CORE__FERNET_KEY": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
                "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(64),
                "AIRFLOW__API__SECRET_KEY": secrets.token_urlsafe(32),
            }
            _write_private(path, keys)
        found: dict[str, str] = json.loads(path.read_text())
        return found


def _port(name: str, default: int) -> int:
    text = os.environ.get(name) or str(default)
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise LocalError(f"{name} is {text!r}; it must be a port number from 1 to 65535")
    return int(text)


def _write_private(path: Path, content: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(json.dumps(content) + "\n")
