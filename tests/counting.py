"""How much work a call is, counted instead of timed: the same on every machine, at every load.

Here:  bytecode instructions of Python that a call executes.
Never: what happens inside functions written in C, which counts as the one instruction that calls them.
"""

import gc
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

__all__ = ["count_instructions"]


def count_instructions(function: Callable[[], object]) -> int:
    """The bytecode instructions that a call executes, those of everything it calls included."""
    collects = gc.isenabled()
    gc.disable()  # a collection calls whoever asked to be told of it, in the midst of what is counted
    try:
        return _counted(function)
    finally:
        if collects:
            gc.enable()


if sys.version_info >= (3, 12):

    def _counted(function: Callable[[], object]) -> int:
        """By PEP 669: from 3.12 on, tracing misses the first run of a function."""
        count = 0

        here = threading.get_ident()

        def note(_code: object, _offset: int) -> None:
            nonlocal count
            count += threading.get_ident() == here  # the events are those of every thread

        monitoring = sys.monitoring
        tool, event = monitoring.PROFILER_ID, monitoring.events.INSTRUCTION
        monitoring.use_tool_id(tool, "count")
        monitoring.register_callback(tool, event, note)
        monitoring.set_events(tool, event)
        try:
            function()
        finally:
            monitoring.set_events(tool, 0)
            monitoring.register_callback(tool, event, None)
            monitoring.free_tool_id(tool)
        return count

else:

    def _counted(function: Callable[[], object]) -> int:
        count = 0

        def trace(frame: FrameType, event: str, _argument: Any) -> Any:  # Any: as `sys.settrace` has it
            nonlocal count
            frame.f_trace_opcodes = True
            frame.f_trace_lines = False
            count += event == "opcode"
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            function()
        finally:
            sys.settrace(before)
        return count
