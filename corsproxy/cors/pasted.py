"""A message that somebody copied from a browser's console: which kind it is, and what it tells.

Here:  patterns for the texts of Chromium and Firefox, as far as it takes to know them apart; also for what
       Chromium says of a WebSocket that was refused.
Never: judging whether the message is right; other browsers, whose texts name no kind.
"""

import re
from dataclasses import dataclass

from corsproxy.cors.consoles import CHROMIUM, FIREFOX, Message

__all__ = ["SOCKET", "Pasted", "read_pasted"]

SOCKET = "WebSocket handshake"
"""The kind of a message about a WebSocket that was not opened."""


@dataclass(frozen=True, slots=True)
class Pasted:
    """What a message from a console tells. "" = it does not say."""

    message: Message
    url: str
    via: str = ""  # the URL that was called, when a redirect led from it to the other
    origin: str = ""
    method: str = ""
    header: str = ""
    preflight: bool = False  # it was about a preflight
    credentials: bool = False  # the call had credentials
    sent: bool = True  # False = the browser kept the request to itself


_CHROMIUM_TEXT = re.compile(
    r"Access to .{1,40}? at '(?P<url>[^' ]+)' (?:\(redirected from '(?P<via>[^']*)'\) )?"
    r"from origin '(?P<origin>[^' ]+)' has been blocked by CORS policy: (?P<says>.*)"
)
# No message about CORS, which has no say in WebSockets; but it is what a refused Origin looks like there.
_SOCKET_TEXT = re.compile(
    r"WebSocket connection to '(?P<url>[^' ]+)' failed: Error during WebSocket handshake: "
    r"Unexpected response code: (?P<status>\d{3})"
)
_FIREFOX_TEXT = re.compile(r"remote resource at (?P<url>[^ ]+?)\.? \(Reason: (?P<says>.*)")

_CHROMIUM_SAYS = (
    ("must not be the wildcard", "WildcardOriginNotAllowed"),
    ("No 'Access-Control-Allow-Origin'", "MissingAllowOriginHeader"),
    ("contains multiple values", "MultipleAllowOriginValues"),
    ("contains the invalid value", "InvalidAllowOriginValue"),
    ("not equal to the supplied origin", "AllowOriginMismatch"),
    ("'Access-Control-Allow-Credentials' header in the response is", "InvalidAllowCredentials"),
    ("not have HTTP ok status", "PreflightInvalidStatus"),
    ("Redirect is not allowed for a preflight", "PreflightDisallowedRedirect"),
    ("Cannot parse Access-Control-Allow-Methods", "InvalidAllowMethodsPreflightResponse"),
    ("Cannot parse Access-Control-Allow-Headers", "InvalidAllowHeadersPreflightResponse"),
    ("not allowed by Access-Control-Allow-Methods", "MethodDisallowedByPreflightResponse"),
    ("not allowed by Access-Control-Allow-Headers", "HeaderDisallowedByPreflightResponse"),
    ("Permission was denied for this request", "LocalNetworkAccessPermissionDenied"),
    ("is not a secure context and the resource is in more-private", "InsecureLocalNetwork"),
)
_FIREFOX_SAYS = (
    ("'Access-Control-Allow-Origin' missing", "CORSMissingAllowOrigin"),
    ("Credential is not supported", "CORSNotSupportingCredentials"),
    ("Multiple CORS header", "CORSMultipleAllowOriginNotAllowed"),
    ("'Access-Control-Allow-Origin' does not match", "CORSAllowOriginNotMatchingOrigin"),
    ("expected 'true' in CORS header", "CORSMissingAllowCredentials"),
    ("'Access-Control-Allow-Headers' from CORS preflight", "CORSMissingAllowHeaderFromPreflight"),
    ("Did not find method in CORS header", "CORSMethodNotFound"),
    ("in CORS header 'Access-Control-Allow-Methods'", "CORSInvalidAllowMethod"),
    ("in CORS header 'Access-Control-Allow-Headers'", "CORSInvalidAllowHeader"),
    ("CORS preflight", "CORSPreflightDidNotSucceed"),
    ("CORS request did not succeed", "CORSDidNotSucceed"),
    ("external redirect", "CORSExternalRedirectNotAllowed"),
    ("CORS request not http", "CORSRequestNotHttp"),
)
_METHOD = re.compile(r"Method ([^ ]{1,64}) is not allowed")
_HEADER = re.compile(r"(?:Request header field|missing token) '?([^ ']{1,256})'?")
_WITH_CREDENTIALS = frozenset(
    {
        "CORSMissingAllowCredentials",
        "CORSNotSupportingCredentials",
        "InvalidAllowCredentials",
        "WildcardOriginNotAllowed",
    }
)
_NEVER_SENT = frozenset({"InsecureLocalNetwork", "LocalNetworkAccessPermissionDenied"})
_ABOUT_PREFLIGHT = frozenset(
    {
        "CORSExternalRedirectNotAllowed",
        "CORSInvalidAllowHeader",
        "CORSInvalidAllowMethod",
        "CORSMethodNotFound",
        "CORSMissingAllowHeaderFromPreflight",
        "CORSPreflightDidNotSucceed",
    }
)


def read_pasted(text: str) -> Pasted | None:
    """What a message copied from a console says; None when it is neither Chromium's nor Firefox's."""
    flat = " ".join(text.replace("‘", "'").replace("’", "'").split())
    if match := _CHROMIUM_TEXT.search(flat):
        return _from_chromium(match["url"], match["via"] or "", match["origin"], match["says"])
    if match := _SOCKET_TEXT.search(flat):
        says = f"The WebSocket was answered {match['status']}, not 101; with 403 its Origin was refused."
        return Pasted(Message("Chromium", SOCKET, says), match["url"])
    if match := _FIREFOX_TEXT.search(flat):
        return _from_firefox(match["url"], match["says"])
    return None


def _from_chromium(url: str, via: str, origin: str, says: str) -> Pasted | None:
    kind = _kind_of(says, _CHROMIUM_SAYS)
    if not kind:
        return None
    # "Response to preflight request doesn't pass access control check: ..."
    is_check_of_preflight = says.startswith("Response to preflight")
    named = f"Preflight{kind}" if is_check_of_preflight and f"Preflight{kind}" in CHROMIUM else kind
    return Pasted(
        Message("Chromium", named, CHROMIUM[named]),
        url,
        via,
        origin,
        _first(_METHOD, says),
        _first(_HEADER, says).lower(),
        preflight="Preflight" in named,
        credentials=kind in _WITH_CREDENTIALS,
        sent=kind not in _NEVER_SENT,
    )


def _from_firefox(url: str, says: str) -> Pasted | None:
    kind = _kind_of(says, _FIREFOX_SAYS)
    if not kind:
        return None
    return Pasted(
        Message("Firefox", kind, FIREFOX[kind]),
        url,
        header=_first(_HEADER, says).lower(),
        preflight=kind in _ABOUT_PREFLIGHT,
        credentials=kind in _WITH_CREDENTIALS,
    )


def _kind_of(says: str, known: tuple[tuple[str, str], ...]) -> str:
    return next((kind for words, kind in known if words in says), "")


def _first(pattern: re.Pattern[str], says: str) -> str:
    match = pattern.search(says)
    return match[1] if match else ""
