"""Endurance: mixed load and everything that goes wrong, for minutes, and what must hold all the same."""
