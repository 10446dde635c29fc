"""The benchmark: corsproxy beside nginx, HAProxy, Envoy, Traefik and Caddy, one policy, one load, one run.

Here:  how the proxies are started, checked, loaded, measured and reported. `python -m bench` runs it.
Never: anything the proxy itself imports, and no figure that was not measured in the run that reports it.
"""
