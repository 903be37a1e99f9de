"""The dashboard is one of Grafana, by the types that Grafana generates from its schema; no registry has a Grafana."""

import copy
import json
import re
from enum import Enum
from functools import cache, reduce
from operator import getitem
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from fleet import FLEET
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

GIVEN = json.loads((FLEET / "grafana-dashboard.json").read_text())
register_default_plugins()
hints_of = cache(get_type_hints)
ONE_OF_EACH = {**GIVEN, "panels": [*{panel["type"]: panel for panel in GIVEN["panels"]}.values()]}
"""The dashboard with one panel of each type."""


def faults(given, what=Dashboard):
    """Return the places of a dashboard that Grafana would ignore, or whose values have another type there."""
    try:
        read = what.from_json(given)
    except (AttributeError, KeyError, TypeError, ValueError) as problem:
        return [repr(problem)]
    return [*lost(given, json.loads(JSONEncoder().encode(read))), *mistyped(read)]


def lost(given, found, where=""):
    """Yield the places of a JSON value that are not the same in another, which may have more keys."""
    if isinstance(given, dict) and isinstance(found, dict):
        for key, value in given.items():
            yield from lost(value, found.get(key), f"{where}.{key}")
    elif isinstance(given, list) and isinstance(found, list) and len(given) == len(found):
        for number, pair in enumerate(zip(given, found, strict=True)):
            yield from lost(*pair, f"{where}[{number}]")
    elif given != found:
        yield where


def mistyped(value, where=""):
    """Yield the places of a value of Grafana's types that hold what their annotations don't allow."""
    for name, hint in hints_of(type(value)).items():
        inner = getattr(value, name)
        if not fits(inner, hint):
            yield f"{where}.{name}"
        for one in inner.values() if isinstance(inner, dict) else inner if isinstance(inner, list) else [inner]:
            if type(one).__module__.startswith("grafana_foundation_sdk"):
                yield from mistyped(one, f"{where}.{name}")


def fits(value, hint):
    """Whether a value is what an annotation says; members of enumerations stand there as their values."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in (Any, object):
        return True
    if origin is Union:
        return any(fits(value, one) for one in arguments)
    if origin is Literal:
        return value in arguments
    if origin is list:
        return isinstance(value, list) and all(fits(one, arguments[0]) for one in value)
    if origin is dict:
        return isinstance(value, dict) and all(fits(one, arguments[1]) for one in value.values())
    if issubclass(hint, Enum):
        return value in [member.value for member in hint]
    if isinstance(value, dict) and hasattr(hint, "from_json"):  # some are left as they are
        return not faults(value, hint)
    return isinstance(value, (int, float) if hint is float else hint) and (hint is bool or not isinstance(value, bool))


def places(value, where=()):
    """Yield the way to each value of a JSON value."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield (*where, key)
        if isinstance(inner, dict | list):
            yield from places(inner, (*where, key))


def is_free(where):
    """Whether the schema allows anything: what is Prometheus' or a transformation's own, and names of values."""
    of_others = (
        r"(targets\.\d+\.datasource|list\.\d+\.query\.|transformations\.\d+\.options|mappings\.\d+\.options\.\d+$)"
    )
    return re.search(of_others, ".".join(map(str, where)))


def changed(where, change):
    """Return the dashboard with a change of what holds the value at a place."""
    given = copy.deepcopy(ONE_OF_EACH)
    *way, key = where
    change(reduce(getitem, way, given), key)
    return given


def rename(holder, key):
    """Give a value a name that no version of Grafana knows."""
    holder[f"{key}s"] = holder.pop(key)


def retype(holder, key):
    """Put what has another type in the place of a value."""
    holder[key] = 5.5 if isinstance(holder[key], str | list | dict | bool) else "five"


def test_dashboard_keeps_all_its_values_in_grafanas_own_types():
    """Grafana ignores a key that it doesn't know."""
    assert faults(GIVEN) == []


@pytest.mark.parametrize("change", [rename, retype])
def test_each_wrong_name_and_each_wrong_type_is_found(change):
    """By the same look, which can therefore fail."""
    tried = [where for where in places(ONE_OF_EACH) if change is retype or isinstance(where[-1], str)]
    values = {where: reduce(getitem, where, ONE_OF_EACH) for where in tried if not is_free(where)}
    assert len(values) > 200
    unseen = [where for where in values if not faults(changed(where, change))]
    assert [where for where in unseen if values[where] is not None] == []  # nothing is the same as none


def test_all_rigs_are_those_too_that_have_no_figures_now():
    """Else Grafana names those that it knows of the time that is shown: not who is silent for longer."""
    chosen = [one for one in GIVEN["templating"]["list"] if one.get("includeAll")]
    assert {one["name"]: one["allValue"] for one in chosen} == {"instance": ".*", "rig": ".*"}


def test_each_query_asks_the_prometheus_that_a_person_chooses_and_each_column_has_its_name():
    """Where the schema allows anything."""
    for panel in GIVEN["panels"]:
        chosen = {"type": "prometheus", "uid": "${datasource}"}
        assert [query["datasource"] for query in panel["targets"]] == [chosen] * len(panel["targets"])
        options = {one["id"]: one["options"] for one in panel.get("transformations", [])}
        names = {f"Value #{query['refId']}" for query in panel["targets"]}
        assert {*options.get("organize", {}).get("renameByName", names)} == names
