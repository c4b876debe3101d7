"""Check which room of a package imports which: one table a package, without cycles.

A room is a folder of a package. A wing, such as `tools.shuffle`, is a room inside a room; wings of
one room may import each other only if the table says so.
"""

from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter

from structure.imports import imported
from structure.tree import File

Table = Mapping[str, set[str]]

_FINISHED = {"format", "reading", "runtime", "storage", "writing"}
_TEXT = {"chat", "format", "records", "tokenizer"}
DATA: Table = {
    "storage": set(),
    "runtime": set(),
    "format": {"storage"},
    "packing": {"format"},
    "records": {"format"},
    "tokenizer": {"format", "runtime"},
    "chat": {"format", "packing", "records", "tokenizer"},
    "writing": {"format", "packing", "runtime", "storage"},
    "reading": {"format", "storage"},
    "convert": _TEXT | _FINISHED | {"packing"},
    "tools.shuffle": _FINISHED,
    "tools.repartition": _FINISHED - {"runtime"},
    "tools.verify": _TEXT | _FINISHED - {"writing"},
    "tools.inspect": _TEXT | _FINISHED - {"writing"},
}
MODELS: Table = {
    "config": set(),
    "layers": {"config"},
    "experts": {"config", "layers"},
    "weights": {"config"},
    "families": {"config", "weights"},
    "decoder": {"config", "layers", "experts", "weights"},
    "costs": {"config", "weights"},
    "lora": {"config", "layers", "experts", "weights", "families", "decoder"},
    "generation": {"config", "layers", "weights", "families", "decoder"},
}
PARALLEL: Table = {
    "config": set(),
    "distributed": set(),
    "schedule": set(),
    "partition": {"schedule"},
    "pipeline": {"schedule"},
    "feed": {"distributed"},
    "optimizer": {"distributed"},
    "experts": {"config", "distributed", "feed"},
    "lora": {"config", "optimizer"},
    "checkpoint": {"lora", "optimizer"},
    "training": {
        *("config", "distributed", "schedule", "partition", "pipeline", "feed", "optimizer"),
        *("experts", "lora", "checkpoint"),
    },
}
ROOMS: Mapping[str, Table] = {
    "jllm-data": DATA,
    "jllm-models": MODELS,
    "jllm-parallel": PARALLEL,
}
"""The rooms that each room may import, besides itself."""


def room_of(module: str, package: str, table: Table) -> str | None:
    """Return the room of a module such as `jllm.data.reading.order`: the innermost in the table.

    "" for modules above all rooms, which may import every one of them; None for other packages.
    """
    part = f"jllm.{package.removeprefix('jllm-')}"
    if module != part and not module.startswith(part + "."):
        return None
    names = module.removeprefix(part).strip(".").split(".")
    places = (".".join(names[:count]) for count in range(len(names), 0, -1))
    return next((place for place in places if place in table), "")


def module_of(file: File) -> str:
    """Return the name by which a file of a package is imported."""
    names = file.path.split("/src/")[1].removesuffix(".py").removesuffix("/__init__")
    return names.replace("/", ".")


def folders(files: list[File], package: str) -> set[str]:
    """Return the folders of a package, with dots: {"reading", "tools", "tools.shuffle", …}."""
    part = f"jllm.{package.removeprefix('jllm-')}."
    return {
        module_of(file).removeprefix(part)
        for file in files
        if file.package == package
        and file.path.endswith("/__init__.py")
        and module_of(file).startswith(part)
    }


def check_rooms(files: list[File]) -> list[str]:
    """Return findings: imports between rooms that no table allows, rooms in no table, tables with
    a cycle."""
    findings = []
    for package, table in ROOMS.items():
        try:
            TopologicalSorter(table).prepare()
        except CycleError as error:
            findings.append(f"{package}: rooms in a circle: {' → '.join(error.args[1])}")
        there = folders(files, package)
        tops = {room.partition(".")[0] for room in table}
        outer = {folder for folder in there if folder.partition(".")[0] not in tops}
        findings += [f"{package}: {folder} is in no table of rooms" for folder in sorted(outer)]
        findings += [f"{package}: no folder {room}" for room in sorted(set(table) - there)]
    for file in files:
        table = ROOMS.get(file.package or "")
        if table is None or not file.is_python:
            continue
        mine = room_of(module_of(file), str(file.package), table)
        if not mine:  # a command, or the package's public module
            continue
        allowed = {mine} | table[mine]
        for node, name in imported(file):
            other = room_of(name, str(file.package), table)
            if other is not None and other not in allowed:
                findings.append(file.at(node, f"{mine} may not import {other or 'the face'}"))
    return findings
