"""The driver ``command``: a rig behind any program."""
