"""The flags of a run, what contradicts what, and the layout that follows."""
