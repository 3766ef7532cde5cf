"""The parts of runner.py. Standard library only, Python 3.8 or newer, so that they also run where physlab is not."""
