"""What is measured: each module has a `Subject` that starts one system and runs shapes of no-ops on it.

`python -m benchmarks.subjects NAME '{"started": …, "sizes": {"sweep": 1000}, "answer": "file"}'` is one measured life.
"""
