"""Killing a process at a chosen system call, by ptrace(2).

Bytes that were written stay with the kernel when a process is killed, so the state after a kill depends only on the
system calls before it. Killing at the entry of each call in turn therefore covers every possible kill.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

_TRACEME, _SYSCALL, _SETOPTIONS, _GET_SYSCALL_INFO = 0, 24, 0x4200, 0x420E
_GOOD, _FORK, _VFORK, _CLONE, _EXEC, _EXITKILL = 1, 2, 4, 8, 16, 1 << 20
_ALL_CHILDREN = 0x40000000  # __WALL: threads too
_ENTRY = 1

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_libc.ptrace.restype = ctypes.c_long


class _SyscallInfo(ctypes.Structure):
    """``struct ptrace_syscall_info``, which is the same on every architecture."""

    _fields_ = (
        ("op", ctypes.c_uint8),
        ("pad", ctypes.c_uint8 * 3),
        ("arch", ctypes.c_uint32),
        ("instruction_pointer", ctypes.c_uint64),
        ("stack_pointer", ctypes.c_uint64),
        ("number", ctypes.c_uint64),
        ("rest", ctypes.c_uint64 * 8),
    )


def _ptrace(request: int, pid: int, address: int = 0, data: object = 0) -> int:
    result = int(_libc.ptrace(request, pid, address, data))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def fork(body: Callable[[], object]) -> int:
    """Run ``body`` in a child process, which ends with 0, or with 70 and a traceback; return its PID.

    Only for a process of one thread.
    """
    pid = os.fork()
    if not pid:
        _in_child(body)
    return pid


def _in_child(body: Callable[[], object]) -> NoReturn:
    code = 70
    try:
        body()
        code = 0
    except BaseException:  # noqa: BLE001 - no exception may leave the child; each is printed
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


class Traced:
    """A forked child that is stopped at each system call of its threads. Its own children are not traced."""

    def __init__(self, body: Callable[[], object]) -> None:
        self.calls = 0
        """The number of system calls that it has entered."""
        self.pid = fork(lambda: self._begin(body))
        self.exit_status: int | None = None
        os.waitpid(self.pid, 0)
        _ptrace(_SETOPTIONS, self.pid, 0, _GOOD | _CLONE | _EXITKILL)
        self._threads = {self.pid}
        self._fresh: set[int] = set()
        _ptrace(_SYSCALL, self.pid)

    @staticmethod
    def _begin(body: Callable[[], object]) -> None:
        _ptrace(_TRACEME, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
        body()

    def go_on(self, until: int, at_each: Callable[[], object] = lambda: None) -> bool:
        """Let the child run to the entry of system call number ``until`` (from 1), and kill it there.

        Returns whether it came that far; otherwise it has ended by itself. ``at_each`` is called at every entry before.
        """
        while True:
            thread, status = os.waitpid(-1, _ALL_CHILDREN)
            if not os.WIFSTOPPED(status):
                if thread == self.pid:
                    self.exit_status = os.waitstatus_to_exitcode(status)
                    return False
                continue
            signal_number = os.WSTOPSIG(status)
            if signal_number == signal.SIGTRAP | 0x80:
                if self._enters(thread):
                    self.calls += 1
                    if self.calls == until:
                        self._kill()
                        return True
                    at_each()
                deliver = 0
            elif status >> 16 or (signal_number == signal.SIGSTOP and thread not in self._threads):
                self._threads.add(thread)  # an event of ptrace, or the stop at which a traced thread begins
                deliver = 0
            else:
                deliver = signal_number
            try:
                _ptrace(_SYSCALL, thread, 0, deliver)
            except ProcessLookupError:
                continue  # the thread is ending

    @staticmethod
    def _enters(thread: int) -> bool:
        info = _SyscallInfo()
        _ptrace(_GET_SYSCALL_INFO, thread, ctypes.sizeof(info), ctypes.byref(info))
        return info.op == _ENTRY

    def _kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        while True:
            thread, status = os.waitpid(-1, _ALL_CHILDREN)
            if thread == self.pid and not os.WIFSTOPPED(status):
                return
