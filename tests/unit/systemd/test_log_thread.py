"""The log thread: lines that nobody takes hold up nothing."""

import logging
import threading

from plantimager.timelapse.systemd.journal_lines import MAX_LINES, LogThread

PATIENCE = 60.0


class Gate(logging.Handler):
    """The other end: it takes a line only while it is open."""

    def __init__(self):
        super().__init__()
        self.open, self.reached = threading.Event(), threading.Event()
        self.lines = []

    def emit(self, record):
        self.reached.set()
        assert self.open.wait(PATIENCE)
        self.lines.append(record.getMessage())


def line(text):
    return logging.LogRecord("test", logging.INFO, __file__, 0, str(text), (), None)


def blocked():
    """Return the other end, which hangs in the line 0, and the thread's handler."""
    gate = Gate()
    handler = LogThread(gate, lambda count: line(f"{count} dropped"))
    handler.handle(line(0))
    assert gate.reached.wait(PATIENCE)
    return gate, handler


def drain(gate, handler):
    gate.open.set()
    while handler._waiting or handler._is_writing:
        handler.flush()
    return gate.lines


def test_lines_keep_their_order():
    """As they were logged."""
    gate, handler = blocked()
    for number in range(1, 100):
        handler.handle(line(number))
    assert drain(gate, handler) == [str(number) for number in range(100)]


def test_nobody_waits_for_an_end_that_takes_nothing_and_what_was_dropped_is_counted():
    """The line with their number is where they are missing, before the next line."""
    gate, handler = blocked()
    for number in range(1, MAX_LINES + 8):
        handler.handle(line(number))
    assert drain(gate, handler) == [*map(str, range(MAX_LINES + 1)), "7 dropped"]
    handler.handle(line("next"))
    assert drain(gate, handler)[-1] == "next"


def test_flush_at_the_end_has_a_limit(monkeypatch):
    """A process whose lines nobody takes ends all the same."""
    monkeypatch.setattr("plantimager.timelapse.systemd.journal_lines.FLUSH_TIMEOUT", 0.01)
    gate, handler = blocked()
    handler.flush()
    assert gate.lines == []
    gate.open.set()


class Broken(logging.Handler):
    """An end that fails, as a journald whose socket is gone and a stderr whose reader has ended, until it is mended."""

    def __init__(self):
        super().__init__()
        self.is_broken, self.lines = True, []

    def emit(self, record):
        if self.is_broken:
            raise BrokenPipeError
        self.lines.append(record.getMessage())


def test_end_that_fails_costs_no_later_line():
    """What failed is counted as dropped, together with a line about others that were dropped."""
    end = Broken()
    handler = LogThread(end, lambda count: line(f"{count} dropped"))
    for number in range(3):
        handler.handle(line(number))
        handler.flush()
    end.is_broken = False
    handler.handle(line("next"))
    handler.flush()
    assert end.lines == ["3 dropped", "next"]
