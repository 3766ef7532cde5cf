import sys

from model import trial

import physlab_mcp as sciflow

if __name__ == "__main__":
    nx, ny = map(int, sys.argv[2:4])
    workflow = sciflow.ExperimentalWorkflow("rosenbrock")
    workflow.add_task("trial", trial)
    workflow.add_parameter_space({"x": {"linspace": [-2, 2, nx]}, "y": {"linspace": [-1, 3, ny]}})
    results = sciflow.Engine().execute_parameter_sweep(workflow)
    print(len(results.to_dataframe()), results.find_optimal_parameters("loss", maximize=False))
