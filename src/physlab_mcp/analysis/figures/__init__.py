"""The standard figures of a sweep, one file each; `chart.py` has what they share, `choose.py` beside them picks."""
