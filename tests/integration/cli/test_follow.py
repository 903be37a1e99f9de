"""`timelapsectl status --follow`, as a process."""

import json
import os
import pty
import re
import signal
import subprocess
import termios

import wcwidth
from ctl_host import read_until
from daemon_process import PATIENCE, PLAINLY


def test_follow_writes_a_line_for_each_change_into_a_pipe(host):
    """Ctrl-C is its usual end."""
    with host.daemon():
        following = subprocess.Popen(host.command("status", "--follow"), env=host.environment, stdout=subprocess.PIPE)
        read_until(following.stdout, "no timelapse")
        host.ctl("start", host.define(interval='"1s"', n_shots=1))
        read_until(following.stdout, "col0_ld: completed; 1 taken")
        following.send_signal(signal.SIGINT)
        assert following.wait(PATIENCE) == 0
        following.stdout.close()


def test_follow_knows_that_no_daemon_goes_on_with_a_scan(host):
    """Its line agrees with `status`: the store may say "running" long after the daemon's end."""
    host.copy_store("interval-utc-interrupted.json")
    following = subprocess.Popen(host.command("status", "--follow"), env=host.environment, stdout=subprocess.PIPE)
    line = read_until(following.stdout, "\n")
    following.terminate()
    assert following.wait(PATIENCE) == 0
    following.stdout.close()
    slot = re.search(r"was taking slot (\d+)", host.ctl("status").stdout)[1]
    assert f": was taking slot {slot} of " in line
    assert "; trouble: the daemon is not running" in line


def test_follow_goes_on_where_the_rig_is_out_of_sight_for_a_while(host):
    """As for a member of the group while the service is started again: its store is closed to them."""
    command = [*PLAINLY, *host.command("status", "--follow")]
    host.copy_store("interval-completed.json")
    with host.daemon(until="rig_standby"):
        following = subprocess.Popen(command, env=host.environment, stdout=subprocess.PIPE)
        read_until(following.stdout, "done_tl")
        host.store.chmod(0)
    line = read_until(following.stdout, "\n")
    assert "out of sight: " in line
    assert "; service: no daemon runs on this store" in line
    host.store.chmod(0o600)
    with host.daemon(until="rig_standby"):
        read_until(following.stdout, "done_tl")
        following.terminate()
        assert following.wait(PATIENCE) == 0
    following.stdout.close()


def test_follow_as_json_writes_an_object_a_line(host):
    """A program reads each change at once."""
    with host.daemon():
        command = host.command("status", "--follow", "--json")
        following = subprocess.Popen(command, env=host.environment, stdout=subprocess.PIPE)
        text = read_until(following.stdout, "\n")
        host.ctl("start", host.define())
        text += read_until(following.stdout, '"col0_ld"')
        following.terminate()
        assert following.wait(PATIENCE) == 0
        text += following.stdout.read().decode()
        following.stdout.close()
    assert [json.loads(line)["version"] for line in text.splitlines()]


def test_follow_draws_on_a_terminal_and_leaves_it_as_it_was(host):
    """Alternate screen and cursor are restored, and the last status stays on the screen."""
    host.copy_store("interval-completed.json")
    leader, follower = pty.openpty()
    environment = {**host.environment, "TERM": "xterm"}
    following = subprocess.Popen(
        host.command("status", "--follow"), env=environment, stdin=follower, stdout=follower, stderr=follower
    )
    os.close(follower)
    drawn = read_until(leader, "daemon:")
    assert drawn.startswith("\x1b[?1049h\x1b[?25l")
    following.send_signal(signal.SIGINT)
    left = read_until(leader, "daemon: ").partition("\x1b[?25h\x1b[?1049l")[2]
    assert "done_tl" in left
    assert following.wait(PATIENCE) == 0
    os.close(leader)


def test_frame_of_a_narrow_terminal_fits_with_wide_letters(host):
    """Forty columns, as beside a window of pictures; nothing is cut off at the right edge, or scrolls away."""
    host.copy_store("interval-utc-interrupted.json")
    raw = json.loads(host.store.read_text())
    raw["scans"][-1] |= {"status": "failed", "error": {"msg": "カメラが応答しません " * 5}}
    host.store.write_text(json.dumps(raw))
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (16, 40))
    environment = {**host.environment, "TERM": "xterm", "PYTHONIOENCODING": "utf-8"}
    following = subprocess.Popen(
        host.command("status", "--follow"), env=environment, stdin=follower, stdout=follower, stderr=follower
    )
    os.close(follower)
    frame = read_until(leader, "\x1b[J").partition("\x1b[H")[2].partition("\x1b[J")[0]
    following.send_signal(signal.SIGINT)
    read_until(leader, "\x1b[?25h")
    assert following.wait(PATIENCE) == 0
    os.close(leader)
    lines = [re.sub(r"\x1b\[[0-9;]*[mK]", "", line) for line in frame.split("\r\n")]
    assert "カメラ" in frame
    assert len(lines) < 16
    assert [line for line in lines if wcwidth.width(line) > 40] == []
