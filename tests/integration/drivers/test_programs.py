"""What the operator's programs leave running, whichever part of a rig they are: ended, or named."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from waiting import wait_until

from plantimager.timelapse.drivers.cameras import CameraOptions
from plantimager.timelapse.drivers.cameras.base import Exposure
from plantimager.timelapse.drivers.cameras.command import CommandCamera
from plantimager.timelapse.drivers.cameras.process import CameraProcess
from plantimager.timelapse.drivers.command.driver import CommandDriver
from plantimager.timelapse.drivers.programs.observe import ObserveProgram
from plantimager.timelapse.drivers.programs.processes import MAX_LEFT, read_process
from plantimager.timelapse.drivers.programs.run import run_program
from plantimager.timelapse.drivers.simulated import SimulatedDriver
from plantimager.timelapse.drivers.switches import ProgramSwitch, SwitchOptions
from plantimager.timelapse.drivers.testing import RecordingMonitor, make_request, scan_until_killed
from plantimager.timelapse.scan.lights import Role

STARTS_A_SERVER = """\
#!/bin/sh
touch {pids}
before=$(wc -l < {pids})
setsid env -i /bin/sh -c 'echo $$ >> {pids}; exec sleep 1000' >/dev/null 2>&1 </dev/null &
while [ $(wc -l < {pids}) = $before ]; do sleep 0.01; done
{then}
"""
"""A program that leaves a process with a session and an environment of its own."""


@pytest.fixture
def program(tmp_path):
    """Return a function that makes such a program, and one that returns the pids of what it has left."""
    pids = tmp_path / "pids"

    def make(name, then="exit 0", source=STARTS_A_SERVER):
        path = tmp_path / name
        path.write_text(source.format(pids=pids, then=then))
        path.chmod(0o755)
        return str(path)

    make.left = lambda: [int(pid) for pid in pids.read_text().split()]
    make.running = lambda: [pid for pid in make.left() if is_running(pid)]
    yield make
    for pid in make.left() if pids.exists() else ():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def is_running(pid):
    """Whether a process runs; one that has ended and was not waited for does not."""
    process = read_process(pid)
    return process is not None and not process.has_ended


def test_scan_leaves_nothing_running(datasets, program):
    """It would write into the finished dataset."""
    driver = CommandDriver({"argv": [program("take", "echo x > 0.jpg")], "keep_free": "1 MB"})
    driver.scan(make_request(datasets), RecordingMonitor())
    assert (len(program.left()), program.running()) == (1, [])


def test_recover_leaves_nothing_running(datasets, program):
    """The dataset that it calls whole is moved into place next."""
    request = make_request(datasets)
    endless = program("take", source="#!/bin/sh\necho x > 0.jpg\necho '{{\"progress\": [1, 2]}}'\nexec sleep 1000\n")
    options = {"argv": [endless], "recover": [program("whole")], "keep_free": "1 MB", "stop_grace": 1}
    scan_until_killed("command", options, request)
    assert CommandDriver(options).recover(request) is not None
    assert (len(program.left()), program.running()) == (1, [])


def test_camera_leaves_nothing_running(program):
    """Its program runs for each picture of a scan, and they would pile up."""
    camera = CommandCamera({"argv": [program("shoot", 'echo x > "$1"'), "{output}"]})
    camera.trigger(Exposure(width=4, height=3, encoding="jpeg", config={}, seconds=60))
    assert camera.fetch().content == b"x\n"
    assert (len(program.left()), program.running()) == (1, [])


@pytest.mark.parametrize("kind", ["prepare", "standby", "switch"])
def test_what_sets_something_for_good_may_leave_a_process_that_holds_it(datasets, program, kind):
    """A line that ``gpioset`` lets go of changes. No scan ends it; where those of prepare pile up, a scan says so."""
    hook = program("hook")
    take = program("take", source="#!/bin/sh\necho x > 0.jpg\n")
    driver = CommandDriver({"argv": [take], "prepare": [hook], "standby": [hook], "keep_free": "1 MB"})
    switch = ProgramSwitch(SwitchOptions(name="scan", role=Role.SCAN_LIGHT, on=(hook,), off=(hook,)))
    call = {"prepare": driver.prepare, "standby": driver.standby, "switch": lambda: switch.set(on=True)}[kind]

    def note(index):
        return driver.scan(make_request(datasets, index=index), RecordingMonitor()).note

    call()
    assert (note(0), len(program.running())) == ("", 1)
    for count in range(2, MAX_LEFT + 2):
        call()
        assert len(program.left()) == count
    if kind != "prepare":
        assert len(program.running()) == 1, "the others were ended when the next was there"
        return
    assert note(1).startswith(f"{MAX_LEFT + 1} processes that other programs have left still run: s")
    assert len(program.running()) == MAX_LEFT + 1
    for pid in program.left():
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not program.running(), within=60)
    assert note(2) == ""


def test_standby_ends_what_prepare_has_left(datasets, program):
    """After its own program, which may still need it; what that has left itself stays until the driver is closed."""
    take = program("take", source="#!/bin/sh\necho x > 0.jpg\n")
    on, off = program("on"), program("off")
    driver = CommandDriver({"argv": [take], "prepare": [on], "standby": [off], "keep_free": "1 MB"})
    for index in range(3):
        driver.prepare()
        driver.scan(make_request(datasets, index=index), RecordingMonitor())
        driver.prepare()
        driver.standby()
        assert len(program.running()) == 1, "the one that standby has left now"
    driver.close()
    assert program.running() == []


def test_standby_without_a_program_ends_what_prepare_has_left(program):
    """A light that a process of prepare holds goes off."""
    driver = CommandDriver({"argv": [program("take")], "prepare": [program("on")], "keep_free": "1 MB"})
    driver.prepare()
    assert len(program.running()) == 1
    driver.standby()
    assert program.running() == []


@pytest.mark.parametrize("end", ["standby", "close"])
def test_driver_ends_what_its_own_hooks_have_left_alone(program, end):
    """`timelapsectl check` makes a second one and closes it; what holds the light of the first one, or a switch, stays.

    The first one still ends its own.
    """
    options = {"argv": [program("take")], "prepare": [program("on")]}
    first, second = CommandDriver(options), CommandDriver(options)
    switch = ProgramSwitch(SwitchOptions(name="scan", role=Role.SCAN_LIGHT, on=(program("on"),), off=(program("off"),)))
    switch.set(on=True)
    first.prepare()
    held_by_switch, held_by_first = program.left()
    getattr(second, end)()
    assert program.running() == [held_by_switch, held_by_first]
    second.prepare()
    getattr(second, end)()
    assert program.running() == [held_by_switch, held_by_first]
    first.close()
    assert program.running() == [held_by_switch]


def test_switch_that_is_closed_stays_as_it_is(program):
    """A person who has switched a light on by hand keeps it."""
    switch = ProgramSwitch(SwitchOptions(name="scan", role=Role.SCAN_LIGHT, on=(program("on"),), off=(program("off"),)))
    switch.set(on=True)
    switch.close()
    assert len(program.running()) == 1


def test_observing_program_leaves_nothing_running(datasets, program):
    """With a session and an environment of its own; it would pile up, a process for each slot."""
    observe = ObserveProgram([program("observe", "echo '{}'")], timedelta(minutes=1))
    simulated = SimulatedDriver({"time_per_position": 0, "image_width": 16})
    for index in range(2):
        request = make_request(datasets, index=index, observe=observe)
        assert simulated.scan(request, RecordingMonitor()).note == ""
        assert (len(program.left()), program.running()) == (index + 1, [])


def test_programs_at_the_same_time_end_only_what_each_has_left(tmp_path, program):
    """One that measures the room runs beside the scan; neither takes the other for a leftover, nor its exit status."""
    slow = program("slow", source="#!/bin/sh\nwhile ! [ -e {pids}.go ]; do sleep 0.01; done\nexit 7\n")
    quick = program("quick")
    ends = []

    def run(path):
        ends.append(run_quickly(path))

    beside = threading.Thread(target=run, args=[slow])
    beside.start()
    for _ in range(3):
        run(quick)
    assert (ends, program.running()) == ([0, 0, 0], [])
    (tmp_path / "pids.go").touch()
    beside.join()
    assert ends == [0, 0, 0, 7]


def test_exit_status_of_a_program_of_a_driver_by_others_is_its_own(program):
    """It starts that in a session of its own, too, and asks for the status when it has the time."""
    quick = program("quick")
    with subprocess.Popen(["/bin/sh", "-c", "exit 7"], start_new_session=True) as process:
        wait_until(lambda: not is_running(process.pid), within=60)
        run_quickly(quick)
        assert process.wait() == 7


def test_processes_that_have_ended_do_not_pile_up(program):
    """Each would keep its number, of which a host has a limited count."""
    quick = program("quick")
    for _ in range(4):
        run_quickly(quick)
    first, second, *_ = program.left()
    assert (read_process(first), read_process(second)) == (None, None)


def run_quickly(path):
    """Run a program to its end; return its exit status."""
    return run_program([path], environment={}, stop_grace=timedelta(seconds=1), should_stop=lambda: False).status


def test_process_of_a_camera_is_not_taken_for_a_leftover(program):
    """It is in the daemon's session, though not in its process group: Ctrl-C in a terminal ends the daemon alone."""
    take = program("take", source="#!/bin/sh\nwhile ! [ -e {pids}.go ]; do sleep 0.01; done\n")
    camera = CameraProcess(CameraOptions("top", "command", {"argv": [take]}))
    beside = threading.Thread(
        target=run_program,
        args=[[take]],
        kwargs={"environment": {}, "stop_grace": timedelta(seconds=1), "should_stop": lambda: False},
    )
    beside.start()
    camera.open()
    Path(f"{Path(take).parent}/pids.go").touch()
    beside.join()
    try:
        assert camera.is_open
        pid = camera._process.pid
        assert (os.getsid(pid), os.getpgid(pid)) == (os.getsid(0), pid)
    finally:
        camera.close()


# --- protection from the OOM killer -------------------------------------------------------------------------

FORKS_AT_ONCE = """\
#!/bin/sh
settle() {{
    for _ in $(seq 200); do
        [ "$(cat /proc/self/oom_score_adj)" != 0 ] || break
        sleep 0.05
    done
    cat /proc/self/oom_score_adj > {pids}.$1
}}
settle child &
settle own
wait
"""

PROTECTED = """
import sys
from datetime import timedelta
from pathlib import Path
from plantimager.timelapse.drivers.cameras import CameraOptions
from plantimager.timelapse.drivers.cameras.process import CameraProcess
from plantimager.timelapse.drivers.programs import run
of = lambda pid: int(Path(f"/proc/{pid}/oom_score_adj").read_text())
Path("/proc/self/oom_score_adj").write_text("300")
run.OOM_SCORE = Path(sys.argv[2])
run.run_program([sys.argv[1]], environment={}, stop_grace=timedelta(seconds=1), should_stop=lambda: False)
camera = CameraProcess(CameraOptions("top", "command", {"argv": ["true"]}))
camera.open()
print(of(camera._process.pid))
camera.close()
"""
"""Nobody but root may protect a process; here 300 stands for protected."""


def test_neither_programs_nor_what_they_start_nor_cameras_have_the_daemons_protection(program, tmp_path):
    """Whichever takes all memory is ended itself, and the daemon can record that."""
    forks = program("forks", source=FORKS_AT_ONCE)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    (tmp_path / "protected").write_text("-500")
    run = [sys.executable, "-c", PROTECTED, forks, str(tmp_path / "protected")]
    ran = subprocess.run(run, env=environment, text=True, capture_output=True, check=True)
    values = [Path(f"{Path(forks).parent}/pids.{what}").read_text() for what in ("child", "own")]
    assert {int(value) for value in (*values, ran.stdout)} == {0}


# --- another user -------------------------------------------------------------------------------------------

SCANS_AS_ROOT_WITHOUT_KILL = """
import json, sys
from pathlib import Path
from plantimager.timelapse.drivers.command.driver import CommandDriver
from plantimager.timelapse.drivers.testing import RecordingMonitor, make_request
driver = CommandDriver(json.loads(sys.argv[1]))
for index in range(2):
    print(driver.scan(make_request(Path(sys.argv[2]), index=index), RecordingMonitor()).note)
"""

AS_ANOTHER_USER = """\
#!/bin/sh
echo x > 0.jpg
[ $SLOT = 0 ] || exit 0
exec 3>{pids}
setsid setpriv --reuid 2 --regid 2 --clear-groups sh -c 'echo $$ >&3; exec sleep 1000' >/dev/null 2>&1 &
while ! [ -s {pids} ]; do sleep 0.01; done
"""


@pytest.mark.system
def test_process_of_another_user_is_named_with_its_user(datasets, program):
    """It can't be ended, as by a daemon without privileges; the scan counts, and the next ones repeat it."""
    options = {"argv": [program("take", source=AS_ANOTHER_USER)], "keep_free": "1 MB", "stop_grace": 1}
    plainly = ["setpriv", "--bounding-set=-kill", "--inh-caps=-kill"]
    scan = [*plainly, sys.executable, "-c", SCANS_AS_ROOT_WITHOUT_KILL, json.dumps(options), str(datasets)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run(scan, env=environment, text=True, capture_output=True, check=True)
    [pid] = program.running()
    named = f"1 process that it started could not be ended and may go on writing: sleep of bin (pid {pid})"
    assert ran.stdout.splitlines() == [named, named]


OBSERVES_AS_ROOT_WITHOUT_KILL = """
import sys
from datetime import timedelta
from pathlib import Path
from plantimager.timelapse.drivers.programs.observe import ObserveProgram
from plantimager.timelapse.drivers.simulated import SimulatedDriver
from plantimager.timelapse.drivers.testing import RecordingMonitor, make_request
request = make_request(Path(sys.argv[2]), observe=ObserveProgram([sys.argv[1]], timedelta(minutes=1)))
print(SimulatedDriver({"time_per_position": 0, "image_width": 16}).scan(request, RecordingMonitor()).note)
"""


@pytest.mark.system
def test_process_that_an_observing_program_has_left_and_nobody_may_end_is_named(datasets, program):
    """As that of a program that scans: its values count, and the note of the scan says what goes on."""
    observes = AS_ANOTHER_USER.replace("echo x > 0.jpg\n[ $SLOT = 0 ] || exit 0\n", "") + "echo '{{}}'\n"
    plainly = ["setpriv", "--bounding-set=-kill", "--inh-caps=-kill"]
    path = program("observe", source=observes)
    scan = [*plainly, sys.executable, "-c", OBSERVES_AS_ROOT_WITHOUT_KILL, path, str(datasets)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run(scan, env=environment, text=True, capture_output=True, check=True)
    [pid] = program.running()
    named = f"1 process that it started could not be ended and may go on writing: sleep of bin (pid {pid})"
    assert ran.stdout.splitlines() == [f"{path}: {named}"]
