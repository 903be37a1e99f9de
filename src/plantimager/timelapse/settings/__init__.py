"""``timelapsed.toml`` and ``timelapse.toml``, and the paths of a rig's files."""
