"""``python -m circuitune``, and so ``torchrun -m circuitune``."""

from circuitune.cli import main

main()
