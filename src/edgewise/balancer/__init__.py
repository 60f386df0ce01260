"""Which server answers: balancing policies, health, outlier ejection, circuit breaking, slow start."""

from edgewise.balancer.policies import make_policy

__all__ = ["make_policy"]
