"""The pictures of a scan on disk: attempt, receipt, layout, free space."""
