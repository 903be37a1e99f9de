"""Tools that several rooms need and no library has: durable files, exact JSON, faults, the clock, text."""
