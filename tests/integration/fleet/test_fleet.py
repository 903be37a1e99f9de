"""A fleet on existing engines: Debian's Prometheus, Alertmanager and node_exporter take what we give them."""

import json
import os
import re
import shlex
import shutil
import subprocess
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from fleet import FLEET, dashboard_choices, dashboard_expressions, running_engines
from looked_at import doubt
from tree import TREE
from waiting import wait_until

from plantimager.timelapse.channel.relay_status import TargetStatus
from plantimager.timelapse.cli.parser import build_parser
from plantimager.timelapse.relay.metrics.measures import DiskUse, measure_rig
from plantimager.timelapse.relay.metrics.metrics_sink import format_metrics
from plantimager.timelapse.relay.store_view import DaemonFacts, StoreView
from plantimager.timelapse.support.clock import SystemClock
from stores import read, scan, store_of

ENGINES = ("prometheus", "prometheus-alertmanager", "prometheus-node-exporter")
pytestmark = [
    pytest.mark.skipif(shutil.which(engine) is None, reason=f"needs {engine}, the package of Debian")
    for engine in ENGINES
]
N_RIGS = 100
PATIENCE = 120.0
RUNNING = DaemonFacts(7, is_live=True)


def metrics_of(rig, *, lost=0, due=timedelta(hours=1), daemon=RUNNING, **changes):
    """Return the textfile of a rig in the middle of its timelapse, whose next record is due in so long."""
    now = SystemClock().now()
    times = [(now + timedelta(hours=hour - 5.5)).isoformat() for hour in range(100)]
    outcomes = ["failed"] * lost + ["succeeded"] * (6 - lost)
    scans = [
        scan(f"tl_{slot}", status, started_at=times[slot], finished_at=times[slot])
        for slot, status in enumerate(outcomes)
    ]
    view = StoreView(
        stored=read(store_of(*scans, schedule_times=times, timelapse_id=f"tl-{rig}", **changes)),
        daemon=daemon,
        doubts=(doubt(timelapse=f"tl-{rig}", verdict="dark", pictures=36 * (lost > 2)),),
        targets=(TargetStatus(name="plantdb", taken=6 - lost, delivered=2, oldest=now),),
    )
    return format_metrics(measure_rig(rig, "0.2.0", view, DiskUse(2 * 10**9, 10**8), now + due))


def run(*command, **options):
    """Return what a program says; it has to be content."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize(("rig", "state"), [("a", "scheduled"), ('a "b\\c" \u00fc', "completed")])
def test_promtool_finds_nothing_in_the_metrics(rig, state):
    """Names, units, types and help texts are by Prometheus' conventions, whatever people call their timelapses."""
    assert run("promtool", "check", "metrics", input=metrics_of(rig, state=state).decode()) == ""


def test_each_alert_fires_for_what_it_is_for_and_is_silent_else():
    """`promtool test rules` runs the stories of timelapse.rules.test.yml through the rules."""
    run("promtool", "check", "rules", FLEET / "timelapse.rules.yml")
    run("promtool", "test", "rules", Path(__file__).with_name("timelapse.rules.test.yml"))


LIVES = {
    ("rig-1", "a"): ("1x30 stale", "0+60x30 stale"),
    ("rig-2", "a"): ("1x30 stale", "0+60x30 1800x30 stale"),
    ("rig-2", "b"): ("1x120", "0+60x30 1800x120"),
    ("rig-3", "a"): ("1x120", "0+60x120"),
}
"""Of a host without power, of a relay that was stopped, of one that hangs, and of one of which all is well."""


def series_of(host, rig, up, written):
    """Return what Prometheus has of a rig, as ``promtool test rules`` takes it."""
    labels = f'job="rigs",instance="{host}"'
    file = f"/run/plant-imager-timelapse-relay-{rig}/timelapsed-{rig}.prom"
    return [
        {"series": f'timelapse_daemon_up{{{labels},rig="{rig}"}}', "values": up},
        {"series": f'node_textfile_mtime_seconds{{{labels},file="{file}"}}', "values": written},
    ]


def test_the_overview_counts_the_rigs_that_are_silent_whatever_became_of_their_metrics(tmp_path):
    """Those of a dead host are gone. Each rig counts once, also while its file is old and its figures are missing."""
    (silent,) = dashboard_expressions()["Silent"]
    counts = {20: 0, 35: 2, 50: 3, 100: 3}
    looks = [
        {"expr": silent, "eval_time": f"{minute}m", "exp_samples": [{"labels": "{}", "value": count}]}
        for minute, count in counts.items()
    ]
    series = [one for rig, life in LIVES.items() for one in series_of(*rig, *life)]
    rules = {"rule_files": [str(FLEET / "timelapse.rules.yml")], "evaluation_interval": "1m"}
    story = tmp_path / "silent.test.yml"  # JSON is YAML
    story.write_text(
        json.dumps({**rules, "tests": [{"interval": "1m", "input_series": series, "promql_expr_test": looks}]})
    )
    run("promtool", "test", "rules", story)


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    """Return the engines, which look at a hundred rigs, of which four have a trouble each."""
    directory = tmp_path_factory.mktemp("fleet")
    textfiles = directory / "run"
    troubles = {42: {"lost": 2}, 7: {"due": -timedelta(hours=1)}, 8: {"daemon": None}}
    for number in range(N_RIGS):
        own = textfiles / f"rig{number}" / f"timelapsed-rig{number}.prom"
        own.parent.mkdir(parents=True)
        own.write_bytes(metrics_of(f"rig{number}", **troubles.get(number, {})))
    long_ago = own.stat().st_mtime - 3600
    os.utime(textfiles / "rig9" / "timelapsed-rig9.prom", (long_ago, long_ago))
    with running_engines(directory, textfiles) as engines:
        yield engines


def test_a_hundred_rigs_are_on_one_prometheus(engines):
    """Rules evaluate, and what is wrong reaches the Alertmanager."""
    states = engines.wait_for("timelapse:state:code", N_RIGS)
    assert {series["metric"]["rig"] for series in states} == {f"rig{number}" for number in range(N_RIGS)}
    assert engines.query("node_textfile_scrape_error")[0]["value"][1] == "0"

    def alerts():
        return {alert["labels"]["rig"]: alert for alert in engines.alerts() if alert["labels"]["rig"].startswith("rig")}

    wait_until(lambda: {*alerts()} >= {"rig7", "rig42"}, within=PATIENCE, what="the alerts")
    found = {rig: alert["labels"]["alertname"] for rig, alert in alerts().items()}
    assert found == {"rig7": "TimelapseSlotOverdue", "rig42": "TimelapseSlotLost"}
    assert (
        alerts()["rig42"]["annotations"]["summary"] == "Rig rig42: 2 time points of tl-rig42 lost within the last hour"
    )


OVERVIEW = {"Rigs": 100, "Daemons down": 1, "Slots lost": 2, "Overdue": 1, "Waiting datasets": 398, "Silent": 1}
"""The six figures that stand for the whole fleet."""
CHOSEN = {
    "rig3": {"Rigs": 1, "Daemons down": 0, "Slots lost": 0, "Overdue": 0, "Waiting datasets": 4, "Silent": 0},
    "rig9": {"Rigs": 1, "Daemons down": 0, "Slots lost": 0, "Overdue": 0, "Waiting datasets": 4, "Silent": 1},
    "rig42": {"Rigs": 1, "Daemons down": 0, "Slots lost": 2, "Overdue": 0, "Waiting datasets": 2, "Silent": 0},
}
"""The same where a person chooses one rig."""


@pytest.mark.parametrize(("rig", "figures"), [(".*", OVERVIEW), *CHOSEN.items()])
def test_the_overview_has_the_figures_of_the_rigs_that_are_chosen(engines, rig, figures):
    """Zero where all is well, and then only; each of the other panels has a series for each rig."""
    engines.wait_for("timelapse:metrics_age:seconds", N_RIGS)
    engines.wait_for("timelapse:slots_lost:count", N_RIGS)
    for panel, expressions in dashboard_expressions(rig).items():
        for expression in expressions:
            series = engines.query(expression)
            if panel in figures:
                assert (panel, [float(one["value"][1]) for one in series]) == (panel, [figures[panel]])
            else:
                assert (panel, len(series)) == (panel, figures["Rigs"])


def test_a_person_chooses_among_all_hosts_and_all_rigs(engines):
    """The dashboard asks Prometheus for them."""
    engines.wait_for("timelapse_daemon_up", N_RIGS)
    offered = {name: engines.query(expression) for name, expression in dashboard_choices().items()}
    assert {name: len(series) for name, series in offered.items()} == {"instance": 1, "rig": N_RIGS}


# --- the commands of the page ---------------------------------------------------------------------------

PAGE = (TREE / ".github/fleet.md").read_text()
PROGRAMS = ("amtool", "ansible-playbook", "cd", "curl", "editor", "promtool", "sudo", "systemd/", "timedatectl")


def commands_of_page():
    """Return each command that the page shows, in its blocks and in its lines."""
    blocks = "".join(re.findall(r"^ *```sh\n(.*?)```$", PAGE, re.MULTILINE | re.DOTALL)).replace("\\\n", " ")
    quoted = re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL))
    shown = [" ".join(line.partition("   # ")[0].split()) for line in [*blocks.splitlines(), *quoted]]
    return dict.fromkeys(line for line in shown if line.startswith((*PROGRAMS, "timelapsectl ")))


def command(beginning):
    """Return the one command of the page that begins so."""
    (found,) = (line for line in commands_of_page() if line.startswith(beginning))
    return found


def test_each_command_of_the_page_is_run_or_checked_here_or_elsewhere():
    """What a package or a unit is called is looked up; ours are run by the tests of the package and of `install`."""
    packages = {"amtool": "prometheus-alertmanager", "promtool": "prometheus", "ansible-playbook": "ansible-core"}
    for line in commands_of_page():
        for part in line.removeprefix("sudo ").split(" && "):
            program, *arguments = shlex.split(part.removeprefix("sudo "))
            if program == "apt":
                for package in arguments[1:]:
                    assert run("dpkg-query", "--show", package)
            elif program == "systemctl":
                for unit in (name for name in arguments[1:] if not name.startswith("-")):
                    ours = " ".join(path.name for path in (TREE / "systemd").iterdir())
                    assert f"{unit}.service" in (ours if "timelapse" in unit else run("dpkg", "--listfiles", unit))
            elif program == "timelapsectl":
                build_parser().parse_args(arguments)
            elif program.startswith("systemd/"):
                usage = run(TREE / program, "--help")
                assert all(option in usage for option in arguments if option.startswith("--"))
            elif program == "cd":
                assert (TREE / arguments[0] / command("editor").split()[1]).is_file()
            elif program in packages:
                assert packages[program] in run("dpkg", "--search", shutil.which(program))
            else:
                assert program in ("editor", "curl", "timedatectl")


def test_examples_are_found_sound_by_the_commands_of_the_page(tmp_path):
    """With the files where the page has them put."""
    for file in FLEET.glob("*.yml"):
        shutil.copy(file, tmp_path)
    for beginning in ("promtool check config", "amtool check-config"):
        run(*shlex.split(command(beginning).replace("/etc/prometheus", str(tmp_path))))


def test_the_playbook_is_limited_to_the_host_that_the_page_names(tmp_path):
    """Its tasks run on whole machines in tests/system."""
    environment = {**os.environ, "ANSIBLE_HOME": str(tmp_path), "ANSIBLE_LOCAL_TEMP": str(tmp_path)}
    shown = run(*shlex.split(command("ansible-playbook")), "--list-hosts", cwd=FLEET / "ansible", env=environment)
    assert re.findall(r"^ +(rig-.*)$", shown, re.MULTILINE) == ["rig-1.example.org"]


def test_the_figures_are_served_as_the_page_looks_at_them(engines):
    """By a shell, with the exporter's address."""
    shown = run("sh", "-c", command("curl").replace("localhost:9100", engines.exporter))
    assert {line.partition("{")[0].partition("_")[0] for line in shown.splitlines()} == {"timelapse"}


def test_a_rig_that_was_taken_out_of_use_is_silenced_as_the_page_says(engines):
    """That one alone, and for eight days."""
    line = command("amtool silence").replace("localhost:9093", engines.alertmanager)
    silence = run(*shlex.split(line)).strip()
    gone = {"alertname": "TimelapseRigGone", "instance": "rig-2.example.org:9100"}
    engines.report({**gone, "rig": "right"}, {**gone, "rig": "left"})

    def states():
        found = [alert for alert in engines.alerts() if alert["labels"]["alertname"] == "TimelapseRigGone"]
        return {alert["labels"]["rig"]: (alert["status"]["state"], alert["status"]["silencedBy"]) for alert in found}

    expected = {"right": ("suppressed", [silence]), "left": ("active", [])}
    wait_until(lambda: states() == expected, within=PATIENCE, what="one of the two is silenced")
    shown = run(
        "amtool", "silence", "query", "--alertmanager.url", f"http://{engines.alertmanager}", "--output", "json"
    )
    (known,) = json.loads(shown)
    begins, ends = (datetime.fromisoformat(known[key]) for key in ("startsAt", "endsAt"))
    assert abs(ends - begins - timedelta(days=8)) < timedelta(minutes=1)
