"""Lets schemathesis meet what is there: most of its well-formed names become those of the demo's pump.

Nothing that it made ill-formed is touched.
"""

import re

import schemathesis

NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
PROPERTIES = ["speed", "running", "pressure", "nothing-of-the-kind"]
WAIT = re.compile(r"[0-9]{1,9}(ms|s|m|h)")


@schemathesis.hook
def map_path_parameters(context, parameters):
    names = [(parameters or {}).get(part) for part in ("namespace", "name")]
    if all(isinstance(name, str) and NAME.fullmatch(name) for name in names) and len(names[1]) % 4:
        return {**parameters, "namespace": "demo", "name": "pump"}
    return parameters


@schemathesis.hook
def map_query(context, query):
    """No request waits for a mapper that is not there."""
    wait = (query or {}).get("wait")
    if isinstance(wait, str) and WAIT.fullmatch(wait):
        return {**query, "wait": "10ms"}
    return query


@schemathesis.hook
def map_body(context, body):
    if isinstance(body, dict) and isinstance(body.get("properties"), dict):
        wishes = body["properties"]
        names = PROPERTIES + list(wishes)[len(PROPERTIES) :]
        return {**body, "properties": dict(zip(names, wishes.values()))}
    return body
