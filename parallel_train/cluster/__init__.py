"""Machines that a cluster grants: the batch system of many labs, Slurm."""
