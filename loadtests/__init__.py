"""Load on the running service: mixes of users, shapes of load, objectives, and the knee. `python -m loadtests --help`."""
