"""What becomes of a call: how far a browser gets with the fields it is sent, and what it says about it.

Here:  the outcome of a call from its two answers (to the preflight, and to the call itself).
Never: what a policy allows (`decide`), routes, text for people.
"""

from dataclasses import dataclass
from enum import StrEnum

from corsproxy.cors.browser import Call, Lines, Step, check_preflight, check_response, passes
from corsproxy.cors.consoles import Message, console_messages

__all__ = ["CREDENTIALS_NOT_ALLOWED", "Answer", "Outcome", "Verdict", "judge"]

CREDENTIALS_NOT_ALLOWED = "credentials-not-allowed"
"""Why a call fails that the policy allows, without credentials. The log says `allowed`: the mode of a call is
not seen on this side."""


class Outcome(StrEnum):
    """What the script gets."""

    READABLE = "readable"  # the response, with its status
    NOT_SENT = "not-sent"  # a network error; the call never left the browser
    UNREADABLE = "unreadable"  # a network error, although the call was sent and answered
    UPSTREAM_DECIDES = "upstream-decides"  # whatever the upstream's own fields allow


@dataclass(frozen=True, slots=True)
class Answer:
    """What a browser is sent."""

    status: int | None  # None = the upstream's
    fields: Lines
    passes: bool = False  # the upstream's own CORS fields go through, so nothing can be said


@dataclass(frozen=True, slots=True)
class Verdict:
    """How far a browser gets."""

    outcome: Outcome
    preflight: tuple[Step, ...]  # none when there is no preflight, or it is the upstream's to answer
    actual: tuple[Step, ...]  # likewise; also shown when the call is not sent
    messages: tuple[Message, ...]


def judge(call: Call, preflight: Answer | None, actual: Answer, *, same_origin: bool = False) -> Verdict:
    """Fetch's checks on exact fields, in their order.

    preflight: None when the call needs none.
    same_origin: the page's own origin is asked, which no check stands in the way of.
    """
    asked = () if preflight is None or preflight.passes else _preflight_steps(call, preflight)
    read = () if same_origin or actual.passes else check_response(call, actual.fields)
    failing = next((step for step in (*asked, *read) if step.failure is not None), None)
    messages = () if failing is None else console_messages(failing, preflight=not passes(asked))
    if not passes(asked):
        return Verdict(Outcome.NOT_SENT, asked, read, messages)
    if not passes(read):
        return Verdict(Outcome.UNREADABLE, asked, read, messages)
    unknown = actual.passes or (preflight is not None and preflight.passes)
    return Verdict(Outcome.UPSTREAM_DECIDES if unknown else Outcome.READABLE, asked, read, messages)


def _preflight_steps(call: Call, answer: Answer) -> tuple[Step, ...]:
    return check_preflight(call, 204 if answer.status is None else answer.status, answer.fields)
