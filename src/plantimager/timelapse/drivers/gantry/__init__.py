"""The gantry: an arm behind a board of GRBL's family on a serial line.

``port`` opens the line, ``replies`` reads what comes on it, ``board`` talks to the board, ``codes`` explains its
errors, ``board_settings`` is its settings, ``motion`` is the arithmetic of moves, ``position`` tracks where the arm
stands, and ``arm`` uses them: connect, home, go, stop. ``arm_options`` declares the keys that all of these need,
``gantry_faults`` their errors.
"""
