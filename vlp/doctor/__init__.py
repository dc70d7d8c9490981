"""``python -m vlp.doctor``: what is installed, reachable, loadable and consistent, and what to do where it is not."""
