import sys
from multiprocessing import Process

import optuna
from model import trial
from optuna.storages import RDBStorage


def work(url: str, grid: dict[str, list[float]]) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.load_study(
        study_name="rosenbrock", storage=RDBStorage(url), sampler=optuna.samplers.GridSampler(grid)
    )
    study.optimize(lambda t: trial(t.suggest_float("x", -2, 2), t.suggest_float("y", -1, 3))["loss"])


def space(start: float, stop: float, n: int) -> list[float]:
    return [start + (stop - start) * i / (n - 1) for i in range(n)]


if __name__ == "__main__":
    folder, nx, ny = sys.argv[1], *map(int, sys.argv[2:4])
    url, grid = f"sqlite:///{folder}/study.db", {"x": space(-2, 2, nx), "y": space(-1, 3, ny)}
    study = optuna.create_study(study_name="rosenbrock", storage=RDBStorage(url), load_if_exists=True)
    workers = [Process(target=work, args=(url, grid)) for _ in range(2)]
    for one in workers:
        one.start()
    for one in workers:
        one.join()
    done = study.get_trials(states=[optuna.trial.TrialState.COMPLETE])
    print(len({tuple(one.params.values()) for one in done}), study.best_params)
