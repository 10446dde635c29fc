"""Request methods that can cross this proxy.

Here:  the list that the request parser knows (llhttp), as data.
Never: decisions about them.
"""

__all__ = ["FORWARDABLE_METHODS", "IDEMPOTENT_METHODS"]

# llhttp knows a fixed list: anything else is answered 400 before a handler runs, so a route or a policy
# that lists another method is an error of `check`. A test holds this list against the parser itself.
# CONNECT and TRACE are refused (proxy.request says why).
FORWARDABLE_METHODS = frozenset(
    b"ACL BIND CHECKOUT COPY DELETE GET HEAD LINK LOCK M-SEARCH MERGE MKACTIVITY MKCALENDAR MKCOL MOVE "
    b"NOTIFY OPTIONS PATCH POST PROPFIND PROPPATCH PURGE PUT QUERY REBIND REPORT SEARCH SOURCE SUBSCRIBE "
    b"UNBIND UNLINK UNLOCK UNSUBSCRIBE".split()
)

# RFC 9110 §9.2.2, TRACE left out: may be sent again when it is not known whether the first copy was acted on.
IDEMPOTENT_METHODS = frozenset(b"DELETE GET HEAD OPTIONS PUT".split())
