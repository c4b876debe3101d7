"""Running a command: arguments, progress, signals, memory, processes."""
