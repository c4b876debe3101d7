"""inspect_data: show a data set as statistics, rows, steps and pages."""
