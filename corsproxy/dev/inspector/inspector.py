"""The inspector at work: one exchange explained, and what the page's buttons do.

Here:  the steps of each action on the data plane, from plain values to JSON.
Never: HTTP (pages), Host, Origin and token (admin listener, gate), judging (judged, offer), sockets (replay).
"""

import asyncio
import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from corsproxy.config.table import Address
from corsproxy.cors.decide import Reason
from corsproxy.cors.origins import parse_origin
from corsproxy.cors.pasted import read_pasted
from corsproxy.dev.inspector.entry import Entry, Json
from corsproxy.dev.inspector.fielddiff import compare
from corsproxy.dev.inspector.files import SaveError, draft_of, save
from corsproxy.dev.inspector.judged import call_of, judge_sent, question_of
from corsproxy.dev.inspector.offer import Offer, make_offer
from corsproxy.dev.inspector.overview import overview
from corsproxy.dev.inspector.pasted import find_rows, question_from
from corsproxy.dev.inspector.replay import ReplayError, replay, request_of
from corsproxy.dev.inspector.ring import Ring
from corsproxy.ops.plane import Plane
from corsproxy.proxy.explain import Explanation, Question, explain
from corsproxy.proxy.explained import as_json, curl_commands

__all__ = ["Inspector", "RefusedActionError"]

_MOST_UNDO = 20


class RefusedActionError(Exception):
    """What was asked is not done; the text is one line for a person."""

    def __init__(self, status: int, says: str) -> None:
        super().__init__(says)
        self.status = status  # of HTTP


class Inspector:
    """One data plane, looked into."""

    def __init__(
        self,
        plane: Plane,
        ring: Ring,
        env: Mapping[str, str],
        *,
        listener: Callable[[], Address] | None = None,
        may_apply: bool = False,
        save_to: Path | None = None,
        tell: Callable[[str], object] = lambda _: None,
        origin_flag: str = "",
    ) -> None:
        """env: for `${NAME}` in a changed configuration. listener: where the proxy really listens; None = as
        its table says. may_apply: the page may change what serves, in memory. save_to: the file to which it
        may be written after a look at the difference; None = none. tell: takes a line about each change.
        origin_flag: the option of the command that lets an origin in; "" = there is none.
        """
        self.ring = ring
        self._plane = plane
        self._env = env
        self._listener = listener or (lambda: plane.table.listen)
        self._may_apply = may_apply
        self._save_to = save_to if may_apply else None
        self._tell = tell
        self._origin_flag = origin_flag
        self._undo: list[str] = []  # what served before each change that was applied here
        self._applied = ""  # what the last of them made of it

    # Looking

    async def state(self) -> Json:
        """What the page shows beside the list."""
        return {
            **await overview(self._plane),
            "kept": self.ring.kept,
            "may_apply": self._may_apply,
            "may_undo": self._may_undo(),
            "save_to": str(self._save_to) if self._save_to else "",
        }

    async def show(self, number: int) -> Json:
        """Everything about one exchange."""
        row, detail = self._kept(number)
        before = self._preflight_of(row)
        question = question_of(self._plane.table, row, detail, before)
        return {
            "row": row,
            "detail": detail,
            "fields": _fields(detail),
            "sent": judge_sent(row, detail, call_of(row, detail, before)),
            "now": None if question is None else await self.ask(question, is_socket=bool(row.get("socket"))),
        }

    async def ask(self, question: Question, *, is_socket: bool = False) -> Json:
        """What the configuration that serves now makes of a call, and what would let it through."""
        found, offer = await self._explained(question)
        commands = curl_commands(found, self._listener())
        return {
            **as_json(found),
            "offer": {**offer.as_json(), "may_apply": self._may_apply},
            "curl": list(map(_as_socket, commands)) if is_socket else commands,
            "version": self._plane.state.version,
            "question": _question_json(question),
        }

    async def paste(self, text: str) -> Json:
        """What a message from a console is about. Raises RefusedActionError."""
        pasted = read_pasted(text)
        if pasted is None:
            raise RefusedActionError(
                422,
                "this is no message about CORS of Chromium or Firefox; copy it from “Access to …” or "
                "“Cross-Origin Request Blocked” to its end",
            )
        found = find_rows(pasted, self.ring.after(0))
        question = question_from(pasted, found, self._plane.table)
        message = pasted.message
        return {
            "message": {"browser": message.browser, "kind": message.kind, "says": message.says},
            "url": pasted.url,
            "origin": pasted.origin,
            "ids": list(found.ids),
            "none": found.none,
            "now": None if question is None else await self.ask(question),
        }

    def question(self, number: int) -> Question:
        """The call that an exchange was part of. Raises RefusedActionError."""
        row, detail = self._kept(number)
        question = question_of(self._plane.table, row, detail, self._preflight_of(row))
        if question is None:
            raise RefusedActionError(409, "this exchange has no Origin, so CORS has no say in it")
        return question

    def _preflight_of(self, row: Json) -> Json | None:
        """The detail of the preflight that came before a call, where it is still kept."""
        number = row.get("preflight")
        entry = self.ring.get(number) if isinstance(number, int) else None
        return _detail(entry) if entry else None

    def _kept(self, number: int) -> tuple[Json, Json | None]:
        entry = self.ring.get(number)
        if entry is None:
            raise RefusedActionError(404, "this exchange is no longer kept")
        return json.loads(entry.row), _detail(entry)

    async def _explained(self, question: Question) -> tuple[Explanation, Offer]:
        """Away from the event loop: trying a change out loads the whole configuration, which may be large."""
        table, text = self._plane.table, self._plane.text

        def work() -> tuple[Explanation, Offer]:
            found = explain(table, question)
            return found, self._with_flag(make_offer(found, table, text, self._env), found)

        return await asyncio.to_thread(work)

    def _with_flag(self, offer: Offer, found: Explanation) -> Offer:
        """A page without TLS is let in by an option, not by a change of the text: there it takes a second
        key, which says that it is dangerous.
        """
        origin = found.question.call.origin
        is_plain = origin.startswith(b"http://") and parse_origin(origin) is not None
        if (
            not self._origin_flag
            or offer.changes
            or not is_plain
            or found.reason != Reason.ORIGIN_NOT_ALLOWED
        ):
            return offer
        flag = f"{self._origin_flag} {origin.decode('ascii')}"
        return replace(offer, advice=f"{offer.advice}, or start corsproxy with {flag}")

    # Changing what serves

    async def apply(self, question: Question, version: str) -> Json:
        """Make the change that would let a call through, in memory. version: of the configuration it was
        offered for. Raises RefusedActionError.
        """
        self._check_may_apply()
        if version != self._plane.state.version:
            raise RefusedActionError(409, "the configuration changed since this was offered: look again")
        before = self._plane.text
        offer = (await self._explained(question))[1]
        if not offer.text:
            raise RefusedActionError(409, offer.caution or offer.advice or "there is nothing to change")
        await self._serve(offer.text)
        self._undo = [*(self._undo if before == self._applied else []), before][-_MOST_UNDO:]
        self._applied = offer.text
        self._tell(f"changed from the inspector: {'; '.join(offer.changes)}")
        return await self.state()

    async def take_back(self) -> Json:
        """Serve by what served before the last change again. Raises RefusedActionError."""
        self._check_may_apply()
        if not self._may_undo():
            raise RefusedActionError(409, "there is no change of this page to take back")
        before = self._undo[-1]
        await self._serve(before)
        self._undo.pop()
        self._applied = before
        self._tell("changed from the inspector: the last change was taken back")
        return await self.state()

    async def _serve(self, text: str) -> None:
        done = await self._plane.apply(text)
        if not done.ok:
            raise RefusedActionError(409, "; ".join(done.problems) or "the configuration was not taken")

    def _may_undo(self) -> bool:
        return self._may_apply and bool(self._undo) and self._plane.text == self._applied

    def _check_may_apply(self) -> None:
        if not self._may_apply:
            raise RefusedActionError(403, "here the inspector only looks: change the file, and reload")

    # Writing it down

    def draft(self) -> Json:
        """What saving would change in the file. Raises RefusedActionError."""
        try:
            return draft_of(self._file(), self._plane.text).as_json()
        except SaveError as error:
            raise RefusedActionError(409, str(error)) from error

    def save(self, mark: str) -> Json:
        """Write what serves into the file. mark: of the draft that was shown. Raises RefusedActionError."""
        try:
            save(self._file(), self._plane.text, mark)
        except SaveError as error:
            raise RefusedActionError(409, str(error)) from error
        self._undo.clear()  # what the file holds is no passing change any more
        return self.draft()

    def _file(self) -> Path:
        self._check_may_apply()
        if self._save_to is None:
            raise RefusedActionError(409, "there is no file to save to")
        return self._save_to

    # Asking again

    async def replay(self, number: int, *, confirmed: bool) -> Json:
        """Send a recorded request again. Raises RefusedActionError."""
        row, detail = self._kept(number)
        if detail is None:
            raise RefusedActionError(409, "the fields of this exchange were not kept")
        try:
            head, left_out = request_of(row, detail, confirmed=confirmed)
            tls = self._plane.table.tls is not None
            return (await replay(self._listener(), head, left_out, tls=tls)).as_json()
        except ReplayError as error:
            raise RefusedActionError(409, str(error)) from error


def _as_socket(command: str) -> str:
    """The command with what asks for a WebSocket; the key is that of RFC 6455 §1.3."""
    fields = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
    more = (*fields, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
    return " ".join((command, *(f"-H {shlex.quote(each)}" for each in more)))


def _detail(entry: Entry) -> Json | None:
    return json.loads(entry.detail) if entry.detail else None


def _fields(detail: Json | None) -> Json | None:
    """Before and after, for both messages."""
    if detail is None:
        return None
    sides: Json = {}
    for side in ("request", "response"):
        part = detail[side]
        if isinstance(part, dict):
            sides[side] = compare(part["before"], part["after"])
    return sides


def _question_json(question: Question) -> Json:
    """The call, with the names of /-/explain: what fills the form, and comes back with `apply`."""
    call = question.call
    return {
        "path": question.target.decode("latin-1"),
        "origin": call.origin.decode("latin-1"),
        "method": call.method.decode("latin-1"),
        "headers": ",".join(name.decode("latin-1") for name, value in call.headers if value is None),
        "header": [
            f"{name.decode('latin-1')}: {value.decode('latin-1')}"
            for name, value in call.headers
            if value is not None
        ],
        "credentials": call.credentials,
        "host": question.host.decode("latin-1"),
    }
