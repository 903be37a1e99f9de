"""Runs commands inside a machine of `qemu`, one after another, for the host at the other end of a virtio port.

Only the Python of Debian itself. Each line that comes is a JSON list, a command; each line that goes is its answer.
"""

from __future__ import annotations

import json
import subprocess

PORT = "/dev/virtio-ports/agent"


def run(command: list[str]) -> tuple[int, str, str]:
    """Return exit code and output of a command; 127, as a shell does, where there is no such program."""
    try:
        done = subprocess.run(command, check=False, capture_output=True, stdin=subprocess.DEVNULL)
    except FileNotFoundError as problem:
        return 127, "", str(problem)
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def main() -> None:
    """Answer until the machine ends."""
    with open(PORT, "r+b", buffering=0) as port:  # noqa: PTH123 - a device, read and written without a buffer
        waiting = b""
        while True:
            line, end, rest = waiting.partition(b"\n")
            if not end:
                waiting += port.read(65536)
                continue
            waiting = rest
            answer = json.dumps(run(json.loads(line))).encode() + b"\n"
            while answer:
                answer = answer[port.write(answer) :]


if __name__ == "__main__":
    main()
