"""What a lookup costs in nanoseconds: timed loops over real structures, and tables of what they took.

Times belong to one machine and one day; counts are in ``pfnmaps`` and ``designs``, and the two meet in
``scenario.py``. ``costs`` reads and writes tables and needs no Numba.
"""
