"""Verdicts follow from the pictures of one camera and position, in the order of their slots; none is false."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from looked_at import NOON
from msgspec.structs import replace

from plantimager.timelapse.channel.doubt import describe_doubts
from plantimager.timelapse.relay.look.verdict import Judge, PictureMeasures, _Series, place_pictures
from plantimager.timelapse.relay.taken_scans import TakenScan
from plantimager.timelapse.settings.relay_config import ALL_VERDICTS, LookSettings, Verdict

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
OWN_LIGHTS = LookSettings(night=False)
ORDINARY = {"sharpness": 0.25, "shape": "507x380"}


def picture(digest, *, camera="camera_0", position=0, **changes):
    """Return what was measured of one picture, an ordinary one but for ``changes``."""
    file = f"images/{camera}-{position:05d}.jpg"
    return PictureMeasures(camera, str(position), file, **{**ORDINARY, "digest": str(digest), **changes})


def taken(slot, at):
    """Return a slot that was taken."""
    return TakenScan(f"tl_{slot}", "tl", slot, at, at)


def scans(*slots, every=HOUR, first=NOON):
    """Return some slots, each with its pictures."""
    return [(taken(slot, first + every * slot), pictures) for slot, pictures in enumerate(slots)]


def judge(looked, rules=OWN_LIGHTS):
    """Return the doubts that remain after some scans."""
    judging = Judge("tl", rules)
    for scan, pictures in looked:
        judging.take(scan, pictures)
    return judging.doubts


def looks(*series, every=HOUR, rules=OWN_LIGHTS):
    """Return the doubts about one camera at one position, whose pictures look so; ``""`` is an ordinary one."""
    return judge(scans(*([picture(n, verdict=look)] for n, look in enumerate(series)), every=every), rules)


# --- no verdict without a reason ------------------------------------------------------------------------


@given(
    st.lists(st.floats(0.75, 1.3), min_size=1, max_size=60),
    st.booleans(),
    st.sampled_from([timedelta(minutes=10), HOUR, 6 * HOUR, DAY]),
)
def test_scenes_that_differ_by_noise_and_exposure_are_in_order(drift, night, every):
    """Whatever the exposure does within bounds: sharpness follows it by a third at most."""
    series = ([picture(n, sharpness=0.25 * factor)] for n, factor in enumerate(drift))
    assert judge(scans(*series, every=every), LookSettings(night=night)) == ()


@given(st.lists(st.floats(0.97, 1.02), min_size=20, max_size=200))
def test_slow_growth_is_in_order_however_far_it_goes(steps):
    """A closing canopy is smoother than soil."""
    sharpness, series = 0.9, []
    for n, step in enumerate(steps):
        sharpness *= step
        series.append([picture(n, sharpness=sharpness)])
    assert judge(scans(*series)) == ()


@given(st.integers(0, 23), st.integers(2, 22), st.integers(0, 47), st.sampled_from([10, 30, 60, 120]))
@settings(max_examples=60)
def test_a_rig_without_lights_is_dark_at_night_and_that_is_no_news(begin, length, first, minutes):
    """In the first night and in every other, wherever the day begins, and where the timer is some minutes off."""
    every, series = timedelta(minutes=minutes), []
    for n in range(5 * DAY // every):
        at = first * HOUR / 2 + every * n + timedelta(minutes=n * 7 % 20)
        is_dark = (at - begin * HOUR) % DAY < length * HOUR
        series.append([picture(n, verdict="dark" if is_dark else "")])
    assert judge(scans(*series, every=every), LookSettings()) == ()


@pytest.mark.parametrize("look", ["dark", "bright", "flat"])
@pytest.mark.parametrize("lit_hours", [0, 1, 2, 6])
def test_a_lamp_that_fails_on_the_first_day_is_told_a_day_later_at_the_latest(look, lit_hours):
    """No night is as long: also one that was never on, and one that was on too short to know at which hours it is."""
    (doubt,) = looks(*[""] * lit_hours, *[look] * 72, rules=LookSettings())
    assert doubt.since <= NOON + lit_hours * HOUR + DAY
    assert (doubt.verdict, doubt.is_over) == (look, False)
    assert doubt.slots <= 24 + lit_hours  # then it is how things are, until there is light
    assert [d.is_over for d in looks(*[""] * lit_hours, *[look] * 72, "", rules=LookSettings())] == [True]


def test_a_rig_with_lights_of_its_own_is_told_of_darkness_at_once():
    """It says that it has no nights."""
    assert [(doubt.verdict, doubt.slots) for doubt in looks("dark", "dark")] == [("dark", 2)]


def test_kinds_that_pillow_never_could_read_are_no_news():
    """A program may write any TIFF."""
    odd = [replace(picture(0, verdict="unreadable"), file="images/camera_0-00000.tif")]
    assert judge(scans(odd, odd)) == ()
    assert judge(scans([replace(picture(0), file="images/camera_0-00000.tif")], odd)) != ()
    assert judge(scans([picture(0, verdict="unreadable")])) != ()


def test_a_dark_picture_is_not_the_same_as_another():
    """Two black pictures are equal without any camera that hangs."""
    series = scans(*[[picture("black", verdict="dark")]] * 5)
    assert {doubt.verdict for doubt in judge(series)} == {"dark"}


def test_other_cameras_positions_and_sizes_are_not_compared():
    """Equal pictures there would say nothing, and another size has another sharpness."""
    series = scans([picture(1), picture(1, position=1), picture(1, camera="camera_1")])
    assert judge(series) == ()
    sharp = [[picture(n, sharpness=0.9, shape="640x480")] for n in range(9)]
    assert judge(scans(*sharp, [picture(99, sharpness=0.1, shape="320x240")])) == ()


# --- and with one, always -------------------------------------------------------------------------------


@given(st.integers(0, 5), st.lists(st.floats(0.75, 1.3), min_size=1, max_size=20), st.booleans(), st.integers(1, 4))
def test_an_exactly_equal_picture_is_always_told(position, drift, night, times):
    """At whichever position, after whatever, in the first day as well."""
    series = [[picture(n, position=position, sharpness=0.25 * factor)] for n, factor in enumerate(drift)]
    (doubt,) = judge(scans(*series, *[series[-1]] * times), LookSettings(night=night))
    assert (doubt.verdict, doubt.slots, doubt.slot) == ("same", times, len(drift) - 1 + times)
    assert doubt.since == NOON + HOUR * len(drift)
    assert not doubt.is_over
    (doubt,) = judge(scans(*series, *[series[-1]] * times, [picture("new", position=position)]))
    assert doubt.is_over


def test_light_that_fails_is_told_from_the_second_day_on():
    """At an hour at which there was light the day before; the night that follows is no end of it."""
    day = [""] * 10 + ["dark"] * 14
    told = looks(*day, *day, "", "", "dark", "dark", rules=LookSettings())
    assert [(doubt.verdict, doubt.slots, doubt.is_over) for doubt in told] == [("dark", 2, False)]
    assert told[0].since == NOON + 50 * HOUR
    in_the_night = looks(*day, *day, "", "", *["dark"] * 20, rules=LookSettings())
    assert [(doubt.slots, doubt.is_over) for doubt in in_the_night] == [(7, False)]  # none of the night's own
    assert [doubt.is_over for doubt in looks(*day, *day, "", "", *["dark"] * 22, "", rules=LookSettings())] == [True]


def test_hours_of_which_nothing_is_known_are_not_taken_for_night_while_a_lamp_is_broken():
    """Else the next failure at such an hour would be none."""
    at_hours = [(0, 12, ""), (1, 12, "dark"), (1, 20, "dark"), (2, 20, ""), (3, 20, "dark")]
    judging = Judge("tl", LookSettings())
    for n, (day, hour, look) in enumerate(at_hours):
        at = NOON + day * DAY + (hour - 12) * HOUR
        judging.take(taken(n, at), [picture(n, verdict=look)])
    assert [(doubt.slot, doubt.pictures, doubt.is_over) for doubt in judging.doubts] == [(4, 2, False)]


@pytest.mark.parametrize("look", ["dark", "bright", "flat"])
def test_hours_that_a_person_chose_are_judged_by_those_of_the_day_before(look):
    """The rig has pictures by day alone."""
    day = [NOON + HOUR * hour for hour in range(-4, 4)]
    judging = Judge("tl", LookSettings())
    for n, at in enumerate(at + DAY * days for days in range(2) for at in day):
        judging.take(taken(n, at), [picture(n, verdict=look if n == 12 else "")])
    assert [(doubt.verdict, doubt.slot, doubt.is_over) for doubt in judging.doubts] == [(look, 12, True)]


def test_blur_is_told_beside_the_sharpest_floor_of_a_day():
    """By degrees: what is a little softer isn't; and it is over only where it is clearly sharp again."""
    day = [0.25, 0.3, 0.22] * 8
    for rules, before in ((LookSettings(), day), (OWN_LIGHTS, day[:3])):
        for softer, is_told in ((0.2, False), (0.1, False), (0.08, True), (0.01, True)):
            series = [[picture(n, sharpness=sharpness)] for n, sharpness in enumerate([*before, softer])]
            assert [doubt.verdict for doubt in judge(scans(*series), rules)] == ["blurred"] * is_told
    series = [[picture(n, sharpness=s)] for n, s in enumerate([*day[:3], 0.05, 0.1, 0.12])]
    assert [(doubt.slots, doubt.is_over) for doubt in judge(scans(*series))] == [(3, False)]
    series.append([picture(99, sharpness=0.15)])
    assert [(doubt.slots, doubt.is_over) for doubt in judge(scans(*series))] == [(3, True)]


def test_noise_of_the_first_hours_makes_no_blur_of_the_day():
    """A small camera in little light has twice the sharpness, all of it noise."""
    series = [[picture(n, sharpness=0.9)] for n in range(6)] + [[picture(n, sharpness=0.2)] for n in range(6, 60)]
    assert judge(scans(*series), LookSettings()) == ()


def test_nothing_to_be_seen_does_not_end_a_blur():
    """Nobody knows then."""
    series = [[picture(n)] for n in range(4)] + [[picture(5, sharpness=0.01)], [picture(6, verdict="flat")]]
    assert [(doubt.verdict, doubt.is_over) for doubt in judge(scans(*series))] == [("blurred", False), ("flat", False)]


def test_only_the_verdicts_that_are_asked_for_count():
    """The others are as if there were none."""
    series = scans([picture(1)], [picture(1)], [picture(2, verdict="dark")])
    assert {doubt.verdict for doubt in judge(series)} == {"same", "dark"}
    rules = LookSettings(night=False, verdicts=(Verdict.SAME,))
    assert [doubt.verdict for doubt in judge(series, rules)] == ["same"]


# --- what lasts is told once ----------------------------------------------------------------------------


def alarms(is_lit, days, *, first=NOON, every=HOUR, rules=None):
    """Return when a doubt was opened about a camera that has light at some times."""
    judging, opened, was_open = Judge("tl", rules or LookSettings()), [], False
    for n in range(days * DAY // every):
        at = first + every * n
        judging.take(taken(n, at), [picture(n, verdict="" if is_lit(at) else "dark")])
        is_open = any(not doubt.is_over for doubt in judging.doubts)
        opened += [at] * (is_open and not was_open)
        was_open = is_open
    return opened


MONDAY = NOON  # 22 June 2026


@pytest.mark.parametrize("every", [timedelta(minutes=30), HOUR, 2 * HOUR])
@pytest.mark.parametrize(
    "is_lit",
    [
        lambda at: 8 <= at.hour < 16 or (at.date() == MONDAY.date() and at.hour < 20),
        lambda at: 6 <= at.hour < 22 if at < MONDAY + 5 * DAY else 8 <= at.hour < 16,
        lambda at: 8 <= at.hour < 16 or (at.weekday() < 5 and 8 <= at.hour < 20),
        lambda at: 8 <= at.hour < 20 and at < MONDAY + 5 * DAY,
    ],
    ids=["room light at set-up", "shorter days", "free weekends", "a lamp that nobody mends"],
)
def test_a_change_that_lasts_is_one_alarm(is_lit, every):
    """Nobody reads the fifth."""
    assert len(alarms(is_lit, 28, every=every)) == 1


@given(st.sets(st.integers(0, 23), min_size=1), st.sets(st.integers(0, 23)), st.integers(2, 100))
@settings(max_examples=60)
def test_whatever_each_day_is_like_from_now_on_is_told_on_its_first_day_alone(before, after, change):
    """As often as there is light between, and later never; where there is no light any more, a day later at most."""
    changed = NOON + HOUR * change
    for at in alarms(lambda at: at.hour in (before if at < changed else after), 14):
        assert changed <= at <= changed + DAY


@given(st.sets(st.integers(0, 7 * 24 - 1)))
def test_what_comes_again_each_week_is_told_in_the_first_one_alone(lit):
    """Lights of working days, an evening of cleaning."""
    days = 3 * 7 + 1  # eight are kept
    assert all(at < NOON + 7 * DAY for at in alarms(lambda at: (at - NOON) // HOUR % (7 * 24) in lit, days))


def test_a_light_that_was_on_once_at_night_makes_no_alarm_of_the_next():
    """Somebody has worked late."""
    late = NOON.date() + 5 * DAY
    assert alarms(lambda at: 8 <= at.hour < 16 or at.date() == late, 14) == []


def test_a_lamp_that_is_mended_and_fails_again_is_told_again():
    """Though it was dark at that hour not long ago, but for one day."""
    broken = (NOON + 5 * DAY, NOON + 8 * DAY)
    assert alarms(lambda at: 8 <= at.hour < 20 and at not in broken, 14) == [*broken]


def test_a_lamp_that_stays_dark_in_the_morning_is_told():
    """The night before is no reason for it."""
    assert alarms(lambda at: 8 <= at.hour < 20 and at < MONDAY + 4 * DAY + 12 * HOUR, 9) == [NOON + 5 * DAY - 3 * HOUR]


def test_a_broken_lamp_stays_doubtful_and_its_pictures_count_for_two_days():
    """It is not in order because days have passed; and at first each picture is a loss."""
    days = [*([""] * 12 + ["dark"] * 12) * 5, *["dark"] * 24 * 5]
    told = looks(*days, rules=LookSettings())
    assert [(doubt.verdict, doubt.slots, doubt.is_over) for doubt in told] == [("dark", 20, False)]


@pytest.mark.parametrize("rules", [LookSettings(), OWN_LIGHTS])
def test_another_scene_is_blurred_for_two_days_and_then_the_new_normal(rules):
    """And a blur of that is told again."""
    series = [[picture(n, sharpness=0.3 if n < 5 * 24 else 0.1)] for n in range(30 * 24)]
    (doubt,) = judge(scans(*series), rules)
    assert (doubt.verdict, doubt.is_over, doubt.since) == ("blurred", True, NOON + 5 * DAY)
    assert 40 <= doubt.slots <= 48
    (doubt,) = judge(scans(*series, [picture(0, sharpness=0.03)]), rules)
    assert (doubt.slots, doubt.is_over) == (1, False)


def test_soft_light_of_each_evening_is_blurred_once():
    """From some day on."""
    series = ((18 <= n % 24 < 22 and n > 100, n) for n in range(20 * 24))
    (doubt,) = judge(scans(*([picture(n, sharpness=0.08 if is_soft else 0.3)] for is_soft, n in series)))
    assert (doubt.slots, doubt.is_over) == (4, True)


def test_a_long_series_takes_little_memory_and_time():
    """The judge is made again from all pictures at each start."""
    series = _Series(has_nights=True)
    for n in range(144 * 100):
        series.judge(picture(n, verdict="dark" if n % 144 < 72 else ""), NOON + n * timedelta(minutes=10))
    assert sum(map(len, series._seen.values())) <= 48 * 8


# --- what belongs together ------------------------------------------------------------------------------


def test_a_lamp_is_one_doubt_for_each_camera_with_its_positions():
    """Whatever the number of slots."""
    ordinary = [picture(n, camera=camera, position=n) for camera in ("a", "b") for n in range(36)]
    dark = [replace(taken, verdict="dark", digest="") for taken in ordinary]
    doubts = judge(scans(ordinary, dark, dark, dark))
    assert [(d.camera, d.verdict, d.slots, d.pictures, d.describe_where()) for d in doubts] == [
        ("a", "dark", 3, 108, "a, all 36 positions"),
        ("b", "dark", 3, 108, "b, all 36 positions"),
    ]
    assert doubts[0].describe_slots(NOON).startswith("3 slots from ")
    assert [line.partition(" since")[0] for line in describe_doubts(doubts, NOON)] == ["3 slots doubtful (dark)"]
    two = [*doubts, replace(doubts[0], timelapse="before")]
    assert [line.partition(" since")[0] for line in describe_doubts(two, NOON)] == [
        "3 slots of tl doubtful (dark)",
        "3 slots of before doubtful (dark)",
    ]


def test_positions_are_named_as_long_as_there_are_few():
    """A phone shows no thirty."""
    before = [picture(n, position=n) for n in range(36)]
    for bad, words in (
        ([12], "camera_0, position 12"),
        ([3, 4, 7], "camera_0, positions 3, 4, 7"),
        (range(8), "camera_0, 8 of 36 positions"),
    ):
        now = [replace(taken, verdict="dark" if n in bad else "", digest=f"new{n}") for n, taken in enumerate(before)]
        (doubt,) = judge(scans(before, now))
        assert doubt.describe_where() == words
        assert doubt.file == f"tl_1/images/camera_0-{min(bad):05d}.jpg"


def test_a_doubt_that_comes_again_is_another_and_its_pictures_add_up():
    """A gauge of them never falls."""
    (doubt,) = looks("", "dark", "dark", "", "dark")
    assert (doubt.slots, doubt.pictures, doubt.since, doubt.is_over) == (1, 3, NOON + 4 * HOUR, False)


def test_a_position_that_is_no_longer_taken_keeps_no_doubt_open():
    """Such as after an amendment."""
    both = [picture(1), picture(2, position=1, verdict="dark")]
    (doubt,) = judge(scans(both, [picture(3)]))
    assert doubt.is_over


# --- files ----------------------------------------------------------------------------------------------


def test_pictures_are_placed_by_the_names_that_we_give_and_others_by_their_order():
    """A program may have times in its names; two kinds of one shot are two series."""
    ours = ["images/cam-a-00003.jpg", "images/cam-a-00012.tif", "images/cam-a-00003.tif"]
    placed = {one.file: (one.camera, one.position) for one in place_pictures(ours)}
    assert placed == {ours[0]: ("cam-a", "3"), ours[1]: ("cam-a", "12"), ours[2]: ("cam-a", "3")}
    for names in (["x_0800.jpg", "y_0800.jpg"], ["x_0830.jpg", "y_0830.jpg"]):
        assert [(one.camera, one.position) for one in place_pictures(reversed(names))] == [
            ("", "1 of 2"),
            ("", "2 of 2"),
        ]
    kinds = [[replace(picture(kind), file=f"images/camera_0-00000.{kind}") for kind in ("jpg", "tif")]] * 2
    (doubt,) = judge(scans(*kinds))
    assert (doubt.verdict, doubt.pictures) == ("same", 2)


@given(st.lists(st.sampled_from(["", *ALL_VERDICTS[:3], "unreadable"]), max_size=40), st.booleans())
def test_no_series_of_looks_is_too_odd(series, night):
    """There is one doubt at most for each verdict, and it is of the past."""
    doubts = looks(*series, rules=LookSettings(night=night))
    assert len({doubt.name for doubt in doubts}) == len(doubts)
    assert all(doubt.since <= doubt.until <= NOON + HOUR * len(series) for doubt in doubts)
    assert all(doubt.slots <= len(series) and doubt.pictures >= doubt.slots for doubt in doubts)


def test_cameras_of_other_names_in_each_scan_are_bounded():
    """The status is a small file."""
    series = ([picture(n, camera=f"at_{n}", verdict="dark")] for n in range(500))
    doubts = judge(scans(*series, every=timedelta(minutes=1)))
    assert [doubt.slot for doubt in doubts] == [*range(450, 500)]
