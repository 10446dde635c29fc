"""Problems quote the file as it is written: what a variable holds that speaks of a secret is not in them."""

from dataclasses import dataclass

import pytest

from corsproxy.config.compile import load_table
from corsproxy.config.expand import secrets_of

LONG = "s3cret-" + "x" * 200
ENV = {"API_KEY": "s3cret\x01", "TOKEN": LONG, "WORD": "plain", "PIN_KEY": "1"}


@dataclass(frozen=True)
class Case:
    says: str
    written: str  # in place of an address
    shown: str


CASES = [
    Case("a secret", "${API_KEY}", "'${API_KEY}' is no address"),
    Case("within other text", "a ${API_KEY} b", "'a ${API_KEY} b' is no address"),
    Case("a long one, which is cut", "${TOKEN}", "'${TOKEN}…' is no address"),
    Case("no secret, by its name", "${WORD}", "'plain' is no address"),
    Case("the default of a secret is written there", "${OTHER_KEY:-plain}", "'plain' is no address"),
    Case("the password of a URL", "http://me:pw@h", "'http://me:***@h' is no address"),
    Case("a user name alone", "http://me@h", "'http://me@h' is no address"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.says)
def test_what_a_problem_shows(case: Case) -> None:
    text = f"listen: '{case.written}'\nroutes: [{{upstream: 'http://u.test', cors: off}}]\n"
    problem, *_ = load_table(text, "f.yaml", ENV)[1]
    assert problem.as_text().startswith(f"f.yaml:1:9: listen: {case.shown}")
    assert "s3cret" not in str(problem)


def test_the_value_of_a_secret_header_is_not_shown() -> None:
    edits = '{set: {X-Api-Key: "s3cret\\x01", X-Word: "plain\\x01"}}'
    text = f"routes: [{{upstream: 'http://u.test', cors: off, request_headers: {edits}}}]\n"
    key, word = [problem.message for problem in load_table(text, "f.yaml", ENV)[1]]
    assert key == "what is written here is no header value"
    assert word == r"'plain\x01' is no header value"


def test_too_short_to_be_hidden() -> None:
    text = "workers: ${PIN_KEY}2\nlisten: '1'\nroutes: [{upstream: 'http://u.test', cors: off}]\n"
    assert "'1' is no address" in "".join(problem.message for problem in load_table(text, "f.yaml", ENV)[1])


def test_which_variables_are_secrets() -> None:
    assert secrets_of("$$ ${WORD} ${API_KEY:-x} ${NOT_SET_TOKEN} ${", ENV) == {"s3cret\x01": "${API_KEY}"}
