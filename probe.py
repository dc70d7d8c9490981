"""Look into models: ``python probe.py [-m] [probe=] [model=] [weights=] ...`` (see ``--help``).

The recipe is `vlp.commands.probe.measure`: data, weights, model, control, probe, test, rows.
"""

from vlp.commands.app import probe_main

if __name__ == "__main__":
    probe_main()
