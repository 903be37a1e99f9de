"""The gantry: an arm behind a GRBL 1.1 board on a serial line.

``port`` opens the line, ``protocol`` talks to the board on it, ``codes`` explains its error numbers,
``board_settings`` reads its settings, ``motion`` is the arithmetic of moves, ``position`` tracks where the arm stands,
and ``arm`` uses them all: home, go, stop.
"""
