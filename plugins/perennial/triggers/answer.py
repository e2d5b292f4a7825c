"""Looks up, in the triggerer, what a person has answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from airflow.sdk.exceptions import AirflowRuntimeError
from airflow.sdk.execution_time.hitl import get_hitl_detail_content_detail
from airflow.triggers.base import BaseTrigger, TriggerEvent

NO_QUESTION = 404


class AnswerTrigger(BaseTrigger):
    """Fires at once, with the answer that the task's question has, or with nothing.

    Airflow carries question and answer over to a task's next try, but lets only the triggerer read
    them there.

    :param ti_id: the id of the task's present try
    """

    def __init__(self, *, ti_id: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.ti_id = ti_id

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """How it survives a restart of the triggerer."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {"ti_id": self.ti_id}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Ask Airflow's server once, outside the event loop."""
        yield TriggerEvent(await asyncio.to_thread(self._answer))  # type: ignore[no-untyped-call]

    def _answer(self) -> dict[str, Any] | None:
        try:
            found = get_hitl_detail_content_detail(UUID(self.ti_id))
        except AirflowRuntimeError as error:
            if (error.error.detail or {}).get("status_code") == NO_QUESTION:
                return None
            raise
        if not found.response_received:
            return None
        person = found.responded_by_user
        return {
            "chosen_options": list(found.chosen_options or ()),
            "responded_by_user": {"name": person.name} if person else None,
        }
