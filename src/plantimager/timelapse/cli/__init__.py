"""The command with which people look at a timelapse and steer it."""
