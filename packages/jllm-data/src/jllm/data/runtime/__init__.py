"""How a command runs on this machine: arguments, progress, signals, memory, processes."""
