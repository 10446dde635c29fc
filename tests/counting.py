"""How much work a call is, counted instead of timed: the same on every machine, at every load.

Here:  bytecode instructions of Python that a call executes.
Never: what happens inside functions written in C, which counts as the one instruction that calls them.
"""

import gc
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

__all__ = ["count_instructions"]


def count_instructions(function: Callable[[], object]) -> int:
    """The bytecode instructions that a call executes, those of everything it calls included."""
    count = 0

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:  # Any: as `sys.settrace` has it
        nonlocal count
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    collects = gc.isenabled()
    gc.disable()  # a collection calls whoever asked to be told of it, in the midst of what is counted
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)
        if collects:
            gc.enable()
    return count
