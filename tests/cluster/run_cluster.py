"""The cluster of docker-compose.yaml as processes of this machine, for want of Docker.

In an environment with requirements.txt and requirements-cluster.txt, PostgreSQL and Redis:

    python -m tests.cluster.run_cluster FOLDER

Commands, environment, order and health checks are the file's own. The names of services become
127.0.0.1, its ports free ones, its volumes folders below FOLDER; TensorFlow Serving is left out.
"""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import yaml

from tests.server import PROJECT, free_port
from tests.sources import postgres

ELSEWHERE = {"postgres", "tensorflow-serving"}
NAMES = re.compile(r"\b(?:postgres|redis|api-server|gateway|localhost)(?=[:/]\w)|\b0\.0\.0\.0\b")
PORTS = ("6379", "8080", "8500", "8501", "8974")
HEALTH_SECONDS, STOP_SECONDS = 300, 60


class Cluster:
    """What docker-compose.yaml says, said of this machine."""

    def __init__(self, folder: Path, database_port: int) -> None:
        self.folder, self.database_port = folder.resolve(), str(database_port)
        self.services = yaml.safe_load((PROJECT / "docker-compose.yaml").read_text())["services"]
        self.ports = {port: str(free_port()) for port in PORTS}
        self.secrets: dict[str, str] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def ui(self) -> str:
        """Airflow's address."""
        return f"http://127.0.0.1:{self.ports['8080']}"

    def up(self) -> None:
        """Start each service when what it depends on is as it should be, then wait for all."""
        left = [name for name in self.services if name not in ELSEWHERE]
        while left:
            name = next(one for one in left if not set(self._needs(one)) & set(left))
            for needed, how in self._needs(name).items():
                self._wait(needed, how["condition"])
            self.start(name)
            left.remove(name)
        for name in self.processes:
            if name != "init":
                self._wait(name, "service_healthy")

    def start(self, name: str) -> None:
        """Start a service as its container would; its log is FOLDER/<name>.log."""
        command = [self.here(one) for one in self.services[name]["command"]]
        if name == "redis":
            command += ["--port", self.ports["6379"], "--bind", "127.0.0.1", "--save", ""]
        if name in ("worker", "triggerer"):  # their log servers listen to every network
            command.append("--skip-serve-logs")
        (self.folder / name).mkdir(parents=True, exist_ok=True)
        with (self.folder / f"{name}.log").open("ab") as output:
            self.processes[name] = subprocess.Popen(
                command,
                env=self.environment(name),
                cwd=PROJECT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def down(self) -> None:
        """Stop them in the opposite order; each has the time to end what it does."""
        for name, process in reversed(self.processes.items()):
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                print(f"{name} had to be killed", flush=True)

    def environment(self, name: str) -> dict[str, str]:
        """The image's variables, the service's, and what each container has for itself."""
        image = (PROJECT / "Dockerfile").read_text().rpartition("\nENV ")[2]
        own = dict(re.findall(r"(\w+)=(\S+)", image)) | self.services[name].get("environment", {})
        return {
            **{key: self.here(value) for key, value in own.items()},
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "HOME": str(self.folder / name),
            "PGPORT": self.database_port,
            "AIRFLOW_HOME": str(self.folder / name / "airflow"),
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": self.ports["8080"],
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_HOST": "127.0.0.1",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT": self.ports["8974"],
        }

    def secret(self, name: str) -> str:
        """What stands for this name in .env."""
        made = secrets.token_hex(32)
        if name == "PERENNIAL_FERNET_KEY":
            made = urlsafe_b64encode(secrets.token_bytes(32)).decode()
        return self.secrets.setdefault(name, made)

    def here(self, text: str) -> str:
        """A word of the file, with this machine's places and secrets in it."""
        text = NAMES.sub("127.0.0.1", text.replace("postgres/", f"postgres:{self.database_port}/"))
        text = re.sub("|".join(PORTS), lambda found: self.ports[found[0]], text)
        text = re.sub(r"(?<!\w)/data", str(self.folder / "data"), text)
        text = text.replace("/opt/perennial", str(PROJECT)).replace("$$", "$")
        return re.sub(r"\$\{(\w+):\?.*?\}", lambda found: self.secret(found[1]), text)

    def _needs(self, name: str) -> dict[str, dict[str, str]]:
        return self.services[name].get("depends_on") or {}

    def _wait(self, name: str, condition: str) -> None:
        deadline = time.monotonic() + HEALTH_SECONDS
        while not self._is(name, condition):
            process = self.processes.get(name)
            if (process and process.poll()) or time.monotonic() > deadline:
                raise SystemExit(f"{name} is not {condition}: see {self.folder / name}.log")
            time.sleep(1)

    def _is(self, name: str, condition: str) -> bool:
        if condition == "service_completed_successfully":
            return self.processes[name].poll() == 0
        check = self.services[name].get("healthcheck")
        if check is None:
            return self.processes[name].poll() is None
        words = [self.here(one) for one in check["test"][1:]]
        words[1:1] = ["-p", self.ports["6379"]] if name == "redis" else []
        asked = subprocess.run(words, env=self.environment(name), capture_output=True, check=False)
        return asked.returncode == 0


@contextmanager
def running(folder: Path) -> Iterator[Cluster]:
    """The cluster is up inside the block and gone after it."""
    with postgres.running() as port:
        cluster = Cluster(folder, port)
        _make_database(port, cluster.secret("PERENNIAL_POSTGRES_PASSWORD"))
        try:
            cluster.up()
            yield cluster
        finally:
            cluster.down()


def _make_database(port: int, password: str) -> None:
    """What the image of PostgreSQL makes of POSTGRES_USER, POSTGRES_DB and POSTGRES_PASSWORD."""
    import psycopg2

    admin = psycopg2.connect(
        host="127.0.0.1", port=port, user="me", password=postgres.PASSWORD, dbname="postgres"
    )
    admin.autocommit = True
    with admin.cursor() as cursor:
        cursor.execute("CREATE ROLE airflow LOGIN PASSWORD %s", (password,))
        cursor.execute("CREATE DATABASE airflow OWNER airflow")
    admin.close()


def main() -> None:
    """Run it until Ctrl-C."""
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.default_int_handler)
    with suppress(KeyboardInterrupt), running(Path(sys.argv[1])) as cluster:
        path = cluster.folder / ".env"
        path.touch(mode=0o600)
        path.write_text("".join(f"{name}={text}\n" for name, text in cluster.secrets.items()))
        print(f"Airflow is at {cluster.ui}; log in as admin, the password is in {path}", flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
