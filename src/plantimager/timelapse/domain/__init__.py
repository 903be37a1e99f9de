"""What a timelapse is: states, transitions, slots, records, schedule, durations. Pure: no I/O, no clock."""
