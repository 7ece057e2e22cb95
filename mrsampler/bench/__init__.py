"""Measurements, each a command: `python -m mrsampler bench NAME`."""
