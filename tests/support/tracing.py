"""Killing a process at a chosen system call, by ptrace(2).

Bytes that were written stay with the kernel when a process is killed, so the state after a kill depends only on the
system calls before it. Killing at the entry of each call in turn therefore covers every possible kill. A call that only
reads, waits or has to do with the process itself leaves that state as it is: of several in a row the kill at the next
other call stands for all, and only a soak test tries each.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from soaking import SOAK

if TYPE_CHECKING:
    from collections.abc import Callable

_TRACEME, _SYSCALL, _SETOPTIONS, _GET_SYSCALL_INFO = 0, 24, 0x4200, 0x420E
_GOOD, _FORK, _VFORK, _CLONE, _EXEC, _EXITKILL = 1, 2, 4, 8, 16, 1 << 20
_ALL_CHILDREN = 0x40000000  # __WALL: threads too
_ENTRY = 1

_IOCTL, _OPENAT, _TCGETS = 16, 257, 0x5401
_WITHOUT_A_TRACE = (
    *(0, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12),  # read close stat fstat lstat poll lseek mmap mprotect munmap brk
    *(13, 14, 15, 17, 21, 25, 28),  # rt_sigaction rt_sigprocmask rt_sigreturn pread64 access mremap madvise
    *(39, 79, 89, 102, 104, 107, 108, 110),  # getpid getcwd readlink getuid getgid geteuid getegid getppid
    *(137, 138, 186, 202, 217, 228, 230),  # statfs fstatfs gettid futex getdents64 clock_gettime clock_nanosleep
    *(232, 262, 267, 269, 271, 273),  # epoll_wait newfstatat readlinkat faccessat ppoll set_robust_list
    *(286, 318, 332, 334, 439),  # timerfd_settime getrandom statx rseq faccessat2
)
"""System calls of x86-64 after which everything outside the process is as before. Of others, each is tried."""
_NUMBERS = frozenset(_WITHOUT_A_TRACE if platform.machine() == "x86_64" and not SOAK else ())

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
        ("arguments", ctypes.c_uint64 * 8),
    )

    def leaves_a_trace(self) -> bool:
        """Whether anything outside the process may be another after this call."""
        if _NUMBERS and self.number == _OPENAT:
            return bool(self.arguments[2] & (os.O_CREAT | os.O_TRUNC))
        if _NUMBERS and self.number == _IOCTL:
            return self.arguments[1] != _TCGETS
        return self.number not in _NUMBERS


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
        """The number of system calls that it has entered, of those that leave a trace."""
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
        """Let the child run to the entry of call number ``until`` (from 1), and kill it there.

        Returns whether it came that far; otherwise it has ended by itself. ``at_each`` is called at the entry of every
        call before, also of those that leave no trace.
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
                if (call := self._entered(thread)) is not None:
                    if call.leaves_a_trace():
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
    def _entered(thread: int) -> _SyscallInfo | None:
        info = _SyscallInfo()
        _ptrace(_GET_SYSCALL_INFO, thread, ctypes.sizeof(info), ctypes.byref(info))
        return info if info.op == _ENTRY else None

    def _kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        while True:
            thread, status = os.waitpid(-1, _ALL_CHILDREN)
            if thread == self.pid and not os.WIFSTOPPED(status):
                return
