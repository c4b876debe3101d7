"""Devices, processes, and the mesh of process groups."""
