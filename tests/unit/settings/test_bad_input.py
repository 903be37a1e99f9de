"""The lines that a faulty file gives: exactly those below, every fault of the file."""

import json
import re
from datetime import UTC, date, datetime, time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plantimager.timelapse.settings.config import read_config
from plantimager.timelapse.settings.definition import read_definition
from plantimager.timelapse.settings.relay_config import ALL_EVENTS
from plantimager.timelapse.support.errors import EXIT_CONFIG, ConfigurationError, FaultsFound

NAMED = '[timelapse]\nname = "col0"\n'
ONE_SHOT = NAMED + 'mode = "one_shot"\n'
INTERVAL = NAMED + 'mode = "interval"\ninterval = "30m"\nn_shots = 48\n'
FIXED_TIMES = NAMED + 'mode = "fixed_times"\n'
CIRCLE = '[ScanPath]\nclass_name = "Circle"\n[ScanPath.kwargs]\ncenter_x = 375\ncenter_y = 375\nradius = 350\n'

A_NAME = "write letters, digits, ., _ and -, at most 64, no leading dot"
AN_ABSOLUTE_PATH = "write an absolute path, such as /srv/scans"
A_DURATION = "not a duration; write seconds or 1h, 1h30m, 2d-3h"
A_TIME = "not a date and time; write 2026-06-22T08:00:00 (local) or 2026-06-22T06:00:00+00:00"
TWO_TIMES = 'write two times, such as "22:00-07:00"'
A_LIST = 'write a list of dates and times: ["2026-06-22T08:00:00", "2026-06-23T08:00:00"]'
THE_YEARS = "out of range; the years are 1970 to 8999"
TOO_SOON = "less than twice the warm-up of 10 min; write 20m or more"
PATHS = ("Circle", "Cylinder", "Line", "CustomPath", "CalibrationPath", "CalibrationPath2")
CONFIGURATION_KEYS = (
    *("driver", "datasets", "missed", "clock", "clock_wait", "scan_timeout", "stall_timeout"),
    *("observe", "observe_timeout", "drivers", "scan", "logging", "relay"),
)
CONFIGURATIONS = [
    # A text of timelapsed.toml, and the one line that it gives.
    ("driver = 5", "driver = 5: write a text in quotes"),
    (
        '[relay.deliver.db]\nurl = "https://rig:secret@db.example.org"',
        "[relay.deliver.db] url: has a user or a password in it; write those as user = and password_file =",
    ),
    *(
        (
            f'[relay.deliver.db]\nurl = "{url}"',
            f'[relay.deliver.db] url = "{url}": write http:// or https:// and the server\'s name, and a port as :5000',
        )
        for url in ("http://h:abc", "http://[::1", "http://h:99999", "db.example.org")
    ),
    ('[relay.deliver.db]\npassword = "x"', "[relay.deliver.db] password: unknown key; did you mean password_file?"),
    (
        '[relay.deliver."a/b"]\nuser = "rig"',
        "[relay.deliver] a/b: the name of a target has letters, digits, _ and -, at most 32",
    ),
    *(
        (f'[relay.{table}]\n{key} = "mailto://me:topsecret@h"', f"[relay.{table}] {key}: {AN_ABSOLUTE_PATH}")
        for table, key in (
            ("notify", "urls_file"),
            ("heartbeat", "url_file"),
            ("deliver.db", "password_file"),
        )
    ),
    (
        '[relay.deliver.lab]\nremote = "lab:x"\nrclone_config = "[lab] pass = topsecret"',
        f"[relay.deliver.lab] rclone_config: {AN_ABSOLUTE_PATH}",
    ),
    ('[relay.notify]\nquiet = "late"', '[relay.notify] quiet = "late": write two times, such as "22:00-07:00"'),
    ('[relay.notify]\nquiet = "25:00-26:00"', f'[relay.notify] quiet = "25:00-26:00": {TWO_TIMES}'),
    (
        '[relay.notify]\nquiet = "07:00-07:00"',
        '[relay.notify] quiet = "07:00-07:00": the two times are the same; without quiet hours leave the key out',
    ),
    ('[relay.notify]\nevents = ["all"]', f'[relay.notify] events = ["all"]: write a list of {", ".join(ALL_EVENTS)}'),
    (
        '[relay.notify]\nurl = "ntfy://x/secret"',
        "[relay.notify] url: unknown key; known are urls_file, events, quiet, gather, picture, timeout",
    ),
    (
        '[relay.heartbeat]\nurl = "hc-ping.com/secret"',
        "[relay.heartbeat] url: write http:// or https:// and the server's name, and a port as :5000",
    ),
    ('[relay.heartbeat]\nkind = "pager"', '[relay.heartbeat] kind = "pager": write one of healthchecks, kuma, plain'),
    ('driver = ""', 'driver = "": write a text in quotes'),
    ('drivr = "command"', "drivr: unknown key; did you mean driver?"),
    (
        'api_token = "hunter2"',
        f"api_token: unknown key; known are {', '.join(CONFIGURATION_KEYS)}",
    ),
    ('datasets = "scans"', 'datasets = "scans": write an absolute path, such as /srv/scans'),
    (
        'datasets = "~/scans"',
        'datasets = "~/scans": ~ is not expanded, since the service has a user of its own; write the path from / on',
    ),
    ('datasets = "/srv/\\u0000"', 'datasets = "/srv/\\u0000": write an absolute path, such as /srv/scans'),
    ("datasets = ['/srv']", 'datasets = ["/srv"]: write a text in quotes'),
    ('missed = "latest"', 'missed = "latest": write one of skip, run_latest'),
    ("missed = false", "missed = false: write one of skip, run_latest"),
    ('clock = "ntp"', 'clock = "ntp": write one of auto, trust, ntp-only'),
    ('clock_wait = "10 mins"', f'clock_wait = "10 mins": {A_DURATION}'),
    ("clock_wait = -1", "clock_wait = -1: negative; write seconds or 1h, 1h30m, 2d-3h"),
    ("clock_wait = true", f"clock_wait = true: {A_DURATION}"),
    ("clock_wait = nan", f"clock_wait = nan: {A_DURATION}"),
    ("clock_wait = 08:00:00", f"clock_wait = 08:00:00: {A_DURATION}"),
    ('scan_timeout = "0s"', 'scan_timeout = "0s": must be longer than 0 s'),
    ("stall_timeout = 0", "stall_timeout = 0: must be longer than 0 s"),
    ('stall_timeout = "200000d"', 'stall_timeout = "200000d": longer than 100 years'),
    ('drivers = "command"', 'drivers = "command": write a table'),
    ("[drivers]\ncommand = 5", "[drivers] command = 5: write a table, [drivers.command]"),
    (
        '[drivers.command]\nargv = ["/bin/true"]',
        'driver: missing beside [drivers.command]; write driver = "command", or "simulated" to leave that unused',
    ),
    ("logging = 'debug'", 'logging = "debug": write a table'),
    ("[logging]\nlevel = 'trace'", '[logging] level = "trace": write one of debug, info, notice, warning, error'),
    ("[logging]\nlevle = 'info'", "[logging] levle: unknown key; did you mean level?"),
    ("scan = 3", "scan = 3: write a table"),
    (
        "[scan]\nradius = 3",
        "[scan] radius = 3: stands in no table; those here are ScanPath, Metadata and the cameras'",
    ),
    (
        "[scan.timelapse]\nname = 'x'",
        "[scan] timelapse: belongs into a definition; [scan] says how to scan, not when",
    ),
    (
        "[scan.ScanPath]\nclass_name = 'Spiral'",
        f'[scan.ScanPath] class_name = "Spiral": write one of {", ".join(PATHS)}',
    ),
]

DEFINITIONS = [
    # A text of timelapse.toml, and the one line that it gives.
    ("", "[timelapse]: the table is missing; it says what to take, and when"),
    ("[timelapse]\nmode = 'one_shot'", "[timelapse] name: required, but missing"),
    ("[timelapse]\nname = 'x'", "[timelapse] mode: required, but missing"),
    ("[timelapse]\nmode = 'one_shot'\nname = 'my plant'", f'[timelapse] name = "my plant": {A_NAME}'),
    ("[timelapse]\nmode = 'one_shot'\nname = '.hidden'", f'[timelapse] name = ".hidden": {A_NAME}'),
    ("[timelapse]\nmode = 'one_shot'\nname = '../up'", f'[timelapse] name = "../up": {A_NAME}'),
    ("[timelapse]\nmode = 'one_shot'\nname = 'größe'", f'[timelapse] name = "größe": {A_NAME}'),
    ("[timelapse]\nmode = 'one_shot'\nname = \"x\\n\"", f'[timelapse] name = "x\\n": {A_NAME}'),
    ("[timelapse]\nmode = 'one_shot'\nname = ''", f'[timelapse] name = "": {A_NAME}'),
    ("[timelapse]\nmode = 'one_shot'\nname = 7", f"[timelapse] name = 7: {A_NAME}"),
    (
        f"[timelapse]\nmode = 'one_shot'\nname = '{'x' * 65}'",
        f'[timelapse] name = "{"x" * 58}…: {A_NAME}',
    ),
    (NAMED + "mode = 'daily'", '[timelapse] mode = "daily": write one of one_shot, interval, fixed_times'),
    (NAMED + "mode = ['interval']", '[timelapse] mode = ["interval"]: write one of one_shot, interval, fixed_times'),
    (NAMED + "mode = 'interval'\nn_shots = 3", "[timelapse] interval: required, but missing"),
    (NAMED + "mode = 'interval'\ninterval = 60", "[timelapse] n_shots: required, but missing"),
    (
        NAMED + "mode = 'interval'\nn_shots = 3\ninterval = '1 hour'",
        f'[timelapse] interval = "1 hour": {A_DURATION}',
    ),
    (NAMED + "mode = 'interval'\nn_shots = 3\ninterval = 0", "[timelapse] interval = 0: too short; write 1s or more"),
    (NAMED + "mode = 'interval'\nn_shots = 3\ninterval = '1h--5s'", f'[timelapse] interval = "1h--5s": {A_DURATION}'),
    (
        NAMED + "mode = 'interval'\ninterval = 60\nn_shots = 0",
        "[timelapse] n_shots = 0: out of range; write a whole number from 1 to 100000",
    ),
    (
        NAMED + "mode = 'interval'\ninterval = 60\nn_shots = 100001",
        "[timelapse] n_shots = 100001: out of range; write a whole number from 1 to 100000",
    ),
    (
        NAMED + "mode = 'interval'\ninterval = 60\nn_shots = 2.5",
        "[timelapse] n_shots = 2.5: write a whole number from 1 to 100000",
    ),
    (
        NAMED + "mode = 'interval'\ninterval = 60\nn_shots = true",
        "[timelapse] n_shots = true: write a whole number from 1 to 100000",
    ),
    (
        NAMED + "mode = 'interval'\ninterval = '1d'\nn_shots = 100000",
        "[timelapse] n_shots = 100000: at this interval they take longer than 100 years",
    ),
    (
        INTERVAL + "start_at = 8999-12-31T23:00:00Z",
        "[timelapse] n_shots = 48: the last slot is out of range; the years are 1970 to 8999",
    ),
    (
        INTERVAL + "dates = ['2026-06-22T08:00:00']",
        '[timelapse] dates = ["2026-06-22T08:00:00"]: only for mode fixed_times; this is interval',
    ),
    (INTERVAL + "n_shot = 3", "[timelapse] n_shot: unknown key; did you mean n_shots?"),
    (INTERVAL + "grace = 3", "[timelapse] grace: unknown key; did you mean grace_period?"),
    (ONE_SHOT + "n_shots = 1", "[timelapse] n_shots = 1: only for mode interval; this is one_shot"),
    (ONE_SHOT + "start_at = 'tomorrow'", f'[timelapse] start_at = "tomorrow": {A_TIME}'),
    (ONE_SHOT + "start_at = 08:00:00", f"[timelapse] start_at = 08:00:00: {A_TIME}"),
    (ONE_SHOT + "start_at = 1782115200", f"[timelapse] start_at = 1782115200: {A_TIME}"),
    (ONE_SHOT + "start_at = 1926-06-22T08:00:00", f"[timelapse] start_at = 1926-06-22T08:00:00: {THE_YEARS}"),
    (
        ONE_SHOT + "start_at = '0001-01-01T00:00:00+12:00'",
        '[timelapse] start_at = "0001-01-01T00:00:00+12:00": beyond the years that a date can have',
    ),
    (ONE_SHOT + "warmup_period = '30 sec'", f'[timelapse] warmup_period = "30 sec": {A_DURATION}'),
    (ONE_SHOT + "grace_period = -5", "[timelapse] grace_period = -5: negative; write seconds or 1h, 1h30m, 2d-3h"),
    (
        ONE_SHOT + "warmup_period = 60\nstandby_threshold_sec = 100",
        "[timelapse] standby_threshold_sec = 100: less than twice the warm-up of 1 min; write 2m or more",
    ),
    (
        ONE_SHOT + "warmup_period = '10m'",
        f"[timelapse] standby_threshold_sec: missing, and its default of 10 min is {TOO_SOON}",
    ),
    (
        ONE_SHOT + "on_scan_failed = 'retry'",
        '[timelapse] on_scan_failed = "retry": write one of skip_scan, fail_timelapse',
    ),
    (
        ONE_SHOT + "scan_retries = -1",
        "[timelapse] scan_retries = -1: out of range; write a whole number from 0 to 100",
    ),
    (ONE_SHOT + "scan_retries = '3'", '[timelapse] scan_retries = "3": write a whole number from 0 to 100'),
    (FIXED_TIMES, "[timelapse] dates: required, but missing"),
    (FIXED_TIMES + "dates = []", f"[timelapse] dates = []: {A_LIST}"),
    (FIXED_TIMES + "dates = '2026-06-22T08:00'", f'[timelapse] dates = "2026-06-22T08:00": {A_LIST}'),
    (
        FIXED_TIMES + "dates = ['2026-06-22T08:00', '22 June']",
        f'[timelapse] dates[1] = "22 June": {A_TIME}',
    ),
    (
        FIXED_TIMES + "dates = ['2026-06-22T08:00Z', '2026-06-23T08:00Z', '2026-06-22T10:00+02:00']",
        '[timelapse] dates[2] = "2026-06-22T10:00+02:00": the same instant as dates[0]; write each once',
    ),
    (
        FIXED_TIMES + "dates = [2026-06-22T08:00:00]\nstart_at = 2026-06-22T08:00:00",
        "[timelapse] start_at = 2026-06-22T08:00:00: only for mode one_shot and interval; this is fixed_times",
    ),
    ("n_shots = 3\n" + INTERVAL.replace("n_shots = 48", "n_shots = 3"),
     "n_shots = 3: stands in no table; write it below [timelapse]"),
    ("rig = 3\n" + ONE_SHOT, "rig = 3: stands in no table; those here are ScanPath, Metadata and the cameras'"),
    ("ScanPath = 'Circle'\n" + ONE_SHOT,
     "ScanPath = \"Circle\": stands in no table; those here are ScanPath, Metadata and the cameras'"),
    (ONE_SHOT + "[scanpath]\nclass_name = 'Circle'", "scanpath: unknown table; did you mean [ScanPath]?"),
    (ONE_SHOT + CIRCLE, "[ScanPath.kwargs] n_points: required, but missing"),
    (ONE_SHOT + CIRCLE + "n_points = 36\nradious = 300",
     "[ScanPath.kwargs] radious: unknown key; did you mean radius?"),
    (ONE_SHOT + "[Metadata]\nobject = 'thaliana'",
     '[Metadata] object = "thaliana": write a table, [Metadata.object]'),
    (ONE_SHOT + "[picamera]\nres_x = '2000'", '[picamera] res_x = "2000": write a whole number from 1 to 20000'),
    (ONE_SHOT + "[picamera]\nencoding = 'raw'", '[picamera] encoding = "raw": write one of jpeg, jpg, png, tiff, tif'),
]  # fmt: skip


@pytest.fixture
def faults_of(tmp_path):
    """Return a function that writes a file, reads it, and returns the lines below the file's name."""

    def read(reader, text):
        path = tmp_path / "file.toml"
        path.write_text(text)
        with pytest.raises(FaultsFound) as error:
            reader(path)
        assert error.value.exit_code == EXIT_CONFIG
        head, *lines = str(error.value).split("\n  ")
        assert head == f"{path}: {len(lines)} fault{'s' if len(lines) > 1 else ''}"
        return lines

    return read


@pytest.mark.parametrize(("written", "line"), CONFIGURATIONS, ids=[line[:60] for _, line in CONFIGURATIONS])
def test_a_faulty_configuration_gets_its_line(written, line, faults_of):
    """File, key, value, and what is allowed; one fault gives one line."""
    assert faults_of(read_config, written) == [line]


@pytest.mark.parametrize(("written", "line"), DEFINITIONS, ids=[line[:60] for _, line in DEFINITIONS])
def test_a_faulty_definition_gets_its_line(written, line, faults_of):
    """File, key, value, and what is allowed; one fault gives one line."""
    assert faults_of(read_definition, written) == [line]


def test_every_fault_of_a_configuration_is_listed_at_once(faults_of):
    """The first doesn't hide the others, in whichever table they are."""
    written = """
        missed = "never"
        clock_wait = "soon"
        datasets = "scans"
        stal_timeout = 5
        [drivers]
        grbl = 5
        command = {}
        [logging]
        level = 7
        [scan.picamera]
        res_x = 0
        """
    assert faults_of(read_config, written) == [
        'datasets = "scans": write an absolute path, such as /srv/scans',
        'missed = "never": write one of skip, run_latest',
        f'clock_wait = "soon": {A_DURATION}',
        "[drivers] grbl = 5: write a table, [drivers.grbl]",
        'driver: missing beside [drivers.command]; write driver = "command", or "simulated" to leave that unused',
        "[scan.picamera] res_x = 0: out of range; write a whole number from 1 to 20000",
        "[logging] level = 7: write one of debug, info, notice, warning, error",
        "stal_timeout: unknown key; did you mean stall_timeout?",
    ]


def test_every_fault_of_a_definition_is_listed_at_once(faults_of):
    """The list has those of the timelapse, the path and the cameras."""
    written = """
        name = "outside"
        [timelapse]
        mode = "interval"
        interval = "1 hour"
        n_shot = 48
        grace_period = "two minutes"
        dates = []
        [ScanPath]
        class_name = "Circle"
        [ScanPath.kwargs]
        radius = -1
        [picamera]
        res_y = 1e3
        """
    assert faults_of(read_definition, written) == [
        'name = "outside": stands in no table; write it below [timelapse]',
        "[timelapse] name: required, but missing",
        f'[timelapse] interval = "1 hour": {A_DURATION}',
        "[timelapse] n_shots: required, but missing",
        "[timelapse] dates = []: only for mode fixed_times; this is interval",
        f'[timelapse] grace_period = "two minutes": {A_DURATION}',
        "[timelapse] n_shot: unknown key; did you mean n_shots?",
        "[ScanPath.kwargs] center_x: required, but missing",
        "[ScanPath.kwargs] center_y: required, but missing",
        "[ScanPath.kwargs] radius = -1: write a length in mm, above 0",
        "[ScanPath.kwargs] n_points: required, but missing",
        "[picamera] res_y = 1000.0: write a whole number from 1 to 20000",
    ]


def test_a_list_with_many_faults_shows_the_first_and_counts_the_rest(faults_of):
    """A hundred thousand lines would hide the other faults."""
    written = FIXED_TIMES + f"dates = {['never'] * 5000}\nscan_retries = -1"
    lines = faults_of(read_definition, written)
    assert lines[:2] == [f'[timelapse] dates[{index}] = "never": {A_TIME}' for index in range(2)]
    assert lines[10:] == [
        "[timelapse] dates: 4990 more entries at fault",
        "[timelapse] scan_retries = -1: out of range; write a whole number from 0 to 100",
    ]


def test_faults_of_a_mode_that_is_itself_at_fault_are_still_listed(faults_of):
    """The other keys are checked as far as possible without it; none counts as missing or as meaningless."""
    written = NAMED + "mode = 'intervall'\ninterval = '1 hr'\nn_shots = 0\nstart_at = 'now'"
    assert faults_of(read_definition, written) == [
        '[timelapse] mode = "intervall": write one of one_shot, interval, fixed_times',
        f'[timelapse] interval = "1 hr": {A_DURATION}',
        "[timelapse] n_shots = 0: out of range; write a whole number from 1 to 100000",
        f'[timelapse] start_at = "now": {A_TIME}',
    ]


@pytest.mark.parametrize("line", [line for _, line in CONFIGURATIONS + DEFINITIONS])
def test_every_line_has_the_tone_of_the_others(line):
    """A line is ``[table] key = value: problem; what to do``: place first, no capital, no full stop, no Python."""
    assert re.match(r"(\[[\w.]+\]:?|\w+)( |: )", line)
    place, _, problem = line.rpartition(": ")
    assert place
    assert not problem[:1].isupper()
    assert not line.endswith((".", "!"))
    assert line.isprintable()
    assert not re.search(r"\b(None|True|False|str|int|float|dict|bool|invalid|illegal|Error|Exception)\b", line)


# --- any other text


def toml(value):
    """Return a value as TOML has it."""
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return repr(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


def table_of(name, values):
    """Return a table of TOML."""
    return f"[{name}]\n" + "".join(f"{key} = {toml(value)}\n" for key, value in values.items())


WORDS = st.sampled_from(["1h", "interval", "one_shot", "fixed_times", "Circle", "CustomPath", "2026-06-22T08", "jpeg"])
DATES = st.datetimes() | st.datetimes(timezones=st.just(UTC)) | st.dates() | st.times()
VALUES = st.recursive(
    st.booleans() | st.integers() | st.integers(0, 5000) | st.floats() | st.text() | WORDS | DATES,
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)
ASKED = {
    "name": "col0", "mode": "interval", "interval": "30m", "n_shots": 48, "start_at": "2026-06-22T08:00:00",
    "warmup_period": 30, "standby_threshold_sec": 600, "grace_period": 120, "on_scan_failed": "skip_scan",
    "scan_retries": 0,
}  # fmt: skip
PATH = {"center_x": 375, "center_y": 375, "z": 0, "tilt": 0, "radius": 350, "n_points": 36}
NOW = datetime(2026, 6, 22, tzinfo=UTC)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Return the file that all examples below are written to, one after the other."""
    return tmp_path_factory.mktemp("bad_input") / "file.toml"


def lines_for(use, path, written):
    """Return the lines that a text gives; none where it is sound."""
    path.write_text(written)
    try:
        use(path)
    except ConfigurationError as error:
        return str(error).split("\n")
    return []


def use_definition(path):
    """Read a definition and make its schedule."""
    definition = read_definition(path, UTC)
    json.dumps(definition.configuration)
    definition.schedule(NOW, UTC)


@given(
    st.dictionaries(st.sampled_from([*ASKED, "dates"]), VALUES, max_size=3),
    st.dictionaries(st.sampled_from([*PATH, "waypoints"]), VALUES, max_size=2),
    st.dictionaries(st.text() | st.sampled_from(["res_x", "encoding", "offset"]), VALUES, max_size=2),
)
def test_whatever_a_definition_says_is_read_or_refused(path, asked, kwargs, camera):
    """Only errors that are worded for people are raised, each line printable; what is read can be used."""
    written = (
        table_of("timelapse", ASKED | asked)
        + '[ScanPath]\nclass_name = "Circle"\n'
        + table_of("ScanPath.kwargs", PATH | kwargs)
        + table_of("picamera", {json.dumps(key, ensure_ascii=False): value for key, value in camera.items()})
    )
    assert all(line.isprintable() for line in lines_for(use_definition, path, written))


@given(st.dictionaries(st.sampled_from(CONFIGURATION_KEYS), VALUES))
def test_whatever_a_configuration_says_is_read_or_refused(path, values):
    """Only errors that are worded for people are raised."""
    written = "".join(f"{key} = {toml(value)}\n" for key, value in values.items())
    assert all(line.isprintable() for line in lines_for(read_config, path, written))


@given(st.text(alphabet="[]{}=.,\"'#\n\\ ax1_-:T+", max_size=40))
def test_any_text_at_all_is_read_or_refused(path, written):
    """That holds for text that isn't TOML, too."""
    for use in (read_config, use_definition):
        assert all(line.isprintable() for line in lines_for(use, path, written))
