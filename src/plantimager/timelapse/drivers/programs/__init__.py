"""The operator's programs: found, run so that nothing of them outlives the call, and ended where something did.

A program runs in a session of its own, without a shell. Its output is read as it comes, and at most a few kilobytes of
it are kept. However the call ends, the program's process group is killed, and what it has started in other sessions is
ended: it would write into a finished dataset.

A killed daemon can't do that. Where util-linux's ``setpriv`` works, the kernel then sends the program SIGTERM. In the
sandbox of the service it doesn't work; there systemd ends the remaining processes. `processes.end_leftovers` finds by
their environment the processes that went on all the same.
"""
