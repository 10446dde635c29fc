"""One request, from the client's bytes to the client's answer.

Here:  routing, the exchange record, the handler that reads top to bottom, the seam to aiohttp's server,
       forwarding, answers.
Never: process lifetime, signals, the configuration file, log formats.
"""
