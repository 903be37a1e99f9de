"""The driver ``grbl``: a gantry behind a GRBL board, the cameras on it, and the lights and power around it."""
