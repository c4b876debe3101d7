"""The doctor's findings about this machine and others, its page, its JSON and its exit code."""

import io
import json
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from rich.console import Console

from command_line_helpers import environment, jllm
from jllm.cli.doctor import accelerators, command, java
from jllm.cli.doctor.accelerators import look_at_accelerators
from jllm.cli.doctor.finding import Finding
from jllm.cli.doctor.java import look_at_java
from jllm.cli.doctor.libraries import Outcome
from jllm.cli.doctor.machine import look_at_machine
from jllm.cli.doctor.page import as_json, print_page

MEMINFO = "MemTotal:       16777216 kB\nMemFree:         1048576 kB\nMemAvailable:    8388608 kB\n"


def test_what_is_installed_here_loads_and_what_does_not_is_exit_code_1(tmp_path):
    (tmp_path / "xxhash.py").write_text("raise OSError('libxxhash.so: bad header')")
    done = jllm("doctor", "--json", env=environment(tmp_path), cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    found = {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert found["xxhash"]["state"] == "broken"
    assert found["xxhash"]["detail"] == "OSError: libxxhash.so: bad header"
    for name in ("jllm", "jllm-data", "jllm-models", "jllm-parallel", "torch", "pyarrow"):
        assert found[name]["state"] == "found", found[name]
    assert found["torch"]["detail"] == version("torch")
    assert "on the processor" in found["vectors"]["detail"]
    assert "gloo" in found["communication"]["detail"]
    assert "sdpa" in found["attention"]["detail"]
    assert found["Python"]["detail"].startswith(sys.version.split()[0])


def machine(root: Path) -> dict[str, Finding]:
    return {finding.name: finding for finding in look_at_machine(root)}


def test_processor_and_memory_are_the_systems(tmp_path):
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("processor\t: 0\nmodel name\t: Quick 9000 @ 1 GHz\n")
    (tmp_path / "proc/meminfo").write_text(MEMINFO)
    found = machine(tmp_path)
    assert found["processor"].detail.startswith("Quick 9000 @ 1 GHz, ")
    assert found["memory"].detail == "16.0 GiB, 8.0 GiB available"
    assert "shared memory" not in found
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/memory.max").write_text(f"{4 << 30}\n")
    assert machine(tmp_path)["memory"].detail.endswith("; the control group allows 4.0 GiB")
    (tmp_path / "sys/fs/cgroup/memory.max").write_text("max\n")
    assert machine(tmp_path)["memory"].detail == "16.0 GiB, 8.0 GiB available"


def test_small_shared_memory_gets_advice(tmp_path, monkeypatch):
    (tmp_path / "dev/shm").mkdir(parents=True)
    monkeypatch.setattr("jllm.cli.doctor.machine.SMALL_SHARED_MEMORY", 1 << 80)
    assert "--shm-size" in machine(tmp_path)["shared memory"].mend
    monkeypatch.setattr("jllm.cli.doctor.machine.SMALL_SHARED_MEMORY", 0)
    assert not machine(tmp_path)["shared memory"].mend


def devices(monkeypatch, root: Path, **told: object) -> dict[str, Finding]:
    """The findings where torch tells this."""
    seen = {"accelerators": [], "attention": ["sdpa"], "backends": ["gloo"], "vectors": "AVX2"}
    outcome = Outcome(last_line=json.dumps(seen | told))
    monkeypatch.setattr(accelerators, "run_probe", lambda script: outcome)
    return {finding.name: finding for finding in look_at_accelerators(root)}


def test_accelerators_are_listed_with_their_memory(monkeypatch, tmp_path):
    device = {"kind": "cuda", "name": "NVIDIA H200", "memory": 139 << 30}
    backends = ["gloo", "nccl"]
    found = devices(monkeypatch, tmp_path, accelerators=[device, device], backends=backends)
    assert found["cuda:1"].detail == "NVIDIA H200, 139.0 GiB"
    assert found["communication"].detail == "gloo, nccl"
    assert "devices" not in found


@pytest.mark.parametrize(
    ("file", "state"), [("nvidiactl", "broken"), ("davinci_manager", "broken"), ("x", "missing")]
)
def test_a_driver_without_devices_is_broken(monkeypatch, tmp_path, file, state):
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / file).touch()
    found = devices(monkeypatch, tmp_path)["devices"]
    assert (found.state, bool(found.mend)) == (state, state == "broken")


def test_a_torch_that_cannot_compute_is_broken(monkeypatch, tmp_path):
    outcome = Outcome(error="RuntimeError: no kernel image")
    monkeypatch.setattr(accelerators, "run_probe", lambda script: outcome)
    (found,) = look_at_accelerators(tmp_path)
    assert (found.state, found.detail) == ("broken", "RuntimeError: no kernel image")


@pytest.mark.parametrize(
    ("version", "state", "detail"),
    [
        ('openjdk version "17.0.9" 2023-10-17', "found", "17.0.9 (for pyspark)"),
        ('java version "1.8.0_392"', "broken", 'version "1.8.0_392", too old for pyspark'),
        ("something else", "broken", "{java} -version tells no version"),
        (None, "missing", "{java} is not there; pyspark needs it"),
    ],
)
def test_java_is_the_one_that_spark_starts(monkeypatch, tmp_path, version, state, detail):
    program = tmp_path / "bin/java"
    program.parent.mkdir()
    if version:
        program.write_text(f"#!/bin/sh\necho '{version}' >&2\n")
        program.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    (found,) = look_at_java()
    assert (found.state, found.detail) == (state, detail.format(java=program))
    assert found.mend == ("" if state == "found" else java.MEND)


def finding(name: str, state: str, detail: str = "told", mend: str = "") -> Finding:
    return Finding(group="g", name=name, state=state, detail=detail, mend=mend)  # type: ignore[arg-type]


def test_the_page_marks_what_is_broken_and_what_is_missing():
    told = [
        finding("good", "found"),
        finding("gone", "missing", mend="get it"),
        finding("bad", "broken", "word " * 40, mend='pip install "x[y]"'),
    ]
    page = io.StringIO()
    print_page(told, Console(file=page, width=80))
    lines = page.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split()[:2] for line in lines[1:4]] == [
        ["good", "told"],
        ["-", "gone"],
        ["!", "bad"],
    ]
    assert lines[-5:] == [
        "! broken:",
        '  bad:            pip install "x[y]"',
        "",
        "- to add:",
        "  gone:           get it",
    ]


def test_json_counts_what_is_broken():
    told = json.loads(as_json([finding("a", "broken"), finding("b", "found")]))
    assert told["broken"] == 1
    assert told["findings"][1] == {
        "group": "g",
        "name": "b",
        "state": "found",
        "detail": "told",
        "mend": "",
    }


@pytest.mark.parametrize(("state", "code"), [("found", 0), ("missing", 0), ("broken", 1)])
def test_only_what_is_broken_is_an_error(monkeypatch, capsys, state, code):
    monkeypatch.setattr(command, "look", lambda: iter([finding("x", state)]))
    monkeypatch.setattr(sys, "argv", ["jllm doctor", "--json"])
    assert command.main() == code
    assert json.loads(capsys.readouterr().out)["findings"][0]["state"] == state
