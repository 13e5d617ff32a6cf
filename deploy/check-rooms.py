#!/usr/bin/env python3
"""Rooms import downwards only: no circle, and what must not be known is not known.

A room is a module at the top of a crate, with all that lies below it; each kind of component is a room of its own.
The arrows are read from the imports themselves, tests left out.
"""
import re
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

# The crate s3-store is one room.
CRATES = ["backup-core", "orchestrator-cli"]
# Each use case is one; they know the rest of the house, and nothing of that knows them.
JOBS = {"backup", "copy", "databases", "deploy", "diff", "drills", "prune", "restore", "status"}
# These name what the modules of a crate's root are called outside: `crate::Context` is of the room `context`.
ROOT = {"Cause": "error", "Context": "context", "Error": "error", "ErrorContext": "error", "Kind": "error", "Result": "error"}


def imports(text, module):
    """Every path that begins with `crate::` or leads upwards from a module, from the crate's root and with braces written out."""
    text = re.sub(r"(?<!:)//.*", "", text.split("#[cfg(test)]\nmod tests {")[0])
    for found in re.finditer(r"\b(crate::|(super::)+)", text):
        above = 0 if found.group() == "crate::" else len(module) - found.group().count("super::")
        yield from paths(text, found.end(), list(module[:above]))


def paths(text, at, before):
    if text[at] == "{":
        at += 1
        while text[at] != "}":
            if text[at] in ", \n":
                at += 1
                continue
            last = None
            for path, end in spelled(text, at, before):
                yield path
                last = end
            at = last
    else:
        yield from (path for path, _ in spelled(text, at, before))


def spelled(text, at, before):
    """The paths that begin here, each with the end of what spells them."""
    name = re.compile(r"\w+|\*").match(text, at)
    if name is None:
        return
    here = before + [name.group()]
    end = name.end()
    if not text.startswith("::", end) or text[end + 2] == "<":
        yield here, end
    elif text[end + 2] == "{":
        close = closing(text, end + 2)
        for path in paths(text, end + 2, here):
            yield path, close
    else:
        yield from spelled(text, end + 2, here)


def closing(text, at):
    depth = 0
    while True:
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        at += 1
        if depth == 0:
            return at


def room_of(path, rooms, components):
    name = ROOT.get(path[0], path[0])
    if name == "component" and len(path) > 1 and path[1] in components:
        return f"component/{path[1]}"
    return name if name in rooms else None


def arrows(source):
    files = {file: file.relative_to(source).with_suffix("").parts for file in sorted(source.rglob("*.rs"))}
    rooms = {parts[0] for parts in files.values()} - {"lib", "main"}
    components = {path.name for path in source.glob("component/*/")}
    known = {}
    for file, parts in files.items():
        own = room_of(parts, rooms, components)
        if own is None or {"tests", "fuzzing"} & set(parts):
            continue
        module = parts[:-1] if parts[-1] == "mod" else parts
        for path in imports(file.read_text(), module):
            room = room_of(path, rooms, components)
            # The folder of components only lists them.
            if room not in (None, own) and not (own == "component" and room.startswith("component/")):
                known.setdefault(own, {}).setdefault(room, file)
    return known


def forbidden(own, room):
    if own in ("bundle", "plan") and room.startswith("component"):
        return "the format and plans know no component"
    if own.startswith("component/") and room.startswith("component/"):
        return "a component knows no other one"
    if own not in JOBS | {"settings"} and room in JOBS | {"settings"}:
        return "only jobs know jobs, and only what is above them knows the settings as a whole"
    if own in JOBS and room == "settings":
        return "a job is told what it needs, and does not know the settings as a whole"
    return None


def main():
    wrong = []
    for crate in CRATES:
        known = arrows(Path(crate) / "src")
        try:
            TopologicalSorter({own: rooms.keys() for own, rooms in known.items()}).prepare()
        except CycleError as circle:
            names = circle.args[1][::-1]
            wrong.append(f"{crate}: a circle: {' → '.join(names)}")
            for own, room in zip(names, names[1:]):
                wrong.append(f"  {own} knows {room} in {known[own][room]}")
        if crate == "backup-core":
            for own, rooms in known.items():
                for room, file in rooms.items():
                    reason = forbidden(own, room)
                    if reason:
                        wrong.append(f"{file}: {own} must not know {room}: {reason}")
    for line in wrong:
        print(f"rooms: {line}", file=sys.stderr)
    sys.exit(bool(wrong))


main()
