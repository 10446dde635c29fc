"""corsproxy: a reverse proxy that puts a correct, explainable CORS policy in front of an API.

Here:  the version, and nothing else. The rooms are cli, dev, ops, proxy, upstream, config, cors, http.
Never: imports of those rooms; `corsproxy healthcheck` must start without them.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
