"""The process: listeners, graceful stop, the admin port, the log.

Here:  what starts, watches and ends the data plane.
Never: what happens inside one request (proxy), or how commands are spelled (cli).
"""
