"""The door: one function a verb. Arguments in; text on stdout, talk on stderr, and an exit code out.

Here:  click commands that call into the rooms below and print what they return.
Never: rules, sockets, parsing of the configuration: a verb that needs logic finds it in another room.
"""
