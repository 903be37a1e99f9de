"""`timelapsectl check` with a daemon: it judges what the person who asks can't see."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from ctl_host import Host, read_until
from daemon_process import DAEMON


def test_definition_that_would_be_refused_is_said_before(host):
    """A name that was used, an active timelapse: by the service, which alone may read the store."""
    with host.daemon():
        assert host.ctl("start", host.define("first")).returncode == 0
        done = host.ctl("check", host.define("second"), host.define("first"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "note: by the service: it would be refused now: second can't start: first is active" in done.stdout
    assert done.stdout.count("would be refused") == 1


def test_faults_that_the_daemon_would_find_are_told_once(host):
    """Both judge; the person reads each fault once."""
    with host.daemon():
        done = host.ctl("check", host.define(n_shots='"many"'))
    assert (done.returncode, done.stdout.count("n_shots")) == (78, 1)


def test_datasets_that_the_service_can_not_write_are_named(host):
    """Their directory may be another user's, or none."""
    (host.root / "file").write_text("")
    host.configure(f'clock = "trust"\ndatasets = "{host.root}/file/scans"\n')
    with host.daemon():
        done = host.ctl("check")
    assert f"note: by the service: datasets can't be put into {host.root}/file/scans: Not a directory" in done.stdout


@pytest.fixture
def of_another_user():
    """Return the directories of an account, whose daemon runs in them; root asks it."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    root = Path(tempfile.mkdtemp())
    root.chmod(0o755)
    host = Host(root)
    host.store.parent.mkdir(parents=True)
    for path in (root, *root.rglob("*")):
        os.chown(path, 65534, 65534)
    host.store.parent.chmod(0o700)
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *DAEMON]
    with subprocess.Popen(command, env={**host.environment, "HOME": str(root)}, stderr=subprocess.PIPE) as process:
        try:
            read_until(process.stderr, "idle:")
            yield host
        finally:
            process.kill()
            shutil.rmtree(root)


def test_configuration_that_the_services_account_can_not_read_is_a_fault(of_another_user):
    """Root can read it, and so would find nothing."""
    config = of_another_user.files / "timelapsed.toml"
    config.chmod(0o600)
    os.chown(config, 0, 0)
    done = of_another_user.ctl("check")
    assert done.returncode == 78
    assert f"{config}, by the service: {config}: can't be read: permission denied" in done.stdout


def test_program_that_the_services_account_can_not_run_is_named(of_another_user):
    """As those in a home directory, which its sandbox hides."""
    program = of_another_user.root / "closed" / "take"
    program.parent.mkdir(mode=0o700)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    of_another_user.configure(
        f'driver = "grbl"\n[drivers.grbl]\nport = "/dev/ttyACM0"\nkeep_free = "1 MB"\n'
        f'[drivers.grbl.cameras.top]\nkind = "command"\nargv = ["{program}", "{{output}}"]\n'
    )
    done = of_another_user.ctl("check")
    assert f"by the service: {program} is not there, or the service may not run it" in done.stdout


def test_user_who_may_not_ask_reads_one_clear_sentence(of_another_user):
    """Of check, what can be judged without the service, and that it was not asked; storage and socket are closed."""
    path = of_another_user.define()
    by = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups"]
    sentence = "only root and members of the group plant-imager may ask this daemon"

    def ctl(*arguments):
        command = [*by, *of_another_user.command(*arguments)]
        return subprocess.run(command, env=of_another_user.environment, capture_output=True, text=True, check=False)

    checked = ctl("check", path)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "col0_ld, 3 slots" in checked.stdout
    for command in (["start", path], ["cancel"], ["rig", "home"], ["status"]):
        refused = ctl(*command)
        assert (refused.returncode, refused.stdout) == (1, ""), refused
        assert sentence in refused.stderr
