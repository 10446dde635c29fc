"""The laptop: the demo and, later, the dev profile and the inspector.

Here:  a legacy API without CORS, a page on another origin, and the proxy between them.
Never: anything that a production proxy needs.
"""
