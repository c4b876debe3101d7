"""inspect_data: what a data set holds, as numbers, rows, steps and pages."""
