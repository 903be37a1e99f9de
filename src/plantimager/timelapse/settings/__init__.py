"""``timelapsed.toml`` and ``timelapse.toml``, and where everything of a rig is."""
