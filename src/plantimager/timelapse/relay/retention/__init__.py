"""The removal of datasets that every target has: ``deletable`` and ``other_copies`` say what may go."""
