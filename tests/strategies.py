"""Generators of policies and requests for properties.

Here:  policies that load, origins near and far from what they list, requests as scripts make them.
Never: expectations.
"""

from hypothesis import strategies as st

from corsproxy.cors.policy import PolicySpec, Written
from tests.browser_model import CredentialsMode, Fetch

EXACT = (
    "https://app.example.com",
    "https://app.example.com:8443",
    "http://localhost:3000",
    "capacitor://localhost",
)
PATTERNS = ("https://*.example.com", "https://*.preview.example.com:8443", "http://localhost:*", "@loopback")
ORIGINS = (
    *EXACT,
    "https://example.com",
    "https://a.b.example.com",
    "https://pr-1.preview.example.com:8443",
    "https://evil-example.com",
    "https://app.example.com.evil.test",
    "http://app.example.com",
    "http://localhost",
    "http://shop.localhost:5173",
    "https://[::1]:3000",
    "moz-extension://1b3f-44",
    "null",
)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "PURGE")
HEADERS = ("Content-Type", "Authorization", "X-Id", "Accept", "X-Requested-With")
EXPOSED = ("ETag", "X-Total-Count", "Location", "Content-Type")


def written(names: tuple[str, ...]) -> st.SearchStrategy[tuple[Written, ...]]:
    return st.lists(st.sampled_from(names), unique=True).map(lambda texts: tuple(map(Written, texts)))


ANY = st.just((Written("*"),))
ANY_AND_TOKENS = st.just((Written("*"), Written("Authorization")))


@st.composite
def policies(draw: st.DrawFn) -> PolicySpec:
    """A policy that loads: none of the combinations that are refused."""
    credentials = draw(st.booleans())
    listed = written((*EXACT, *PATTERNS) if credentials else (*EXACT, *PATTERNS, "null"))
    return PolicySpec(
        "generated",
        allow_origins=draw(listed if credentials else st.one_of(listed, ANY)),
        allow_methods=draw(st.one_of(written(METHODS), ANY)),
        allow_headers=draw(st.one_of(written(HEADERS), ANY, ANY_AND_TOKENS)),
        expose_headers=draw(st.one_of(written(EXPOSED), ANY)),
        allow_credentials=credentials,
        max_age=draw(st.none() | st.integers(0, 86_400)),
        allow_private_network=draw(st.booleans()),
        timing_allow_origin=draw(st.booleans()),
        cross_origin_resource_policy=draw(
            st.sampled_from((None, "same-origin", "same-site", "cross-origin"))
        ),
        preflight_status=draw(st.sampled_from((200, 204))),
        on_denied=draw(st.sampled_from(("pass", "block"))),
        upstream_cors=draw(st.sampled_from(("replace", "merge_expose"))),
        diagnostics=draw(st.booleans()),
    )


def header_values(name: bytes) -> st.SearchStrategy[bytes]:
    if name == b"Content-Type":
        return st.sampled_from((b"application/json", b"text/plain", b"text/plain;charset=UTF-8"))
    return st.sampled_from((b"x", b"(odd)", b"long" * 40))


@st.composite
def fetches(draw: st.DrawFn) -> Fetch:
    """One call of fetch() from a page of some origin."""
    names = draw(st.lists(st.sampled_from(HEADERS), unique=True))
    modes: tuple[CredentialsMode, ...] = ("omit", "same-origin", "include")
    return Fetch(
        origin=draw(st.sampled_from(ORIGINS)).encode(),
        method=draw(st.sampled_from((*METHODS, "put", "patch"))).encode(),
        headers={name.encode(): draw(header_values(name.encode())) for name in names},
        credentials=draw(st.sampled_from(modes)),
    )


# Bytes as a hostile client sends them, and texts one slip away from a real origin.
origin_like = st.one_of(
    st.binary(max_size=600),
    st.sampled_from(ORIGINS).map(str.encode),
    st.builds(
        lambda text, at, byte: text[:at] + bytes([byte]) + text[at:],
        st.sampled_from(ORIGINS).map(str.encode),
        st.integers(0, 40),
        st.integers(0, 255),
    ),
    st.from_regex(rb"\A[a-z]{1,8}://[a-z0-9.:\[\]*-]{0,40}\Z"),
)
