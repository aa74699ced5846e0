"""The synthesized app on this machine: real function processes behind the template's routes, AWS's services from moto."""
