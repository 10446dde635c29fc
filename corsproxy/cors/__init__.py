"""The CORS rules: origins, policies, decisions, response fields, hazards.

Here:  pure functions from (policy, facts of one request) to a value that carries its reason.
       Fetch, #http-cors-protocol.
Never: sockets, clocks, files, logs, YAML, aiohttp. The caller brings facts and carries decisions out.
"""
