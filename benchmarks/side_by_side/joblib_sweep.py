import sys
from itertools import product

from joblib import Memory, Parallel, delayed
from model import trial


def space(start: float, stop: float, n: int) -> list[float]:
    return [start + (stop - start) * i / (n - 1) for i in range(n)]


if __name__ == "__main__":
    folder, nx, ny = sys.argv[1], *map(int, sys.argv[2:4])
    cached = Memory(folder, verbose=0).cache(trial)
    points = list(product(space(-2, 2, nx), space(-1, 3, ny)))
    losses = [one["loss"] for one in Parallel(n_jobs=2)(delayed(cached)(x, y) for x, y in points)]
    best = min(range(len(points)), key=losses.__getitem__)
    print(len(losses), dict(zip("xy", points[best], strict=True)))
