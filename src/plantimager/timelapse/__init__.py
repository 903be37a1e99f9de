"""timelapsed: keeps the timelapse of a plant imaging rig going through power cuts, wrong clocks and hung cameras."""
