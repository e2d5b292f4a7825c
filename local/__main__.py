"""Perennial on one machine: python -m local up | demo."""

from __future__ import annotations

import argparse
import sys

from rich.console import Console

from local.demo import demo
from local.environment import USER, Local, LocalError
from local.services import running


def main() -> int:
    """Run one command; 0 when it did what it was asked to."""
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    commands = parser.add_subparsers(required=True, dest="command")
    commands.add_parser("up", help="start everything and stay until Ctrl-C")
    demo_parser = commands.add_parser("demo", help="start everything and go round the whole loop")
    demo_parser.add_argument("--stay", action="store_true", help="stay up after the demo")
    arguments = parser.parse_args()
    console = Console(highlight=False, soft_wrap=True)
    try:
        local = Local()
        with running(local, console) as services:
            _welcome(local, console)
            status = demo(services, console) if arguments.command == "demo" else 0
            if arguments.command == "up" or arguments.stay:
                services.watch()
    except LocalError as error:
        console.print(f"[red]{type(error).__name__}[/red]: ", end="")
        console.print(str(error), markup=False)
        return 1
    except KeyboardInterrupt:
        return 0 if arguments.command == "up" else 130
    return status


def _welcome(local: Local, console: Console) -> None:
    """Where everything is, how to log in, what to click."""
    console.print(
        f"""
[bold]Perennial is up.[/bold]
  Airflow       {local.ui}
  log in as     {USER}, password {local.password()}  (kept in {local.password_file})
  model server  {local.server}/v1/models/digits
  logs          {local.logs}

  What next: open "digits · train" and press Trigger; when it is green, ask the model:
    curl -s {local.server}/v1/models/digits/metadata
  "digits · monitor" looks at production every 15 minutes, "digits · retrain" waits for trouble,
  "digits · rollback" goes back to an earlier version. Ctrl-C stops everything; history stays.
""",
        highlight=False,
    )


if __name__ == "__main__":
    sys.exit(main())
