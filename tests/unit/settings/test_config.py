"""`timelapsed.toml`: where it is looked for, and what it means."""

import os
import pwd
import socket
import tomllib
from datetime import timedelta
from pathlib import Path

import pytest
from documents import example, uncommented

from plantimager.timelapse.settings.config import (
    SITE_DIRECTORY,
    ClockPolicy,
    Config,
    Missed,
    config_directories,
    find_file,
    read_config,
    read_daemon_config,
)
from plantimager.timelapse.support.errors import EXIT_CONFIG, FaultsFound, FileUnusable

NO_NEWLINE = "expected newline or end of document after a statement"

NOBODY = 65534


@pytest.fixture
def config_file(tmp_path):
    """Return a function that writes a configuration and reads it."""

    def read(text):
        path = tmp_path / "timelapsed.toml"
        path.write_text(text)
        return read_config(path)

    return read


def test_without_a_file_everything_has_its_default():
    """The driver is the simulated one, and the policies are those of the manual page."""
    assert read_config(None) == Config(
        driver="simulated",
        driver_options={},
        datasets=None,
        missed=Missed.SKIP,
        clock=ClockPolicy.AUTO,
        clock_wait=timedelta(minutes=10),
        scan_timeout=timedelta(hours=1),
        stall_timeout=timedelta(minutes=5),
        scan={},
        log_level="info",
        source=None,
    )


def test_every_key_is_read(config_file, tmp_path):
    """Durations are seconds or text; the chosen driver's table is kept unread, and those of others are dropped."""
    config = config_file("""
        driver = "command"
        datasets = "/srv/scans"
        missed = "run_latest"
        clock = "ntp-only"
        clock_wait = 0
        scan_timeout = "2h"
        stall_timeout = 90.5
        [drivers.command]
        argv = ["/bin/true"]
        anything = 2026-06-22
        [drivers.grbl]
        port = 5
        [logging]
        level = "notice"
        [scan.ScanPath]
        class_name = "Circle"
        [scan.ScanPath.kwargs]
        center_x = 375
        center_y = 375
        radius = 350
        n_points = 36
        [scan.Metadata.object]
        sown = 2026-05-18
        """)
    assert (config.driver, config.datasets, config.log_level) == ("command", Path("/srv/scans"), "notice")
    assert (config.missed, config.clock) == (Missed.RUN_LATEST, ClockPolicy.NTP_ONLY)
    assert (config.clock_wait, config.scan_timeout) == (timedelta(0), timedelta(hours=2))
    assert config.stall_timeout == timedelta(seconds=90.5)
    assert list(config.driver_options) == ["argv", "anything"]
    assert config.scan["ScanPath"]["kwargs"]["radius"] == 350
    assert config.scan["Metadata"] == {"object": {"sown": "2026-05-18"}}
    assert config.source == tmp_path / "timelapsed.toml"


def test_an_empty_file_gives_the_defaults(config_file, tmp_path):
    """Only its name is kept."""
    assert config_file("# nothing\r\n") == Config(source=tmp_path / "timelapsed.toml")


def test_the_example_as_it_stands_is_the_default():
    """A person who copies it changes nothing."""
    assert read_config(example("timelapsed.toml")) == Config(source=example("timelapsed.toml"))


def test_the_example_shows_every_key_with_its_default(config_file):
    """Uncommenting a key is never a fault, and changes only what has no default."""
    config = config_file(uncommented())
    default = Config()
    assert config.driver_options == tomllib.loads(uncommented())["drivers"]["simulated"]
    assert config.datasets == Path("/srv/scans")
    assert list(config.scan) == ["ScanPath", "picamera"]
    same = ("driver", "missed", "clock", "clock_wait", "scan_timeout", "stall_timeout", "log_level", "observe_timeout")
    assert [getattr(config, name) for name in same] == [getattr(default, name) for name in same]
    keys = tomllib.loads(uncommented()).keys()
    assert keys == {*same, "datasets", "observe", "drivers", "logging", "relay", "scan"} - {"log_level"}


# --- where it is looked for


@pytest.mark.parametrize(
    ("environment", "user_directory"),
    [
        ({"XDG_CONFIG_HOME": "/x", "HOME": "/home/ada"}, "/x/plant-imager3-app"),
        ({"HOME": "/home/ada"}, "/home/ada/.config/plant-imager3-app"),
        ({"XDG_CONFIG_HOME": "", "HOME": "/home/ada"}, "/home/ada/.config/plant-imager3-app"),
        ({"XDG_CONFIG_HOME": "relative", "HOME": "/home/ada"}, "/home/ada/.config/plant-imager3-app"),
    ],
)
def test_the_users_directory_comes_before_the_hosts(environment, user_directory):
    """The XDG rules say so; a relative `XDG_CONFIG_HOME` is ignored."""
    assert config_directories(environment) == (Path(user_directory), Path("/etc/plant-imager3-app"))


def test_without_a_home_in_the_environment_the_user_database_is_asked():
    """A bare environment has none."""
    assert config_directories({}) == config_directories({"HOME": pwd.getpwuid(os.getuid()).pw_dir})


def test_a_relative_home_leaves_the_hosts_directory_alone():
    """What it would mean depends on where the daemon was started."""
    assert config_directories({"HOME": "home"}) == (SITE_DIRECTORY,)


def test_the_first_directory_with_the_file_wins(tmp_path):
    """A directory that doesn't exist, or lacks the file, is passed over."""
    absent, empty, first, second = (tmp_path / name for name in ("absent", "empty", "first", "second"))
    for directory in (empty, first, second):
        directory.mkdir()
    for directory in (first, second):
        (directory / "f.toml").touch()
    assert find_file("f.toml", [absent, empty, first, second]) == first / "f.toml"
    assert find_file("f.toml", [absent, empty]) is None


def test_a_file_in_place_of_the_directory_is_passed_over(tmp_path):
    """There can't be a configuration in it."""
    (tmp_path / "file").touch()
    assert find_file("f.toml", [tmp_path / "file"]) is None


def test_a_link_that_leads_nowhere_counts_as_found(tmp_path):
    """Somebody meant to have a configuration there: the defaults must not replace it."""
    (tmp_path / "f.toml").symlink_to(tmp_path / "gone")
    found = find_file("f.toml", [tmp_path])
    with pytest.raises(FileUnusable, match="can't be read: no such file or directory"):
        read_config(found)


def test_a_directory_that_cannot_be_searched_is_an_error(tmp_path):
    """A rig must not fall back to simulated pictures because of it; here a loop of links stands for a permission."""
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(FileUnusable, match=r"loop/f\.toml: can't be looked for: too many levels of symbolic links"):
        find_file("f.toml", [tmp_path / "loop"])


# --- files that can't be read


def unreadable(path):
    """Read a file and return why it can't be."""
    with pytest.raises(FileUnusable) as error:
        read_config(path)
    assert error.value.exit_code == EXIT_CONFIG
    assert error.value.path == path
    assert "\n" not in str(error.value)
    return error.value.problem


def test_a_fifo_is_refused_without_waiting_for_a_writer(tmp_path):
    """The daemon must start whatever has the name."""
    os.mkfifo(tmp_path / "f")
    assert unreadable(tmp_path / "f") == "can't be read: not a regular file but a FIFO"


def test_a_directory_a_socket_and_a_device_are_refused(tmp_path):
    """Each is called what it is."""
    assert "directory" in unreadable(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        assert unreadable(tmp_path / "s").startswith("can't be read: ")
    assert unreadable(Path("/dev/zero")) == "can't be read: not a regular file but a character device"


def test_a_file_that_is_not_there_or_loops_is_refused(tmp_path):
    """The fault has the system's own words."""
    assert unreadable(tmp_path / "f") == "can't be read: no such file or directory"
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert unreadable(tmp_path / "loop") == "can't be read: too many levels of symbolic links"


def test_a_file_without_permission_is_refused(tmp_path):
    """The fault has the system's own words; root, who may read everything, looks as somebody else."""
    (tmp_path / "f").touch(mode=0)
    before = os.geteuid()
    for directory in (tmp_path, *list(tmp_path.parents)[:2]):
        directory.chmod(0o711)
    os.seteuid(before or NOBODY)
    try:
        assert unreadable(tmp_path / "f") == "can't be read: permission denied"
    finally:
        os.seteuid(before)


def test_a_file_that_is_far_too_large_is_not_read(tmp_path):
    """A sparse terabyte takes no memory."""
    with (tmp_path / "f").open("wb") as file:
        file.truncate(2**40)
    assert unreadable(tmp_path / "f") == "larger than 8 MB, which no file of this kind is"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b'\xef\xbb\xbfdriver = "x"', "begins with a byte order mark; save it as UTF-8 without BOM"),
        ('driver = "x"'.encode("utf-16"), "line 1: byte 0xff is not UTF-8; save the file as UTF-8"),
        (b'clock = "auto"\ndriver = "gr\xf6n"', "line 2: byte 0xf6 is not UTF-8; save the file as UTF-8"),
        (b"driver = command", 'line 1, column 10: invalid value; texts stand in quotes: "driver = command"'),
        (
            b"\nmissed = 10m\n",
            f'line 2, column 12: {NO_NEWLINE}; texts stand in quotes: "missed = 10m"',
        ),
        (b'driver = "x', 'line 1, column 12: unterminated string: "driver = \\"x"'),
        (b"[logging\nlevel = 1", "line 1, column 9: expected ']' at the end of a table declaration: \"[logging\""),
        (b'driver = "a"\ndriver = "b"\n\n', 'line 2, column 13: cannot overwrite a value: "driver = \\"b\\""'),
        (b"[a]\nb = [1, 0x1FFFFFFFFFFFFFFFF]", '"a.b" is an integer of more than 64 bits, and TOML has none'),
        (b"scan_timeout = " + b"9" * 5000, "holds a number of thousands of digits"),
        (b"a = " + b"[" * 100_000, "tables or lists are nested deeper than 50 levels"),
        (b"[" + b".".join([b"a"] * 5000) + b"]", "line 1: a key has more than 16 parts between dots"),
        (b"a = " + b"[" * 60 + b"]" * 60, "tables or lists are nested deeper than 50 levels"),
        (b"driver = \x00", 'line 1, column 10: invalid value; texts stand in quotes: "driver = \\u0000"'),
    ],
)
def test_text_that_is_not_toml_is_refused_in_one_line_with_the_place(content, problem, tmp_path):
    """The fault has line, column, the problem, and the line itself."""
    path = tmp_path / "timelapsed.toml"
    path.write_bytes(content)
    assert unreadable(path) == problem


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        ('remote = "lab:plants"\nurl = "https://a"', "url"),
        ('remote = "lab:plants"\nuser = "rig"', "user"),
        ('url = "https://a"\nrclone_config = "/x"', "rclone_config"),
        ('remote = ":webdav,url=https://a,pass=b:"', "remote"),
        ('remote = "/mnt/nas"', "remote"),
        ('remote = "--config=/x:"', "remote"),
    ],
)
def test_a_target_is_a_server_or_a_remote(tmp_path, keys, fault):
    """Keys of the other are faults; so is a remote that is none, or that carries its own settings."""
    path = tmp_path / "timelapsed.toml"
    path.write_text(f"[relay.deliver.lab]\n{keys}\n")
    with pytest.raises(FaultsFound) as faults:
        read_config(path)
    assert [found.key for found in faults.value.faults] == [fault]


def test_a_remote_of_rclone(tmp_path):
    """A name of its configuration and a directory there."""
    path = tmp_path / "timelapsed.toml"
    path.write_text('[relay.deliver.lab]\nremote = "lab:plants"\nrclone_config = "/etc/rclone.conf"\n')
    assert read_config(path).deliver["lab"].remote == "lab:plants"


def test_faults_of_the_relay_s_tables_are_not_the_daemon_s(tmp_path):
    """They are named for it, and refused to everybody else; any other fault is the daemon's, too."""
    path = tmp_path / "timelapsed.toml"
    path.write_text(
        "clock = 'trust'\n[relay]\nwat = 1\n[relay.deliver.lab]\nremote = '/mnt'\n[relay.notify]\nquiet = 5\n"
    )
    config, faults = read_daemon_config(path)
    assert config.clock is ClockPolicy.TRUST
    assert [(fault.table, fault.key) for fault in faults] == [
        ("relay.deliver.lab", "remote"),
        ("relay.notify", "quiet"),
        ("relay", "wat"),
    ]
    with pytest.raises(FaultsFound):
        read_config(path)
    path.write_text("clock = 'maybe'\nrelays = 1\nrelay = 2\n")
    with pytest.raises(FaultsFound) as found:
        read_daemon_config(path)
    assert [fault.key for fault in found.value.faults] == ["clock", "relays"]
