"""What several rooms need and no library has: durable files, JSON that loses nothing, faults, the clock, text."""
