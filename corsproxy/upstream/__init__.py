"""The other side: connections to upstream endpoints, their pools, and TLS towards them.

Here:  an HTTP/1.1 connection as an asyncio protocol, its pool, and which endpoint is asked next.
Never: CORS, routing, the configuration file, the client's connection.
"""
