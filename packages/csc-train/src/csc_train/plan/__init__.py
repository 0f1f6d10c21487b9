"""Plans an experiment: from what the data is like and what the machine can do to settings, each with its reason.

`make_plans` chooses by rules alone; given `measure_step` it also tries a few steps on the device.
"""

from csc_train.plan.machine import Machine, look_at_machine
from csc_train.plan.making import Plan, make_plans
from csc_train.plan.measuring import StepCost, measure_step

__all__ = ["Machine", "Plan", "StepCost", "look_at_machine", "make_plans", "measure_step"]
