"""The machine of a process: devices, other processes, signals, cores, compiled code."""
