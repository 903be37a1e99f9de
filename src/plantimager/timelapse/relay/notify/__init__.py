"""Messages to people.

``notify_sink`` is the thread; ``news`` and ``troubles`` say what is to be told beside what ``told`` has on record,
``notify_text`` and ``advice`` in which words, ``thumbnail`` with which picture. ``outbox`` keeps what waits for each
service, and ``messenger`` sends it by ``apprise_call``, which runs in a process of its own.
"""
