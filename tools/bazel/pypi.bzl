"""Third-party Python distributions from a hash-locked requirements file."""

_NO_TORCH = """
pip finds no CPU build of torch. Name PyTorch's index of CPU wheels in PIP_EXTRA_INDEX_URL (the
"Get Started" page of PyTorch tells its address), or a folder with the wheel in PIP_FIND_LINKS.
"""

_PIP = [
    "-m",
    "pip",
    "install",
    "--quiet",
    "--no-input",
    "--disable-pip-version-check",
    "--root-user-action=ignore",
    "--require-hashes",
    "--no-deps",
    "--only-binary=:all:",
    "--no-compile",
    "--target=all",
]

def _pypi_repository_impl(ctx):
    python = ctx.read(ctx.attr._interpreter)
    ctx.report_progress("pip install")
    sources = ["--no-binary=%s" % name for name in ctx.attr.from_source]
    command = [python] + _PIP + sources + ["--requirement=%s" % ctx.path(ctx.attr.requirements)]
    result = ctx.execute(command, timeout = ctx.attr.timeout)
    if "No matching distribution found for torch" in result.stderr:
        fail(result.stderr + _NO_TORCH)
    if not result.return_code:
        command = [python, ctx.path(ctx.attr._split), "all", "."]
        result = ctx.execute(command, timeout = ctx.attr.timeout)
    if result.return_code:
        fail(result.stderr + result.stdout)

pypi_repository = repository_rule(
    implementation = _pypi_repository_impl,
    attrs = {
        "from_source": attr.string_list(doc = "Distributions that publish no wheel."),
        "requirements": attr.label(mandatory = True, allow_single_file = True),
        "timeout": attr.int(default = 3600),
        "_interpreter": attr.label(default = "@python//:interpreter", allow_single_file = True),
        "_split": attr.label(default = "//tools/bazel:split_site_packages.py", allow_single_file = True),
    },
    doc = "Installs a locked requirements file; distribution D is @NAME//D.",
)
