"""To an agent, a message between others costs the same as one that does not exist: nothing of it is read."""

import asyncio
from typing import Any

import pytest
from mailroomd.auth.access import may_see_message
from mailroomd.auth.caller import Caller, Role
from mailroomd.core.host_directory import HostDirectory
from mailroomd.gateway.call import Call
from mailroomd.gateway.cooperation import WorkSlots
from mailroomd.gateway.lookup import Lookup
from mailroomd.model.errors import MailroomError, Reason

EVE = Caller(Role.AGENT, "token 1", "eve")


class RecordingReader:
    """Has one message from bob to alice, and records what is read."""

    def __init__(self) -> None:
        self.reads: list[str] = []

    async def catch_up(self) -> None: ...

    async def read_parties(self, message_id: int) -> tuple[str, str]:
        self.reads.append("parties")
        return ("bob", "alice") if message_id == 7 else ("", "")

    async def read_history(self, _: int) -> None:
        self.reads.append("history")


@pytest.mark.parametrize("message_id", [7, 8], ids=["between others", "absent"])
def test_a_message_between_others_is_read_no_further_than_an_absent_one(message_id: int) -> None:
    reader: Any = RecordingReader()
    nothing: Any = None
    call = Call(EVE, nothing, lambda: None, lambda parties: may_see_message(EVE, parties, str), WorkSlots(1))
    with pytest.raises(MailroomError) as refused:
        asyncio.run(Lookup(reader, nothing, nothing, HostDirectory(None)).get_message(message_id, call))
    assert refused.value.reason is Reason.MESSAGE_NOT_FOUND
    assert reader.reads == ["parties"]
