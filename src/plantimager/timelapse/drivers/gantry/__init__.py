"""The gantry: an arm behind a GRBL 1.1 board on a serial line.

``port`` finds and holds the line, ``protocol`` speaks the board's language, ``codes`` says what its error numbers
mean, ``motion`` is the arithmetic of getting somewhere, and ``arm`` puts them together: home, go, stop, park.
"""
