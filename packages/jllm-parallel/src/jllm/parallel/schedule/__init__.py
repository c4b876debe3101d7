"""Pipeline schedules as data: generated, checked, simulated, drawn; `pipeline` executes them."""
