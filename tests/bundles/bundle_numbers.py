"""What the node type in bundle_nodes imports: it has to travel with it."""


def scaled(value, scale):
    return value * scale
