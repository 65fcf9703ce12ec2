"""DraftApi — the calls by which browsers share what the operator has begun to write."""

__all__ = ["DraftApi"]

import asyncio

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from mailroom_apps.dashboard.api import Entry
from mailroom_apps.dashboard.drafts import Draft, Drafts, Uuid
from mailroom_apps.dashboard.guard import Access
from mailroom_apps.dashboard.requests import answer, invalid, read_body


class DraftId(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A draft to remove."""

    id: Uuid


class DraftApi:
    """The calls about drafts. An observer has none, and sees none.

    Args:
        drafts: the operator's.
    """

    def __init__(self, drafts: Drafts) -> None:
        self._drafts = drafts

    def entries(self) -> list[Entry]:
        """Returns every entry."""
        return [
            Entry("GET", "/api/drafts", Access.OPERATOR, self._list),
            Entry("POST", "/api/drafts", Access.OPERATOR, self._save),
            Entry("POST", "/api/drafts/remove", Access.OPERATOR, self._remove),
        ]

    async def _list(self, _request: Request) -> Response:
        drafts = await asyncio.to_thread(self._drafts.all)
        return answer({"drafts": [msgspec.to_builtins(draft) for draft in drafts]})

    async def _save(self, request: Request) -> Response:
        draft = await read_body(request, Draft)
        try:
            await asyncio.to_thread(self._drafts.save, draft)
        except ValueError as error:
            raise invalid(str(error)) from error
        return answer({})

    async def _remove(self, request: Request) -> Response:
        await asyncio.to_thread(self._drafts.remove, (await read_body(request, DraftId)).id)
        return answer({})
