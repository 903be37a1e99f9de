"""The check of pictures: ``look_picture`` measures one, ``looked`` keeps that, and ``verdict`` judges by it alone."""
