"""The closing line of tools/test.sh counts the cases of exactly one run."""

import json
from pathlib import Path

import pytest
from count_cases import count_run, main

CASE = "<testcase name='x'>{}</testcase>"
SUITE = "<testsuites><testsuite>{}</testsuite></testsuites>"


def result(folder: Path, label: str, status: str, cases: list[str] | None, **shard: int) -> str:
    """A testResult event and, unless `cases` is None, its JUnit file."""
    path = folder / (label.strip("/").replace(":", "_") + str(shard) + " 1%.xml")
    if cases is not None:
        path.write_text(SUITE.format("".join(CASE.format(case) for case in cases)))
    outputs = [{"name": "test.log", "uri": "file:///x"}, {"name": "test.xml", "uri": path.as_uri()}]
    identity = {"testResult": {"label": label, "run": 1, "shard": 1, **shard}}
    return json.dumps(
        {"id": identity, "testResult": {"status": status, "testActionOutput": outputs}}
    )


def target(label: str, success: bool) -> list[str]:
    """The events of a test target that was configured and, perhaps, built."""
    configured = {"id": {"targetConfigured": {"label": label}}, "configured": {"testSize": "SMALL"}}
    completed = {"success": True} if success else {}
    done = {"id": {"targetCompleted": {"label": label}}, "completed": completed}
    return [json.dumps(configured), json.dumps(done)]


def test_cases_are_summed_over_targets_and_shards(tmp_path):
    lines = [
        result(tmp_path, "//a:a", "PASSED", ["", "<skipped/>"], shard=1),
        result(tmp_path, "//a:a", "PASSED", ["", ""], shard=2),
        result(tmp_path, "//b:b", "FAILED", ["", "<failure/>", "<error/>"]),
    ]
    assert count_run(lines, 3)[0] == {"passed": 4, "failed": 2, "skipped": 1}


@pytest.mark.parametrize("cases", [None, [], [""]])
def test_a_target_that_failed_counts_even_when_no_case_says_so(tmp_path, cases):
    lines = [result(tmp_path, "//a:a", "TIMEOUT", cases)]
    assert count_run(lines, 3)[0]["failed"] == 1


def test_a_torn_report_counts_as_failed(tmp_path):
    line = result(tmp_path, "//a:a", "FAILED", [""])
    (report,) = tmp_path.glob("*.xml")
    report.write_text(report.read_text()[:-5])
    assert count_run([line], 3)[0] == {"failed": 1}


def test_the_last_attempt_counts(tmp_path):
    lines = [
        result(tmp_path, "//a:a", "FAILED", ["<failure/>"]),
        result(tmp_path, "//a:a", "PASSED", [""]),
    ]
    assert count_run(lines, 0)[0] == {"passed": 1}


def test_a_target_that_does_not_build_is_failed_and_a_filtered_one_is_told(tmp_path):
    lines = [*target("//a:gpu", True), *target("//b:b", False)]
    outcomes, notes = count_run(lines, 1)
    assert outcomes == {"failed": 1}
    assert notes == ["not asked for (its tags): //a:gpu", "FAILED to build or to start: //b:b"]


@pytest.mark.parametrize(
    ("code", "closing"), [("0", "1 passed, 0 failed"), ("1", "1 passed, 1 failed")]
)
def test_the_closing_line_and_the_exit_code(tmp_path, capsys, code, closing):
    events = tmp_path / "events.json"
    events.write_text(result(tmp_path, "//a:a", "PASSED", [""]) + "\n")
    assert main(str(events), code) == int(code)
    assert capsys.readouterr().out.splitlines()[-1] == closing


def test_a_run_without_any_event_has_failed(tmp_path, capsys):
    assert main(str(tmp_path / "missing"), "37") == 1
    assert capsys.readouterr().out.splitlines()[-1] == "0 passed, 1 failed"
