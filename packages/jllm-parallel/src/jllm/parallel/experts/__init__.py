"""The balance of experts over a run."""
