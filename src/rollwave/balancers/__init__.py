"""Balancers: how each real load balancer puts members in and out of traffic."""
