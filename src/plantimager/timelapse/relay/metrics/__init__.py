"""Metrics for Prometheus: ``measures`` makes them of one look at a store, ``metrics_sink`` writes their file."""
