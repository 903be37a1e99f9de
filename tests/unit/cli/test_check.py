"""`timelapsectl check`: every fault of configuration and definition at once."""

import re
import signal
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from virtual_time import VirtualClock

from plantimager.timelapse.cli import check as check_module
from plantimager.timelapse.cli import findings
from plantimager.timelapse.cli.check import is_configuration, run_check, storage_notes
from plantimager.timelapse.cli.parser import parse
from plantimager.timelapse.cli.session import Scope, Session
from plantimager.timelapse.drivers.simulated import SimulatedDriver
from plantimager.timelapse.settings.places import Places
from plantimager.timelapse.store.stored_timelapse import new_stored_timelapse
from plantimager.timelapse.support.errors import EXIT_CONFIG

NOW = datetime(2026, 6, 22, 5, 0, tzinfo=UTC)

OF_THIS_MACHINE = "^  (?:disk: .*|note: .* is in memory .*)\n"
"""Lines that depend on the file system that the test's directory is on."""

SOUND = '[timelapse]\nname = "a"\nmode = "one_shot"\nstart_at = "2026-06-22T08:00:00"\n'
FAULTY = '[timelapse]\nname = "a/b"\nmode = "one_shot"\nn_shot = 3\n'
BEYOND_REACH = (
    SOUND
    + '[ScanPath]\nclass_name = "Line"\n[ScanPath.kwargs]\n'
    + "x_0 = 0\ny_0 = 0\nz_0 = 0\nx_1 = 825\ny_1 = 0\nz_1 = 0\npan = 0\ntilt = 0\nn_points = 4\n"
)


@pytest.fixture
def check(tmp_path, screen):
    """Return a function that writes files and checks them; it returns exit code and report."""

    def run(files, *named, rig=None, scope=Scope.OWN):
        for name, content in files.items():
            (tmp_path / name).write_text(content)
        places = Places(store=tmp_path / "store.json", config_directories=(tmp_path,), rig=rig)
        output = screen()
        session = Session(environment={}, scope=scope, places=places, clock=VirtualClock(NOW), screen=output)
        code = run_check(parse(["check", *(str(tmp_path / name) for name in named)]), session)
        report = output.stream.buffer.getvalue().decode().replace(f"{tmp_path}/", "").replace(str(tmp_path), ".")
        return code, re.sub(OF_THIS_MACHINE, "", report, flags=re.MULTILINE)

    return run


def test_without_any_file_everything_is_fine(check):
    """The simulated rig needs none; the report has the defaults and the searched directories."""
    code, report = check({})
    assert code == 0
    assert report == (
        "timelapsed.toml: there is none, and everything has its default; "
        "driver simulated, datasets beside the store, missed = skip, clock = auto\n"
        "timelapse.toml: none in .; start one with timelapsectl start FILE\n"
    )


@pytest.mark.parametrize("fails_at", ["the configuration", "the definition"])
def test_failing_check_of_a_driver_is_reported_as_the_drivers_fault(check, monkeypatch, fails_at):
    """A driver by others may raise anything; the rest of the report is still there."""

    def fail(_, configuration):
        if fails_at == "the configuration" or "timelapse" in configuration:
            raise IndexError("no camera")
        return ()

    monkeypatch.setattr(SimulatedDriver, "check", fail)
    code, report = check({"timelapsed.toml": "", "timelapse.toml": SOUND})
    assert code == EXIT_CONFIG
    assert "driver SimulatedDriver can't be used: IndexError: no camera" in report
    assert ("timelapse.toml: a, 1 slot" in report) == (fails_at == "the configuration")


def test_files_that_the_daemon_would_find_are_checked(check):
    """Configuration and definition, each with its meaning."""
    code, report = check({"timelapsed.toml": 'clock = "trust"', "timelapse.toml": SOUND})
    assert code == 0
    assert report == (
        "timelapsed.toml: fine; driver simulated, datasets beside the store, missed = skip, clock = trust\n"
        "timelapse.toml: a, 1 slot, one shot, 08:00\n"
    )


def test_all_faults_of_all_files_are_reported_at_once(check):
    """Configuration, definition, and a file that is no TOML."""
    files = {
        "timelapsed.toml": 'clock = "sundial"\nmised = "skip"',
        "timelapse.toml": FAULTY,
        "other.toml": "[timelapse",
    }
    code, report = check(files, "timelapsed.toml", "timelapse.toml", "other.toml")
    assert code == EXIT_CONFIG
    assert report == (
        "timelapsed.toml: 2 faults\n"
        '  clock = "sundial": write one of auto, trust, ntp-only\n'
        "  mised: unknown key; did you mean missed?\n"
        "timelapse.toml: 2 faults\n"
        '  [timelapse] name = "a/b": write letters, digits, ., _ and -, at most 64, no leading dot\n'
        "  [timelapse] n_shot: unknown key; did you mean n_shots?\n"
        "other.toml: line 1, column 11: expected ']' at the end of a table declaration: \"[timelapse\"\n"
    )


def test_options_of_the_driver_are_checked_by_the_driver(check):
    """Their faults are faults of the configuration."""
    code, report = check({"timelapsed.toml": '[drivers.simulated]\ndeaf = "yes"'})
    assert code == EXIT_CONFIG
    assert 'timelapsed.toml: 1 fault\n  [drivers.simulated] deaf = "yes": write true or false\n' in report


@pytest.mark.parametrize(
    ("driver", "fault"),
    [
        ('driver = "comand"', 'driver = "comand": no such driver'),
        ('driver = "command"\n[drivers.command]\nargv = "x"', "[drivers.command] argv"),
        ("driver = 5", "driver = 5: "),
    ],
)
def test_faults_of_driver_and_configuration_are_reported_together(check, driver, fault):
    """A person corrects all of them in one go."""
    code, report = check({"timelapsed.toml": f'missed = "x"\n{driver}'})
    assert code == EXIT_CONFIG
    assert 'missed = "x": write one of skip, run_latest' in report
    assert fault in report


def test_driver_that_is_not_installed_is_a_fault(check):
    """The report names the installed ones."""
    code, report = check({"timelapsed.toml": 'driver = "robot"'})
    assert code == EXIT_CONFIG
    assert 'driver = "robot": no such driver; installed are' in report


def test_program_that_is_not_there_is_a_fault_of_the_configuration(check):
    """It is reported for the configuration; the definition itself is fine."""
    config = 'driver = "command"\n[drivers.command]\nargv = ["/no/such/program"]'
    code, report = check({"timelapsed.toml": config, "timelapse.toml": SOUND})
    assert code == EXIT_CONFIG
    assert report.count("/no/such/program") >= 1
    assert "timelapse.toml: a, 1 slot" in report


def test_path_beyond_the_reach_of_the_rig_is_a_fault_of_the_definition(check):
    """It is found before the gantry drives there."""
    code, report = check({"timelapse.toml": BEYOND_REACH})
    assert code == EXIT_CONFIG
    assert "timelapse.toml: " in report
    assert "825" in report


def test_definition_is_checked_though_the_configuration_has_faults(check):
    """A note says that no driver could judge it."""
    code, report = check({"timelapsed.toml": 'driver = "robot"', "timelapse.toml": SOUND})
    assert code == EXIT_CONFIG
    assert (
        "timelapse.toml: a, 1 slot, one shot, 08:00\n  note: there is no driver to ask what the rig can't do\n"
        in report
    )


def test_missing_file_is_a_fault(check):
    """A person who names a file expects it to exist."""
    code, report = check({}, "typo.toml")
    assert code == EXIT_CONFIG
    assert "typo.toml: can't be read: no such file or directory" in report


@pytest.mark.parametrize(
    ("name", "configuration"), [("timelapsed.toml", True), ("north-timelapsed.toml", True), ("timelapse.toml", False)]
)
def test_kind_of_a_file_follows_from_its_name(name, configuration):
    """The content of a faulty file doesn't show its kind."""
    assert is_configuration(Path(name)) is configuration


TIGHT = (
    '[timelapse]\nname = "a"\nmode = "interval"\ninterval = "5m"\nn_shots = 40\ngrace_period = {grace}\n'
    'start_at = "2026-06-22T08:00:00"\n'
    '[ScanPath]\nclass_name = "Line"\n[ScanPath.kwargs]\n'
    "x_0 = 0\ny_0 = 0\nz_0 = 0\nx_1 = 300\ny_1 = 0\nz_1 = 0\npan = 0\ntilt = 0\nn_points = 40\n"
)


def test_interval_shorter_than_a_scan_is_noted(check):
    """The driver says how long a scan takes."""
    config = '[drivers.simulated]\ntime_per_position = "10s"'
    code, report = check({"timelapsed.toml": config, "timelapse.toml": TIGHT.format(grace=60)})
    assert code == 0
    assert "  note: a scan takes about 6 min 40 s, the interval is 5 min: every second slot will be missed\n" in report


def test_grace_longer_than_the_interval_is_noted(check):
    """With what it means after an outage."""
    _, report = check({"timelapse.toml": TIGHT.format(grace=1800)})
    assert "grace_period (30 min) is longer than the interval (5 min): after an outage slots are taken" in report


def test_past_scans_say_how_long_a_scan_takes_where_the_driver_can_not(check, half_way, tmp_path):
    """From the store, or the newest timelapse of the archive that has a slot taken."""
    config = 'driver = "command"\n[drivers.command]\nargv = ["/bin/true"]'
    files = {"timelapsed.toml": config, "timelapse.toml": TIGHT.format(grace=60)}
    _, without = check(files)
    assert "note: " not in without
    (tmp_path / "history").mkdir()
    (tmp_path / "history" / "col0_ld.json").write_bytes(new_stored_timelapse(half_way, {}, None).encode())
    _, report = check(files)
    assert (
        "note: a scan of col0_ld took about 6 min 28 s, the interval is 5 min: every second slot will be missed\n"
        in report
    )


def test_driver_that_fails_to_close_costs_no_check(check, monkeypatch):
    """A driver by others may raise anything; what was found is shown."""

    def fail(_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(SimulatedDriver, "close", fail)
    code, report = check({"timelapse.toml": SOUND})
    assert (code, "a, 1 slot" in report) == (0, True)


def test_driver_that_fails_to_estimate_costs_no_check(check, monkeypatch):
    """A driver by others may raise anything."""

    def fail(*_):
        raise IndexError

    monkeypatch.setattr(SimulatedDriver, "estimate", fail)
    code, report = check({"timelapse.toml": TIGHT.format(grace=60)})
    assert (code, "note: " in report) == (0, False)


@pytest.mark.parametrize(("rig", "directory"), [(None, "/srv/scans"), ("north", "/srv/scans/north")])
def test_directory_of_the_datasets_is_the_one_that_is_used(check, rig, directory):
    """Those of a named rig are in a directory of its name."""
    _, report = check({"timelapsed.toml": 'datasets = "/srv/scans"'}, rig=rig)
    assert f"datasets in {directory}," in report


SEVERAL = SOUND.replace("one_shot", "interval") + 'interval = "1h"\nn_shots = 3\n'


@pytest.mark.parametrize(
    ("definition", "there", "named"),
    [
        (SEVERAL, ["a_0", "a_2", "a_3", "a", "a_x", "b_1"], "2 datasets with names .* (a_0, a_2): "),
        (SOUND, ["a", "a_0"], "1 dataset with names .* (a): "),
        (SOUND, ["a_0", "b"], None),
        (SEVERAL.replace("= 3", "= 30"), [f"a_{n}" for n in range(12)], "12 datasets .* (a_0, a_1, a_2, …): "),
    ],
)
def test_datasets_with_the_names_of_a_definition_are_told(check, tmp_path, definition, there, named):
    """Whoever left them: another rig, another store, a copy."""
    for name in there:
        (tmp_path / "scans" / name).mkdir(parents=True)
    configuration = f'datasets = "{tmp_path}/scans"'
    _, report = check({"timelapsed.toml": configuration, "timelapse.toml": definition})
    pattern = None if named is None else named.replace("(", r"\(").replace(")", r"\)")
    assert bool(re.search(r"already has \d+ datasets? with names", report)) == (named is not None)
    assert pattern is None or re.search(pattern, report)


def test_datasets_of_a_timelapse_that_was_started_here_are_its_own(check, tmp_path, half_way):
    """`check` of the definition that runs says nothing of them."""
    (tmp_path / "scans" / "col0_ld_3").mkdir(parents=True)
    (tmp_path / "store.json").write_bytes(new_stored_timelapse(half_way, {}, None).encode())
    files = {
        "timelapsed.toml": f'datasets = "{tmp_path}/scans"',
        "timelapse.toml": SEVERAL.replace('"a"', '"col0_ld"').replace("= 3", "= 48"),
    }
    assert "note:" not in check(files)[1]


def test_datasets_directory_that_does_not_answer_costs_no_check(check, monkeypatch):
    """It may be another computer's."""
    monkeypatch.setattr(findings, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(findings, "describe_existing", lambda *_: str(signal.pause()))
    code, report = check({"timelapse.toml": SOUND})
    assert code == 0
    assert "has not answered within 0.01 s" in report


@pytest.mark.parametrize(
    ("named", "word"),
    [
        ('driver = "command"\n[drivers.command]\nargv = ["{home}/take"]', "{home}/take"),
        ('driver = "command"\n[drivers.command]\nargv = ["sh", "{home}/take"]', "{home}/take"),
        ('observe = ["{link}"]', "{link}"),
    ],
)
def test_program_in_a_home_can_not_be_seen_by_the_service(check, tmp_path, monkeypatch, named, word):
    """It is there for the person who checks it. A service of one's own sees it."""
    home, link = tmp_path / "home", tmp_path / "link"
    home.mkdir()
    (home / "take").write_text("#!/bin/sh\n")
    (home / "take").chmod(0o755)
    link.symlink_to(home / "take")
    monkeypatch.setattr(check_module, "HOMES", (str(home),))
    named, word = (text.replace("{home}", str(home)).replace("{link}", str(link)) for text in (named, word))
    word = word.removeprefix(f"{tmp_path}/")
    note = f"note: {word} can't be seen by the service (homes are hidden from it); put it into /usr/local/bin\n"
    assert note in check({"timelapsed.toml": named}, scope=Scope.SYSTEM)[1]
    assert "note" not in check({"timelapsed.toml": named})[1]


def test_missing_observer_in_a_home_is_said_once(check):
    """That it is not there for anybody suffices."""
    report = check({"timelapsed.toml": 'observe = ["/home/pi/no-such-program"]'}, scope=Scope.SYSTEM)[1]
    assert len([line for line in report.splitlines() if "no-such-program" in line]) == 1


def test_datasets_in_a_home_and_a_missing_observer_are_noted(check):
    """The latter costs no scan."""
    files = {"timelapsed.toml": 'datasets = "/home/pi/scans"\nobserve = ["/no/such/program"]'}
    code, report = check(files, scope=Scope.SYSTEM)
    assert code == 0
    assert 'note: observe = ["/no/such/program"]: /no/such/program is not there; scans are taken all the same' in report
    assert "note: datasets can't be put into /home/pi/scans by the service (homes are hidden from it)" in report


def test_a_store_without_locks_is_told_beside_a_faulty_configuration(tmp_path, monkeypatch):
    """What another machine may do to it doesn't depend on the configuration."""
    monkeypatch.setattr("plantimager.timelapse.cli.check.describe_locks", lambda _: ["no locks"])
    (tmp_path / "timelapsed.toml").write_text("faulty")
    session = SimpleNamespace(store=tmp_path / "store.json", places=SimpleNamespace(datasets_in=Path))
    assert [*storage_notes(tmp_path / "timelapsed.toml", session)] == ["no locks"]
