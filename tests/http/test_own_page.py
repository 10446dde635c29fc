"""A request as if its page were the upstream's own."""

from corsproxy.http.own_page import as_own_page

ORIGIN = b"https://api.example.com"


def test_the_three_fields_agree_and_the_rest_stays() -> None:
    sent = [
        b"Accept: */*",
        b"origin: http://localhost:5173",
        b"Referer: http://localhost:5173/cart?id=1",
        b"Sec-Fetch-Site: same-site",
        b"Sec-Fetch-Mode: cors",
    ]
    assert as_own_page(sent, ORIGIN) == [
        b"Accept: */*",
        b"origin: https://api.example.com",
        b"Referer: https://api.example.com/",
        b"Sec-Fetch-Site: same-origin",
        b"Sec-Fetch-Mode: cors",
    ]


def test_nothing_is_added() -> None:
    assert as_own_page([b"Accept: */*"], ORIGIN) == [b"Accept: */*"]
