"""Paths as routes see them, and as an obliging upstream could."""

import posixpath
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from corsproxy.http.paths import canonical_path, climbs, normalised_path, split_target, strip_prefix


class Split(NamedTuple):
    says: str
    target: bytes
    path: bytes
    query: bytes


SPLITS = [
    Split("no query", b"/a", b"/a", b""),
    Split("a query", b"/a?b=c", b"/a", b"?b=c"),
    Split("an empty query is not the same as none", b"/a?", b"/a", b"?"),
    Split("a second question mark belongs to the query", b"/a?b?c", b"/a", b"?b?c"),
    Split("a slash in the query is not the path's", b"/?/../x", b"/", b"?/../x"),
]


@pytest.mark.parametrize("case", SPLITS, ids=lambda case: case.says)
def test_split_target(case: Split) -> None:
    assert split_target(case.target) == (case.path, case.query)


class Reading(NamedTuple):
    says: str
    path: bytes
    canonical: bytes
    normalised: bytes


READINGS = [
    Reading("plain", b"/api/users", b"/api/users", b"/api/users"),
    Reading("the root", b"/", b"/", b"/"),
    Reading("a trailing slash counts", b"/api/", b"/api/", b"/api/"),
    Reading(
        "encoded unreserved characters are the characters",
        b"/%61pi/%7Ejo%2d%5F",
        b"/api/~jo-_",
        b"/api/~jo-_",
    ),
    Reading("other encodings are put in upper case", b"/a%c3%a9%3a", b"/a%C3%A9%3A", b"/a%C3%A9%3A"),
    Reading("decoded once, not twice", b"/%2561", b"/%2561", b"/%2561"),
    Reading("half an encoding stays", b"/a%4/%zz/%", b"/a%4/%zz/%", b"/a%4/%zz/%"),
    Reading("trap 37: dot segments", b"/api/../admin", b"/api/../admin", b"/admin"),
    Reading("trap 37: encoded dots", b"/api/%2e%2E/admin", b"/api/../admin", b"/admin"),
    Reading("trap 37: half-encoded dots", b"/api/.%2e/admin", b"/api/../admin", b"/admin"),
    Reading("trap 37: an encoded slash", b"/api%2f..%2Fadmin", b"/api%2F..%2Fadmin", b"/admin"),
    Reading("trap 37: a backslash", b"/api\\..\\admin", b"/api\\..\\admin", b"/admin"),
    Reading("trap 37: an encoded backslash", b"/api%5c..%5Cadmin", b"/api%5C..%5Cadmin", b"/admin"),
    Reading("trap 37: a doubled slash", b"//admin", b"//admin", b"/admin"),
    Reading("trap 37: doubled slashes inside", b"/api///x", b"/api///x", b"/api/x"),
    Reading("trap 37: a parameter on dots", b"/api/..;/admin", b"/api/..;/admin", b"/admin"),
    Reading("trap 37: a named parameter on dots", b"/api/..;a=b/admin", b"/api/..;a=b/admin", b"/admin"),
    Reading("trap 37: one dot", b"/api/./x/.", b"/api/./x/.", b"/api/x/"),
    Reading("nobody climbs above the root", b"/../../x", b"/../../x", b"/x"),
    Reading("two dots at the end are a folder", b"/a/b/..", b"/a/b/..", b"/a/"),
    Reading("down to the root", b"/a/..", b"/a/..", b"/"),
    Reading("three dots are a name", b"/a/.../b", b"/a/.../b", b"/a/.../b"),
    Reading("a hidden file is a name", b"/.well-known/x", b"/.well-known/x", b"/.well-known/x"),
    Reading("dots inside a name are its own", b"/a..b/c.d", b"/a..b/c.d", b"/a..b/c.d"),
    Reading("a parameter is no part of a name", b"/a;v=1/b", b"/a;v=1/b", b"/a/b"),
    Reading("nothing but a parameter is no name", b"/a/;v=1/b", b"/a/;v=1/b", b"/a/b"),
]


def test_parameters_are_kept_where_they_matter() -> None:
    assert normalised_path(b"/x/..;y/a;v=1/b", keeps_parameters=True) == b"/a;v=1/b"


@pytest.mark.parametrize(
    ("path", "does"),
    [
        (b"/../admin", True),
        (b"/a/../../admin", True),
        (b"/%2e%2e/admin", True),
        (b"/..%2fadmin", True),
        (b"/..;x/admin", True),
        (b"/..\\admin", True),
        (b"/a/./..//../x", True),
        (b"/a/../b", False),
        (b"/a/..", False),
        (b"/..a/b", False),
        (b"/plain", False),
    ],
)
def test_which_paths_climb_above_their_root(path: bytes, does: bool) -> None:
    assert climbs(path) is does


@pytest.mark.parametrize("case", READINGS, ids=lambda case: case.says)
def test_readings(case: Reading) -> None:
    assert (canonical_path(case.path), normalised_path(case.path)) == (case.canonical, case.normalised)


# No half encodings: decoding beside one can make a whole one, and such a path is no URI at all.
pieces = st.sampled_from(
    [
        b"/",
        b"//",
        b"a",
        b"admin",
        b".",
        b"..",
        b"%2e",
        b"%2F",
        b"%5c",
        b"\\",
        b";",
        b";x",
        b"%61",
        b"%25",
        b"\xe9",
    ]
)
paths = st.lists(pieces, max_size=12).map(lambda parts: b"/" + b"".join(parts))


@given(paths)
@example(b"/%2561")
def test_a_canonical_path_is_its_own_canonical_form_and_means_the_same(path: bytes) -> None:
    canonical = canonical_path(path)
    assert canonical_path(canonical) == canonical
    assert unquote_to_bytes(canonical) == unquote_to_bytes(path)


@given(paths)
@example(b"/;%2e")
def test_normalising_goes_through_the_canonical_form(path: bytes) -> None:
    assert normalised_path(path) == normalised_path(canonical_path(path))


@given(paths)
def test_a_normalised_path_leaves_nothing_to_resolve(path: bytes) -> None:
    normalised = normalised_path(path)
    names = [segment.partition(b";")[0] for segment in normalised.split(b"/")]
    assert normalised.startswith(b"/")
    assert not {b".", b".."} & set(names)
    assert b"//" not in normalised
    assert b"\\" not in normalised


@given(st.lists(st.sampled_from([b"a", b"bc", b".", b"..", b""]), max_size=8))
def test_without_encodings_it_agrees_with_the_standard_library(segments: list[bytes]) -> None:
    path = b"/" + b"/".join(segments)
    expected = b"/" + posixpath.normpath(path).lstrip(b"/")
    assert normalised_path(path).rstrip(b"/") == expected.rstrip(b"/")


class Strip(NamedTuple):
    says: str
    path: bytes
    prefix: bytes
    left: bytes


STRIPS = [
    Strip("the prefix goes", b"/api/x", b"/api", b"/x"),
    Strip("the path was the prefix", b"/api", b"/api", b"/"),
    Strip("the path was the prefix with a slash", b"/api/", b"/api", b"/"),
    Strip("the bytes of the rest are kept", b"/api/%7e//%2F", b"/api", b"/%7e//%2F"),
    Strip("the prefix may stand encoded", b"/%61p%69/x", b"/api", b"/x"),
    Strip("only on a segment boundary", b"/apix", b"/api", b"/apix"),
    Strip("another path", b"/other", b"/api", b"/other"),
    Strip("a path shorter than the prefix", b"/ap", b"/api", b"/ap"),
    Strip("reserved characters stay encoded", b"/a%2Fb/x", b"/a/b", b"/a%2Fb/x"),
    Strip("two segments", b"/a/b/c", b"/a/b", b"/c"),
    Strip("an encoding in small letters", b"/caf%c3%a9/x", b"/caf%C3%A9", b"/x"),
    Strip("another encoding", b"/caf%C3%A8/x", b"/caf%C3%A9", b"/caf%C3%A8/x"),
    Strip("half an encoding", b"/caf%C3", b"/caf%C3%A9", b"/caf%C3"),
]


@pytest.mark.parametrize("case", STRIPS, ids=lambda case: case.says)
def test_strip_prefix(case: Strip) -> None:
    assert strip_prefix(case.path, case.prefix) == case.left


@given(paths, st.sampled_from([b"/a", b"/admin", b"/a/admin"]))
def test_what_is_left_is_the_end_of_the_path_and_starts_with_a_slash(path: bytes, prefix: bytes) -> None:
    left = strip_prefix(path, prefix)
    assert left.startswith(b"/")
    assert path.endswith(left) or (left == b"/" and canonical_path(path) == prefix)
