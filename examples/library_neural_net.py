"""A sweep of a small neural network in plain numpy: 81 points, three tasks, a figure and a reproducibility package.

It waits for the night; to start at once: PHYSLAB_SCHEDULE=now python library_neural_net.py
"""

from itertools import pairwise

import numpy as np

import physlab_mcp as sciflow


def preprocess_function(seed=0):
    """Two spirals, cut into a part to learn from and a part to judge by."""
    rng = np.random.default_rng(seed)
    angle = rng.uniform(0.5, 2.5 * np.pi, 200)
    label = np.arange(200) % 2
    turned = angle + np.pi * label
    points = np.stack([angle * np.cos(turned), angle * np.sin(turned)], axis=1) / 8 + rng.normal(0, 0.02, (200, 2))
    return {"points": points, "labels": label, "train": 140}


def forward(weights, points):
    """The activity of every layer, the last one a probability."""
    layers = [points]
    for w, b in weights[:-1]:
        layers.append(np.tanh(layers[-1] @ w + b))
    w, b = weights[-1]
    layers.append(1 / (1 + np.exp(-(layers[-1] @ w + b))))
    return layers


def train_function(preprocess_data, learning_rate, hidden_layers, neurons_per_layer, dropout_rate, steps=40, seed=1):
    """Full-batch gradient descent on the cross entropy, with dropout in the last hidden layer."""
    rng = np.random.default_rng(seed)
    x, y = (preprocess_data[name][: preprocess_data["train"]] for name in ("points", "labels"))
    sizes = [2, *[neurons_per_layer] * hidden_layers, 1]
    weights = [(rng.normal(0, n**-0.5, (n, m)), np.zeros(m)) for n, m in pairwise(sizes)]
    for _ in range(steps):
        layers = forward(weights, x)
        kept = rng.random(neurons_per_layer) >= dropout_rate
        error = (layers[-1] - y[:, None]) / len(y)
        for i in range(len(weights) - 1, -1, -1):
            w, b = weights[i]
            below = layers[i] * kept if i == len(weights) - 1 else layers[i]
            following = (error @ w.T) * (1 - layers[i] ** 2) if i else None
            weights[i] = (w - 30 * learning_rate * below.T @ error, b - 30 * learning_rate * error.sum(axis=0))
            error = following
    return {"weights": np.concatenate([part.ravel() for pair in weights for part in pair]), "sizes": sizes}


def evaluate_function(preprocess_data, train_model):
    """How many of the points that were held back it tells right."""
    flat, weights = train_model["weights"], []
    for n, m in pairwise(train_model["sizes"]):
        weights.append((flat[: n * m].reshape(n, m), flat[n * m : n * m + m]))
        flat = flat[n * m + m :]
    first = preprocess_data["train"]
    told = forward(weights, preprocess_data["points"][first:])[-1][:, 0] > 0.5
    return {"validation_accuracy": np.mean(told == preprocess_data["labels"][first:])}


workflow = sciflow.ExperimentalWorkflow("neural_network_training")
workflow.add_task("preprocess_data", preprocess_function)
workflow.add_task("train_model", train_function, depends_on=["preprocess_data"])
workflow.add_task("evaluate_model", evaluate_function, depends_on=["preprocess_data", "train_model"])
workflow.add_parameter_space(
    {
        "learning_rate": [0.001, 0.01, 0.1],
        "hidden_layers": [1, 2, 3],
        "neurons_per_layer": [64, 128, 256],
        "dropout_rate": [0.1, 0.3, 0.5],
    }
)
workflow.set_resource_requirements(
    {"train_model": {"cpu_cores": 1, "memory_gb": 1, "gpu": True, "max_runtime_hours": 1}}
)
workflow.set_scheduling_policy(
    "off_peak", {"preferred_hours": "22:00-08:00", "weekend_preferred": True, "max_wait_hours": 48}
)
workflow.add_visualization(
    "accuracy_vs_parameters",
    {"type": "heatmap", "x_axis": "learning_rate", "y_axis": "hidden_layers", "value": "validation_accuracy",
     "facet_by": ["dropout_rate"]},
)  # fmt: skip

if __name__ == "__main__":
    engine = sciflow.Engine()
    results = engine.execute_parameter_sweep(workflow)
    package = sciflow.create_reproducibility_package(workflow, results, package_name="neural_net_experiment_v1")
    print("package:", package.export("physlab-out"))
    best_params = results.find_optimal_parameters("validation_accuracy", maximize=True)
    print("best:", best_params, results.get_metric(best_params, "validation_accuracy"))
