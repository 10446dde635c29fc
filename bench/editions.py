"""Editions: the ways in which one configuration of a proxy is run, and the keys that some of them need.

Here:  which lines of a template count in an edition, its words, certificates.
Never: which proxies there are, processes, loads.

In a template, `@word@` is replaced; a line that begins with one of the tags below is there only in the
editions that have the tag.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import trustme

__all__ = ["LOGGED", "PLAIN", "SECURE", "STREAMS", "TLS", "Edition", "fill", "issue_certificates"]

TAGS = frozenset({"clear", "tls", "http", "secure", "fixed", "streams", "quiet", "logged"})


@dataclass(frozen=True, slots=True)
class Edition:
    """How the proxies run for some of the loads."""

    name: str
    tags: frozenset[str]  # one of each pair: clear or tls, http or secure, fixed or streams, quiet or logged

    @property
    def is_tls(self) -> bool:
        """True when clients speak TLS."""
        return "tls" in self.tags

    @property
    def is_secure(self) -> bool:
        """True when the upstream speaks TLS."""
        return "secure" in self.tags

    @property
    def is_streams(self) -> bool:
        """True when the upstream is the one for uploads and streams."""
        return "streams" in self.tags


PLAIN = Edition("plain", frozenset({"clear", "http", "fixed", "quiet"}))
STREAMS = Edition("streams", frozenset({"clear", "http", "streams", "quiet"}))
TLS = Edition("tls", frozenset({"tls", "http", "fixed", "quiet"}))
SECURE = Edition("secure", frozenset({"clear", "secure", "fixed", "quiet"}))
LOGGED = Edition("logged", frozenset({"clear", "http", "fixed", "logged"}))


def fill(text: str, words: Mapping[str, str], tags: frozenset[str] = PLAIN.tags) -> str:
    """The lines of an edition, each word in its place. Raises KeyError for a placeholder without a word."""
    kept = "".join(untagged(line, tags) for line in text.splitlines(keepends=True))
    return re.sub(r"@([a-z]+)@", lambda found: words[found[1]], kept)


def untagged(line: str, tags: frozenset[str]) -> str:
    """The line without its tag; "" when it is one of another edition."""
    found = re.match(r"(\s*)@([a-z]+)@ ?", line)
    if found is None or found[2] not in TAGS:
        return line
    return found[1] + line[found.end() :] if found[2] in tags else ""


def issue_certificates(folder: Path) -> None:
    """ca.pem, cert.pem, key.pem and both.pem (certificate and key, as HAProxy wants them), for loopback."""
    authority = trustme.CA()
    leaf = authority.issue_cert("127.0.0.1", "localhost")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
    key = leaf.private_key_pem.bytes()
    (folder / "cert.pem").write_bytes(chain)
    (folder / "key.pem").write_bytes(key)
    (folder / "both.pem").write_bytes(chain + key)
