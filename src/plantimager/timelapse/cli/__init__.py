"""The command with which people look at a timelapse and control it, one file a command."""
