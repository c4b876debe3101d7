"""The flags of a run, one dataclass a group of --help, most used first."""
