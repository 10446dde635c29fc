"""What the consoles of Chromium and Firefox call a failure: their kinds, our words.

Here:  the names of their message kinds, and a sentence of ours for each.
Never: judging fields (`browser`), texts that people paste (`pasted`), policies.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from corsproxy.cors.browser import Failure, Step

__all__ = ["CHROMIUM", "FIREFOX", "Message", "console_messages"]


class _Row(NamedTuple):
    """One failure, as each browser names it.

    Chromium's names are those of its DevTools protocol (Network.CorsError); Firefox's are the categories that
    its help pages are named after.
    """

    failure: Failure
    chromium: str
    firefox: str
    says: str
    on_both: bool = False  # on a preflight and on the response; then Chromium's name tells which


_ROWS = (
    _Row(
        Failure.ALLOW_ORIGIN_MISSING,
        "MissingAllowOriginHeader",
        "CORSMissingAllowOrigin",
        "Access-Control-Allow-Origin is missing.",
        on_both=True,
    ),
    _Row(
        Failure.ALLOW_ORIGIN_WILDCARD,
        "WildcardOriginNotAllowed",
        "CORSNotSupportingCredentials",
        "Access-Control-Allow-Origin is *, which does not count for a call with credentials.",
        on_both=True,
    ),
    _Row(
        Failure.ALLOW_ORIGIN_SEVERAL,
        "MultipleAllowOriginValues",
        "CORSMultipleAllowOriginNotAllowed",
        "Access-Control-Allow-Origin has several values; it may have one.",
        on_both=True,
    ),
    _Row(
        Failure.ALLOW_ORIGIN_DIFFERS,
        "AllowOriginMismatch",
        "CORSAllowOriginNotMatchingOrigin",
        "Access-Control-Allow-Origin is not the origin of the page.",
        on_both=True,
    ),
    _Row(
        Failure.ALLOW_ORIGIN_INVALID,
        "InvalidAllowOriginValue",
        "CORSAllowOriginNotMatchingOrigin",
        "Access-Control-Allow-Origin holds something that is no origin.",
        on_both=True,
    ),
    _Row(
        Failure.ALLOW_CREDENTIALS_NOT_TRUE,
        "InvalidAllowCredentials",
        "CORSMissingAllowCredentials",
        "Access-Control-Allow-Credentials is not true, and the call has credentials.",
        on_both=True,
    ),
    _Row(
        Failure.PREFLIGHT_REDIRECTED,
        "PreflightDisallowedRedirect",
        "CORSExternalRedirectNotAllowed",
        "The preflight was redirected, which no preflight may be.",
    ),
    _Row(
        Failure.PREFLIGHT_STATUS,
        "PreflightInvalidStatus",
        "CORSPreflightDidNotSucceed",
        "The preflight was answered with a status other than 200 to 299.",
    ),
    _Row(
        Failure.METHODS_UNREADABLE,
        "InvalidAllowMethodsPreflightResponse",
        "CORSInvalidAllowMethod",
        "Access-Control-Allow-Methods of the preflight is no list of names.",
    ),
    _Row(
        Failure.HEADERS_UNREADABLE,
        "InvalidAllowHeadersPreflightResponse",
        "CORSInvalidAllowHeader",
        "Access-Control-Allow-Headers of the preflight is no list of names.",
    ),
    _Row(
        Failure.METHOD_NOT_LISTED,
        "MethodDisallowedByPreflightResponse",
        "CORSMethodNotFound",
        "Access-Control-Allow-Methods of the preflight lacks the method.",
    ),
    _Row(
        Failure.HEADER_NOT_LISTED,
        "HeaderDisallowedByPreflightResponse",
        "CORSMissingAllowHeaderFromPreflight",
        "Access-Control-Allow-Headers of the preflight lacks a header that the call sets.",
    ),
    _Row(
        Failure.METHOD_FORBIDDEN,
        "TypeError",
        "TypeError",
        "No script may use this method: fetch() throws before anything is sent.",
    ),
)
_NEVER_SENT = "The call was not sent, since its preflight failed: "
_ROW_OF = {row.failure: row for row in _ROWS}

CHROMIUM: Mapping[str, str] = (
    {row.chromium: row.says for row in _ROWS}
    | {f"Preflight{row.chromium}": _NEVER_SENT + row.says for row in _ROWS if row.on_both}
    | {
        "LocalNetworkAccessPermissionDenied": "The user has not let this page reach the local "
        "network (asked for since Chromium 142). No field of a response changes that.",
        "InsecureLocalNetwork": "A page that is not secure may not call the local network. No field of a "
        "response changes that.",
    }
)
"""Our words for each kind of message in Chromium's console."""

FIREFOX: Mapping[str, str] = {
    # It makes no difference whether the value is another origin or none.
    row.firefox: row.says
    for row in _ROWS
    if row.failure is not Failure.ALLOW_ORIGIN_INVALID
} | {
    "CORSDidNotSucceed": "No response came: wrong name or port, a certificate, an extension. No rule of CORS "
    "was reached.",
    "CORSRequestNotHttp": "The page asked for something else than http or https.",
}
"""Our words for each kind of message in Firefox's console."""


@dataclass(frozen=True, slots=True)
class Message:
    """What one browser's console says about a failure."""

    browser: str  # "Chromium" or "Firefox"
    kind: str  # the browser's own name
    says: str  # ours


def console_messages(step: Step, *, preflight: bool) -> tuple[Message, ...]:
    """What Chromium and Firefox say about a step; nothing when it passed."""
    if step.failure is None:
        return ()
    row = _ROW_OF[step.failure]
    chromium = f"Preflight{row.chromium}" if preflight and row.on_both else row.chromium
    about = f" It is {step.about}." if step.about else ""
    return (
        Message("Chromium", chromium, CHROMIUM[chromium] + about),
        Message("Firefox", row.firefox, FIREFOX[row.firefox] + about),
    )
