"""Encoders that come and go with the load, on this machine: the rule of deploy/kubernetes/scaling applied to real processes."""
