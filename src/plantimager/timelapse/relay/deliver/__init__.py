"""Datasets to their targets: a server of PlantDB, or a remote of rclone.

``deliver_sink`` is the thread of one target; ``backlog`` and ``scan_queue`` say what it still has to get, ``pacing``
when and how fast. ``delivery`` is the contract of a way to a target: ``plantdb_delivery`` with ``outgoing``,
``plantdb_client`` and ``plantdb_answers``, and ``rclone_delivery`` with ``rclone_program``.
"""
