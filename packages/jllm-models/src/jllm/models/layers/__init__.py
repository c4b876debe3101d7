"""The layers of a decoder, except for the experts, as plain modules independent of ranks."""
