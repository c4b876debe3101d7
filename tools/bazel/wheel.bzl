"""Wheels, built by each package's own PEP 517 backend."""

load("@rules_python//python:defs.bzl", "py_test")

def _jllm_wheel_impl(ctx):
    out = ctx.actions.declare_directory(ctx.label.name)
    root = ctx.label.package + "/"
    args = ctx.actions.args()
    args.add(out.path)
    for file in ctx.files.srcs:
        if not file.short_path.startswith(root):
            fail("%s is not in %s" % (file.short_path, root))
        args.add(file, format = "%s=" + file.short_path[len(root):])
    ctx.actions.run(
        executable = ctx.executable._builder,
        arguments = [args],
        inputs = ctx.files.srcs,
        outputs = [out],
        mnemonic = "Wheel",
        progress_message = "Building the wheel of " + ctx.label.package,
        # What hatchling takes by itself: pip wheel makes the same bytes.
        env = {"SOURCE_DATE_EPOCH": "1580601600"},
    )
    return [DefaultInfo(files = depset([out]), runfiles = ctx.runfiles([out]))]

jllm_wheel = rule(
    implementation = _jllm_wheel_impl,
    attrs = {
        "srcs": attr.label_list(
            allow_files = True,
            doc = "pyproject.toml and all it packs: sources and built extensions.",
        ),
        "_builder": attr.label(
            default = "//tools/bazel:build_wheel",
            cfg = "exec",
            executable = True,
        ),
    },
    doc = "A folder NAME that holds the package's one wheel.",
)

def jllm_wheel_test(name, wheel, needed_wheels = [], deps = []):
    """Installs a wheel into an empty environment and imports all of it.

    Args:
      name: the target's name.
      wheel: a jllm_wheel.
      needed_wheels: wheels of this tree that its metadata names, directly or not; no others.
      deps: libraries whose third-party distributions the metadata may name.
    """
    wheels = [wheel] + needed_wheels
    py_test(
        name = name,
        size = "medium",
        srcs = ["//tools/bazel:wheel_test.py"],
        main = "//tools/bazel:wheel_test.py",
        args = ["$(rootpath %s)" % folder for folder in wheels],
        data = wheels,
        deps = deps + ["@pypi//packaging"],
    )
