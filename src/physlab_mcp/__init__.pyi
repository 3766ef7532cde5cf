from physlab_mcp.lab import Lab as Lab
from physlab_mcp.library.checkpoint import checkpoint_dir as checkpoint_dir
from physlab_mcp.library.engine import Engine as Engine
from physlab_mcp.library.package import create_reproducibility_package as create_reproducibility_package
from physlab_mcp.library.workflow import ExperimentalWorkflow as ExperimentalWorkflow

__version__: str
