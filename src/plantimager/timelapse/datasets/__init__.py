"""A scan's pictures on disk: attempt, receipt, layout, free space."""
