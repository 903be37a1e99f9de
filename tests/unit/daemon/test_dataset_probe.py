"""The datasets' directory that can't be written."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from simulation import HOUR, MINUTE, SECOND, START, Behaviour, Boot, Bounded, Life, ScriptedDriver

from plantimager.timelapse.channel.live import read_live
from plantimager.timelapse.daemon import disk_look
from plantimager.timelapse.daemon.attempt_request import request_of
from plantimager.timelapse.daemon.dataset_probe import DatasetProbe
from plantimager.timelapse.datasets.receipt import RECEIPT, make_receipt, receipt_text
from plantimager.timelapse.domain.states import Reason
from plantimager.timelapse.domain.timelapse import TimeLapse
from plantimager.timelapse.drivers.base import Call
from plantimager.timelapse.scan.request import ScanResult
from plantimager.timelapse.settings import places as places_module
from plantimager.timelapse.store.loading import load_timelapse
from plantimager.timelapse.support import file_system
from plantimager.timelapse.support.errors import ScanFailed, ScannerNotReady


def test_slot_waits_for_a_directory_that_can_be_written(rig, tmp_path):
    """The trouble is logged when the timelapse begins; a slot that comes due is taken once a person has mended it."""
    disk = tmp_path / "disk"
    disk.write_text("where a disk is to be mounted")
    world = rig()
    world.configure(datasets=disk / "scans")
    world.define(grace=10 * MINUTE, every=HOUR, n=2)
    shown = []

    def show(life):
        shown.append(read_live(life.world.places.store).trouble)

    world.live((HOUR / 2, show), (HOUR + MINUTE, lambda _: disk.unlink()), (HOUR + 5 * MINUTE, show))
    why = f"{disk}/scans: datasets can't be put there: Not a directory"
    assert world.said("datasets_out_of_reach") == [f"{why}; slots wait for it, within their grace of 10 min"]
    assert world.said("rig_not_ready")[0].startswith(f"slot 0 of 2: {why}; it is asked again until ")
    assert world.actions().index("datasets_out_of_reach") < world.actions().index("rig_not_ready")
    assert shown == [why, None]
    assert world.statuses() == ["succeeded", "succeeded"]
    assert world.stored().records[0].attempt == 1


def test_datasets_disk_that_disappears_is_logged_once_each_time_before_a_slot(rig, tmp_path):
    """It is checked at each warm-up, and the live status shows the trouble as long as it lasts."""
    disk, shown = tmp_path / "disk", []
    world = rig()
    world.configure(datasets=disk)
    world.define(every=HOUR, n=4, warmup=MINUTE)

    def show(life):
        shown.append(read_live(life.world.places.store).trouble)

    world.live(
        (HOUR / 2, show),
        (HOUR + HOUR / 2, lambda _: disk.rename(tmp_path / "elsewhere")),
        (HOUR + HOUR / 2 + SECOND, lambda _: disk.write_text("nothing is mounted here")),
        (2 * HOUR - SECOND, show),
        (2 * HOUR + HOUR / 2, lambda _: disk.unlink()),
        (3 * HOUR - SECOND, show),
    )
    why = f"{disk}: datasets can't be put there: Not a directory"
    assert world.said("datasets_out_of_reach") == [f"{why}; slots wait for it, within their grace of 2 min"]
    assert world.said("datasets_within_reach") == [f"{disk}: datasets can be put there again"]
    assert shown == [None, why, None]
    assert world.statuses() == ["succeeded", "skipped", "succeeded", "succeeded"]
    assert world.reasons()[1] is Reason.RIG_NOT_READY


def test_network_disk_that_does_not_answer_delays_no_start(rig):
    """The check times out and is logged; the start goes on."""
    world = rig()
    world.define()
    world.slow = {Bounded.LOOK: HOUR}
    world.live()
    (said,) = world.said("datasets_out_of_reach")
    assert "datasets can't be put there: no answer within 5 s; slots wait for it" in said
    assert world.statuses() == ["succeeded"]


class Disks:
    """The mounts of a host, of which one may be below the datasets."""

    def __init__(self, directory, monkeypatch):
        self.point, self.table = directory / "disk", directory / "mountinfo"
        self.datasets = self.point / "scans"
        self.datasets.mkdir(parents=True)
        monkeypatch.setattr(file_system, "MOUNTS", self.table)
        self.mount("one")

    def mount(self, *names, root="nfs4 nas:/root"):
        """Have these disks on the mount point, over that of the root."""
        self.is_mounted = bool(names)
        lines = [f"1 0 0:{name} / {self.point} rw - nfs4 nas:/{name} rw\n" for name in names]
        self.table.write_text(f"1 0 0:1 / / rw - {root} rw\n" + "".join(lines))


@pytest.fixture
def disks(tmp_path, monkeypatch):
    return Disks(tmp_path, monkeypatch)


def test_disk_that_is_not_mounted_is_not_written_under(rig, disks):
    """The directory is there and can be written; the pictures would be gone under the disk once it is mounted."""
    world, shown = rig(), []
    world.configure(datasets=disks.datasets)
    world.define(every=HOUR, n=4, grace=10 * MINUTE)
    world.live((90 * MINUTE, Life.kill))
    disks.mount()

    def show(life):
        shown.append(read_live(life.world.places.store).trouble)

    world.live(
        (25 * MINUTE, show),
        (35 * MINUTE, lambda _: disks.mount("one")),
        off=MINUTE,
        boot=Boot(),
    )
    why = f"{disks.datasets}: datasets can't be put there: its disk isn't mounted, another one is there"
    assert shown[0].startswith(why)
    assert world.said("datasets_out_of_reach")[0].startswith(why)
    assert world.statuses() == ["succeeded"] * 4
    assert world.scans_at()[1] >= 2 * HOUR + 5 * MINUTE
    assert [record.attempt for record in world.stored().records.values()] == [1] * 4


WITHOUT_MARKS = "f2fs /dev/root"


@pytest.mark.parametrize("root_before", [WITHOUT_MARKS, "nfs4 nas:/root"])
def test_disk_that_is_not_mounted_is_missed_on_a_root_without_marks(rig, disks, root_before):
    """Nothing says what file system that is, but it is the store's; the disk is remembered for it, too."""
    world = rig()
    world.configure(datasets=disks.datasets)
    world.define(every=HOUR, n=3, grace=10 * MINUTE)
    disks.mount("one", root=root_before)
    world.live(
        (HOUR + HOUR / 2, lambda _: disks.mount(root=WITHOUT_MARKS)),
        (2 * HOUR + HOUR / 2, lambda _: disks.mount("one", root=WITHOUT_MARKS)),
    )
    assert "its disk isn't mounted, another one is there" in world.said("datasets_out_of_reach")[0]
    assert world.statuses() == ["succeeded", "skipped", "succeeded"]


def test_disk_that_holds_the_store_as_well_by_now_is_the_known_one(rig, disks):
    """A person has moved the store to it: its marks are the same."""
    world = rig()
    world.configure(datasets=disks.datasets)
    world.define(every=HOUR, n=2)
    world.live((90 * MINUTE, Life.stop))
    disks.mount(root="nfs4 nas:/one")
    world.live()
    assert world.statuses() == ["succeeded"] * 2


def test_disk_that_an_automount_point_waits_for_is_named_as_the_cause(rig, disks):
    """Not the time-out of the look: systemd lets it wait for the disk, and lets it fail when the disk doesn't come."""
    world = rig()
    world.configure(datasets=disks.datasets)
    world.define(every=HOUR, n=2)
    disks.table.write_text(f"1 0 0:1 / / rw - ext4 /dev/vda rw\n2 1 0:9 / {disks.point} rw - autofs systemd-1 rw\n")
    world.slow = {Bounded.LOOK: HOUR}
    world.live()
    said = world.said("datasets_out_of_reach")
    assert {line.partition(";")[0] for line in said} == {
        f"{disks.datasets}: datasets can't be put there: its disk isn't mounted: it was pulled, or isn't plugged in yet"
    }


def test_slot_is_lost_rather_than_taken_under_a_mount_point(rig, disks):
    """Also where the rig is warm and nothing is looked at between slots."""
    world = rig()
    world.configure(datasets=disks.datasets)
    world.define(every=5 * MINUTE, n=3, grace=MINUTE)
    world.live((HOUR + 2 * MINUTE, lambda _: disks.mount("two")), (HOUR + 8 * MINUTE, lambda _: disks.mount("one")))
    assert world.statuses() == ["succeeded", "skipped", "succeeded"]
    assert world.reasons()[1] is Reason.RIG_NOT_READY
    assert world.taken() == [0, 2]


def fail_once(request):
    """Have the first attempt at the first slot fail, as one whose disk is pulled."""
    is_first = (request.index, request.attempt) == (0, 1)
    return Behaviour(problem=ScanFailed("Input/output error")) if is_first else Behaviour()


def test_retry_waits_for_a_disk_that_was_pulled_during_the_attempt_before(rig, disks):
    """No attempt is used, and none is made under the mount point, where the rig is as ready as before."""
    world = rig()
    world.configure(datasets=disks.datasets)
    world.define(every=HOUR, n=2, grace=10 * MINUTE, retries=1)
    world.behaviour = fail_once
    world.live((HOUR + 10 * SECOND, lambda _: disks.mount()), (HOUR + 5 * MINUTE, lambda _: disks.mount("one")))
    assert world.statuses() == ["succeeded", "succeeded"]
    assert world.scans() == [(0, 1), (0, 2), (1, 1)]
    assert world.scans_at()[1] >= HOUR + 5 * MINUTE
    said = world.said("rig_not_ready")[0]
    assert said.startswith(f"slot 0 of 2: Input/output error; {disks.datasets}: datasets can't be put there: its disk")


def test_retry_whose_disk_stays_away_is_given_up(rig, disks):
    """Its slot is lost, and says that it waited for the disk."""
    world = rig()
    world.configure(datasets=disks.datasets)
    world.define(grace=10 * MINUTE, retries=1)
    world.behaviour = fail_once
    world.live((HOUR + 10 * SECOND, lambda _: disks.mount()))
    assert (world.statuses(), world.scans()) == (["skipped"], [(0, 1)])
    assert world.reasons() == [Reason.RIG_NOT_READY]


def recover_where(is_found, monkeypatch):
    """Have a dataset found where ``is_found`` says so; return the directories in which one was looked for."""
    asked = []

    def recover(driver, request):
        asked.append(request.dataset_dir.parent)
        if not is_found(request.dataset_dir.parent):
            return None
        driver.world.datasets.add(request.scan_id)
        return ScanResult(pictures=1)

    monkeypatch.setattr(ScriptedDriver, "recover", recover)
    return asked


def recover_from(disks, monkeypatch, *, is_whole=True):
    """Have each dataset found as long as its disk is mounted, likewise."""
    return recover_where(lambda _: disks.is_mounted and is_whole, monkeypatch)


@pytest.mark.parametrize(("off", "status"), [(5 * MINUTE, "interrupted"), (5 * SECOND, "skipped")])
def test_attempt_is_not_asked_about_without_its_disk(rig, disks, monkeypatch, off, status):
    """The answer would be no, and for good; also where a disk that mounts late does so beyond the grace period."""
    asked = recover_from(disks, monkeypatch)
    world = rig()
    world.configure(datasets=disks.datasets)
    world.define(every=HOUR, n=3)
    world.live((2 * HOUR + 10 * SECOND, Life.kill))
    disks.mount()
    world.live((10 * MINUTE, Life.stop), off=off)
    assert (asked, world.statuses()) == ([], ["succeeded", status])
    disks.mount("one")
    world.live(off=5 * SECOND)
    assert asked == [disks.datasets]
    assert world.statuses() == ["succeeded"] * 3
    assert world.scans() == [(0, 1), (1, 1), (2, 1)]


@pytest.mark.parametrize("is_whole", [True, False])
def test_attempt_is_asked_about_as_soon_as_its_disk_is_there_again(rig, disks, monkeypatch, is_whole):
    """Within its grace period, before it would be attempted again: it may be whole, and is then taken once."""
    asked = recover_from(disks, monkeypatch, is_whole=is_whole)
    world = rig()
    world.configure(datasets=disks.datasets)
    world.define(every=HOUR, n=3, grace=20 * MINUTE)
    world.live((2 * HOUR + 10 * SECOND, Life.kill))
    disks.mount()
    world.live((5 * MINUTE, lambda _: disks.mount("one")), off=SECOND)
    assert asked == [disks.datasets]
    assert world.statuses() == ["succeeded"] * 3
    again = [] if is_whole else [(1, 2)]
    assert world.scans() == [(0, 1), (1, 1), *again, (2, 1)]
    assert len(world.said("scan_recovered")) == int(is_whole)


@pytest.mark.parametrize(("retries", "line"), [(1, "rig_not_ready"), (0, "scan_failed")])
def test_attempt_that_failed_as_its_disk_was_pulled_is_asked_about(rig, disks, monkeypatch, retries, line):
    """It may have been whole by then: before another attempt, or before the next slot."""
    asked = recover_from(disks, monkeypatch)
    world = rig()
    world.configure(datasets=disks.datasets)
    world.define(every=HOUR, n=2, grace=10 * MINUTE, retries=retries)
    world.behaviour = fail_once
    world.live((HOUR + 10 * SECOND, lambda _: disks.mount()), (HOUR + 5 * MINUTE, lambda _: disks.mount("one")))
    assert asked == [disks.datasets]
    assert (world.statuses(), world.scans()) == (["succeeded"] * 2, [(0, 1), (1, 1)])
    assert world.actions().index(line) < world.actions().index("scan_recovered")
    record = world.stored().records[0]
    assert (record.started_at, record.took) == (START + HOUR, None if retries else 30 * SECOND)


def test_slot_that_was_skipped_as_its_disk_stayed_away_has_one_line(rig, disks, monkeypatch):
    """The driver's no about its attempt, when the disk is there again, is no news."""
    asked = recover_from(disks, monkeypatch, is_whole=False)
    world = rig()
    world.configure(datasets=disks.datasets)
    world.define(every=HOUR, n=2, grace=10 * MINUTE, retries=1)
    world.behaviour = fail_once
    world.live((HOUR + 10 * SECOND, lambda _: disks.mount()), (HOUR + 30 * MINUTE, lambda _: disks.mount("one")))
    assert (world.statuses(), asked) == (["skipped", "succeeded"], [disks.datasets])
    assert len(world.said("slot_skipped")) == 1


def test_disk_that_is_pulled_during_the_question_leaves_it_open(rig, disks, monkeypatch):
    """Its answer was no, as there was nothing to be seen: it is asked once more."""
    asked, recover = [], recover_from(disks, monkeypatch)
    world = rig()
    world.configure(datasets=disks.datasets)
    world.define(every=HOUR, n=2, grace=30 * MINUTE)
    world.live((HOUR + 10 * SECOND, Life.kill))
    disks.mount()
    world.slow = {Call.RECOVER: MINUTE}

    def pull(_):
        asked.extend(recover)
        disks.mount()

    world.live(
        (5 * MINUTE, lambda _: disks.mount("one")), (6 * MINUTE, pull), (12 * MINUTE, lambda _: disks.mount("one"))
    )
    assert (asked, len(recover)) == ([], 2)
    assert (world.statuses(), world.scans()) == (["succeeded"] * 2, [(0, 1), (1, 1)])


@pytest.mark.parametrize("end", [Life.stop, Life.cancel])
def test_attempt_whose_disk_was_pulled_is_unsettled_where_it_is_stopped_or_cancelled(rig, disks, monkeypatch, end):
    """In the end of it, as its dataset is put on disk: it may be whole, so the next start asks."""
    asked = recover_from(disks, monkeypatch)
    world = rig()
    world.configure(datasets=disks.datasets)
    world.define(every=HOUR, n=2)
    world.behaviour = lambda _: Behaviour(takes=10 * SECOND, problem=ScanFailed("Input/output error"), stops_in=None)
    world.live(
        (HOUR + 5 * SECOND, lambda _: disks.mount()),
        (HOUR + 9 * SECOND, end),
        (HOUR + MINUTE, lambda life: life.kill()),
    )
    assert (world.statuses()[0], world.stored().unsettled) == ("interrupted", [0])
    disks.mount("one")
    world.live((MINUTE, Life.kill), off=5 * SECOND)
    assert (asked, world.statuses()[0]) == ([disks.datasets], "succeeded")


def test_definition_waits_while_the_last_scan_of_a_cancelled_timelapse_is_looked_for(rig, disks, monkeypatch):
    """Else the answer would be of no use: its store would be archived with a whole scan as a failed one."""
    recover_from(disks, monkeypatch)
    world = rig()
    world.configure(datasets=disks.datasets)
    world.define(every=HOUR, n=3, grace=20 * MINUTE, retries=1)
    world.behaviour = fail_once
    world.slow = {Call.RECOVER: 90 * SECOND}
    world.live(
        (HOUR + 10 * SECOND, lambda _: disks.mount()),
        (HOUR + 5 * MINUTE, lambda _: disks.mount("one")),
        (HOUR + 6 * MINUTE, Life.cancel),
        (HOUR + 6 * MINUTE + 5 * SECOND, lambda life: life.define("next", HOUR, 1)),
    )
    assert [record.status for record in world.archived()[0].records.values()] == ["succeeded", "skipped", "skipped"]
    words = "next can't start yet: the scan of tl_0, which may be whole, is looked for; next begins as soon as it can"
    assert world.said("definition_refused") == [words]
    assert world.stored().id == "next"


def test_no_of_a_start_counts_only_from_a_directory_without_trouble(rig, disks, monkeypatch):
    """Where the disk came up read-only the driver can't put the rest of a whole dataset on it, and says no."""
    refusals = ["Read-only file system"]
    recover = recover_from(disks, monkeypatch)
    world = rig()
    world.configure(datasets=disks.datasets)
    world.define(every=HOUR, n=2, grace=30 * MINUTE)
    world.live((HOUR + 10 * SECOND, Life.kill))
    disks.is_mounted = False
    with monkeypatch.context() as patch:
        patch.setattr(disk_look, "write_refusal", lambda _: refusals[0] if refusals else None)

        def mend(_):
            refusals.clear()
            disks.is_mounted = True

        world.live((5 * MINUTE, mend), off=5 * SECOND)
    assert len(recover) == 2
    assert (world.statuses(), world.scans()) == (["succeeded"] * 2, [(0, 1), (1, 1)])


def test_timelapse_is_not_split_where_its_disk_is_not_mounted_at_the_start(rig, disks, monkeypatch):
    """Nothing of it is below the mount point, so that it would go on in the other directory."""
    world, put = rig(), []
    world.places, named = replace(world.places, rig="north"), disks.datasets
    world.configure(datasets=named)

    def holds(directory, taken, _):
        return disks.is_mounted and directory == named and any(taken)

    monkeypatch.setattr(places_module, "holds_datasets", holds)
    world.behaviour = lambda request: put.append((request.scan_id, request.dataset_dir.parent)) or Behaviour()
    world.define(every=HOUR, n=5)
    world.live((HOUR + MINUTE, Life.kill))
    world.live((HOUR, Life.kill))  # the disk is known in that directory from then on
    disks.mount()
    world.live((HOUR + 30 * MINUTE, lambda _: disks.mount("one")))
    assert world.statuses() == ["succeeded", "succeeded", "skipped", "succeeded", "succeeded"]
    assert put[1:] == [(f"tl_{slot}", named) for slot in (1, 3, 4)]
    (line,) = world.said("datasets_out_of_reach")
    assert "its disk isn't mounted, another one is there" in line


@pytest.mark.parametrize("after", [70 * MINUTE, 3 * HOUR])
def test_trial_has_the_disk_looked_at(rig, disks, after):
    """Between two slots, and when the timelapse has ended: the disk may have been pulled since the last look."""
    world, asked = rig(), []
    world.configure(datasets=disks.datasets)
    world.define(every=HOUR, n=2)
    world.live(
        (after - MINUTE, lambda _: disks.mount()),
        (after, lambda life: asked.append(life.ask("try"))),
        (after + MINUTE, lambda _: disks.mount("one")),
        (after + 2 * MINUTE, lambda life: asked.append(life.ask("try"))),
        (after + 30 * MINUTE, Life.kill),
    )
    (refused,), (done,) = (each.answers for each in asked)
    assert (refused.accepted, "its disk isn't mounted, another one is there" in refused.message) == (False, True)
    assert done.accepted


def test_new_disk_is_accepted_by_an_empty_file_on_it(rig, disks):
    """The file goes, and the disk is the known one from then on; the next timelapse knows it as well."""
    world = rig()
    world.configure(datasets=disks.datasets)
    world.define(every=HOUR, n=2)
    world.live((90 * MINUTE, Life.stop))
    disks.mount("two")
    (disks.datasets / ".new-disk").touch()
    world.live()
    assert world.statuses() == ["succeeded"] * 2
    assert not [*disks.datasets.glob(".new-disk")]
    assert not world.said("datasets_out_of_reach")
    disks.mount("one")
    world.define(name="next", start=5 * HOUR)
    world.live()
    assert "its disk isn't mounted" in world.said("datasets_out_of_reach")[0]
    assert world.taken("next") == []


def test_disk_of_the_store_itself_needs_no_memory(rig, disks):
    """A store that was brought to another machine, with its datasets, is scanned on there."""
    world = rig()
    world.configure(datasets=world.places.store.parent / "datasets")
    world.define(every=HOUR, n=2)
    world.live((90 * MINUTE, Life.stop))
    disks.mount("one")
    disks.table.write_text("1 0 0:2 / / rw - nfs4 nas:/another rw\n")
    world.live()
    assert world.statuses() == ["succeeded"] * 2


def test_other_directory_in_the_configuration_is_a_decision(rig, disks, tmp_path):
    """A person who names another directory means another disk."""
    world = rig()
    world.configure(datasets=disks.datasets)
    world.define(every=HOUR, n=2)
    world.live((90 * MINUTE, Life.stop))
    disks.mount()
    world.configure(datasets=tmp_path / "elsewhere")
    world.live()
    assert world.statuses() == ["succeeded"] * 2


def late_answer(rig, monkeypatch, *script):
    """Return where each scan was put by a named rig with earlier datasets elsewhere, after a start without the disk.

    The disk doesn't answer until an hour and a half after the start.
    """
    world = rig()
    world.places, named, put = replace(world.places, rig="north"), world.config.datasets, []
    monkeypatch.setattr(places_module, "holds_datasets", lambda directory, taken, _: directory == named and any(taken))
    world.define(every=HOUR, n=4)
    world.live((HOUR + MINUTE, Life.kill))
    world.behaviour = lambda request: put.append((request.scan_id, request.dataset_dir.parent)) or Behaviour()
    world.hangs.add(Bounded.LOOK)
    world.live(*script, (90 * MINUTE, lambda _: world.hangs.discard(Bounded.LOOK)))
    return world, named, put


def test_timelapse_is_not_split_where_the_disk_does_not_answer_at_the_start(rig, monkeypatch):
    """No slot is taken until it is known where its earlier datasets are: it is asked again, and then goes on there."""
    world, named, put = late_answer(rig, monkeypatch)
    assert put == [("tl_2", named), ("tl_3", named)]
    assert world.statuses() == ["succeeded", "skipped", "succeeded", "succeeded"]
    (line,) = world.said("datasets_out_of_reach")
    assert "no answer within 5 s, so that it isn't known where its earlier ones are; slots wait for it" in line
    assert len(world.said("config_loaded")) == 1


def test_answer_about_a_timelapse_that_is_cancelled_by_then_moves_no_other_one(rig, monkeypatch):
    """The next timelapse has the directory of the rig's name."""

    def follow(life):
        life.world.define(name="next", every=HOUR, n=3, start=4 * HOUR)
        life.cancel()

    _, named, put = late_answer(rig, monkeypatch, (30 * MINUTE, follow))
    assert put == [(f"next_{slot}", named / "north") for slot in range(3)]


def test_attempt_is_asked_about_where_its_dataset_is_as_soon_as_that_is_known(rig, monkeypatch):
    """Not in the other directory, where nothing is: the next start asks, and the slot is no scan that was lost."""
    asked = []

    def recover(_, request):
        asked.append(request.dataset_dir.parent)
        return ScanResult(pictures=1)

    world = rig()
    named = world.config.datasets
    monkeypatch.setattr(places_module, "holds_datasets", lambda directory, taken, _: directory == named and any(taken))
    monkeypatch.setattr(ScriptedDriver, "recover", recover)
    monkeypatch.setattr(TimeLapse, "put_into", lambda self, _: self)  # the earlier version records no directory
    world.define(every=HOUR, n=2)
    world.live((HOUR + 10 * SECOND, Life.kill))
    world.places = replace(world.places, rig="north")  # an earlier version put it beside the rig's directory
    world.hangs.add(Bounded.LOOK)
    world.live((10 * MINUTE, Life.stop), off=5 * MINUTE)
    assert (asked, world.statuses()) == ([], ["interrupted"])
    world.hangs.clear()
    world.live(off=5 * SECOND)
    assert asked == [named]
    assert world.statuses() == ["succeeded", "succeeded"]


@pytest.mark.parametrize("is_restarted", [False, True])
def test_place_of_a_cancelled_timelapse_is_found_when_its_disk_is_back(rig, disks, monkeypatch, is_restarted):
    """Its last attempt is asked about there, and the next definition begins, also without a restart."""
    asked, named = recover_from(disks, monkeypatch), disks.datasets

    def holds(directory, taken, _):
        return disks.is_mounted and directory == named and any(taken)

    def go_on(life):
        disks.mount("one")
        life.world.define(name="next", every=MINUTE, n=1, start=5 * HOUR)
        life.reload()

    world = rig()
    world.places = replace(world.places, rig="north")
    monkeypatch.setattr(places_module, "holds_datasets", holds)
    world.configure(datasets=named)
    world.define(every=HOUR, n=5)
    world.live((HOUR + MINUTE, Life.kill))
    world.live((58 * MINUTE + 10 * SECOND, Life.kill), off=MINUTE)  # the disk is known in that directory from then on
    disks.mount()
    world.live((10 * MINUTE, Life.cancel), (20 * MINUTE, Life.kill if is_restarted else go_on), off=5 * MINUTE)
    if is_restarted:
        world.live((20 * MINUTE, go_on), off=MINUTE)
    assert asked == [named]
    (last,) = world.archived()
    assert (last.records[1].status, world.stored().id) == ("succeeded", "next")


@pytest.mark.parametrize("is_restarted", [False, True])
def test_attempt_is_asked_about_in_its_own_directory_alone(rig, disks, monkeypatch, tmp_path, is_restarted):
    """A person names another one for the slots that follow: of the attempt that says nothing."""
    asked = recover_from(disks, monkeypatch)

    def move(life):
        life.world.configure(datasets=tmp_path / "elsewhere")
        (life.kill if is_restarted else life.reload)()

    def come_back(_):
        disks.mount("one")

    world = rig()
    world.configure(datasets=disks.datasets)
    world.define(every=HOUR, n=5)
    world.live((2 * HOUR + 10 * SECOND, Life.kill))
    disks.mount()
    world.live((10 * MINUTE, move), (2 * HOUR + 30 * MINUTE, come_back), off=5 * MINUTE)
    if is_restarted:
        world.live((2 * HOUR, come_back), off=MINUTE)
    assert asked == [disks.datasets]
    assert world.statuses() == ["succeeded"] * 5
    assert world.taken() == [0, 2, 3, 4]


@pytest.mark.parametrize("is_restarted", [False, True])
def test_attempt_on_the_own_disk_of_the_store_is_not_asked_about_in_another_directory(
    rig, monkeypatch, tmp_path, is_restarted
):
    """That nothing is found in the other one says nothing of the attempt, which is on the same disk."""
    first = tmp_path / "first"
    asked = recover_where(first.__eq__, monkeypatch)
    world = rig()
    world.configure(datasets=first)
    world.define(every=HOUR, n=4)
    world.live((2 * HOUR + 10 * SECOND, Life.kill))
    world.configure(datasets=tmp_path / "second")
    if is_restarted:
        world.live((MINUTE, Life.kill), off=5 * MINUTE)
    world.live(off=5 * MINUTE)
    assert asked == [first]
    assert world.statuses() == ["succeeded"] * 4
    assert world.taken() == [0, 2, 3]


@pytest.mark.parametrize("is_known", [False, True])
def test_slot_that_was_cut_off_is_attempted_again_in_another_directory(rig, disks, monkeypatch, tmp_path, is_known):
    """Within its grace period: it is taken twice rather than not at all."""
    recover_from(disks, monkeypatch)
    world = rig()
    world.configure(datasets=disks.datasets)
    world.define(every=HOUR, n=2, grace=20 * MINUTE)
    world.live((HOUR + 10 * SECOND, Life.kill))
    disks.mount()
    if is_known:
        world.live((2 * MINUTE, Life.stop), off=MINUTE)
    world.configure(datasets=tmp_path / "elsewhere")
    world.live(off=MINUTE)
    assert world.statuses() == ["succeeded"] * 2
    assert world.scans() == [(0, 1), (0, 2), (1, 1)]


@pytest.mark.parametrize("retries", [0, 1])
def test_scan_whose_disk_is_pulled_after_the_datasets_were_moved_is_asked_about_there(
    rig, disks, monkeypatch, tmp_path, retries
):
    """Its own directory is looked at, not the one for later datasets: it is not recorded as failed for good."""
    asked = recover_from(disks, monkeypatch)

    def move(life):
        disks.mount()
        life.world.configure(datasets=tmp_path / "elsewhere")
        life.reload()

    world = rig()
    world.configure(datasets=disks.datasets)
    world.define(every=HOUR, n=2, grace=10 * MINUTE, retries=retries)
    world.behaviour = fail_once
    world.live((HOUR + 10 * SECOND, move), (HOUR + 5 * MINUTE, lambda _: disks.mount("one")))
    if retries:  # rather taken twice than not at all
        assert (asked, world.scans()) == ([], [(0, 1), (0, 2), (1, 1)])
    else:
        assert (asked, world.scans()) == ([disks.datasets], [(0, 1), (1, 1)])
    assert world.statuses() == ["succeeded"] * 2


def test_definition_waits_for_an_attempt_in_another_directory_and_says_where(rig, disks, monkeypatch, tmp_path):
    """It begins when the disk of the old one is back, whichever one the configuration names by then."""
    recover_from(disks, monkeypatch)

    def move(life):
        life.world.configure(datasets=tmp_path / "elsewhere")
        life.define("next", MINUTE, 1)

    def come_back(life):
        disks.mount("one")
        life.define("next", MINUTE, 1)

    world = rig()
    world.configure(datasets=disks.datasets)
    world.define(every=HOUR, n=1)
    world.live((HOUR + 10 * SECOND, Life.kill))
    disks.mount()
    world.live((10 * MINUTE, move), (30 * MINUTE, come_back), off=5 * MINUTE)
    words = f"the scan of tl, which may be whole, can't be looked for: {disks.datasets}: "
    assert f"next can't start yet: {words}its disk isn't mounted" in world.said("definition_refused")[0]
    assert (world.stored().id, world.statuses()) == ("next", ["succeeded"])
    assert [record.status for record in world.archived()[0].records.values()] == ["succeeded"]


def test_directory_of_an_attempt_is_in_the_store_until_nobody_asks_about_it(rig, disks, monkeypatch):
    """A long timelapse holds no directory for each of its slots."""
    recover_from(disks, monkeypatch)
    world = rig()
    world.configure(datasets=disks.datasets)
    world.define(every=HOUR, n=3)
    world.live((2 * HOUR + 10 * SECOND, Life.kill))
    assert [record.directory for record in world.stored().records.values()] == [None, str(disks.datasets)]
    world.live(off=MINUTE)
    assert [record.directory for record in world.stored().records.values()] == [None] * 3


@pytest.mark.parametrize("directory", ["scans", "../scans", "", None])
def test_directory_that_is_no_whole_path_is_not_gone_by(rig, directory):
    """A person may edit a store: the driver is asked where datasets are put, not below where the daemon runs."""
    world = rig()
    world.define(every=HOUR, n=1)
    world.live((HOUR + 10 * SECOND, Life.kill))
    running = world.stored().put_into(directory)
    assert request_of(running, {}, world.disk).dataset_dir == world.disk / "tl"


def test_path_of_datasets_that_no_text_can_hold_is_not_written(rig):
    """The store is UTF-8; attempts are asked about where datasets are put."""
    world = rig()
    world.configure()
    world.config = replace(world.config, datasets=world.directory / "d\udcff")
    world.define(every=HOUR, n=2)
    world.live((HOUR + 10 * SECOND, Life.kill))
    assert world.stored().records[0].directory is None
    world.live(off=MINUTE)
    assert world.statuses()[1] == "succeeded"


@pytest.mark.parametrize("is_there", [False, True])
def test_each_attempt_is_asked_about_in_the_directory_that_it_was_put_into(rig, disks, monkeypatch, tmp_path, is_there):
    """The mount point of one of which no disk is known may be gone with that, which is no answer."""
    asked, second = recover_from(disks, monkeypatch, is_whole=False), tmp_path / "second"
    world = rig()
    world.configure(datasets=disks.datasets)
    world.define(every=HOUR, n=4)
    world.live((HOUR + 10 * SECOND, Life.kill))
    disks.mount()
    world.configure(datasets=second)
    world.live((55 * MINUTE, Life.kill), off=5 * MINUTE)
    assert world.statuses() == ["interrupted", "running"]
    if not is_there:
        second.rename(tmp_path / "away")
    world.configure(datasets=tmp_path / "third")
    world.live((30 * MINUTE, Life.kill), off=5 * MINUTE)
    assert (asked, world.stored().unsettled) == (([second], [0]) if is_there else ([], [0, 1]))
    disks.mount("one")
    world.live(off=MINUTE)
    assert asked == [second, disks.datasets] if is_there else [disks.datasets]
    assert world.statuses() == ["interrupted", "interrupted", "succeeded", "succeeded"]


@pytest.mark.parametrize("name", ["first", "first\udcff"])
def test_attempt_whose_directory_is_not_recorded_is_asked_about_in_the_known_one(rig, monkeypatch, tmp_path, name):
    """The version before recorded none, and no text holds each path: another one that a person names says nothing."""
    first = tmp_path / name
    asked = recover_where(first.__eq__, monkeypatch)
    world = rig()
    world.configure()
    world.config = replace(world.config, datasets=first)
    world.define(every=HOUR, n=2)
    with monkeypatch.context() as version_before:
        version_before.setattr(TimeLapse, "put_into", lambda self, _: self)
        world.live((HOUR + 10 * SECOND, Life.kill))
    world.configure(datasets=tmp_path / "second")
    world.live(off=5 * MINUTE)
    assert (asked, world.statuses()) == ([first], ["succeeded"] * 2)


def test_directory_that_is_gone_is_no_answer_about_its_attempts(rig, monkeypatch, tmp_path):
    """It was moved, on the store's own disk, and the configuration follows: the attempt stays open to an answer."""
    first, second = tmp_path / "first", tmp_path / "second"
    asked = recover_where(first.__eq__, monkeypatch)
    world = rig()
    first.mkdir()
    world.configure(datasets=first)
    world.define(every=HOUR, n=3)
    world.live((HOUR + 10 * SECOND, Life.kill))
    first.rename(second)
    world.configure(datasets=second)
    world.live((30 * MINUTE, Life.kill), off=5 * MINUTE)
    assert (asked, world.statuses(), world.stored().unsettled) == ([], ["interrupted"], [0])
    first.symlink_to(second)
    world.datasets.add("tl_0")
    world.live(off=5 * MINUTE)
    assert (asked, world.statuses()) == ([first], ["succeeded"] * 3)


OLD_STORE = "moved/data/store.json"


def moved_dataset(world, directory, **changes):
    """Make a whole dataset of the first attempt at the first slot, with a receipt that differs by ``changes``."""
    request = request_of(world.stored(), {}, directory, world.places.owner, slot=0)
    path = directory / request.scan_id
    path.mkdir()
    (path / "0.jpg").write_text("a picture")
    owner = replace(world.places.owner, **changes.pop("owner", {}))
    receipt = make_receipt(replace(request, owner=owner), ScanResult(pictures=1), 9)
    (path / RECEIPT).write_bytes(receipt_text({**receipt, "boot": "boot-1", **changes}))


MOVED = [
    pytest.param({}, True, id="the datasets alone"),
    pytest.param({"owner": {"store": OLD_STORE}}, True, id="with the store"),
    pytest.param({"owner": {"machine": "another"}}, False, id="of another machine, such as a container"),
    pytest.param({"owner": {"store": OLD_STORE}, "boot": "boot-7"}, False, id="of another rig, whose store is gone"),
    pytest.param({"owner": {"store": OLD_STORE}, "boot": None}, False, id="of nobody knows which boot"),
    pytest.param({"owner": {"store": "/etc/passwd"}}, False, id="of another rig"),
    pytest.param({"owner": {"store": OLD_STORE, "rig": "b"}}, False, id="of a rig with a name"),
    pytest.param({"attempt": 2}, False, id="of another attempt"),
    pytest.param({"index": 1}, False, id="of another slot"),
    pytest.param({"timelapse_id": "other"}, False, id="of another timelapse"),
    pytest.param({"scheduled_at": (START + MINUTE).isoformat()}, False, id="of another time"),
    pytest.param({"scheduled_at": "noon"}, False, id="damaged"),
    pytest.param({"bytes": 10}, False, id="not whole"),
]


@pytest.mark.parametrize("is_running", [True, False])
@pytest.mark.parametrize(("changes", "is_found"), MOVED)
def test_attempt_whose_dataset_was_moved_with_its_directory_is_found(rig, tmp_path, changes, is_found, is_running):
    """Where its receipt says for certain that it is that; at the start, and where it is moved after that."""
    world, first, second = rig(), tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    changes = {key: {**value} if isinstance(value, dict) else value for key, value in changes.items()}
    if changes.get("owner", {}).get("store") == OLD_STORE:
        changes["owner"]["store"] = str(tmp_path / OLD_STORE)
    world.configure(datasets=first)
    world.define(every=HOUR, n=3, grace=20 * MINUTE)
    world.live((HOUR + 10 * SECOND, Life.kill))
    first.rmdir()
    world.configure(datasets=second)
    if not is_running:
        world.live((5 * MINUTE, Life.kill), off=22 * MINUTE)
        assert world.stored().unsettled == [0]
    moved_dataset(world, second, **changes)
    world.datasets |= {"tl_0"} if is_found else set()
    world.live((20 * MINUTE, Life.kill), off=5 * MINUTE)
    if is_found:
        assert (world.scans(), world.statuses()) == ([(0, 1)], ["succeeded"])
        assert (world.stored().records[0].pictures, world.stored().unsettled) == (1, [])
    else:
        assert world.scans() == [(0, 1), (0, 2)] if is_running else [(0, 1)]
        assert is_running or world.stored().unsettled == [0]


def test_attempt_is_found_when_its_dataset_is_moved_while_the_daemon_runs(rig, tmp_path):
    """It is looked for as long as its directory is gone."""
    world, first, second = rig(), tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    world.configure(datasets=first)
    world.define(every=HOUR, n=2)
    world.live((HOUR + 10 * SECOND, Life.kill))
    first.rmdir()
    world.configure(datasets=second)
    world.datasets.add("tl_0")
    world.live((10 * MINUTE, lambda _: moved_dataset(world, second)), off=5 * MINUTE)
    assert (world.scans(), world.statuses()) == ([(0, 1), (1, 1)], ["succeeded"] * 2)
    assert len(world.said("scan_recovered")) == 1


@pytest.mark.parametrize("warmup", [SECOND, 5 * MINUTE])
def test_slot_whose_dataset_is_moved_while_it_waits_for_its_rig_is_not_taken_twice(rig, tmp_path, warmup):
    """It is looked for at each try within the grace period."""
    world, first, second = rig(), tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    world.configure(datasets=first)
    world.define(every=HOUR, n=2, grace=30 * MINUTE, warmup=warmup)
    world.live((HOUR + 10 * SECOND, Life.kill))
    first.rmdir()
    world.configure(datasets=second)
    world.datasets.add("tl_0")
    moved = []

    def refuse():
        while not moved:
            yield ScannerNotReady("the gantry is off")

    def move(_):
        moved_dataset(world, second)
        moved.append(second)

    world.prepares = refuse()
    world.live((5 * MINUTE, move), off=5 * MINUTE)
    assert (world.scans(), world.statuses()) == ([(0, 1), (1, 1)], ["succeeded"] * 2)
    assert len(world.said("scan_recovered")) == 1


def test_disk_that_does_not_answer_is_told_from_the_others_where_it_is_not_known_where_datasets_are(rig, monkeypatch):
    """The words are others."""
    probes, seen, look = [], [], DatasetProbe.look

    def note(probe, *places, **how):
        probes.append(probe)
        look(probe, *places, **how)

    def ask(life):
        seen.append(probes[-1].look_at(life.world.places.datasets_in(life.world.disk)).is_stalled)

    monkeypatch.setattr(DatasetProbe, "look", note)
    late_answer(rig, monkeypatch, (30 * MINUTE, ask), (100 * MINUTE, ask))
    assert seen == [True, False]


def test_scan_that_is_found_in_an_earlier_directory_ends_no_trouble_of_another_one(rig, disks, monkeypatch, tmp_path):
    """It was told once, and is shown as long as it lasts."""
    recover_from(disks, monkeypatch)
    world, second, shown = rig(), tmp_path / "second", []
    second.write_text("where a disk is to be mounted")
    world.configure(datasets=disks.datasets)
    world.define(every=HOUR, n=3)
    world.live((HOUR + 10 * SECOND, Life.kill))
    disks.mount()
    world.configure(datasets=second)

    def show(life):
        shown.append((life.timelapse.unsettled, "Not a directory" in f"{read_live(world.places.store).trouble}"))

    world.live(
        (10 * MINUTE, show),
        (56 * MINUTE, lambda _: disks.mount("one")),
        (90 * MINUTE, show),
        (100 * MINUTE, lambda _: second.unlink()),
        off=5 * MINUTE,
    )
    assert shown == [([0], True), ([], True)]
    assert world.statuses() == ["succeeded", "skipped", "succeeded"]
    assert len(world.said("datasets_out_of_reach")) == 1


def test_disk_of_each_directory_is_known_while_an_attempt_may_be_on_one(rig, monkeypatch, tmp_path):
    """One is out of reach, and a person has named another one: nothing is put, or found missing, below that one's."""
    table, mounted = tmp_path / "mountinfo", set()
    one, two = tmp_path / "one" / "scans", tmp_path / "two" / "scans"
    one.mkdir(parents=True)
    two.mkdir(parents=True)
    monkeypatch.setattr(file_system, "MOUNTS", table)

    def mount(*names):
        mounted.clear()
        mounted.update(names)
        lines = [f"1 0 0:{name} / {tmp_path / name} rw - nfs4 nas:/{name} rw\n" for name in names]
        table.write_text("1 0 0:1 / / rw - nfs4 nas:/root rw\n" + "".join(lines))

    asked = recover_where(lambda directory: directory.parent.name in mounted, monkeypatch)
    world = rig()
    mount("one")
    world.configure(datasets=one)
    world.define(every=HOUR, n=5)
    world.live((HOUR + 10 * SECOND, Life.kill))
    mount("two")
    world.configure(datasets=two)
    world.live((55 * MINUTE + 10 * SECOND, Life.kill), off=5 * MINUTE)
    assert (world.statuses(), world.stored().unsettled) == (["interrupted", "running"], [0])
    mount()
    world.live((70 * MINUTE, Life.kill), off=5 * MINUTE)
    assert (asked, world.scans()) == ([], [(0, 1), (1, 1)])
    assert "its disk isn't mounted" in world.said("datasets_out_of_reach")[-1]
    mount("one", "two")
    world.live(off=MINUTE)
    assert sorted(asked) == [one, two]
    assert world.statuses() == ["succeeded", "succeeded", "skipped", "succeeded", "succeeded"]
    logbook = load_timelapse(world.places.store).stored.logbook
    assert (logbook.datasets_disk["path"], logbook.other_disks) == (str(two), {})
