"""What a scan is: the paths, cameras, lights and metadata of a scan configuration. Pure."""
