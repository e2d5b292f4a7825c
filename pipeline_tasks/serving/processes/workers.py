"""Several server processes on one socket: started, restarted when they die, drained together."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pipeline_tasks.serving.processes import json_logs

log = logging.getLogger("pipeline_tasks.serving.processes.workers")

LOOK_SECONDS = 0.1
CALM_SECONDS = 60.0
MAXIMUM_DEATHS = 10  # of one worker, within the calm time
MAXIMUM_PAUSE_SECONDS = 10.0
STOP_SECONDS = 20.0


class Workers:
    """The supervisor. It holds the listening socket, so that no waiting client is lost."""

    def __init__(self, count: int, listening: socket.socket) -> None:
        self._count, self._listening = count, listening
        self._folder = Path(tempfile.mkdtemp(prefix="perennial-workers-"))
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._deaths: dict[int, list[float]] = {number: [] for number in range(count)}
        self._due = dict.fromkeys(range(count), 0.0)
        self._is_stopping = False

    def run(self) -> int:
        """Until SIGTERM or SIGINT; 1 when a worker dies again and again."""
        json_logs.begin()
        for one in (signal.SIGTERM, signal.SIGINT):
            signal.signal(one, self._stop)
        try:
            while not self._is_stopping:
                self._start_missing()
                time.sleep(LOOK_SECONDS)
                if not all(self._watch(number) for number in list(self._processes)):
                    return 1
            return 0
        finally:
            self._end()
            shutil.rmtree(self._folder, ignore_errors=True)

    def _stop(self, *_: object) -> None:
        self._is_stopping = True

    def _start_missing(self) -> None:
        for number, due in self._due.items():
            if number not in self._processes and time.monotonic() >= due:
                self._processes[number] = self._start(number)

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        own = ["--worker", str(number), "--supervisor", str(os.getpid())]
        own += ["--listening", str(self._listening.fileno()), "--siblings", str(self._folder)]
        command = [sys.executable, "-m", "pipeline_tasks.serving", *sys.argv[1:], *own]
        return subprocess.Popen(  # noqa: S603  # our own command line again
            command,
            pass_fds=[self._listening.fileno()],
            start_new_session=True,  # Ctrl-C is for the supervisor
        )

    def _watch(self, number: int) -> bool:
        """Note a death, and when to start again; False when there were too many."""
        status = self._processes[number].poll()
        if status is None or self._is_stopping:
            return True
        del self._processes[number]
        (self._folder / f"{number}.socket").unlink(missing_ok=True)
        now = time.monotonic()
        deaths = [at for at in self._deaths[number] if at > now - CALM_SECONDS] + [now]
        self._deaths[number] = deaths
        pause = min(0.25 * 2 ** (len(deaths) - 1), MAXIMUM_PAUSE_SECONDS)
        self._due[number] = now + pause
        log.error("worker %s ended with status %s", number, status)
        if len(deaths) > MAXIMUM_DEATHS:
            log.error("worker %s died %s times; giving up", number, len(deaths))
            return False
        return True

    def _end(self) -> None:
        self._listening.close()
        for process in self._processes.values():
            process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for process in self._processes.values():
            try:
                process.wait(timeout=max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
