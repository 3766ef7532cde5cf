"""A fake Kubernetes API server with controllers, a scheduler and kubelets that really run the commands of pods.

`with FakeCluster(version="1.31") as cluster:` gives `cluster.kubeconfig` for the official client, and switches.
"""

from tests.fakes.kubernetes_api.cluster import FakeCluster
from tests.fakes.kubernetes_api.kubelet.images import Image
from tests.fakes.kubernetes_api.node import Node
from tests.fakes.kubernetes_api.pace import Pace

__all__ = ["FakeCluster", "Image", "Node", "Pace"]
