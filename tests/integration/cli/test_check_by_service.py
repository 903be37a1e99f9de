"""`timelapsectl check` with a daemon: it judges what the person who asks can't see."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from ctl_host import Host, read_until
from daemon_process import DAEMON

RELAY = [sys.executable, "-m", "plantimager.timelapse.relay.main"]


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
            host.stop = lambda: (process.kill(), process.wait())
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
    assert f"{program} is not there, or the service may not run it" in done.stdout
    assert "[drivers.grbl.cameras.top] argv" in done.stdout


def test_definition_that_the_services_account_can_not_read_is_a_fault(of_another_user):
    """The one that it would find by itself; it is not what root reads."""
    definition = of_another_user.define().rename(of_another_user.files / "timelapse.toml")
    definition.chmod(0o600)
    os.chown(definition, 0, 0)
    done = of_another_user.ctl("check")
    assert done.returncode == 78
    assert f"{definition}, by the service: {definition}: can't be read: permission denied" in done.stdout


GRBL = 'clock = "trust"\ndriver = "grbl"\n[drivers.grbl]\nport = "/dev/ttyACM0"\nkeep_free = "1 MB"\n'
GRBL += '[drivers.grbl.cameras.top]\nkind = "command"\nargv = ["/bin/true", "{output}"]\n'


@pytest.mark.parametrize("lacks", ["the service", "the caller"])
def test_extra_is_looked_for_in_the_services_environment(host, lacks):
    """One that it lacks is a fault, though the person who asks has it; what that person lacks is none."""
    without = host.root / "without"
    without.mkdir()
    (without / "serial.py").write_text("raise ModuleNotFoundError(\"No module named 'serial'\", name='serial')\n")
    whole = dict(host.environment)
    if lacks == "the service":
        host.environment["PYTHONPATH"] = str(without)
    with host.daemon():
        host.environment = whole
        host.configure(GRBL)
        done = host.ctl("check", **({"PYTHONPATH": str(without)} if lacks == "the caller" else {}))
    assert done.returncode == (78 if lacks == "the service" else 0), done.stdout
    assert ("by the service" in done.stdout) == (lacks == "the service"), done.stdout
    assert ("sudo systemd/install --extras grbl" in done.stdout) == (lacks == "the service")


def test_packages_that_the_relay_needs_are_looked_for_too(host):
    """Its environment is the daemon's."""
    without = host.root / "without"
    without.mkdir()
    finder = "import importlib.util as u; find = u.find_spec\n"
    finder += "u.find_spec = lambda name, *others: None if name == 'httpx' else find(name, *others)\n"
    (without / "sitecustomize.py").write_text(finder)
    whole = dict(host.environment)
    host.environment["PYTHONPATH"] = str(without)
    with host.daemon():
        host.environment = whole
        host.configure('clock = "trust"\n[relay.heartbeat]\nurl = "https://hc-ping.com/a"\n')
        done = host.ctl("check")
    assert "note: by the service: [relay.heartbeat] url: httpx isn't installed; pip install" in done.stdout
    assert "sudo systemd/install --extras relay" in done.stdout


LACKS = """
import importlib.util as util, os
find, lacking = util.find_spec, os.environ["LACKING"].split()
util.find_spec = lambda name, *others: None if name in lacking else find(name, *others)
"""
EVERY_NEED = (
    GRBL
    + """
[drivers.grbl.cameras.still]
kind = "gphoto2"
[drivers.grbl.cameras.webcam]
kind = "v4l2"
device = "/dev/video0"
[drivers.grbl.cameras.own]
kind = "picamera2"
[drivers.grbl.cameras.program]
kind = "command"
argv = ["no-such-still", "{output}"]
[drivers.grbl.switches.light]
role = "scan_light"
line = "GPIO17"
[drivers.grbl.switches.plug]
role = "growth_light"
on = ["no-such-plug", "on"]
off = ["/no/such/plug", "off"]
[relay.deliver.lab]
remote = "lab:plants"
rclone_config = "/etc/hostname"
[relay.deliver.server]
url = "https://plantdb.example.org"
[relay.notify]
urls_file = "/etc/hostname"
[relay.heartbeat]
url = "https://hc-ping.com/a"
[relay.metrics]
"""
)
NEEDED = {
    "[drivers.grbl.cameras.still] kind": "gphoto2",
    "[drivers.grbl.cameras.webcam] kind": "cv2",
    "[drivers.grbl.cameras.own] kind": "picamera2",
    "[drivers.grbl.cameras.program] argv": "no-such-still",
    "[drivers.grbl.switches.light] line": "gpiod",
    "[drivers.grbl.switches.plug] on": "no-such-plug",
    "[drivers.grbl.switches.plug] off": "/no/such/plug",
    "[relay.deliver.lab] remote": "rclone",
    "[relay.deliver.server] url": "httpx",
    "[relay.notify] urls_file": "apprise",
    "[relay.heartbeat] url": "httpx",
    "[relay.metrics] directory": "prometheus_client",
}


def test_every_need_of_every_part_is_looked_for_by_the_service(host):
    """Each camera, switch, driver and sink: its library, its programs; each with the key that needs it."""
    without = host.root / "without"
    without.mkdir()
    (without / "sitecustomize.py").write_text(LACKS)
    whole = dict(host.environment)
    modules = "gphoto2 cv2 picamera2 gpiod httpx apprise prometheus_client"
    host.environment |= {"PYTHONPATH": str(without), "LACKING": modules, "PATH": "/usr/bin:/bin"}
    with host.daemon():
        host.environment = whole
        host.configure('observe = ["no-such-thermometer"]\n' + EVERY_NEED)
        done = host.ctl("check")
    lines = done.stdout.splitlines()
    missing = dict(NEEDED)
    if shutil.which("rclone") is not None:
        del missing["[relay.deliver.lab] remote"]
    for key, what in missing.items():
        assert [line for line in lines if key in line and what in line], (key, done.stdout)
    assert (
        'observe = ["no-such-thermometer"]: no-such-thermometer is not there, or the service may not run' in done.stdout
    )
    assert done.returncode == 78


def test_disk_is_the_one_that_the_service_sees(of_another_user):
    """Another one is mounted for the caller alone: the line, and whether the slots fit, are the service's word."""
    host = of_another_user
    scans = host.root / "scans"
    scans.mkdir()
    os.chown(scans, 65534, 65534)
    host.configure(f'clock = "trust"\ndatasets = "{scans}"\n[drivers.simulated]\nkeep_free = "1 MB"\n')

    def check(*scope):
        command = " ".join(map(str, host.command(*scope, "check", host.define())))
        private = f"mount -t tmpfs -o size=3m tmpfs {scans} && exec {command}"
        by = ["unshare", "--mount", "sh", "-c", private]
        return subprocess.run(by, env=host.environment, capture_output=True, text=True, check=False)

    done = check()
    assert (done.returncode, done.stderr) == (0, "")
    assert f"GB free in {scans}" in done.stdout, done.stdout
    host.stop()
    done = check("--user")
    assert f"MB free in {scans}" in done.stdout, done.stdout
    assert "nor its disk" in done.stdout


def test_library_that_is_there_and_can_not_be_imported_is_a_fault(host):
    """As OpenCV without a file of the system's: only its import shows it, in the service's environment."""
    without = host.root / "without"
    without.mkdir()
    (without / "gpiod.py").write_text('raise OSError("libgpiod.so.3: cannot open shared object file")\n')
    whole = dict(host.environment)
    host.environment["PYTHONPATH"] = str(without)
    with host.daemon():
        host.environment = whole
        host.configure(GRBL + '[drivers.grbl.switches.light]\nrole = "scan_light"\nline = 17\n')
        done = host.ctl("check")
    assert done.returncode == 78
    assert "[drivers.grbl.switches.light] line = 17: gpiod can't be imported: OSError: libgpiod.so.3" in done.stdout


def test_schedule_in_the_past_used_name_and_unfit_scan_are_told_by_the_service(of_another_user):
    """Its store is closed to the person who asks; nothing of it is found only by a start."""
    config = GRBL.partition("[")[0].replace("grbl", "simulated") + '[drivers.simulated]\ntime_per_position = "600s"\n'
    of_another_user.configure(config)
    past = of_another_user.define("past")
    past.write_text('[timelapse]\nname = "past"\nmode = "fixed_times"\ndates = ["2001-01-01T08:00:00Z"]\n')
    unfit = of_another_user.define("unfit", interval='"5m"')
    assert of_another_user.ctl("start", of_another_user.define("used")).returncode == 0
    of_another_user.define("used", n_shots=4)
    done = of_another_user.ctl("check", past, unfit, of_another_user.root / "used.toml", HOME="/nowhere")
    assert "it would be refused now: past can't start: used is active" in done.stdout
    assert "it would be refused now: used runs as it was defined" in done.stdout
    assert "note: a scan takes about" in done.stdout
    assert "the interval is 5 min" in done.stdout
    assert of_another_user.ctl("cancel", "--yes").returncode == 0
    done = of_another_user.ctl("check", past)
    assert re.search(r"past.toml: past, 1 slot.*(\n  .*)*would be refused now: ", done.stdout), done.stdout


def test_another_configuration_than_the_services_is_not_its_to_judge(host):
    """Nor the definition that is checked with it; the report says so. Without a service nobody misses its word."""
    other = host.root / "other-timelapsed.toml"
    other.write_text('clock = "trust"\n')
    with host.daemon():
        done = host.ctl("--user", "check", other, host.define())
        own = host.ctl("--user", "check", host.files / "timelapsed.toml")
    assert "note: judged by this account alone: the service was not asked" in done.stdout
    assert "judged" not in own.stdout


def test_without_a_daemon_is_said_what_was_not_judged(host, of_another_user):
    """What the service's account may do, and what its storage holds."""
    unjudged = "so what its account may read, run, write and import was not judged, nor its disk"
    assert f"no daemon runs, {unjudged} (systemctl --user start" in host.ctl("--user", "check").stdout
    of_another_user.stop()
    store = of_another_user.store
    store.write_text("{}")
    store.chmod(0o600)
    by = ["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups"]
    command = [*by, *of_another_user.command("--user", "check", of_another_user.define())]
    done = subprocess.run(command, env=of_another_user.environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"the service has not judged, {unjudged}: " in done.stdout
    assert "the storage is closed to this account, so used names and past scans were not judged" in done.stdout


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


def test_running_relay_judges_its_own_part(host):
    """By its account, in its sandbox; where none runs, the daemon's word on programs and libraries is taken."""
    secret = host.root / "address"
    host.configure(f'clock = "trust"\n[relay.heartbeat]\nurl_file = "{secret}"\n')
    note = f"note: by the relay's service: {secret}: the address of the monitor can't be read"
    with host.daemon():
        assert note not in host.ctl("check").stdout
        host.configure(f'clock = "trust"\n[relay.metrics]\ndirectory = "{host.root}"\n')
        with subprocess.Popen(RELAY, env=host.environment, stderr=subprocess.PIPE) as relay:
            try:
                read_until(relay.stderr, "relay_started:")
                host.configure(f'clock = "trust"\n[relay.heartbeat]\nurl_file = "{secret}"\n')
                assert note in host.ctl("check").stdout
                secret.write_text("https://hc-ping.com/a")
                secret.chmod(0o600)
                assert "by the relay" not in host.ctl("check").stdout
            finally:
                relay.kill()


def test_what_no_relay_could_judge_is_said(host):
    """Neither the daemon nor the relay runs."""
    host.configure('clock = "trust"\n[relay.heartbeat]\nurl = "https://hc-ping.com/a"\n')
    said = host.ctl("--user", "check").stdout
    assert "no relay runs, so what its account may read, run and import was not judged (systemctl --user start" in said
