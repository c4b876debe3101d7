"""The layers of a decoder but the experts, as plain modules that know nothing of ranks."""
