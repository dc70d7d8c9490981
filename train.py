"""Pre-train a vision-and-language model: ``python train.py [model=] [dataset=] ...`` (see ``--help``).

The recipe is `vlp.commands.train.train`: seed, data, model, objectives, trainer, fit.
"""

from vlp.commands.app import train_main

if __name__ == "__main__":
    train_main()
