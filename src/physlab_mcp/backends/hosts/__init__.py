"""Hosts: where the commands of a cluster are said and where its files lie.

`here.here(root)` is this machine, `ssh.ssh(settings, root)` another one; both are a `host.Host`.
"""
