"""Ways to attend: one signature, one file a backend, and never another kernel than the one asked for."""
