"""The resume daemon: reads the store at boot, keeps the schedule, drives the rig, writes the store."""
