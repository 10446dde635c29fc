"""The configuration file, from YAML text with line numbers to one frozen table that serves requests.

Here:  model (what may be written), load (text to model, with located problems), compile (model to table).
Never: sockets, event loops, aiohttp. What serves requests imports `config.table`, nothing else of this room.
"""
