"""Third-party Python distributions from a hash-locked requirements file."""

# Where torch publishes its wheels without CUDA.
_TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"

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
    command = [python] + _PIP + ["--requirement=%s" % ctx.path(ctx.attr.requirements)]
    result = ctx.execute(command, timeout = ctx.attr.timeout)
    if "No matching distribution found for torch" in result.stderr:
        # The user's own indexes and folders do not have it.
        command.append("--extra-index-url=" + _TORCH_CPU_INDEX)
        result = ctx.execute(command, timeout = ctx.attr.timeout)
    if not result.return_code:
        command = [python, ctx.path(ctx.attr._split), "all", "."]
        result = ctx.execute(command, timeout = ctx.attr.timeout)
    if result.return_code:
        fail(result.stderr + result.stdout)

pypi_repository = repository_rule(
    implementation = _pypi_repository_impl,
    attrs = {
        "requirements": attr.label(mandatory = True, allow_single_file = True),
        "timeout": attr.int(default = 3600),
        "_interpreter": attr.label(default = "@python//:interpreter", allow_single_file = True),
        "_split": attr.label(default = "//tools/bazel:split_site_packages.py", allow_single_file = True),
    },
    doc = "Installs a locked requirements file; distribution D is @NAME//D.",
)
