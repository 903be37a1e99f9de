"""`timelapsectl check`: every fault before the rig finds it."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from virtual_time import VirtualClock

from plantimager.timelapse.cli.check import is_configuration, run_check
from plantimager.timelapse.cli.parser import parse
from plantimager.timelapse.cli.session import Scope, Session
from plantimager.timelapse.drivers.simulated import SimulatedDriver
from plantimager.timelapse.settings.places import Places
from plantimager.timelapse.support.errors import EXIT_CONFIG

NOW = datetime(2026, 6, 22, 5, 0, tzinfo=UTC)

SOUND = '[timelapse]\nname = "a"\nmode = "one_shot"\nstart_at = "2026-06-22T08:00:00"\n'
FAULTY = '[timelapse]\nname = "a/b"\nmode = "one_shot"\nn_shot = 3\n'
BEYOND_REACH = (
    SOUND
    + '[ScanPath]\nclass_name = "Line"\n[ScanPath.kwargs]\n'
    + "x_0 = 0\ny_0 = 0\nz_0 = 0\nx_1 = 825\ny_1 = 0\nz_1 = 0\npan = 0\ntilt = 0\nn_points = 4\n"
)


@pytest.fixture
def check(tmp_path, screen):
    """Return a function that writes files, checks them, and returns exit code and report."""

    def run(files, *named):
        for name, content in files.items():
            (tmp_path / name).write_text(content)
        places = Places(store=tmp_path / "store.json", config_directories=(tmp_path,))
        output = screen()
        session = Session(environment={}, scope=Scope.OWN, places=places, clock=VirtualClock(NOW), screen=output)
        code = run_check(parse(["check", *(str(tmp_path / name) for name in named)]), session)
        return code, output.stream.buffer.getvalue().decode().replace(f"{tmp_path}/", "").replace(str(tmp_path), ".")

    return run


def test_without_any_file_everything_is_fine(check):
    """The simulated rig needs none; it is said what holds and where one was looked for."""
    code, report = check({})
    assert code == 0
    assert report == (
        "timelapsed.toml: there is none, and everything has its default; "
        "driver simulated, datasets beside the store, missed = skip, clock = auto\n"
        "timelapse.toml: none in .; start one with timelapsectl start FILE\n"
    )


@pytest.mark.parametrize("fails_at", ["the configuration", "the definition"])
def test_a_driver_that_fails_to_check_is_a_fault_of_its_own(check, monkeypatch, fails_at):
    """It may be anybody's; what else there is to say is said, and nobody is told to report a fault of ours."""

    def fail(_, configuration):
        if fails_at == "the configuration" or "timelapse" in configuration:
            raise IndexError("no camera")
        return ()

    monkeypatch.setattr(SimulatedDriver, "check", fail)
    code, report = check({"timelapsed.toml": "", "timelapse.toml": SOUND})
    assert code == EXIT_CONFIG
    assert "driver SimulatedDriver can't be used: IndexError: no camera" in report
    assert ("timelapse.toml: a, 1 slot" in report) == (fails_at == "the configuration")


def test_what_the_daemon_would_find_is_checked(check):
    """Both files, each with what it means."""
    code, report = check({"timelapsed.toml": 'clock = "trust"', "timelapse.toml": SOUND})
    assert code == 0
    assert report == (
        "timelapsed.toml: fine; driver simulated, datasets beside the store, missed = skip, clock = trust\n"
        "timelapse.toml: a, 1 slot, one shot, 08:00\n"
    )


def test_all_faults_of_all_files_are_told_at_once(check):
    """Configuration, driver options, definition."""
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
    """They are faults of the configuration."""
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
def test_faults_of_driver_and_configuration_are_told_together(check, driver, fault):
    """Nobody mends one to learn of the next."""
    code, report = check({"timelapsed.toml": f'missed = "x"\n{driver}'})
    assert code == EXIT_CONFIG
    assert 'missed = "x": write one of skip, run_latest' in report
    assert fault in report


def test_driver_that_is_not_installed_is_a_fault(check):
    """And those that are, are named."""
    code, report = check({"timelapsed.toml": 'driver = "robot"'})
    assert code == EXIT_CONFIG
    assert 'driver = "robot": no such driver; installed are' in report


def test_program_that_is_not_there_is_a_fault_of_the_configuration(check):
    """Told once, not again for each definition."""
    config = 'driver = "command"\n[drivers.command]\nargv = ["/no/such/program"]'
    code, report = check({"timelapsed.toml": config, "timelapse.toml": SOUND})
    assert code == EXIT_CONFIG
    assert report.count("/no/such/program") >= 1
    assert "timelapse.toml: a, 1 slot" in report


def test_what_the_rig_can_not_do_is_a_fault_of_the_definition(check):
    """A path that leaves the gantry is found before the gantry does."""
    code, report = check({"timelapse.toml": BEYOND_REACH})
    assert code == EXIT_CONFIG
    assert "timelapse.toml: " in report
    assert "825" in report


def test_definition_is_checked_though_the_configuration_is_at_fault(check):
    """As far as can be without the driver, and that is said."""
    code, report = check({"timelapsed.toml": 'driver = "robot"', "timelapse.toml": SOUND})
    assert code == EXIT_CONFIG
    assert (
        "timelapse.toml: a, 1 slot, one shot, 08:00\n  note: there is no driver to ask what the rig can't do\n"
        in report
    )


def test_file_that_is_not_there_is_a_fault(check):
    """Named by the person, so it is missed."""
    code, report = check({}, "typo.toml")
    assert code == EXIT_CONFIG
    assert "typo.toml: can't be read: no such file or directory" in report


@pytest.mark.parametrize(
    ("name", "configuration"), [("timelapsed.toml", True), ("north-timelapsed.toml", True), ("timelapse.toml", False)]
)
def test_kind_of_a_file_is_told_by_its_name(name, configuration):
    """A faulty file shows nothing else."""
    assert is_configuration(Path(name)) is configuration
