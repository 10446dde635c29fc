"""What only the inside of a process can tell: Python imports this by itself when it finds it on its path.

Here:  a thread that counts live objects for whoever connects to $SOAK_INSIDE/PID.
Never: anything that changes what the process does.
"""

import collections
import gc
import json
import os
import socket
import threading

COUNTED = {"Task", "Downstream", "Connection", "Forward", "Tunnel", "Table", "Handler", "Cluster"}


def count() -> dict[str, int]:
    """Live objects by class; of tasks those that are not done."""
    gc.collect()
    found = collections.Counter(
        name
        for each in gc.get_objects()
        if (name := type(each).__name__) in COUNTED and not (name == "Task" and each.done())
    )
    return {name: found[name] for name in sorted(COUNTED)}


def serve(listener: socket.socket) -> None:
    while True:
        asking, _ = listener.accept()
        with asking:
            asking.sendall(json.dumps(count()).encode())


if folder := os.environ.get("SOAK_INSIDE"):
    door = socket.socket(socket.AF_UNIX)
    door.bind(f"{folder}/{os.getpid()}")
    door.listen()
    threading.Thread(target=serve, args=(door,), name="soak", daemon=True).start()
