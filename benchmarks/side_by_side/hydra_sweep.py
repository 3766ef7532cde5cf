import sys

import hydra
from model import trial
from omegaconf import DictConfig, OmegaConf


@hydra.main(version_base=None, config_path=None, config_name="point")
def main(point: DictConfig) -> float:
    loss = trial(point.x, point.y)["loss"]
    OmegaConf.save(
        {"x": point.x, "y": point.y, "loss": loss},
        f"{hydra.core.hydra_config.HydraConfig.get().runtime.output_dir}/result.yaml",
    )
    return loss


def space(start: float, stop: float, n: int) -> str:
    return ",".join(repr(start + (stop - start) * i / (n - 1)) for i in range(n))


if __name__ == "__main__":
    from pathlib import Path

    folder, nx, ny = sys.argv[1], *map(int, sys.argv[2:4])
    hydra.core.config_store.ConfigStore.instance().store(name="point", node={"x": 0.0, "y": 0.0})
    sys.argv[1:] = ["-m", f"hydra.sweep.dir={folder}/multirun", f"x={space(-2, 2, nx)}", f"y={space(-1, 3, ny)}"]
    main()
    results = [OmegaConf.load(one) for one in Path(folder, "multirun").glob("*/result.yaml")]
    print(len(results), OmegaConf.to_container(min(results, key=lambda one: one.loss)))
