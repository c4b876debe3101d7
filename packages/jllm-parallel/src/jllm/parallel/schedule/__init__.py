"""Pipeline schedules as data: generated, checked, simulated, drawn; executed by `jllm.parallel.pipeline`."""
