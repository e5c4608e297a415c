"""The machine that a process runs on: devices, other processes, signals, cores, compiled code."""
