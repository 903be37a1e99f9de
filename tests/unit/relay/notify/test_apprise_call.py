"""What a service says of a failure is passed on without a part of its URL."""

import pytest

from plantimager.timelapse.relay.credentials import redact
from plantimager.timelapse.relay.notify.apprise_call import _with_defaults


@pytest.mark.parametrize(("url", "added"), [
    ("ntfy://topic", "?rto=40&overflow=truncate"),
    ("mailto://h.org/?to=roberto@h.org&name=overflow", "&rto=40&overflow=truncate"),
    ("json://h/?rto=9", "&overflow=truncate"),
    ("json://h/?to=ada&Overflow=split", "&rto=40"),
    ("json://h/?overflow=split&rto=9", ""),
])  # fmt: skip
def test_options_that_a_person_has_left_out_are_added_and_those_that_are_there_stay(url, added):
    """Their letters may be a part of another value."""
    assert _with_defaults(url) == f"{url}{added}"


@pytest.mark.parametrize(
    ("url", "said", "passed_on"),
    [
        ("tgram://123456:ABC-token/42", "bot 123456:ABC-token refused", "bot …:… refused"),
        ("ntfys://ada:hunter2@ntfy.sh/topic", "https://ntfy.sh/topic: 403 for ada/hunter2", "https://…/…: 403 for …/…"),
        ("mailto://ada:p%40ss@mail.org", "Connection refused", "Connection refused"),
        ("mailto://ada:p%40ss%21@mail.org", "535 p@ss! is wrong for ada", "535 … is wrong for …"),
        ("json://h/?token=abcdef", "token=abcdef is not valid", "…=… is not valid"),
        ("ntfy://My-Topic", "host='my-topic' is not known", "host='…' is not known"),
        ("mailto://ada:p@ss%2Fword@mail.org", "mailto://ada:p%40ss%2fword@mail.org", "mailto://…:…@…"),
        ("mailto://ada:a+b c@mail.org", "smtp://ada:a%2Bb%20c@mail.org or a%2Bb+c", "smtp://…:…@… or …"),
    ],
)
def test_no_part_of_the_url_stays(url, said, passed_on):
    """A token may be anywhere in it, also in the place of the host."""
    assert redact(said, url) == passed_on
