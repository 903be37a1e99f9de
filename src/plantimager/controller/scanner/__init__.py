"""What a timelapse is, how it is stored, and how a rig is made to scan.

The modules directly in this package are the domain: values and rules, no clock,
no threads, no disk. ``timelapse_store`` puts them on disk; ``drivers`` move hardware.
"""
