"""Words on the wire: fields, methods, paths, forwarding fields, faults.

Here:  pure functions on bytes, each citing the rule that decides.
Never: sockets, clocks, files, logs, YAML, aiohttp, CORS rules.
"""
