"""Bad requests, several per weak spot, asked of a real server: `python -m tests.corpus --list` and `--run`.

`cases.py` says what a case is, `wire.py` how it becomes bytes, the other modules hold the cases by class, `checking.py`
the rules that every answer must keep, `running.py` how a case is asked.
"""
