"""Cameras: real libraries in real processes, without a camera."""

import contextlib
import errno
import importlib
import io
import json
import os
import resource
import select
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from descriptors import open_files
from looked_at import encode
from PIL import Image
from tree import SUPPORT

from plantimager.timelapse.drivers.cameras import CameraOptions, base, process
from plantimager.timelapse.drivers.cameras.base import CameraFault, Exposure, explain_refusal
from plantimager.timelapse.drivers.cameras.pictures import judge
from plantimager.timelapse.drivers.cameras.process import CameraProcess


def exposure(width=None, height=None, encoding="jpeg", seconds=20.0, **config):
    """Return the request for a picture."""
    return Exposure(width=width, height=height, encoding=encoding, config=config, seconds=seconds)


def never_stop():
    """Return False: nothing is to be stopped."""
    return False


def take(camera, wanted, should_stop=never_stop):
    """Return a picture, from its exposure to its transfer."""
    camera.trigger(wanted, should_stop)
    return camera.picture(camera.fetch(wanted, should_stop), should_stop).content


def image_of(jpeg):
    """Return the image of a JPEG as it was encoded, without what stands before it."""
    return jpeg[jpeg.index(b"\xff\xda") :]


def wait_for_end(pid):
    """Wait until a process has wait_for_end."""
    with contextlib.suppress(ProcessLookupError):  # gone already
        process = os.pidfd_open(pid)
        waiting = select.poll()
        waiting.register(process, select.POLLIN)
        assert waiting.poll(20_000)
        os.close(process)


@pytest.fixture
def camera():
    """Return a function that makes a camera, whose process is ended afterwards."""
    made = []

    def make(kind, **options):
        made.append(CameraProcess(CameraOptions("top", kind, options)))
        return made[-1]

    yield make
    for one in made:
        one.close()


def format_and_size(picture):
    """Return format and size of a picture."""
    with Image.open(io.BytesIO(picture)) as image:
        image.load()
        return image.format, image.size


@pytest.fixture
def photograph(tmp_path):
    """Return a JPEG of 640 × 480 with EXIF."""
    path = tmp_path / "photograph.jpg"
    exif = Image.Exif()
    exif[0x0110] = "Plantcam"
    Image.radial_gradient("L").resize((640, 480)).convert("RGB").save(path, exif=exif)
    return path


# --- the kinds -------------------------------------------------------------------------------------


@pytest.fixture
def virtual_camera(photograph, tmp_path, monkeypatch):
    """Have libgphoto2 find its virtual camera, which delivers the photograph."""
    (tmp_path / "vcamera" / "DCIM" / "100TEST").mkdir(parents=True)
    (tmp_path / "vcamera" / "DCIM" / "100TEST" / "A0001.JPG").write_bytes(photograph.read_bytes())
    monkeypatch.setenv("VCAMERADIR", str(tmp_path / "vcamera"))


@pytest.mark.parametrize("options", [{}, {"port": "usb:001,001"}, {"model": "Nikon DSC D750"}, {"serial": "0.1"}])
def test_gphoto2_takes_pictures(virtual_camera, photograph, camera, options):
    """One after the other, with libgphoto2's virtual camera, chosen in any way."""
    top = camera("gphoto2", **options)
    assert image_of(take(top, exposure())) == image_of(photograph.read_bytes())
    assert format_and_size(take(top, exposure(64, 48, shutterspeed="0.1000s"))) == ("JPEG", (64, 48))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"f-number": "f/99"}, "f-number can't be set to 'f/99'; it knows f/2.8, f/3.5"),
        ({"imagesize": "1024x768"}, "imagesize can't be set on this camera, it says '640x480'"),
        ({"polaroid": 1}, "polaroid can't be set to 1: "),
    ],
)
def test_gphoto2_reports_a_setting_that_can_not_be_set(virtual_camera, camera, config, said):
    """With the values that the camera allows, where it reports them."""
    with pytest.raises(CameraFault) as caught:
        take(camera("gphoto2"), exposure(**config))
    assert str(caught.value).startswith(said)


def test_gphoto2_reports_which_cameras_there_are(virtual_camera, camera):
    """Where none of them is the one of the options."""
    with pytest.raises(CameraFault, match="not found; there is Nikon DSC D750 at usb:001,001"):
        camera("gphoto2", model="Canon EOS").open()


def test_gphoto2_reports_that_there_is_no_camera(camera, monkeypatch):
    """As when a camera sleeps."""
    monkeypatch.delenv("VCAMERADIR", raising=False)
    with pytest.raises(CameraFault, match="not found; there is none at all: is it switched on"):
        camera("gphoto2").open()


@pytest.fixture
def stand_ins(monkeypatch):
    """Have the cameras' processes find the stand-ins for libraries."""
    paths = [str(SUPPORT / "stand_ins"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))


@pytest.fixture
def usb(stand_ins, tmp_path, monkeypatch):
    """Return the directory of the cameras that the stand-in for gphoto2 finds: AAA and BBB of one model."""
    directory = tmp_path / "usb"
    directory.mkdir()
    (directory / "usb:001,004").write_text("AAA")
    (directory / "usb:001,005").write_text("BBB")
    monkeypatch.setenv("CAMERAS", str(directory))
    return directory


@pytest.mark.parametrize("serials", [("AAA", "BBB"), ("BBB", "AAA")])
def test_gphoto2_finds_a_camera_beside_one_that_is_in_use(usb, camera, serials):
    """Such as by another camera's process of the same rig."""
    for serial in serials:
        camera("gphoto2", serial=serial).open()
    assert {path.name for path in usb.glob("*.taken")} == {"usb:001,004.taken", "usb:001,005.taken"}


def test_gphoto2_reports_that_the_camera_may_be_in_use(usb, camera):
    """Where it is none of the others."""
    (usb / "usb:001,004.taken").touch()
    with pytest.raises(CameraFault, match="it can't be opened: another program has it"):
        camera("gphoto2", serial="AAA").open()


def test_gphoto2_releases_a_camera_that_is_not_the_right_one(usb, camera):
    """Also one that doesn't report its serial number."""
    (usb / "usb:001,003").touch()
    camera("gphoto2", serial="BBB").open()
    assert [path.name for path in usb.glob("*.taken")] == ["usb:001,005.taken"]


def test_v4l2_takes_frames(tmp_path, camera):
    """OpenCV plays files as a camera; of seven, the first five are dropped."""
    for number in range(7):
        Image.new("RGB", (64, 48), (number * 40, 0, 0)).save(tmp_path / f"{number}.png")
    top = camera("v4l2", device=f"{tmp_path}/%d.png")
    picture = take(top, exposure(encoding="png"))
    assert format_and_size(picture) == ("PNG", (64, 48))
    with Image.open(io.BytesIO(picture)) as image:
        assert image.getpixel((0, 0)) == (200, 0, 0)
    with pytest.raises(CameraFault, match="no picture came; check the cable"):
        take(top, exposure())


def test_v4l2_keeps_the_bits_of_a_frame(tmp_path, monkeypatch):
    """A webcam with 16 bits a pixel gives them with convert_rgb = 0; as a JPEG they would be all white."""
    v4l2, numpy = (importlib.import_module(name) for name in ("plantimager.timelapse.drivers.cameras.v4l2", "numpy"))
    Image.new("RGB", (64, 48)).save(tmp_path / "0.png")
    camera = v4l2.V4l2Camera({"device": f"{tmp_path}/%d.png", "skip": 0})
    deep = numpy.arange(64 * 48, dtype=numpy.uint16).reshape(48, 64) * 20
    monkeypatch.setattr(camera, "_capture", SimpleNamespace(retrieve=lambda: (True, deep)))
    monkeypatch.setattr(camera, "_encoding", "jpeg")
    with pytest.raises(CameraFault, match="too many bits a pixel for a JPEG"):
        judge(camera.fetch().content, exposure())
    monkeypatch.setattr(camera, "_encoding", "png")
    with Image.open(io.BytesIO(judge(camera.fetch().content, exposure(encoding="png"))[0])) as image:
        assert (image.mode, image.convert("F").getextrema()) == ("I;16", (0.0, float(deep.max())))


def test_v4l2_keeps_16_bits_that_opencv_would_reduce(stand_ins, camera):
    """A camera of that pixel format is set to give them; only who asks for 8 of them gets a JPEG."""
    top = camera("v4l2", device="rtsp://stand-in/Y16", skip=0)
    with Image.open(io.BytesIO(take(top, exposure(encoding="tiff")))) as image:
        assert (image.mode, image.getpixel((0, 0))) == ("I;16", 0x1234)
    with pytest.raises(CameraFault, match=r'too many bits a pixel for a JPEG .*; write encoding = "tiff"'):
        take(top, exposure())
    assert format_and_size(take(top, exposure(convert_rgb=1))) == ("JPEG", (64, 48))


def test_v4l2_asks_for_the_bits_of_the_pixel_format_that_is_configured(stand_ins, camera):
    """All pictures of a scan are alike: the first one, too, and those of another format after it."""
    deep, usual = (int.from_bytes(name, "little") for name in (b"Y16 ", b"YUYV"))
    top = camera("v4l2", device="rtsp://stand-in", skip=0)
    for _ in range(2):
        with Image.open(io.BytesIO(take(top, exposure(encoding="tiff", fourcc=deep)))) as image:
            assert (image.mode, image.getpixel((0, 0))) == ("I;16", 0x1234)
    assert format_and_size(take(top, exposure(fourcc=usual))) == ("JPEG", (64, 48))


def test_v4l2_takes_the_jpegs_of_a_webcam_as_they_are_and_sees_what_its_cable_lost(stand_ins, camera):
    """OpenCV would paint the missing part grey. A whole one is kept byte by byte, with the tables that webcams omit."""
    jpegs = int.from_bytes(b"MJPG", "little")
    top = camera("v4l2", device="rtsp://stand-in", skip=0)
    with pytest.raises(CameraFault, match=r"its picture is incomplete or damaged .*; or write convert_rgb = 1"):
        take(top, exposure(fourcc=jpegs))
    whole = take(top, exposure(fourcc=jpegs))
    with Image.open(io.BytesIO(whole)) as image:
        assert (image.format, image.size, image.mode) == ("JPEG", (64, 48), "L")
    assert b"\xff\xc4" in whole
    made = encode(Image.linear_gradient("L").resize((64, 48)), "JPEG")
    assert whole.endswith(made[made.index(b"\xff\xda") :])


def test_v4l2_drops_frames_from_before_the_request(stand_ins, camera):
    """Those that the kernel had buffered while the arm moved, however few frames the options skip."""
    picture = take(camera("v4l2", device="rtsp://stand-in", skip=0), exposure(encoding="png"))
    with Image.open(io.BytesIO(picture)) as image:
        assert image.getpixel((0, 0)) == (0, 255, 0)


@pytest.mark.parametrize(
    ("device", "config", "said"),
    [
        ("/dev/no-such-video", {}, "/dev/no-such-video: it isn't there; "),
        ("/nowhere/%d.png", {}, "OpenCV can't open it"),
        (None, {"exposhure": 1}, "exposhure = 1 is no property of OpenCV with a number"),
    ],
)
def test_v4l2_reports_what_is_wrong(tmp_path, camera, device, config, said):
    """With the device, where it is the cause."""
    Image.new("RGB", (64, 48)).save(tmp_path / "0.png")
    with pytest.raises(CameraFault, match=said):
        take(camera("v4l2", device=device or f"{tmp_path}/%d.png"), exposure(**config))


def test_picamera2_takes_settled_frames_that_began_after_the_request(stand_ins, camera):
    """With a stand-in that keeps the library's rules; again after each start."""
    top = camera("picamera2")
    for size in ((64, 48), (64, 48), (32, 24)):
        with Image.open(io.BytesIO(take(top, exposure(*size, encoding="png")))) as image:
            assert (image.size, image.getpixel((0, 0))) == (size, (0, 255, 0))


def test_picamera2_reports_that_its_library_is_missing(camera):
    """The library can't be had here: it is not tested on hardware."""
    with pytest.raises(
        CameraFault, match=r"can't be used without its library .*; .*sudo apt install python3-picamera2"
    ):
        camera("picamera2").open()


@pytest.mark.parametrize(
    ("fault", "said", "unsaid"),
    [
        ("list index out of range", "check its ribbon cable", "another program"),
        ("Failed to acquire camera: Device or resource busy", "another program has it", "ribbon"),
        ("Camera __init__ sequence did not complete.", "another program has it", "ribbon"),
        ("Unable to load tuning file", "see what `rpicam-hello --list-cameras` says", "ribbon"),
    ],
)
def test_picamera2_names_the_cure_of_each_cause(stand_ins, camera, monkeypatch, fault, said, unsaid):
    """A camera that another program has is not unplugged."""
    monkeypatch.setenv("PICAMERA2_FAULT", fault)
    with pytest.raises(CameraFault, match=said) as caught:
        camera("picamera2").open()
    assert unsaid not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "library", "raised", "said"),
    [
        (
            "v4l2",
            "cv2",
            "ModuleNotFoundError(\"No module named 'cv2'\")",
            r"without its library .*pip install '.*\[v4l2\]",
        ),
        (
            "v4l2",
            "cv2",
            "ValueError('numpy.dtype size changed, may indicate binary incompatibility')",
            r"was built for another numpy .*python3 -m pip --python \S+/bin/python\S* install --force-reinstall",
        ),
        (
            "picamera2",
            "picamera2",
            "ValueError('numpy.dtype size changed')",
            r"another numpy .*pip --python \S+/bin/python\S* uninstall numpy",
        ),
        (
            "v4l2",
            "cv2",
            "ImportError('libGL.so.1: cannot open shared object file')",
            "a file that isn't there .*apt-file",
        ),
        (
            "picamera2",
            "picamera2",
            "ModuleNotFoundError(\"No module named 'libcamera'\")",
            "sudo apt install python3-pica",
        ),
        (
            "v4l2",
            "cv2",
            "RuntimeError('illegal\\ninstruction')",
            r"can't be loaded \(RuntimeError: illegal instruction\)",
        ),
    ],
)
def test_library_that_can_not_be_loaded_names_the_cure(tmp_path, camera, monkeypatch, kind, library, raised, said):
    """In the real process, whose import fails so; another exposure would not help."""
    (tmp_path / f"{library}.py").write_text(f"raise {raised}\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    options = {"device": "/nowhere"} if kind == "v4l2" else {}
    with pytest.raises(CameraFault, match=said) as caught:
        camera(kind, **options).open()
    assert caught.value.is_lasting


@pytest.mark.parametrize(
    ("number", "said"), [(errno.EPERM, "systemd/examples/camera.conf"), (errno.EACCES, "the group video")]
)
def test_device_that_may_not_be_opened_is_explained(tmp_path, monkeypatch, number, said):
    """EPERM is the service's device cgroup, EACCES a missing group; other errors are none of the cause."""
    free, refused = tmp_path / "video0", tmp_path / "video1"
    free.touch()

    def open_(path, _flags, real=os.open):
        if path == str(refused):
            raise PermissionError(number, os.strerror(number))
        return real(path, os.O_RDONLY)

    monkeypatch.setattr(base.os, "open", open_)
    assert explain_refusal([str(free), str(tmp_path / "gone")], "video", "camera.conf") is None
    assert said in explain_refusal([str(free), str(refused)], "video", "camera.conf")


def test_program_is_given_the_request(tmp_path, camera):
    """In its arguments; the camera's own settings are in its environment."""
    script = tmp_path / "snap.py"
    script.write_text(
        "import os, sys\nfrom PIL import Image\noutput, width, height = sys.argv[1:]\n"
        'Image.new("RGB", (int(width), int(height)), os.environ["CAMERA_COLOUR"]).save(output, "PNG")\n'
    )
    top = camera("command", argv=[sys.executable, str(script), "{output}", "{width}", "{height}"])
    picture = take(top, exposure(30, 20, "png", colour="red"))
    with Image.open(io.BytesIO(picture)) as image:
        assert (image.size, image.getpixel((0, 0))) == ((30, 20), (255, 0, 0))


def test_program_sees_nothing_of_the_environment_of_the_service(tmp_path, camera, photograph, monkeypatch):
    """Such as the daemon's socket to systemd: it is given the same variables as a program of the driver `command`."""
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    script, seen = tmp_path / "snap.py", tmp_path / "seen"
    script.write_text(
        "import os, shutil, sys\n"
        f"open({str(seen)!r}, 'w').write(' '.join(os.environ))\n"
        f"shutil.copy({str(photograph)!r}, sys.argv[1])\n"
    )
    take(camera("command", argv=[sys.executable, str(script), "{output}"]), exposure())
    assert set(seen.read_text().split()) <= {"PATH", "LANG", "HOME", "USER", "LOGNAME"}


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["false", "{output}"], "false exited with 1"),
        (["sh", "-c", "echo no sensor >&2; exit 3", "{output}"], "sh exited with 3: no sensor"),
        (["true", "{output}"], "true exited with 0, but wrote no picture"),
        (["/no/such/program", "{output}"], "/no/such/program is not there"),
        (["cp", "/dev/null", "{output}"], r"its picture is empty \(0 bytes\)"),
    ],
)
def test_program_without_a_picture_is_reported(camera, argv, said):
    """With the end of its stderr."""
    with pytest.raises(CameraFault, match=said):
        take(camera("command", argv=argv), exposure())


# --- the process -----------------------------------------------------------------------------------


@pytest.fixture
def program(photograph):
    """Return a program that takes pictures."""
    return ["cp", str(photograph), "{output}"]


def note_deadlines(monkeypatch):
    """Return the list of the times that are given from now on."""
    started = []

    class Noted(process.Deadline):
        def __init__(self, after):
            started.append(after)
            super().__init__(after)

    monkeypatch.setattr(process, "Deadline", Noted)
    return started


def test_camera_that_hangs_is_killed_and_the_next_exposure_works(camera, program, monkeypatch):
    """A process that is stopped is as deaf as one that waits in the kernel."""
    monkeypatch.setattr(process, "GRACE", process.timedelta(0))
    monkeypatch.setattr(process, "CLOSE_TIMEOUT", process.timedelta(0))
    top = camera("command", argv=program)
    top.open()
    pid = top._process.pid
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(CameraFault, match=r"the exposure hangs; it was given up after 0\.2 s"):
        take(top, exposure(seconds=0.2))
    assert not top.is_open
    assert format_and_size(take(top, exposure())) == ("JPEG", (640, 480))
    assert top._process.pid != pid


def test_check_of_a_picture_has_a_time_of_its_own(camera, program, monkeypatch):
    """A slow machine decodes a large picture for seconds; nobody has to look at the cable for it."""
    monkeypatch.setattr(process, "CLOSE_TIMEOUT", process.timedelta(0))
    top = camera("command", argv=program)
    top.trigger(exposure(), never_stop)
    worker = top._process.pid
    number = top.fetch(exposure(), never_stop)
    with monkeypatch.context() as noting:
        started = note_deadlines(noting)
        assert format_and_size(top.picture(number, never_stop).content) == ("JPEG", (640, 480))
        assert started == [process.JUDGE_TIMEOUT]
    monkeypatch.setattr(process, "JUDGE_TIMEOUT", process.timedelta(seconds=0.2))
    top.trigger(exposure(), never_stop)
    number = top.fetch(exposure(), never_stop)
    os.kill(worker, signal.SIGSTOP)
    with pytest.raises(CameraFault, match=r"checking its picture hangs; it was given up after 0\.2 s"):
        top.picture(number, never_stop)


def test_cancelled_exposure_has_little_time_left(camera, program, monkeypatch):
    """The daemon gives a driver half a minute to stop."""
    monkeypatch.setattr(process, "GRACE", process.timedelta(seconds=0.2))
    top = camera("command", argv=program)
    top.open()
    worker = top._process.pid
    os.kill(worker, signal.SIGSTOP)
    with pytest.raises(CameraFault, match=r"the exposure hangs: it didn't end within 0\.2 s of the cancellation"):
        take(top, exposure(seconds=1000), lambda: True)
    wait_for_end(worker)


def test_all_that_follows_a_cancellation_has_one_time_left(camera, program, monkeypatch):
    """Exposure, transfer and check: else the daemon gives up waiting for the driver."""
    started = note_deadlines(monkeypatch)
    monkeypatch.setattr(process, "GRACE", process.timedelta(seconds=21))
    top = camera("command", argv=program)
    for scan in (1, 2):
        top.trigger(exposure(seconds=20), never_stop)
        top.trigger(exposure(seconds=20), lambda: True)
        assert top.picture(top.fetch(exposure(seconds=20), lambda: True), lambda: True) is not None
        assert started.count(process.GRACE) == scan


def test_camera_that_lost_its_cable_is_opened_again(tmp_path, camera):
    """The process that had it open would never see it again."""
    frame = tmp_path / "0.png"
    Image.new("RGB", (64, 48)).save(frame)
    top = camera("v4l2", device=f"{tmp_path}/%d.png", skip=0)
    take(top, exposure())
    with pytest.raises(CameraFault, match="no picture came"):
        take(top, exposure())
    top.close()
    assert format_and_size(take(top, exposure())) == ("JPEG", (64, 48))


def test_picture_that_is_too_large_is_not_taken_for_the_next_answer(tmp_path, camera, monkeypatch):
    """The rest of it is in the pipe, which holds 64 kB, and is lost with the process."""
    noise = tmp_path / "noise.jpg"
    Image.effect_noise((640, 480), 100).convert("RGB").save(noise, quality=95)
    assert noise.stat().st_size > 1 << 17
    top = camera("command", argv=["cp", str(noise), "{output}"])
    top.open()
    with monkeypatch.context() as small:
        small.setattr(process, "MAX_WORKER_ANSWER_BYTES", 100)
        with pytest.raises(CameraFault, match="at most 100 are taken"):
            take(top, exposure())
    assert format_and_size(take(top, exposure())) == ("JPEG", (640, 480))


def test_closed_camera_is_released(usb, camera):
    """Another program can use it then."""
    top = camera("gphoto2", serial="AAA")
    top.open()
    assert list(usb.glob("*.taken"))
    top.close()
    assert not list(usb.glob("*.taken"))


@pytest.fixture
def endless(tmp_path):
    """Return a program that never ends, and the file into which it writes its process id and its ``{output}``."""
    began = tmp_path / "began"
    script = f'echo "$$ $0" >{began}.new; mv {began}.new {began}; exec sleep 1000'
    return ["sh", "-c", script, "{output}"], began


def nothing_left(began):
    """Whether the endless program and its directory are gone."""
    pid, output = began.read_text().split()
    return not Path("/proc", pid).exists() and not Path(output).parent.exists()


def test_cancelled_exposure_leaves_no_program_behind(camera, endless, monkeypatch):
    """It would keep the camera from every exposure after it."""
    monkeypatch.setattr(process, "GRACE", process.timedelta(0))
    argv, began = endless
    with pytest.raises(CameraFault, match="of the cancellation"):
        take(camera("command", argv=argv), exposure(seconds=1000), began.exists)
    assert nothing_left(began)


def test_library_that_crashes_is_reported_and_started_again(camera, program):
    """It crashes its own process and not the daemon."""
    top = camera("command", argv=program)
    top.open()
    worker = top._process.pid
    os.kill(worker, signal.SIGSTOP)  # so that it dies in the exposure, neither before nor after

    def crash() -> bool:
        for what in (signal.SIGSEGV, signal.SIGCONT):
            os.kill(worker, what)
        return False

    with pytest.raises(CameraFault, match="its process was ended by SIGSEGV"):
        take(top, exposure(), crash)
    assert format_and_size(take(top, exposure())) == ("JPEG", (640, 480))


@pytest.mark.parametrize("left", [0, 1])
def test_camera_whose_process_finds_no_descriptor_left_is_at_fault(camera, program, left):
    """One is for the memory that it shares, the others for its pipes; none is left open."""
    top, before = camera("command", argv=program), open_files()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free + left, limits[1]))
    try:
        with pytest.raises(CameraFault, match="its process can't be started: Too many open files"):
            top.open()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert open_files() <= before
    assert format_and_size(take(top, exposure())) == ("JPEG", (640, 480))


DAEMON = """
import json, os, sys
from pathlib import Path
from plantimager.timelapse.drivers.cameras import CameraOptions
from plantimager.timelapse.drivers.cameras.base import Exposure
from plantimager.timelapse.drivers.cameras.pictures import judge
from plantimager.timelapse.drivers.cameras.process import CameraProcess

kind, options, began = sys.argv[1:]
top = CameraProcess(CameraOptions("top", kind, json.loads(options)))
top.open()
print(top._process.pid, flush=True)
if began:
    top.trigger(Exposure(64, 48, "jpeg", {}, 1000), lambda: Path(began).exists() and os.kill(os.getpid(), 9))
os.kill(os.getpid(), 9)
"""


def worker_of_killed_daemon(kind, began="", **options):
    """Kill a daemon, during an exposure when ``began`` exists; return the process id of its camera's process."""
    command = [sys.executable, "-c", DAEMON, kind, json.dumps(options), str(began)]
    daemon = subprocess.run(command, capture_output=True, text=True, check=False)
    assert daemon.returncode == -signal.SIGKILL
    return int(daemon.stdout)


def test_process_of_a_camera_ends_with_the_daemon(usb):
    """However the daemon ends, the camera is released."""
    wait_for_end(worker_of_killed_daemon("gphoto2", serial="AAA"))
    assert not list(usb.glob("*.taken"))


def test_program_of_a_camera_ends_with_the_daemon(endless):
    """Its pictures are removed."""
    argv, began = endless
    wait_for_end(worker_of_killed_daemon("command", began, argv=argv))
    assert nothing_left(began)


def test_camera_that_hangs_ends_with_the_daemon(usb):
    """No daemon is left to kill its process."""
    (usb / "hang").touch()
    wait_for_end(worker_of_killed_daemon("gphoto2", usb / "hangs", serial="AAA"))


# --- read-only disks -------------------------------------------------------------------------------

READ_ONLY = """
for disk; do mount -o remount,bind,ro "$disk" || true; done 2>/dev/null
exec "$PYTHON" - "$PHOTOGRAPH" <<'END'
import sys
from plantimager.timelapse.drivers.cameras.base import CameraFault, Exposure
from plantimager.timelapse.drivers.cameras.command import CommandCamera

try:
    camera = CommandCamera({"argv": ["cp", sys.argv[1], "{output}"]})
    camera.trigger(Exposure(64, 48, "jpeg", {}, 20))
    print(len(camera.fetch().content))
except CameraFault as fault:
    print(fault)
END
"""


@pytest.mark.system
@pytest.mark.parametrize("memory", [True, False])
def test_program_takes_pictures_where_no_disk_is_writable(photograph, memory):
    """In /dev/shm, which is in memory; without it, the error names it."""
    disks = ["/", "/tmp", "/var/tmp", *(() if memory else ("/dev/shm",))]
    output = subprocess.run(
        ["unshare", "--mount", "sh", "-c", READ_ONLY, "sh", *disks],
        env={**os.environ, "PYTHON": sys.executable, "PHOTOGRAPH": str(photograph)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    size = photograph.stat().st_size
    assert output == (str(size) if memory else "its picture can't be written to /dev/shm: Read-only file system")
