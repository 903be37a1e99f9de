"""The controlling side of a plant imaging rig."""
